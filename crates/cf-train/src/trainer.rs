//! Trains one fold: epochs, accumulation, selection, and a state from which it goes on after a signal.

mod cox_group;
mod evaluation;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cf_model::weights::Checkpoint;
use cf_model::{BagTensors, ForwardCtx, Head, HeadOutput, ParamStore, SurvivalModel, kernels};

use crate::adam::Adam;
use crate::bags::BagSource;
use crate::checkpoint::{self, CheckpointInfo};
use crate::config::{LossKind, RunConfig};
use crate::device_memory::naming_the_bag;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::fold_claims::FoldClaims;
use crate::fold_data::{FoldData, LabelledSlide};
use crate::fold_rows::{OrderRow, TrainRow};
use crate::fold_state::{Best, Draw, FoldState, HistoryRow};
use crate::loss;
use crate::memory::{BagSize, MemoryBudget};
use crate::protocol::{PATIENCE, Protocol, UNSELECTABLE_EPOCHS};
use crate::run_dir::{self, fold_files};
use crate::sampling;
use crate::schedule::Schedule;
use crate::training_model::{assign_initial, build};
use crate::visit::Visit;

/// What stays the same over the folds of a run.
pub struct TrainingContext<'a> {
    /// The run.
    pub config: &'a RunConfig,
    /// Its bags.
    pub bags: &'a BagSource,
    /// The run directory.
    pub run_dir: &'a Path,
    /// Hash of the resolved configuration.
    pub config_hash: u64,
    /// Which folds are this process's.
    pub(crate) claims: FoldClaims,
    /// What a training step may use.
    pub memory: MemoryBudget<'a>,
    /// Set by a signal: save and stop.
    pub stop: &'a AtomicBool,
}

/// Trains a fold and writes its files, from its saved state if there is one.
///
/// # Errors
/// If a bag can't be read, a loss or a parameter is not finite, a parameter gets no gradient, a file can't be written, another process took
/// the fold over, or `stop` was set (the state is saved then).
pub fn train_fold(
    context: &TrainingContext<'_>,
    data: &FoldData,
    observe: &mut dyn FnMut(Event),
) -> Result<()> {
    let mut trainer = Trainer::new(context, data)?;
    trainer.train(observe)?;
    trainer.finish()
}

/// Removes what a complete fold would go on from, if it is still there.
///
/// # Errors
/// If it can't be removed.
pub(crate) fn remove_state(run: &Path, fold: usize) -> Result<()> {
    let state = run_dir::fold_dir(run, fold).join(fold_files::STATE);
    match std::fs::remove_dir_all(&state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &state)(error)),
        _ => Ok(()),
    }
}

struct Trainer<'a> {
    context: &'a TrainingContext<'a>,
    data: &'a FoldData,
    store: ParamStore,
    model: Box<dyn SurvivalModel>,
    eval_model: Box<dyn SurvivalModel>,
    adam: Adam,
    schedule: Schedule,
    state: FoldState,
    /// What the model ends with, and what is known of time for it.
    head: Head,
}

impl<'a> Trainer<'a> {
    fn new(context: &'a TrainingContext<'a>, data: &'a FoldData) -> Result<Self> {
        let training = &context.config.training;
        let (store, [model, eval_model]) = build(&context.config.model, training, context.bags)?;
        if let Some(path) = &training.initial_weights {
            assign_initial(&store, path)?;
        }
        let mut adam =
            Adam::new(&store, training.weight_decay)?.without(|name| context.config.model.is_dead(name));
        let n_steps = training.max_epochs * data.train.len().div_ceil(training.accumulation);
        let schedule = Schedule::new(training.protocol, training.learning_rate, n_steps);
        let dir = run_dir::fold_dir(context.run_dir, data.fold);
        run_dir::create_dir(&dir)?;
        let saved = dir.join(fold_files::STATE);
        let state = FoldState::restore(&saved, &store, &mut adam)?.unwrap_or_else(FoldState::start);
        let n_train = data.train.len();
        let last_drawn = state.draws.iter().map(|draw| draw.slide + 1).max();
        let found = state.position.max(last_drawn.unwrap_or(0));
        if found > n_train {
            return Err(Error::data(
                &saved,
                format!(
                    "is of a fold with at least {found} training slides, expected {n_train}; remove it to begin the fold again, \
                     or choose another --out"
                ),
            ));
        }
        let head = match context.config.model.head() {
            Head::TimeMixture { .. } => Head::TimeMixture { bin_ends_months: Some(data.bins.ends_months()) },
            head @ Head::Hazards => head,
            Head::LogRisk { .. } => Head::LogRisk { baseline: None },
        };
        Ok(Self { context, data, store, model, eval_model, adam, schedule, state, head })
    }

