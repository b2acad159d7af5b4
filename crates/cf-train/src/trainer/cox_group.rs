//! A step's share of the Cox loss.

use cf_model::{HeadOutput, kernels};

use super::Trainer;
use crate::device_memory::naming_the_bag;
use crate::error::{Error, Result};
use crate::fold_state::Draw;
use crate::loss;
use crate::memory::BagSize;
use crate::visit::Visit;

impl Trainer<'_> {
    /// The Cox loss couples the bags of a group. Their graphs would not fit in memory together, so risks come from a first
    /// pass without a graph, and a second pass with the same dropout carries each bag's share of the gradient.
    pub(super) fn train_cox_group(&mut self) -> Result<()> {
        let draws = std::mem::take(&mut self.state.draws);
        let data = self.data;
        let slide = |draw: &Draw| &data.train[draw.slide];
        let visits: Vec<Visit> = draws.iter().map(|&draw| self.visit(draw)).collect();
        let bags = self.context.bags;
        let mut outputs = Vec::with_capacity(draws.len());
        for (bag, &draw) in bags.load_visits(visits.clone()).zip(&draws) {
            let (slide_id, bag) = bag?;
            let risk_pass = || {
                let output = self.eval_model.forward(&bag, &mut self.train_ctx(&bag, draw))?;
                Ok(output.numbers()?)
            };
            outputs.push(naming_the_bag(bags.device(), &slide_id, BagSize::of(&bag), risk_pass)?);
        }
        let risk = outputs.iter().map(HeadOutput::risk).collect::<cf_model::Result<Vec<f64>>>()?;
        for (draw, risk) in draws.iter().zip(&risk) {
            self.check_finite("risk", *risk, self.state.epoch, slide(draw))?;
        }
        let time: Vec<f64> = draws.iter().map(|draw| slide(draw).slide.outcome.time()).collect();
        let status: Vec<_> = draws.iter().map(|draw| slide(draw).status()).collect();
        let (loss, by_risk) = loss::cox(&risk, &time, &status);
        if let Some(last) = draws.last() {
            self.record_loss(loss, slide(last))?;
        }
        // The loss is a mean over the group's events, a penalty that the model adds one over its slides.
        let n_slides = draws.len() as f64;
        // Of each slide both passes see the same patches.
        let shares = outputs.iter().zip(by_risk);
        for ((bag, &draw), (output, by_risk)) in bags.load_visits(visits).zip(&draws).zip(shares) {
            let (slide_id, bag) = bag?;
            let by_values: Vec<f64> =
                loss::risk_gradient_of(output)?.into_iter().map(|g| g * by_risk * n_slides).collect();
            let gradient_pass = || {
                let output = self.model.forward(&bag, &mut self.train_ctx(&bag, draw))?;
                let given = |_: &HeadOutput| Ok::<_, Error>((0.0, by_values.clone()));
                let (_, scalar) = output.training_loss_of(1.0 / n_slides, given)?;
                self.adam.accumulate(kernels::backward(&scalar)?)
            };
            naming_the_bag(bags.device(), &slide_id, BagSize::of(&bag), gradient_pass)?;
        }
        Ok(())
    }
}
