//! Progress on a terminal as bars, elsewhere as one log line per epoch.

use std::time::Duration;

use cf_train::byte_size::ByteSize;
use cf_train::event::Event;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows the events of a run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    place: (usize, usize),
    c_index: Option<f64>,
}

impl Progress {
    pub(super) fn new(show_bars: bool) -> Self {
        Self {
            bar: show_bars.then(|| bar("{prefix} {wide_bar} {pos}/{len} {msg} {eta}")),
            place: (0, 0),
            c_index: None,
        }
    }

    pub(super) fn observe(&mut self, event: Event) {
        match event {
            Event::Memory { n_patches, predicted_bytes, budget_bytes } => {
                self.tell_memory("the training step", n_patches, predicted_bytes, budget_bytes);
            }
            Event::Passes { n_patches, n_models, predicted_bytes, budget_bytes } => {
                self.tell_memory(
                    &if n_models == 1 {
                        "the pass by a model".to_owned()
                    } else {
                        format!("the pass by {n_models} models")
                    },
                    n_patches,
                    predicted_bytes,
                    budget_bytes,
                );
            }
            Event::Drawn { max_patches, n_drawn, n_slides } => {
                let rule = cf_train::visit::rule(max_patches);
                match &self.bar {
                    Some(bar) => {
                        bar.println(format!(
                            "patches: {rule}; {n_drawn} of {n_slides} training slides have more"
                        ));
                    }
                    None => tracing::info!(n_slides_with_more = n_drawn, n_slides, "{rule}"),
                }
            }
            Event::Evaluation { n_patches, predicted_bytes, budget_bytes } => {
                self.tell_memory("the evaluation", n_patches, predicted_bytes, budget_bytes);
            }
            Event::Scored { n_done, n_slides } => {
                if let Some(bar) = &self.bar {
                    bar.set_length(n_slides as u64);
                    bar.set_prefix("slides");
                    bar.set_position(n_done as u64);
                }
            }
            Event::Resident { n_resident, n_bags, bytes } => {
                let memory = ByteSize(bytes);
                match &self.bar {
                    Some(bar) => bar.println(format!(
                        "memory: {n_resident} of {n_bags} bags stay on the device ({memory})"
                    )),
                    None => tracing::info!(n_resident, n_bags, %memory, "bags that stay on the device"),
                }
            }
            Event::Epoch { fold, epoch, n_epochs, n_bags } => {
                if self.place.0 != fold {
                    self.c_index = None;
                }
                self.place = (fold, epoch);
                if let Some(bar) = &self.bar {
                    bar.reset();
                    bar.set_length(n_bags as u64);
                    bar.set_prefix(format!("fold {fold} epoch {epoch}/{n_epochs}"));
                }
            }
            Event::Bag { n_done, mean_loss } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(n_done as u64);
                    bar.set_message(format!("loss {} C-index {}", shown(mean_loss), shown(self.c_index)));
                }
            }
            Event::EpochDone { train_loss, validation_c_index } => {
                self.c_index = validation_c_index;
                let (fold, epoch) = self.place;
                let c_index = shown(validation_c_index);
                match train_loss {
                    Some(train_loss) => {
                        tracing::info!(fold, epoch, train_loss, validation_c_index = %c_index, "epoch");
                    }
                    None => {
                        tracing::info!(fold, epoch, validation_c_index = %c_index, "epoch without a loss")
                    }
                }
            }
        }
    }

    /// What the work that takes most memory, of one bag, is predicted to take.
    fn tell_memory(&self, work: &str, n_patches: usize, predicted_bytes: u64, budget_bytes: Option<u64>) {
        let predicted = ByteSize(predicted_bytes);
        let budget = budget_bytes.map_or_else(|| "an unknown amount".to_owned(), |b| ByteSize(b).to_string());
        match &self.bar {
            Some(bar) => bar.println(format!(
                "memory: {predicted} predicted for {work} on {n_patches} patches, {budget} may be used"
            )),
            None => tracing::info!(n_patches, %predicted, budget, "memory of {work} that takes most"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar on stderr.
pub(super) fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.3}"))
}