    fn train(&mut self, observe: &mut dyn FnMut(Event)) -> Result<()> {
        let training = &self.context.config.training;
        while !self.state.trained {
            let started = Instant::now();
            let spent_before = self.state.epoch_seconds;
            let seconds = || spent_before + started.elapsed().as_secs_f64();
            let n_bags = self.data.train.len();
            observe(Event::Epoch {
                fold: self.data.fold,
                epoch: self.state.epoch,
                n_epochs: training.max_epochs,
                n_bags,
            });
            self.epoch(&seconds, observe)?;
            self.evaluate_epoch(&seconds)?;
            if let Some(row) = self.state.history.last() {
                let HistoryRow { train_loss, validation_c_index, .. } = *row;
                observe(Event::EpochDone { train_loss, validation_c_index });
            }
            self.save()?;
        }
        Ok(())
    }

    fn epoch(&mut self, seconds: &dyn Fn() -> f64, observe: &mut dyn FnMut(Event)) -> Result<()> {
        let training = &self.context.config.training;
        let epoch = self.state.epoch;
        let rest: Vec<usize> = self.order(epoch).into_iter().skip(self.state.position).collect();
        let bags = self.context.bags;
        let loaded: Box<dyn Iterator<Item = Option<_>>> = match training.loss {
            LossKind::Nll | LossKind::CrossEntropy | LossKind::Likelihood => {
                let draws = (self.state.position..).zip(&rest);
                let visits = draws.map(|(position, &slide)| self.visit(Draw { epoch, position, slide }));
                Box::new(bags.load_visits(visits.collect()).map(Some))
            }
            // A group reads its bags when it is whole.
            LossKind::Cox => Box::new(std::iter::repeat_with(|| None)),
        };
        for (bag, &slide) in loaded.zip(&rest) {
            let draw = Draw { epoch, position: self.state.position, slide };
            match bag {
                Some(bag) => {
                    let (slide_id, bag) = bag?;
                    naming_the_bag(bags.device(), &slide_id, BagSize::of(&bag), || {
                        self.train_bag(&bag, draw)
                    })?;
                }
                None => {
                    self.state.draws.push(draw);
                    if self.state.draws.len() == training.accumulation {
                        self.train_cox_group()?;
                    }
                }
            }
            if self.adam.n_bags() == training.accumulation {
                self.step()?;
            }
            self.state.position += 1;
            observe(Event::Bag { n_done: self.state.position, mean_loss: self.mean_loss() });
            self.stop_if_asked(seconds)?;
        }
        if training.protocol == Protocol::Sound {
            if !self.state.draws.is_empty() {
                self.train_cox_group()?;
            }
            if self.adam.n_bags() > 0 {
                self.step()?;
            }
        }
        Ok(())
    }

    /// One forward and backward pass; its gradients join those of the group.
    fn train_bag(&mut self, bag: &BagTensors, draw: Draw) -> Result<()> {
        let training = &self.context.config.training;
        let data = self.data;
        let labelled = &data.train[draw.slide];
        let output = self.model.forward(bag, &mut self.train_ctx(bag, draw))?;
        let of_output =
            |output: &HeadOutput| loss::of_output(training.loss, output, labelled.outcome(), training.alpha);
        let (loss, scalar) = output.training_loss_of(1.0 / training.accumulation as f64, of_output)?;
        self.record_loss(loss, labelled)?;
        self.adam.accumulate(kernels::backward(&scalar)?)
    }

