//! Predictions and scores of a fold with its present weights.

use cf_model::ForwardCtx;

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
    /// Predictions and mean loss (alpha 0) of `slides` with the present weights.
    pub(super) fn evaluate(
        &self,
        slides: &[LabelledSlide],
        seconds: &dyn Fn() -> f64,
    ) -> Result<(Vec<Prediction>, f64)> {
        let ids = slides.iter().map(|labelled| labelled.slide.slide_id.clone()).collect();
        let mut rows = Vec::with_capacity(slides.len());
        let mut losses = Vec::with_capacity(slides.len());
        for (bag, labelled) in self.context.bags.load(ids).zip(slides) {
            let (slide_id, bag) = bag?;
            let pass = || {
                let output = self.eval_model.forward(&bag, &mut self.eval_ctx(&slide_id))?;
                Ok(output.logit_values()?)
            };
            let logits = naming_the_bag(self.context.bags.device(), &slide_id, BagSize::of(&bag), pass)?;
            let loss = match self.context.config.training.loss {
                LossKind::CrossEntropy => loss::cross_entropy(logits, labelled.bin, labelled.status(), 0.0),
                LossKind::Nll | LossKind::Cox => loss::nll(logits, labelled.bin, labelled.status(), 0.0),
            };
            losses.push(loss.loss);
            rows.push(prediction(labelled, self.data.fold, logits));
            self.stop_if_asked(seconds)?;
        }
        let mut mean_loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        if self.context.config.training.loss == LossKind::Cox {
            let risk: Vec<f64> = rows.iter().map(|row| row.risk).collect();
            let time: Vec<f64> = rows.iter().map(|row| row.event_time_months).collect();
            let status: Vec<_> = slides.iter().map(LabelledSlide::status).collect();
            mean_loss = loss::cox(&risk, &time, &status).0;
        }
        Ok((rows, mean_loss))
    }

    /// C-index in the protocol's unit: slides in `paper`, patients in `sound`.
    pub(super) fn c_index(&self, rows: &[Prediction]) -> Result<Option<f64>> {
        let slides = Risks::of_slides(rows)?;
        match self.context.config.training.protocol {
            Protocol::Paper => slides.c_index(),
            Protocol::Sound => slides.of_patients().c_index(),
        }
    }

    fn eval_ctx(&self, slide_id: &str) -> ForwardCtx {
        let label = format!("eval/fold {}/epoch {}/{slide_id}", self.data.fold, self.state.epoch);
        ForwardCtx::eval_with_stream(self.context.config.training.seed, &label)
    }
}
