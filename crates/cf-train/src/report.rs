//! From a run directory to its report.

mod heatmaps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cf_report::{
    CIndexSummary, CrossValidationReport, EpochRow, FoldReport, InputHash, PredictionRow, Selection,
    SiteOverlap,
};
use survival_metrics::Outcome;

use crate::cohort::site_of;
use crate::config::RunConfig;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::evaluate::{self, CIndex, FoldPredictions, Prediction, Risks, Summary};
use crate::fold_state::HistoryRow;
use crate::input_hash::InputRecord;
use crate::plan::{FoldRecord, FoldsRecord};
use crate::protocol::{Protocol, UNSELECTABLE_EPOCHS};
use crate::run_dir::{self, fold_files};

/// Pixels of a PNG figure per unit of its SVG.
const PNG_SCALE: f32 = 2.0;

/// Writes `figures/*.svg`, `figures/*.png` and, last, `report.html`; returns the path of the report.
///
/// - `heatmaps`: where `cf-heatmap render` wrote; of the slides with the highest and the lowest risk, those that are there are shown.
///
/// # Errors
/// If the run is not complete, a file can't be written, or `heatmaps` holds neither slide.
pub fn write(run: &Path, heatmaps: Option<&Path>) -> Result<PathBuf> {
    let mut report = collect(run)?;
    if let Some(folder) = heatmaps {
        report.heatmaps = heatmaps::of_extremes(run, folder, &report.predictions)?;
    }
    let figures = run.join("figures");
    run_dir::create_dir(&figures)?;
    for figure in cf_report::figures(&report)? {
        run_dir::write(&figures.join(format!("{}.svg", figure.name)), figure.svg.as_bytes())?;
        let png = cf_report::svg_to_png(&figure.svg, PNG_SCALE)?;
        run_dir::write(&figures.join(format!("{}.png", figure.name)), &png)?;
    }
    let path = run.join(run_dir::REPORT);
    run_dir::write(&path, cf_report::render_html(&report)?.as_bytes())?;
    Ok(path)
}

/// Reads everything that a report says from the files of a run.
///
/// # Errors
/// If a file is missing or unreadable.
pub fn collect(run: &Path) -> Result<CrossValidationReport> {
    let config_path = run.join(run_dir::CONFIG);
    if !config_path.is_file() {
        return Err(Error::data(run, "found no config.toml, expected a run of `cf-train cv`"));
    }
    let config = RunConfig::read(&config_path, &[])?;
    let config_toml = std::fs::read_to_string(&config_path).map_err(Error::io("read", &config_path))?;
    if !run.join(run_dir::SUMMARY).is_file() {
        let reason = "found no summary.json, which a run has when all of its folds are finished: go on with `cf-train cv --resume`";
        return Err(Error::data(run, reason));
    }
    let summary: Summary = run_dir::read_json(&run.join(run_dir::SUMMARY))?;
    let record: FoldsRecord = run_dir::read_json(&run.join(run_dir::FOLDS))?;
    let environment: Environment = run_dir::read_json(&run.join(run_dir::ENVIRONMENT))?;
    let predictions = evaluate::read_predictions(run)?;

    let folds: Vec<FoldReport> =
        predictions.iter().map(|fold| fold_report(run, &record, fold, &config)).collect::<Result<_>>()?;
    let rows = predictions.iter().flat_map(|fold| &fold.selected).map(|row| {
        Ok(PredictionRow {
            case_id: row.case_id.clone(),
            slide_id: row.slide_id.clone(),
            patient_id: row.patient_id().to_owned(),
            fold: row.fold,
            outcome: row.outcome()?,
            risk: row.risk,
            survival: vec![row.s1, row.s2, row.s3, row.s4],
        })
    });
    let last = predictions.iter().map(|fold| Ok(Risks::of_slides(&fold.last)?.of_patients()));
    let patient_last_epoch_c_index =
        evaluate::c_index(&last.collect::<Result<Vec<_>>>()?, config.training.seed)?;
    let selection = selection(&config, &folds);
    Ok(CrossValidationReport {
        title: format!("{} on {}", summary.model_label(), summary.cohort),
        protocol_notes: notes(&config, &summary, &folds),
        model: summary.model_label(),
        cohort: summary.cohort,
        backbone: summary.backbone,
        protocol: summary.protocol,
        flow: record.flow.into_iter().map(Into::into).collect(),
        folds,
        c_index: summary.c_index.into(),
        patient_c_index: summary.patient_c_index.into(),
        last_epoch_c_index: summary.last_epoch_c_index.into(),
        patient_last_epoch_c_index: patient_last_epoch_c_index.into(),
        predictions: rows.collect::<Result<_>>()?,
        selection,
        environment: environment.rows(),
        inputs: environment.inputs.into_iter().map(InputHash::from).collect(),
        model_paper: config.model.name().paper().to_owned(),
        software_version: environment.cf_train,
        config_toml,
        heatmaps: Vec::new(),
        wall_seconds: summary.wall_seconds,
        peak_rss_bytes: summary.peak_rss_bytes,
    })
}