    fn step(&mut self) -> Result<()> {
        let rate = self.schedule.rate(self.state.epoch - 1, self.adam.n_steps());
        self.state.learning_rate = Some(rate);
        self.adam.step(rate)
    }

    /// Evaluates both validation parts, updates the selection and moves on to the next epoch.
    fn evaluate_epoch(&mut self, seconds: &dyn Fn() -> f64) -> Result<()> {
        let training = &self.context.config.training;
        let epoch = self.state.epoch;
        if let Some(name) = self.adam.not_finite()? {
            return Err(Error::DivergedParameter { fold: self.data.fold, epoch, name: name.to_owned() });
        }
        let (rows, validation_loss) = self.evaluate(&self.data.validation, epoch, seconds)?;
        let validation_c_index = self.c_index(&rows)?;
        let (inner, _) = self.evaluate(&self.data.inner_validation, epoch, seconds)?;
        self.context.bags.keep_derived();
        let inner_c_index = if inner.is_empty() { None } else { self.c_index(&inner)? };

        let candidate = match training.protocol {
            Protocol::Paper => validation_c_index.filter(|_| epoch > UNSELECTABLE_EPOCHS),
            Protocol::Sound => inner_c_index,
        };
        if let Some(c_index) = candidate
            && self.state.best.is_none_or(|best| c_index > best.c_index)
        {
            self.state.best = Some(Best { epoch, c_index });
            self.write_weights(fold_files::BEST, epoch)?;
        }
        self.state.history.push(HistoryRow {
            epoch,
            learning_rate: self.state.learning_rate,
            train_loss: self.mean_loss(),
            validation_loss,
            validation_c_index,
            inner_c_index,
            seconds: seconds(),
        });
        let best_epoch = self.state.best.map_or(0, |best| best.epoch);
        let stalled = training.protocol == Protocol::Paper && epoch - best_epoch >= PATIENCE;
        self.state.trained = epoch == training.max_epochs || stalled;
        self.state.epoch += 1;
        (self.state.position, self.state.loss_sum, self.state.n_losses) = (0, 0.0, 0);
        (self.state.epoch_seconds, self.state.learning_rate) = (0.0, None);
        Ok(())
    }

    /// Writes the fold's files; its validation predictions last.
    fn finish(mut self) -> Result<()> {
        self.context.claims.check(self.data.fold)?;
        let dir = run_dir::fold_dir(self.context.run_dir, self.data.fold);
        let n_epochs = self.state.history.len();
        run_dir::write_csv(&dir.join(fold_files::HISTORY), &self.state.history)?;
        run_dir::write_csv(&dir.join(fold_files::TRAIN), self.data.train.iter().map(TrainRow::from))?;
        run_dir::write_csv(
            &dir.join(fold_files::ORDER),
            (1..=n_epochs).flat_map(|epoch| self.order_rows(epoch)),
        )?;
        self.find_baseline(n_epochs)?;
        let last = self.predict(&self.data.validation, n_epochs)?;
        run_dir::write_csv(&dir.join(fold_files::PREDICTIONS_LAST), &last)?;
        self.write_weights(fold_files::LAST, n_epochs)?;
        let best = dir.join(fold_files::BEST);
        let selected_epoch = self.state.best.map_or(n_epochs, |best| best.epoch);
        let selected = if selected_epoch == n_epochs {
            self.write_weights(fold_files::BEST, n_epochs)?;
            last
        } else {
            self.store.assign(Checkpoint::read(&best)?.values())?;
            if self.find_baseline(selected_epoch)? {
                self.write_weights(fold_files::BEST, selected_epoch)?;
            }
            self.predict(&self.data.validation, selected_epoch)?
        };
        let train = self.predict(&self.data.train, selected_epoch)?;
        // Also of slides that no epoch drew.
        self.context.bags.keep_derived();
        run_dir::write_csv(&dir.join(fold_files::PREDICTIONS_TRAIN), &train)?;
        let slides =
            [&self.data.train, &self.data.inner_validation, &self.data.validation].into_iter().flatten();
        let substitutes =
            self.context.bags.substitutes(slides.map(|labelled| labelled.slide.slide_id.as_str()));
        if !substitutes.is_empty() {
            run_dir::write_csv(&dir.join(fold_files::SUBSTITUTES), &substitutes)?;
        }
        self.context.claims.check(self.data.fold)?;
        run_dir::write_csv(&dir.join(fold_files::PREDICTIONS), &selected)?;
        remove_state(self.context.run_dir, self.data.fold)
    }

