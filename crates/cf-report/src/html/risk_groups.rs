//! What the page says of the risk groups.

use crate::number::{MISSING, count, fixed_or_missing, significant};
use crate::risk_groups::{Level, RiskGroup, RiskGroups, TestResult};

/// Risk groups of one level.
pub(super) struct LevelView {
    pub(super) name: &'static str,
    /// Whether `summary.json` has the same test.
    pub(super) in_summary: bool,
    pub(super) rows: Vec<GroupView>,
    pub(super) threshold: String,
    pub(super) hazard_ratio: String,
    pub(super) hazard_ratio_interval: String,
    pub(super) chi_square: String,
    pub(super) p_value: String,
    pub(super) p_value_by_fold: String,
    /// Sentences for what is undefined.
    pub(super) undefined: Vec<String>,
}

/// One row of the table of risk groups.
pub(super) struct GroupView {
    pub(super) name: &'static str,
    pub(super) n: String,
    pub(super) n_events: String,
    pub(super) median: String,
}

impl LevelView {
    pub(super) fn new(groups: &RiskGroups) -> Self {
        let row = |name, group: &Option<RiskGroup>| GroupView {
            name,
            n: count(group.as_ref().map_or(0, |group| group.n)),
            n_events: count(group.as_ref().map_or(0, |group| group.n_events)),
            median: group.as_ref().map_or_else(|| MISSING.to_owned(), RiskGroup::median),
        };
        let p_value = |test: &Result<TestResult, String>| {
            test.as_ref().map_or_else(|_| MISSING.to_owned(), |test| test.p_value.clone())
        };
        let ratio = groups.hazard_ratio.as_ref().ok();
        let missing = || MISSING.to_owned();
        let undefined = [groups.test.as_ref().err(), groups.hazard_ratio.as_ref().err()];
        Self {
            name: groups.level.heading(),
            in_summary: groups.level == Level::Slide,
            rows: vec![row("high risk", &groups.high), row("low risk", &groups.low)],
            threshold: significant(groups.threshold),
            hazard_ratio: ratio.map_or_else(missing, |ratio| significant(ratio.hazard_ratio)),
            hazard_ratio_interval: ratio.map_or_else(missing, |ratio| {
                format!("{} to {}", significant(ratio.lower), significant(ratio.upper))
            }),
            chi_square: fixed_or_missing(groups.test.as_ref().ok().map(|test| test.chi_square), 2),
            p_value: p_value(&groups.test),
            p_value_by_fold: p_value(&groups.test_by_fold),
            undefined: undefined.into_iter().flatten().cloned().collect(),
        }
    }
}