fn fold_report(
    run: &Path,
    record: &FoldsRecord,
    predictions: &FoldPredictions,
    config: &RunConfig,
) -> Result<FoldReport> {
    let fold = predictions.fold;
    let FoldRecord {
        n_train_slides,
        n_train_events,
        n_validation_slides,
        n_validation_patients,
        n_validation_events,
        time_bin_edges_months,
        ..
    } = record.folds.iter().find(|record| record.fold == fold).cloned().ok_or_else(|| {
        Error::data(
            &run.join(run_dir::FOLDS),
            format!("says nothing of fold {fold}, whose predictions are there"),
        )
    })?;
    let dir = run_dir::fold_dir(run, fold);
    let history: Vec<HistoryRow> = run_dir::read_csv(&dir.join(fold_files::HISTORY))?;
    let slides = Risks::of_slides(&predictions.selected)?;
    let c_index = slides.c_index()?;
    Ok(FoldReport {
        fold,
        train_outcomes: patient_outcomes(&predictions.train)?,
        n_train_slides,
        n_train_events,
        n_validation_slides,
        n_validation_patients,
        n_validation_events,
        time_bin_edges_months,
        sites: sites(&predictions.selected, &predictions.train),
        selected_epoch: selected_epoch(&history, config.training.protocol),
        c_index,
        patient_c_index: slides.of_patients().c_index()?,
        last_epoch_c_index: Risks::of_slides(&predictions.last)?.c_index()?,
        c_index_note: c_index.is_none().then(|| {
            if n_validation_events == 0 {
                "no validation slide has an event".to_owned()
            } else {
                "no pair of validation slides can be compared".to_owned()
            }
        }),
        history: history.into_iter().map(EpochRow::from).collect(),
    })
}

/// The outcome of every patient of some rows, in the order of patients.
fn patient_outcomes(rows: &[Prediction]) -> Result<Vec<Outcome>> {
    let patients: BTreeMap<&str, &Prediction> = rows.iter().map(|row| (row.patient_id(), row)).collect();
    patients.into_values().map(Prediction::outcome).collect()
}

/// Sites on both sides of a fold; nothing unless every validation patient is a TCGA barcode.
fn sites(validation: &[Prediction], train: &[Prediction]) -> Option<SiteOverlap> {
    let patients: BTreeSet<&str> = validation.iter().map(Prediction::patient_id).collect();
    let site_of_patient: Vec<&str> = patients.into_iter().map(site_of).collect::<Option<_>>()?;
    let trained: BTreeSet<&str> = train.iter().filter_map(|row| site_of(row.patient_id())).collect();
    let sites: BTreeSet<&str> = site_of_patient.iter().copied().collect();
    Some(SiteOverlap {
        n_validation: sites.len(),
        shared: sites.intersection(&trained).map(|&site| site.to_owned()).collect(),
        n_patients_of_shared: site_of_patient.iter().filter(|site| trained.contains(*site)).count(),
    })
}

/// Whether some fold's epoch was chosen by its score on that fold.
fn selection(config: &RunConfig, folds: &[FoldReport]) -> Selection {
    let could_choose = folds.iter().any(|fold| fold.history.len() > UNSELECTABLE_EPOCHS);
    if config.training.protocol == Protocol::Paper && could_choose {
        Selection::OnReportedFold
    } else {
        Selection::WithoutReportedFold
    }
}

impl From<InputRecord> for InputHash {
    fn from(record: InputRecord) -> Self {
        Self { what: record.what, sha256: record.sha256 }
    }
}

/// The epoch that the protocol selects from its history: what the trainer selected, told again from `history.csv`.
fn selected_epoch(history: &[HistoryRow], protocol: Protocol) -> usize {
    let score = |row: &HistoryRow| match protocol {
        Protocol::Paper => row.validation_c_index.filter(|_| row.epoch > UNSELECTABLE_EPOCHS),
        Protocol::Sound => row.inner_c_index,
    };
    let mut best: Option<(usize, f64)> = None;
    for row in history {
        if let Some(c_index) = score(row)
            && best.is_none_or(|(_, best)| c_index > best)
        {
            best = Some((row.epoch, c_index));
        }
    }
    best.map_or_else(|| history.last().map_or(0, |row| row.epoch), |(epoch, _)| epoch)
}

