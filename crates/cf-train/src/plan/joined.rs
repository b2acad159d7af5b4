//! The record of a run whose folds were trained as runs of their own.

use std::collections::BTreeSet;

use super::{FoldsRecord, flow};
use crate::cohort::Slide;

impl FoldsRecord {
    /// Of runs of the same splits, each of other folds; `validated` are the slides that these validate. `None` without records.
    pub(crate) fn joined(records: Vec<Self>, validated: &[Slide]) -> Option<Self> {
        let last = records.last()?;
        let n_planned_folds = last.n_planned_folds;
        let mut flow = flow::at_validated(&last.flow).0.to_vec();
        let others = records.iter().map(|record| {
            let after = flow::at_validated(&record.flow).1;
            after
                .iter()
                .flat_map(|step| &step.dropped)
                .flat_map(|dropped| dropped.ids.iter().cloned())
                .collect()
        });
        let others: BTreeSet<String> = others.reduce(|a: BTreeSet<String>, b| &a & &b).unwrap_or_default();
        let mut folds: Vec<_> = records.into_iter().flat_map(|record| record.folds).collect();
        folds.sort_by_key(|fold| fold.fold);
        let counts = (folds.len(), n_planned_folds.unwrap_or(folds.len()));
        flow.extend(flow::of_some_folds(validated.iter(), others.into_iter().collect(), counts));
        Some(Self { flow, n_planned_folds, folds })
    }

    /// Whether two records count the same cohort, up to what the folds of the splits validate.
    pub(crate) fn is_of_the_same_cohort(&self, other: &Self) -> bool {
        self.n_planned_folds == other.n_planned_folds
            && flow::at_validated(&self.flow).0 == flow::at_validated(&other.flow).0
    }
}