    fn write_weights(&self, file: &str, epoch: usize) -> Result<()> {
        let info = CheckpointInfo {
            model: &self.context.config.model.clone().with_head(self.head),
            backbone_dim: self.context.bags.backbone_dim(),
            encoder: &self.context.config.features.backbone,
            time_bin_edges_months: self.data.bins.edges_months(),
            row_order: self.context.bags.row_order(),
            precision: self.context.config.training.precision,
            config_hash: self.context.config_hash,
            fold: self.data.fold,
            epoch,
        };
        let dir = run_dir::fold_dir(self.context.run_dir, self.data.fold);
        checkpoint::write(&dir.join(file), &self.store, &info)
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        let classes: Vec<_> = self.data.train.iter().map(|slide| (slide.bin, slide.status())).collect();
        let training = &self.context.config.training;
        sampling::order(training.protocol, &classes, training.seed, self.data.fold, epoch)
    }

    fn order_rows(&self, epoch: usize) -> impl Iterator<Item = OrderRow<'_>> {
        self.order(epoch).into_iter().enumerate().map(move |(position, slide)| OrderRow {
            epoch,
            position,
            slide_id: &self.data.train[slide].slide.slide_id,
        })
    }

    /// What of a slide this draw sees.
    fn visit(&self, draw: Draw) -> Visit {
        let slide_id = &self.data.train[draw.slide].slide.slide_id;
        Visit::in_training(&self.context.config.training, self.data.fold, draw, slide_id)
    }

    fn train_ctx(&self, bag: &BagTensors, draw: Draw) -> ForwardCtx {
        let Draw { epoch, position, slide } = draw;
        let slide_id = &self.data.train[slide].slide.slide_id;
        let label = format!("dropout/fold {}/epoch {epoch}/draw {position}/{slide_id}", self.data.fold);
        ForwardCtx::train(self.context.config.training.seed, &label)
            .with_retention(self.context.memory.retention(BagSize::of(bag)))
    }

    fn record_loss(&mut self, loss: f64, labelled: &LabelledSlide) -> Result<()> {
        self.check_finite("loss", loss, self.state.epoch, labelled)?;
        self.state.loss_sum += loss;
        self.state.n_losses += 1;
        Ok(())
    }

    fn check_finite(&self, what: &str, value: f64, epoch: usize, labelled: &LabelledSlide) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        Err(Error::Diverged {
            fold: self.data.fold,
            epoch,
            slide_id: labelled.slide.slide_id.clone(),
            reason: format!("the {what} is {value}"),
        })
    }

    /// `None` while there is no loss: a Cox loss is of a group, which may take longer than an epoch to fill.
    fn mean_loss(&self) -> Option<f64> {
        (self.state.n_losses > 0).then(|| self.state.loss_sum / self.state.n_losses as f64)
    }

    fn stop_if_asked(&self, seconds: &dyn Fn() -> f64) -> Result<()> {
        if !self.context.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Once it is trained, the state is saved, and the weights at hand may be those of the selected epoch.
        if !self.state.trained {
            let mut state = self.state.clone();
            state.epoch_seconds = seconds();
            self.save_state(state)?;
        }
        Err(Error::Interrupted {
            fold: self.data.fold,
            epoch: self.state.epoch,
            path: self.context.run_dir.to_owned(),
        })
    }

    fn save(&self) -> Result<()> {
        self.save_state(self.state.clone())
    }

    fn save_state(&self, mut state: FoldState) -> Result<()> {
        self.context.claims.check(self.data.fold)?;
        (state.n_steps, state.n_pending) = (self.adam.n_steps(), self.adam.n_bags());
        let dir = run_dir::fold_dir(self.context.run_dir, self.data.fold);
        state.save(&dir.join(fold_files::STATE), &self.store, &self.adam)
    }
}