impl From<HistoryRow> for EpochRow {
    fn from(row: HistoryRow) -> Self {
        Self {
            epoch: row.epoch,
            learning_rate: row.learning_rate,
            train_loss: row.train_loss,
            validation_loss: row.validation_loss,
            validation_c_index: row.validation_c_index,
            seconds: row.seconds,
        }
    }
}

impl From<CIndex> for CIndexSummary {
    fn from(c_index: CIndex) -> Self {
        Self { mean: c_index.mean, sd: c_index.sd, folds: c_index.folds, ci95: c_index.ci95 }
    }
}

fn notes(config: &RunConfig, summary: &Summary, folds: &[FoldReport]) -> Vec<String> {
    let training = &config.training;
    let mut notes = Vec::new();
    let unselectable = folds.iter().all(|fold| fold.history.len() <= UNSELECTABLE_EPOCHS);
    match training.protocol {
        Protocol::Paper => {
            notes.push(if unselectable {
                format!(
                    "The run ended before epoch {}, the first that this protocol may select, so the last epoch is selected.",
                    UNSELECTABLE_EPOCHS + 1
                )
            } else {
                format!(
                    "The epoch with the best C-index on the validation fold itself is selected, from epoch {} on; that \
                     C-index is optimistic. The last epoch stands beside it.",
                    UNSELECTABLE_EPOCHS + 1
                )
            });
            notes.push(
                "Time bins are quartiles of the uncensored slides of the whole table, validation slides included."
                    .to_owned(),
            );
            notes.push(
                "Epochs are scored per slide; a patient with several slides counts several times.".to_owned(),
            );
        }
        Protocol::Sound => {
            notes.push(if training.inner_validation > 0.0 {
                format!(
                    "The epoch is selected on {:.0} % of the training patients, held out of training.",
                    100.0 * training.inner_validation
                )
            } else {
                "The last epoch is selected: nothing is selected on the validation fold.".to_owned()
            });
            notes.push("Time bins are quartiles of the uncensored slides that were trained on.".to_owned());
            notes.push("Epochs are scored per patient, by the mean risk of the patient's slides.".to_owned());
        }
    }
    let substitutes = summary.substitutes.iter();
    notes.extend(substitutes.map(|row| format!("In place of what bags lack: {}.", row.text())));
    if let Some(test) = &summary.log_rank_learned_cut {
        notes.push(match test.p_value {
            Some(p) => format!(
                "Split at the median risk of each fold's own training slides, so that no cut is fitted on the slides \
                 tested, the log-rank p is {p:.2e}."
            ),
            None => "Split at the median risk of each fold's own training slides, one group is empty or no test is defined."
                .to_owned(),
        });
    }
    notes.push(
        "95 % intervals of a mean C-index: percentile bootstrap, patients resampled within each fold."
            .to_owned(),
    );
    if config.model.random_at_eval() {
        notes.push(
            "Attention dropout is active in evaluation, as in the released code: the scores are random, drawn from a \
             seeded stream."
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::StatusName;

    fn row(case_id: &str, slide_id: &str) -> Prediction {
        Prediction {
            case_id: case_id.to_owned(),
            slide_id: slide_id.to_owned(),
            fold: 0,
            event_time_months: 3.0,
            status: StatusName::Event,
            risk: 0.0,
            s1: 1.0,
            s2: 1.0,
            s3: 1.0,
            s4: 1.0,
        }
    }

    #[test]
    fn sites_are_counted_by_patients_and_unknown_without_barcodes() {
        let validation = [
            row("TCGA-2F-A9KO", "a"),
            row("TCGA-2F-A9KO", "b"),
            row("TCGA-BL-A0C8", "c"),
            row("TCGA-XF-A8HB", "d"),
        ];
        let train = [row("TCGA-2F-A9KP", "e"), row("TCGA-XF-A8HC", "f"), row("TCGA-ZZ-0001", "g")];
        let expected = SiteOverlap {
            n_validation: 3,
            shared: vec!["2F".to_owned(), "XF".to_owned()],
            n_patients_of_shared: 2,
        };
        assert_eq!(sites(&validation, &train), Some(expected));
        assert_eq!(sites(&[row("sim-1", "h")], &train), None);
    }

    #[test]
    fn a_patient_with_two_slides_is_one_outcome() {
        let rows = [row("p", "a"), row("p", "b"), row("q", "c")];
        assert_eq!(patient_outcomes(&rows).map(|outcomes| outcomes.len()).ok(), Some(2));
    }
}
