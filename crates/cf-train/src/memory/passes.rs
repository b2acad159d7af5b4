//! The memory of models that learn nothing any more.

use cf_model::kernels::Retention;

use super::{BagSize, MemoryBudget, StepMemory, costliest, stored_bytes};
use crate::error::{Error, Result};

impl MemoryBudget<'_> {
    /// The most that passes of `n_models` models together, which learn nothing, take on any of `bags`, with what it is of: weights
    /// without gradients and moments, two bags, projections, and what is in flight, which is no more than in a backward pass.
    ///
    /// # Errors
    /// [`Error::PassesDoNotFit`] if that is more than the budget.
    pub(crate) fn check_passes(
        &self,
        n_models: usize,
        bags: &[(String, BagSize)],
    ) -> Result<Option<(BagSize, u64)>> {
        let weights = stored_bytes((n_models * self.n_parameters) as f64, self.number_bytes);
        let width = self.model.as_crossfusion().map_or(0, |(_, settings)| settings.embed_dim);
        let needed = |bag: BagSize| {
            let step = self.predict(bag, Retention::Recompute);
            let projections = stored_bytes(bag.total() as f64 * width as f64, self.number_bytes);
            let activation_bytes = projections.min(step.activation_bytes);
            StepMemory { weights_bytes: weights, activation_bytes, ..step }.peak_bytes()
        };
        let Some((slide_id, bag, needed_bytes)) = costliest(bags, needed) else { return Ok(None) };
        match self.bytes.filter(|budget| needed_bytes > *budget) {
            None => Ok(Some((bag, needed_bytes))),
            Some(budget_bytes) => Err(Error::PassesDoNotFit {
                slide_id: slide_id.clone(),
                n_patches: bag.total(),
                n_models,
                needed_bytes,
                budget_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use cf_model::{ModelConfig, ModelName};

    use super::*;
    use crate::memory::NumberBytes;

    const MEAN: BagSize = BagSize { x5: 895, x10: 3_449, x20: 13_496 };

    #[test]
    fn passes_take_the_weights_of_every_model_and_two_bags() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let budget = |bytes| MemoryBudget {
            model: &model,
            n_parameters: 24_536_584,
            dim: 2048,
            number_bytes: NumberBytes::SINGLE,
            bytes: Some(bytes),
            read_ahead: None,
        };
        let small = BagSize { x5: 9, x10: 35, x20: 135 };
        let bags = [("small".to_owned(), small), ("mean".to_owned(), MEAN)];
        // A pass of one model, as measured by `cargo xtask bench model` on the mean bag (500 MiB, without a bag ahead), and four more
        // models' weights.
        let (_, one) = budget(u64::MAX).check_passes(1, &bags).unwrap().unwrap();
        let measured = (500 << 20) + 17_840 * 2048 * 4;
        assert!(one > measured && one < measured * 4 / 3, "{one} and {measured} measured");
        let (bag, five) = budget(u64::MAX).check_passes(5, &bags).unwrap().unwrap();
        assert_eq!((bag, five - one), (MEAN, 4 * 4 * 24_536_584));
        let error = budget(five - 1).check_passes(5, &bags).unwrap_err();
        assert_eq!(error.remedy(), crate::error::Remedy::LessMemory);
        assert!(
            error
                .to_string()
                .starts_with("slide mean has 17840 patches, a pass over which by 5 models takes")
        );
    }
}
