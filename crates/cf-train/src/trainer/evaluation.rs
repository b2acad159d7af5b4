//! Predictions and scores of a fold with its present weights.

use cf_model::{ForwardCtx, Head, HeadOutput};
use survival_metrics::Status;

use super::Trainer;
use crate::config::LossKind;
use crate::device_memory::naming_the_bag;
use crate::error::Result;
use crate::evaluate::{Prediction, Risks};
use crate::fold_data::LabelledSlide;
use crate::fold_rows::prediction;
use crate::loss;
use crate::memory::BagSize;
use crate::protocol::Protocol;

impl Trainer<'_> {
    /// Predictions and mean loss (alpha 0) of `slides` with the present weights, which are those after `epoch`.
    pub(super) fn evaluate(
        &self,
        slides: &[LabelledSlide],
        epoch: usize,
        seconds: &dyn Fn() -> f64,
    ) -> Result<(Vec<Prediction>, f64)> {
        let ids = slides.iter().map(|labelled| labelled.slide.slide_id.clone()).collect();
        let kind = self.context.config.training.loss;
        let mut rows = Vec::with_capacity(slides.len());
        let mut losses = Vec::with_capacity(slides.len());
        for (bag, labelled) in self.context.bags.load(ids).zip(slides) {
            let (slide_id, bag) = bag?;
            let pass = || {
                let output = self.eval_model.forward(&bag, &mut self.eval_ctx(&slide_id, epoch))?;
                Ok(HeadOutput { head: self.head, ..output.numbers()? })
            };
            let output = naming_the_bag(self.context.bags.device(), &slide_id, BagSize::of(&bag), pass)?;
            if kind != LossKind::Cox {
                losses.push(loss::of_output(kind, &output, labelled.outcome(), 0.0)?.0);
            }
            let row = prediction(labelled, self.data.fold, &output)?;
            self.check_finite("risk", row.risk, epoch, labelled)?;
            if !matches!(self.head, Head::LogRisk { baseline: None }) {
                for (bin, survival) in (1..).zip([row.s1, row.s2, row.s3, row.s4]) {
                    self.check_finite(&format!("survival past time bin {bin}"), survival, epoch, labelled)?;
                }
            }
            rows.push(row);
            self.stop_if_asked(seconds)?;
        }
        let mean_loss = match kind {
            LossKind::Cox => {
                let (risk, time, status) = columns(&rows, slides);
                loss::cox(&risk, &time, &status).0
            }
            LossKind::Nll | LossKind::CrossEntropy | LossKind::Likelihood => {
                losses.iter().sum::<f64>() / losses.len().max(1) as f64
            }
        };
        Ok((rows, mean_loss))
    }

    /// Predictions with the present weights, which are those after `epoch`.
    pub(super) fn predict(&self, slides: &[LabelledSlide], epoch: usize) -> Result<Vec<Prediction>> {
        Ok(self.evaluate(slides, epoch, &|| 0.0)?.0)
    }

    /// For a model that ends with a log risk, the baseline under the present weights, those after `epoch`, from the slides trained on; and
    /// whether this is such a model.
    pub(super) fn find_baseline(&mut self, epoch: usize) -> Result<bool> {
        if !matches!(self.head, Head::LogRisk { .. }) {
            return Ok(false);
        }
        let train = &self.data.train;
        let (risk, time, status) = columns(&self.predict(train, epoch)?, train);
        let baseline = loss::breslow(&risk, &time, &status, self.data.bins.ends_months());
        self.head = Head::LogRisk { baseline: Some(baseline) };
        Ok(true)
    }

    /// C-index in the protocol's unit: slides in `paper`, patients in `sound`.
    pub(super) fn c_index(&self, rows: &[Prediction]) -> Result<Option<f64>> {
        let slides = Risks::of_slides(rows)?;
        match self.context.config.training.protocol {
            Protocol::Paper => slides.c_index(),
            Protocol::Sound => slides.of_patients().c_index(),
        }
    }

    fn eval_ctx(&self, slide_id: &str, epoch: usize) -> ForwardCtx {
        let label = format!("eval/fold {}/epoch {epoch}/{slide_id}", self.data.fold);
        ForwardCtx::eval_with_stream(self.context.config.training.seed, &label)
    }
}

/// Risks, times and what was seen, for the losses that couple slides.
fn columns(rows: &[Prediction], slides: &[LabelledSlide]) -> (Vec<f64>, Vec<f64>, Vec<Status>) {
    (
        rows.iter().map(|row| row.risk).collect(),
        rows.iter().map(|row| row.event_time_months).collect(),
        slides.iter().map(LabelledSlide::status).collect(),
    )
}
