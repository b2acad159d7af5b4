//! What the page says of the risk groups.

use survival_metrics::RiskGroup as Side;

use crate::analysis::Analysis;
use crate::number::{MISSING, count, fixed_or_missing, significant};
use crate::risk_cut::Cut;
use crate::risk_groups::{Level, RiskGroup, RiskGroups, TestResult};

/// Risk groups of both levels.
pub(super) struct GroupsView {
    /// Whether each fold is cut at the median of its training part.
    pub(super) is_learned: bool,
    /// Empty without predictions.
    pub(super) levels: Vec<LevelView>,
    /// Where the cut comes from and how many are on its sides.
    pub(super) caption: String,
    /// The cut of each fold, where each has its own.
    pub(super) folds: Vec<FoldCutView>,
    /// The same groups cut at the pooled median, where they are not.
    pub(super) pooled: Vec<PooledGroupsView>,
}

/// A page that shows `report/groups_table.html` and `report/groups_curves.html`.
pub(super) trait GroupsPage {
    fn levels(&self) -> &[LevelView];
    /// Whether risks are of the models of several folds, which the test may take as strata.
    fn has_folds(&self) -> bool;
    /// What the caption of the curves begins with.
    fn cut_caption(&self) -> &str;
}

/// Risk groups of one level.
pub(super) struct LevelView {
    pub(super) name: &'static str,
    /// Place of the same test in `summary.json`, where it has it.
    pub(super) key: Option<&'static str>,
    pub(super) rows: Vec<GroupView>,
    pub(super) threshold: String,
    pub(super) hazard_ratio: String,
    pub(super) hazard_ratio_interval: String,
    pub(super) chi_square: String,
    pub(super) p_value: String,
    pub(super) p_value_by_fold: String,
    /// Sentences for what is undefined, and for folds on one side of their cut.
    pub(super) remarks: Vec<String>,
}

/// The cut of a fold: slides, then patients.
pub(super) struct FoldCutView {
    pub(super) fold: usize,
    pub(super) levels: Vec<FoldSidesView>,
}

/// Threshold, high and low of a fold at one level.
pub(super) struct FoldSidesView {
    pub(super) threshold: String,
    pub(super) n_high: String,
    pub(super) n_low: String,
}

/// What the pooled median makes of one level: a sentence around its p-value.
pub(super) struct PooledGroupsView {
    pub(super) before: String,
    /// Where there is a test.
    pub(super) p_value: Option<String>,
    pub(super) in_summary: bool,
    pub(super) after: String,
}

impl GroupsView {
    pub(super) fn new(analysis: &Analysis) -> Self {
        let groups = &analysis.groups;
        Self {
            is_learned: groups.iter().any(|groups| matches!(groups.cut, Cut::Training(_))),
            levels: groups.iter().map(|groups| LevelView::new(groups, summary_key(groups))).collect(),
            caption: caption(groups),
            folds: fold_cuts(groups),
            pooled: analysis.pooled_groups.iter().map(PooledGroupsView::new).collect(),
        }
    }
}

/// Where `summary.json` has the test of these groups.
fn summary_key(groups: &RiskGroups) -> Option<&'static str> {
    match (groups.level, &groups.cut) {
        (Level::Slide, Cut::Pooled(_)) => Some("log_rank"),
        (Level::Slide, Cut::Training(_)) => Some("log_rank_learned_cut"),
        (Level::Patient, Cut::Training(_)) => Some("patient_log_rank_learned_cut"),
        (_, Cut::Given(_)) | (Level::Patient, Cut::Pooled(_)) => None,
    }
}

/// Where the cut comes from and how many are on its sides.
fn caption(groups: &[RiskGroups]) -> String {
    let Some(first) = groups.first() else { return String::new() };
    let source = match first.cut {
        Cut::Pooled(_) => "The cut is the median of the validation risks of all folds.",
        Cut::Given(_) => "The cut is stated above.",
        Cut::Training(_) => {
            "The cut of a fold is the median risk of its training part, slides or patients, as its own model predicts it at \
             the selected epoch."
        }
    };
    let sides = |groups: &RiskGroups| {
        let (high, low) = (groups.n_of(Side::High), groups.n_of(Side::Low));
        format!(
            " {}: {} at high and {} at low risk.",
            groups.level.heading(),
            groups.level.counted(high),
            count(low)
        )
    };
    std::iter::once(source.to_owned()).chain(groups.iter().map(sides)).collect()
}

/// The cut of each fold that has one of its own.
fn fold_cuts(groups: &[RiskGroups]) -> Vec<FoldCutView> {
    let mut views: Vec<FoldCutView> = Vec::new();
    for groups in groups {
        let Cut::Training(folds) = &groups.cut else { continue };
        for fold in folds {
            let sides = FoldSidesView {
                threshold: significant(fold.threshold),
                n_high: count(fold.n_high),
                n_low: count(fold.n_low),
            };
            match views.iter_mut().find(|view| view.fold == fold.fold) {
                Some(view) => view.levels.push(sides),
                None => views.push(FoldCutView { fold: fold.fold, levels: vec![sides] }),
            }
        }
    }
    views
}

impl PooledGroupsView {
    fn new(groups: &RiskGroups) -> Self {
        let (high, low) = (groups.n_of(Side::High), groups.n_of(Side::Low));
        let before = format!(
            "{}, cut at the pooled median of the validation risks instead ({}), as in the paper: {} at high and {} at low risk",
            groups.level.heading(),
            groups.cut.thresholds(),
            groups.level.counted(high),
            count(low)
        );
        let ratio = groups.short_hazard_ratio().map(|ratio| format!(", {ratio}")).unwrap_or_default();
        let (before, p_value) = match &groups.test {
            Ok(test) => (format!("{before}, log-rank p = "), Some(test.p_value.clone())),
            Err(_) => (format!("{before}, no log-rank test is possible"), None),
        };
        let in_summary = groups.level == Level::Slide;
        Self { before, p_value, in_summary, after: format!("{ratio}.") }
    }
}

/// One row of the table of risk groups.
pub(super) struct GroupView {
    pub(super) name: &'static str,
    pub(super) n: String,
    pub(super) n_events: String,
    pub(super) median: String,
}

impl LevelView {
    pub(super) fn new(groups: &RiskGroups, key: Option<&'static str>) -> Self {
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
        // Where all are on one side, so is every fold.
        let one_sided =
            if groups.test.is_ok() { groups.cut.one_sided_folds(groups.level) } else { Vec::new() };
        Self {
            name: groups.level.heading(),
            key,
            rows: vec![row("high risk", &groups.high), row("low risk", &groups.low)],
            threshold: groups.cut.thresholds(),
            hazard_ratio: ratio.map_or_else(missing, |ratio| significant(ratio.hazard_ratio)),
            hazard_ratio_interval: ratio.map_or_else(missing, |ratio| {
                format!("{} to {}", significant(ratio.lower), significant(ratio.upper))
            }),
            chi_square: fixed_or_missing(groups.test.as_ref().ok().map(|test| test.chi_square), 2),
            p_value: p_value(&groups.test),
            p_value_by_fold: p_value(&groups.test_by_fold),
            remarks: undefined.into_iter().flatten().cloned().chain(one_sided).collect(),
        }
    }
}
