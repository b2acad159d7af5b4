//! The memory of passes that learn nothing: of trained models, and of evaluations in training.

use cf_model::ModelName;
use cf_model::kernels::Retention;
use serde::Serialize;

use super::{BagSize, MemoryBudget, StepMemory, costliest, sizes, stored_bytes};
use crate::error::{Error, Result};

/// What a run does with a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// A training step on the patches that a visit sees.
    Training,
    /// An evaluation of all patches.
    Evaluation,
}

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
        let needed = |bag| StepMemory { weights_bytes: weights, ..self.pass(bag) }.peak_bytes();
        let Some((slide_id, bag, needed_bytes)) = costliest(bags, needed) else { return Ok(None) };
        self.within(needed_bytes, |budget_bytes| Error::PassesDoNotFit {
            slide_id: slide_id.clone(),
            n_patches: bag.total(),
            n_models,
            needed_bytes,
            budget_bytes,
        })?;
        Ok(Some((bag, needed_bytes)))
    }

    /// The most that evaluations in training take on any of `bags`, of which any may be read ahead, with what it is of; `None` where steps
    /// see all patches, too, and take more.
    ///
    /// # Errors
    /// [`Error::EvaluationDoesNotFit`] if that is more than the budget.
    pub(crate) fn check_evaluation(&self, bags: &[(String, BagSize)]) -> Result<Option<(BagSize, u64)>> {
        let most = costliest(bags, self.evaluating(&sizes(bags))).filter(|(.., bytes)| *bytes > 0);
        let Some((slide_id, bag, needed_bytes)) = most else { return Ok(None) };
        self.within(needed_bytes, |budget_bytes| Error::EvaluationDoesNotFit {
            slide_id: slide_id.clone(),
            n_patches: bag.total(),
            needed_bytes,
            budget_bytes,
        })?;
        Ok(Some((bag, needed_bytes)))
    }

    /// The work on a bag that takes most, and its parts.
    pub(crate) fn most(&self, bag: BagSize) -> (Work, StepMemory) {
        let step = self.predict(bag, self.retention(bag));
        match self.evaluation(bag).filter(|parts| parts.peak_bytes() > step.peak_bytes()) {
            Some(evaluation) => (Work::Evaluation, evaluation),
            None => (Work::Training, step),
        }
    }

    /// The most that the work on any of `bags` takes.
    pub(crate) fn most_bytes(&self, bags: impl IntoIterator<Item = BagSize>) -> u64 {
        bags.into_iter().map(|bag| self.most(bag).1.peak_bytes()).max().unwrap_or(0)
    }

    /// The most that steps on `trained` and evaluations of `evaluated` take.
    pub(crate) fn fold_bytes(&self, trained: &[BagSize], evaluated: &[BagSize]) -> u64 {
        let evaluations = evaluated.iter().copied().map(self.evaluating(evaluated)).max();
        self.most_bytes(trained.iter().copied()).max(evaluations.unwrap_or(0))
    }

    /// The largest `training.max_patches`, of two digits and zeros, with which steps on `trained` and evaluations of `evaluated` fit; `None`
    /// where there is none.
    pub(crate) fn fitting_max_patches(&self, trained: &[BagSize], evaluated: &[BagSize]) -> Option<usize> {
        let budget_bytes = self.bytes?;
        let fits = |max_patches: usize| {
            let limited = Self { max_patches: Some(max_patches), ..*self };
            let step = |&bag: &BagSize| limited.predict(bag, Retention::Recompute).peak_bytes();
            trained.iter().all(|bag| step(bag) <= budget_bytes)
        };
        let limited = Self { max_patches: Some(1), ..*self };
        if limited.fold_bytes(&[], evaluated) > budget_bytes {
            return None;
        }
        let (mut fitting, mut too_many) = (0, trained.iter().map(|bag| bag.most()).max()?.saturating_add(1));
        while fitting + 1 < too_many {
            let middle = fitting + (too_many - fitting) / 2;
            if fits(middle) { fitting = middle } else { too_many = middle }
        }
        let unit = 10_usize.pow(fitting.checked_ilog10()?.saturating_sub(1));
        Some(fitting / unit * unit)
    }

    /// What an evaluation takes, where any of `bags` may be read ahead; nothing where steps see all patches, too.
    fn evaluating(&self, bags: &[BagSize]) -> impl Fn(BagSize) -> u64 {
        let budget = self.reading(bags.iter().copied());
        move |bag| budget.evaluation(bag).map_or(0, |parts| parts.peak_bytes())
    }

    /// What an evaluation of all patches of a bag takes beside what training keeps; `None` where steps see all, too.
    fn evaluation(&self, bag: BagSize) -> Option<StepMemory> {
        self.max_patches.map(|_| self.pass(bag))
    }

    /// A pass over all patches of a bag, beside parameters in training.
    fn pass(&self, bag: BagSize) -> StepMemory {
        let whole = Self { max_patches: None, ..*self };
        let step = whole.predict(bag, Retention::Recompute);
        let held = match self.model.as_crossfusion() {
            Some((_, settings)) => bag.total() as f64 * settings.embed_dim as f64,
            None => held_in_passes(self.model.name(), self.dim, bag),
        };
        let activation_bytes = stored_bytes(held, self.number_bytes).min(step.activation_bytes);
        StepMemory { activation_bytes, ..step }
    }
}

