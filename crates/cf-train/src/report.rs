//! From a run directory to its report.

mod heatmaps;
mod protocol_notes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cf_report::{
    CIndexSummary, CrossValidationReport, EpochRow, Figure, FoldReport, InputHash, Selection, SiteOverlap,
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
use crate::protocol::Protocol;
use crate::run_dir::{self, fold_files};
use protocol_notes::{chosen_epoch, notes};

/// Pixels of a PNG figure per unit of its SVG.
const PNG_SCALE: f32 = 2.0;

/// Writes `figures/*.svg`, `figures/*.png` and, last, `report.html` into `out`, which is made if it is not there; returns the path of
/// the report.
///
/// - `run`: the run that it is of; it may be `out`, and is else only read.
/// - `heatmaps`: where `cf-heatmap render` wrote; of the slides with the highest and the lowest risk, those that are there are shown.
///
/// # Errors
/// If the run is not complete, `out` is another run, a file can't be written, or `heatmaps` holds neither slide, or maps of another model.
pub fn write(run: &Path, out: &Path, heatmaps: Option<&Path>) -> Result<PathBuf> {
    let mut report = collect(run)?;
    let is_own = || matches!((run.canonicalize(), out.canonicalize()), (Ok(run), Ok(out)) if run == out);
    if out.join(run_dir::CONFIG).is_file() && !is_own() {
        return Err(Error::data(out, "holds another run, with a report of its own; choose another --out"));
    }
    // Before anything is made: a report without what it was asked for is none.
    if let Some(folder) = heatmaps {
        let config = RunConfig::read(&run.join(run_dir::CONFIG), &[])?;
        report.heatmaps = heatmaps::of_extremes((run, out), folder, &report.predictions, &config.model)?;
    }
    run_dir::create_dir(out)?;
    write_figures(out, cf_report::figures(&report)?)?;
    run_dir::write_json(&out.join(run_dir::OVER_TIME), &cf_report::over_time(&report)?)?;
    let path = out.join(run_dir::REPORT);
    run_dir::write(&path, cf_report::render_html(&report)?.as_bytes())?;
    Ok(path)
}

/// Writes figures as `figures/*.svg` and `figures/*.png` into a directory.
///
/// # Errors
/// If one can't be drawn or written.
pub(crate) fn write_figures(dir: &Path, figures: impl IntoIterator<Item = Figure>) -> Result<()> {
    let folder = dir.join("figures");
    run_dir::create_dir(&folder)?;
    for figure in figures {
        run_dir::write(&folder.join(format!("{}.svg", figure.name)), figure.svg.as_bytes())?;
        let png = cf_report::svg_to_png(&figure.svg, PNG_SCALE)?;
        run_dir::write(&folder.join(format!("{}.png", figure.name)), &png)?;
    }
    Ok(())
}

/// Reads everything that a report says from the files of a run.
///
/// # Errors
/// If a file is missing or unreadable.
pub fn collect(run: &Path) -> Result<CrossValidationReport> {
    let config_path = run_dir::config_of(run)?;
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

    // A process that trained more folds, or lost some, and was interrupted has not said what came of it.
    if summary.c_index.folds.len() != predictions.len() {
        let reason = format!(
            "says {} folds, found the predictions of {}: go on with `cf-train cv --resume`, which writes it again",
            summary.c_index.folds.len(),
            predictions.len()
        );
        return Err(Error::data(&run.join(run_dir::SUMMARY), reason));
    }

    let (mut folds, mut unchosen) = (Vec::new(), Vec::new());
    for fold in &predictions {
        let history: Vec<HistoryRow> =
            run_dir::read_csv(&run_dir::fold_dir(run, fold.fold).join(fold_files::HISTORY))?;
        let chosen = chosen_epoch(&history, config.training.protocol);
        if chosen.is_none() {
            unchosen.push(fold.fold);
        }
        folds.push(fold_report(fold, history, chosen)?);
    }
    let drawn = record.folds.iter().filter_map(|fold| Some((fold.n_train_drawn?, fold.n_train_slides)));
    let drawn: Vec<(usize, usize)> = drawn.collect();
    let last = predictions.iter().map(|fold| Ok(Risks::of_slides(&fold.last)?.of_patients()));
    let patient_last_epoch_c_index =
        evaluate::c_index(&last.collect::<Result<Vec<_>>>()?, config.training.seed)?;
    let selection = if config.training.protocol == Protocol::Paper && unchosen.len() < folds.len() {
        Selection::OnReportedFold
    } else {
        Selection::WithoutReportedFold
    };
    Ok(CrossValidationReport {
        title: format!("{} on {}", summary.model_label(), summary.cohort),
        no_survival: config
            .no_survival()
            .map(|reason| format!("Nothing is known of survival over time from this run: {reason}.")),
        protocol_notes: notes(&config, &summary, &folds, (&unchosen, &drawn)),
        model: summary.model_label(),
        cohort: summary.cohort,
        backbone: summary.backbone,
        protocol: summary.protocol,
        flow: record.flow.into_iter().map(Into::into).collect(),
        n_planned_folds: record.n_planned_folds.unwrap_or(folds.len()),
        folds,
        c_index: summary.c_index.into(),
        patient_c_index: summary.patient_c_index.into(),
        last_epoch_c_index: summary.last_epoch_c_index.into(),
        patient_last_epoch_c_index: patient_last_epoch_c_index.into(),
        predictions: evaluate::prediction_rows(&predictions)?,
        risk_cut: evaluate::risk_cut(config.training.protocol, &predictions)?,
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

/// The report of one fold, whose epoch was `chosen` by its score; `None` where the last one was taken.
fn fold_report(
    predictions: &FoldPredictions,
    history: Vec<HistoryRow>,
    chosen: Option<usize>,
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
    } = predictions.record.clone();
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
        selected_epoch: chosen.or(history.last().map(|row| row.epoch)).unwrap_or(0),
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

impl From<InputRecord> for InputHash {
    fn from(record: InputRecord) -> Self {
        Self { what: record.what, sha256: record.sha256 }
    }
}

impl From<HistoryRow> for EpochRow {
    fn from(row: HistoryRow) -> Self {
        Self {
            epoch: row.epoch,
            learning_rate: row.learning_rate,
            train_loss: row.train_loss.unwrap_or(f64::NAN),
            validation_loss: row.validation_loss,
            validation_c_index: row.validation_c_index,
            seconds: row.seconds,
        }
    }
}

impl From<CIndex> for CIndexSummary {
    fn from(c_index: CIndex) -> Self {
        Self {
            mean: c_index.mean,
            sd: c_index.sd,
            folds: c_index.folds,
            ci95: c_index.ci95,
            no_ci95: c_index.no_ci95,
        }
    }
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
