//! What the page says of each fold: balance, time bins, sites, scores, training.

use crate::analysis::Analysis;
use crate::c_index_intervals::CIndexIntervals;
use crate::fold_balance::FoldBalance;
use crate::number::{self, MISSING, count, counted, fixed, fixed_or_missing, significant};
use crate::report::{CrossValidationReport, EpochRow, FoldReport, SiteOverlap};
use crate::table::interval;
use crate::wording;

/// One fold of the tables of folds, and its training.
pub(super) struct FoldView {
    pub(super) fold: usize,
    pub(super) n_train_slides: String,
    pub(super) n_train_patients: String,
    pub(super) n_train_events: String,
    pub(super) n_validation_slides: String,
    pub(super) n_validation_patients: String,
    pub(super) n_validation_events: String,
    pub(super) n_validation_event_patients: String,
    pub(super) selected_epoch: usize,
    pub(super) last_epoch: String,
    pub(super) c_index: String,
    pub(super) c_index_interval: String,
    pub(super) patient_c_index: String,
    pub(super) patient_c_index_interval: String,
    pub(super) last_epoch_c_index: String,
    pub(super) patient_last_epoch_c_index: String,
    pub(super) bins: Vec<BinView>,
    pub(super) sites: Option<SiteView>,
    pub(super) history_summary: String,
    pub(super) history: Vec<EpochView>,
}

/// One time bin of a fold.
pub(super) struct BinView {
    pub(super) months: String,
    pub(super) n_events: String,
    pub(super) n_censored: String,
}

/// Sites of a fold.
pub(super) struct SiteView {
    pub(super) n_validation: String,
    pub(super) n_shared: String,
    pub(super) n_patients: String,
    pub(super) shared: String,
}

/// One epoch of the table of a fold's training.
pub(super) struct EpochView {
    pub(super) epoch: usize,
    pub(super) selected: bool,
    pub(super) learning_rate: String,
    pub(super) train_loss: String,
    pub(super) validation_loss: String,
    pub(super) c_index: String,
    pub(super) time: String,
}

pub(super) fn views(report: &CrossValidationReport, analysis: &Analysis) -> Vec<FoldView> {
    let view = |(i, fold): (usize, &FoldReport)| FoldView::new(i, fold, report, analysis);
    report.folds.iter().enumerate().map(view).collect()
}

impl FoldView {
    fn new(i: usize, fold: &FoldReport, report: &CrossValidationReport, analysis: &Analysis) -> Self {
        let balance = analysis.balance.get(i);
        let limits = |of: &CIndexIntervals| interval(of.folds.get(i).copied().flatten());
        let patient_last_epoch = report.patient_last_epoch_c_index.folds.get(i).copied().flatten();
        let seconds: f64 = fold.history.iter().map(|row| row.seconds).sum();
        let epochs = counted(fold.history.len(), "epoch", "epochs");
        Self {
            fold: fold.fold,
            n_train_slides: count(fold.n_train_slides),
            n_train_patients: count(fold.train_outcomes.len()),
            n_train_events: count(fold.n_train_events),
            n_validation_slides: count(fold.n_validation_slides),
            n_validation_patients: count(fold.n_validation_patients),
            n_validation_events: count(fold.n_validation_events),
            n_validation_event_patients: count(balance.map_or(0, |balance| balance.n_event_patients)),
            selected_epoch: fold.selected_epoch,
            last_epoch: wording::last_epoch(fold)
                .map_or_else(|| MISSING.to_owned(), |epoch| epoch.to_string()),
            c_index: fixed_or_missing(fold.c_index, 3),
            c_index_interval: limits(&analysis.slide_intervals),
            patient_c_index: fixed_or_missing(fold.patient_c_index, 3),
            patient_c_index_interval: limits(&analysis.patient_intervals),
            last_epoch_c_index: fixed_or_missing(fold.last_epoch_c_index, 3),
            patient_last_epoch_c_index: fixed_or_missing(patient_last_epoch, 3),
            bins: bins(&fold.time_bin_edges_months, balance),
            sites: fold.sites.as_ref().map(SiteView::new),
            history_summary: format!("{epochs} in {}", number::duration(seconds)),
            history: fold.history.iter().map(|row| EpochView::new(row, fold.selected_epoch)).collect(),
        }
    }
}

/// The bins with what they hold. The outer edges lie a hair beyond the data, which no reader needs to see.
fn bins(edges: &[f64], balance: Option<&FoldBalance>) -> Vec<BinView> {
    let counts = balance.map(|balance| balance.bins.as_slice()).unwrap_or_default();
    let bin = |(k, pair): (usize, &[f64])| {
        let [from, to] = pair else { return None };
        let held = counts.get(k).copied().unwrap_or_default();
        Some(BinView {
            months: format!("{} to {}", fixed(*from, 2), fixed(*to, 2)),
            n_events: count(held.n_events),
            n_censored: count(held.n_censored),
        })
    };
    edges.windows(2).enumerate().filter_map(bin).collect()
}

impl SiteView {
    fn new(sites: &SiteOverlap) -> Self {
        Self {
            n_validation: count(sites.n_validation),
            n_shared: count(sites.shared.len()),
            n_patients: count(sites.n_patients_of_shared),
            shared: sites.shared.join(" "),
        }
    }
}

impl EpochView {
    fn new(row: &EpochRow, selected_epoch: usize) -> Self {
        Self {
            epoch: row.epoch,
            selected: row.epoch == selected_epoch,
            learning_rate: row.learning_rate.map_or_else(|| MISSING.to_owned(), significant),
            train_loss: fixed(row.train_loss, 4),
            validation_loss: fixed(row.validation_loss, 4),
            c_index: fixed_or_missing(row.validation_c_index, 3),
            time: number::duration(row.seconds),
        }
    }
}
