//! Folds that share patients: what is said of them, and what is refused.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Plan, n_patients};
use crate::cohort::Slide;
use crate::error::Result;
use crate::folds::{self, JoinedFolds};
use crate::run_dir;

/// What is to be said of folds that share patients: that these are no independent tests, and by which they are the same.
pub(super) fn remarks(joined: &JoinedFolds, validated: &[Slide]) -> Vec<String> {
    let same = joined.same_validation.iter().map(|same| {
        format!(
            "{}: they are one test with two models, which a mean over folds would count twice",
            same.reason
        )
    });
    let twice = joined.patients_validated_twice.len();
    let twice = cf_report::validated_twice(twice, n_patients(validated.iter())).map(|fact| {
        format!(
            "{fact}: the folds are no independent tests, and what pools them counts each patient once; `cf-train splits make` makes \
             folds that validate everybody once"
        )
    });
    same.chain(twice).collect()
}

impl Plan {
    /// Refuses to train folds into a run beside others that validate the same: what is said of the run would be a mean over both.
    ///
    /// # Errors
    /// If two of the folds that were begun in `run` or are to be trained validate the same.
    pub(crate) fn check_same_in(&self, run: &Path) -> Result<()> {
        let others = self.others.iter().map(|data| data.fold);
        let begun = others.filter(|fold| run_dir::fold_dir(run, *fold).is_dir());
        let folds = self.folds.iter().map(|data| data.fold).chain(begun).collect();
        folds::same_among(&self.same_validation, &folds).map_or(Ok(()), Err)
    }

    /// Says how many patients several folds validate, and which folds validate the same, where there are any, but for what is `told` already.
    pub fn warn_of_patients_validated_twice(&self, told: &mut BTreeSet<String>) {
        self.remarks_on_shared.iter().for_each(|remark| super::warn_once(remark, told));
    }
}
