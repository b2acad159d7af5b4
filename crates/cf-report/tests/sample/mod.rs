//! A made-up run that looks like a real one: five folds, patients with several slides, censoring, dropped slides.

use std::collections::BTreeSet;

use cf_report::{
    CIndexSummary, CrossValidationReport, Dropped, EpochRow, FlowStep, FoldReport, InputHash, PredictionRow,
    RiskCut, Selection, SiteOverlap,
};
use survival_metrics::{Outcome, RiskTies, Status, concordance_index};

/// A multiplicative congruential generator (Park & Miller), enough for a picture and the same everywhere.
struct Draws(u64);

impl Draws {
    /// Uniform in (0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        self.0 as f64 / 2_147_483_647.0
    }

    /// About standard normal: the sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A report on `n_patients` patients in `n_folds` folds of `n_epochs` epochs.
pub(crate) fn report(n_patients: usize, n_folds: usize, n_epochs: usize) -> CrossValidationReport {
    let predictions = predictions(n_patients, n_folds);
    let folds: Vec<FoldReport> = (0..n_folds).map(|fold| fold_report(fold, n_epochs, &predictions)).collect();
    let n_slides = predictions.len();
    let n_events = predictions.iter().filter(|row| row.outcome.is_event()).count();
    let step = |label: &str, added: usize, dropped: Vec<Dropped>| FlowStep {
        label: label.to_owned(),
        n_slides: n_slides + added,
        n_patients: n_patients + added * 3 / 4,
        n_events: n_events + added / 3,
        dropped,
    };
    CrossValidationReport {
        title: "CrossFusion on BLCA".to_owned(),
        model: "crossfusion".to_owned(),
        cohort: "BLCA".to_owned(),
        backbone: "resnet50".to_owned(),
        protocol: "paper (modified: training.max_epochs)".to_owned(),
        protocol_notes: vec![
            "The epoch was selected by the slide-level C-index of the validation fold, after epoch 5, as in the released code; this is optimistic.".to_owned(),
            "Time bins were fitted on all slides, training and validation together.".to_owned(),
            "The confidence interval is a percentile bootstrap over patients, 2000 resamples, and does not cover the choice of the epoch.".to_owned(),
        ],
        flow: vec![
            step("Rows of the clinical table", 21, Vec::new()),
            step("With features at 5x, 10x and 20x", 6, vec![
                dropped("no 20x features", "TCGA-XF-A9SG-01Z-00-DX1", 11),
                dropped("file cannot be read: truncated", "TCGA-DK-A3IT-01Z-00-DX1", 4),
            ]),
            step("With event time and status", 2, vec![dropped("event time is missing", "TCGA-GV-A40G-01Z-00-DX1", 4)]),
            step("In a fold", 0, vec![dropped("in no split file", "TCGA-ZF-AA4W-01Z-00-DX1", 2)]),
        ],
        c_index: summary(folds.iter().map(|fold| fold.c_index)),
        patient_c_index: summary(folds.iter().map(|fold| fold.patient_c_index)),
        last_epoch_c_index: summary(folds.iter().map(|fold| fold.last_epoch_c_index)),
        patient_last_epoch_c_index: summary(folds.iter().map(|fold| fold.last_epoch_c_index)),
        n_planned_folds: folds.len(),
        folds,
        predictions,
        risk_cut: RiskCut::PooledMedian,
            selection: Selection::OnReportedFold,
        inputs: ["clinical table", "split files (5)"]
            .map(|what| InputHash { what: what.to_owned(), sha256: "0f".repeat(32) })
            .to_vec(),
        model_paper: "Soraki et al., arXiv 2503.02064".to_owned(),
        software_version: "0.1.0".to_owned(),
        environment: [
            ("cf-train", "0.1.0"),
            ("commit", "4f1c2d9"),
            ("rustc", "1.95.0"),
            ("candle-core", "0.11.1"),
            ("device", "cpu: AMD EPYC 9354, 16 threads"),
            ("seed", "7"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        config_toml: CONFIG.to_owned(),
        no_survival: None,
        heatmaps: Vec::new(),
        wall_seconds: 8_215.0,
        peak_rss_bytes: 1_964_947_865,
    }
}

const CONFIG: &str = r#"[cohort]
name = "BLCA"
clinical = "data/clinical/blca.csv"
splits = "data/splits/blca"

[features]
dir = "features/blca"
backbone = "resnet50"

[model]
name = "crossfusion"
embed_dim = 512
num_heads = 4
num_layers = 1
dropout = 0.1

[training]
protocol = "paper"
max_epochs = 40
learning_rate = 0.0001
weight_decay = 4e-6
accumulation = 32
seed = 7
"#;

fn dropped(reason: &str, stem: &str, n: usize) -> Dropped {
    Dropped {
        reason: reason.to_owned(),
        ids: (0..n).map(|i| format!("{stem}.{i:04}")).collect(),
        is_counted: true,
    }
}

/// Time bins of every fold, as the released code fits them.
const EDGES_MONTHS: [f64; 5] = [-1e-6, 8.51, 15.38, 28.94, 163.2];

/// Every eighth patient has two slides, every 24th four.
fn predictions(n_patients: usize, n_folds: usize) -> Vec<PredictionRow> {
    let mut draws = Draws(7);
    let mut rows = Vec::new();
    for patient_idx in 0..n_patients {
        let hazard = draws.normal();
        let event_time = -draws.uniform().ln() * 45.0 * (-hazard).exp();
        let end_of_study = 1.0 + 110.0 * draws.uniform().powi(2);
        let status = if event_time <= end_of_study { Status::Event } else { Status::Censored };
        let time = (event_time.min(end_of_study) * 100.0).round() / 100.0;
        let outcome = Outcome::new(time, status).expect("a finite positive time");
        let patient_id = format!("TCGA-{:02}-{:04}", patient_idx % 37, patient_idx);
        let n_slides = if patient_idx % 24 == 0 {
            4
        } else if patient_idx % 8 == 0 {
            2
        } else {
            1
        };
        for slide_idx in 0..n_slides {
            // What a model with some skill predicts: the hazard with an error.
            let rate = (0.6 * hazard + 0.7 * draws.normal()).exp() / 60.0;
            let survival: Vec<f64> = EDGES_MONTHS.iter().skip(1).map(|end| (-rate * end).exp()).collect();
            rows.push(PredictionRow {
                case_id: patient_id.clone(),
                slide_id: format!("{patient_id}-01Z-00-DX{}", slide_idx + 1),
                patient_id: patient_id.clone(),
                fold: patient_idx % n_folds,
                outcome,
                risk: -survival.iter().sum::<f64>(),
                survival,
            });
        }
    }
    rows
}

fn c_index(rows: &[&PredictionRow]) -> Option<f64> {
    let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
    let risks: Vec<f64> = rows.iter().map(|row| row.risk).collect();
    concordance_index(&outcomes, &risks, RiskTies::default()).ok().map(|c| c.c_index())
}

fn fold_report(fold: usize, n_epochs: usize, predictions: &[PredictionRow]) -> FoldReport {
    let rows: Vec<&PredictionRow> = predictions.iter().filter(|row| row.fold == fold).collect();
    let mut patients: Vec<&PredictionRow> = rows.clone();
    patients.dedup_by(|a, b| a.patient_id == b.patient_id);
    let n_events = |rows: &[&PredictionRow]| rows.iter().filter(|row| row.outcome.is_event()).count();
    let all_events = predictions.iter().filter(|row| row.outcome.is_event()).count();
    let score = c_index(&rows);
    let mut draws = Draws(100 + fold as u64);
    let selected_epoch = (n_epochs / 2 + fold).min(n_epochs.saturating_sub(1));
    let mut history: Vec<EpochRow> = (0..n_epochs)
        .map(|epoch| {
            let t = epoch as f64;
            EpochRow {
                epoch,
                learning_rate: Some(5e-5 * (1.0 + (std::f64::consts::PI * t / 10.0).cos())),
                train_loss: 0.55 + 0.95 * (-t / 14.0).exp() + 0.03 * draws.normal(),
                validation_loss: 1.25 + 0.3 * (-t / 5.0).exp() + 0.012 * t + 0.04 * draws.normal(),
                validation_c_index: score
                    .map(|c| c - 0.03 - 0.12 * (-t / 6.0).exp() + 0.012 * draws.normal()),
                seconds: 41.0 + draws.uniform(),
            }
        })
        .collect();
    if let Some(row) = history.get_mut(selected_epoch) {
        row.validation_c_index = score;
    }
    let mut train = predictions.iter().filter(|row| row.fold != fold).collect::<Vec<_>>();
    train.dedup_by(|a, b| a.patient_id == b.patient_id);
    FoldReport {
        fold,
        train_outcomes: train.iter().map(|row| row.outcome).collect(),
        n_train_slides: predictions.len() - rows.len(),
        n_train_events: all_events - n_events(&rows),
        n_validation_slides: rows.len(),
        n_validation_patients: patients.len(),
        n_validation_events: n_events(&rows),
        time_bin_edges_months: EDGES_MONTHS.to_vec(),
        sites: Some(sites(&rows, predictions)),
        selected_epoch,
        c_index: score,
        patient_c_index: c_index(&patients),
        last_epoch_c_index: history.last().and_then(|row| row.validation_c_index),
        c_index_note: None,
        history,
    }
}

/// Sites as the two digits of the ids.
fn sites(rows: &[&PredictionRow], predictions: &[PredictionRow]) -> SiteOverlap {
    let site = |row: &PredictionRow| row.patient_id.get(5..7).unwrap_or_default().to_owned();
    let of_fold: BTreeSet<String> = rows.iter().map(|row| site(row)).collect();
    let fold = rows.first().map_or(0, |row| row.fold);
    let trained: BTreeSet<String> = predictions.iter().filter(|row| row.fold != fold).map(site).collect();
    let shared: Vec<String> = of_fold.intersection(&trained).cloned().collect();
    let patients: BTreeSet<&str> =
        rows.iter().filter(|row| shared.contains(&site(row))).map(|row| row.patient_id.as_str()).collect();
    SiteOverlap { n_validation: of_fold.len(), n_patients_of_shared: patients.len(), shared }
}

/// The summary of these folds, with an interval of one deviation for show.
pub(crate) fn summary(folds: impl Iterator<Item = Option<f64>>) -> CIndexSummary {
    let folds: Vec<Option<f64>> = folds.collect();
    let defined: Vec<f64> = folds.iter().flatten().copied().collect();
    let cv = survival_metrics::CvSummary::new(&defined).ok();
    CIndexSummary {
        mean: cv.as_ref().map(|cv| cv.mean()),
        sd: cv.as_ref().map(|cv| cv.population_sd()),
        folds,
        ci95: cv.map(|cv| (cv.mean() - cv.population_sd(), cv.mean() + cv.population_sd())),
        no_ci95: None,
    }
}