/// What passes of the other models hold at once beside what is in flight, in numbers: so many per patch at 20x, as was measured of
/// evaluations of 48,112 patches, and a fifth more.
fn held_in_passes(name: ModelName, dim: usize, bag: BagSize) -> f64 {
    let (n, dim) = (bag.x20 as f64, dim as f64);
    match name {
        ModelName::TransMil => 9_500.0 * n,
        ModelName::DeepGraphSurv => 2_300.0 * n,
        ModelName::PatchGcn => 3_400.0 * n,
        ModelName::Scmil => 3.5 * dim * n,
        // Of the many prototypes of a patch, a quarter of what steps keep.
        ModelName::ProtoSurv => 20_000.0 * n,
        ModelName::CsMil => 1.3 * dim * n,
        ModelName::ZoomMil => 400.0 * n + dim * (bag.x10 + bag.x20 + 20 * bag.x5) as f64,
        ModelName::Amil | ModelName::Dsmil | ModelName::MustMil => 0.0,
        // Counted by layer.
        ModelName::Crossfusion | ModelName::CrossfusionWoCp | ModelName::CrossfusionWoFc => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use cf_model::ModelConfig;

    use super::super::tests::{MEAN, published};
    use super::*;

    #[test]
    fn passes_take_the_weights_of_every_model_and_two_bags() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let budget = |bytes| published(&model, bytes);
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

    #[test]
    fn with_a_limit_steps_take_less_and_evaluations_of_all_patches_count() {
        let model = ModelConfig::default_of(ModelName::Crossfusion);
        let budget = |bytes, max_patches| MemoryBudget { max_patches, ..published(&model, bytes) };
        let bags = [("mean".to_owned(), MEAN)];
        let all = budget(u64::MAX, None);
        let some = budget(u64::MAX, Some(1_000));
        // The bag that is read ahead is whole; all else is that of a bag of these patches.
        let seen = BagSize { x5: 67, x10: 256, x20: 1_000 };
        let step = some.predict(MEAN, Retention::Keep);
        assert_eq!(step.read_ahead_bytes, 17_840 * 2048 * 4);
        assert_eq!(
            StepMemory { read_ahead_bytes: 1_323 * 2048 * 4, ..step },
            all.predict(seen, Retention::Keep)
        );
        assert_eq!(all.check_evaluation(&bags).unwrap(), None);
        // A slide that is only evaluated counts, and may be read ahead of another.
        let held_out = [("held out".to_owned(), seen), ("mean".to_owned(), MEAN)];
        let (of, bytes) = budget(u64::MAX, Some(20_000)).check_evaluation(&held_out).unwrap().unwrap();
        assert_eq!((of, bytes), (MEAN, budget(u64::MAX, Some(1)).fold_bytes(&[], &[MEAN])));
        let of_both = budget(u64::MAX, Some(1_000)).reading([seen]).fold_bytes(&[seen], &[seen, MEAN]);
        assert_eq!(of_both, bytes);
        let (_, evaluation) = some.check_evaluation(&bags).unwrap().unwrap();
        // One model's pass, beside gradients and two moments.
        assert_eq!(evaluation, all.check_passes(1, &bags).unwrap().unwrap().1 + 3 * 4 * 24_536_584);
        assert_eq!((some.most(MEAN).0, some.most_bytes([MEAN])), (Work::Evaluation, evaluation));
        assert_eq!(all.most(MEAN).0, Work::Training);
        let error = budget(evaluation - 1, Some(1_000)).check_evaluation(&bags).unwrap_err();
        assert_eq!(error.remedy(), crate::error::Remedy::LessMemory);

        // The limit that an error names fits, and not much more does; none where evaluation does not fit.
        let least = all.predict(MEAN, Retention::Recompute).peak_bytes();
        let between = evaluation + (least - evaluation) / 2;
        let error = budget(between, None).check(&bags, &bags).unwrap_err();
        let Error::DoesNotFit { fitting_max_patches: Some(limit), .. } = error else { panic!("{error}") };
        assert!(limit > 1_000 && limit < MEAN.x20, "{limit}");
        budget(between, Some(limit)).check(&bags, &bags).unwrap();
        budget(between, Some(limit)).check_evaluation(&bags).unwrap();
        assert!(budget(between, Some(limit + limit / 5)).check(&bags, &bags).is_err());
        let error = budget(evaluation - 1, None).check(&bags, &bags).unwrap_err();
        assert!(matches!(error, Error::DoesNotFit { fitting_max_patches: None, .. }), "{error}");
    }
}
