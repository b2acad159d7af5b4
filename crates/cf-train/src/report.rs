//! From a run directory to its report.

use std::path::{Path, PathBuf};

use cf_report::{CIndexSummary, CrossValidationReport, EpochRow, FoldReport, PredictionRow};

use crate::config::RunConfig;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::evaluate::{self, CIndex, FoldPredictions, Risks, Summary};
use crate::fold_state::HistoryRow;
use crate::plan::{FoldRecord, FoldsRecord};
use crate::protocol::{Protocol, UNSELECTABLE_EPOCHS};
use crate::run_dir::{self, fold_files};

/// Pixels of a PNG figure per unit of its SVG.
const PNG_SCALE: f32 = 2.0;

/// Writes `figures/*.svg`, `figures/*.png` and, last, `report.html`; returns the path of the report.
///
/// # Errors
/// If the run is not complete, or a file can't be written.
pub fn write(run: &Path) -> Result<PathBuf> {
    let report = collect(run)?;
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
        })
    });
    Ok(CrossValidationReport {
        title: format!("{} on {}", summary.model, summary.cohort),
        protocol_notes: notes(&config, &summary, &folds),
        model: summary.model,
        cohort: summary.cohort,
        backbone: summary.backbone,
        protocol: summary.protocol,
        flow: record.flow.into_iter().map(Into::into).collect(),
        folds,
        c_index: summary.c_index.into(),
        patient_c_index: summary.patient_c_index.into(),
        last_epoch_c_index: summary.last_epoch_c_index.into(),
        predictions: rows.collect::<Result<_>>()?,
        environment: environment.rows(),
        config_toml,
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
        n_train_slides,
        n_train_events,
        n_validation_slides,
        n_validation_patients,
        n_validation_events,
        time_bin_edges_months,
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
