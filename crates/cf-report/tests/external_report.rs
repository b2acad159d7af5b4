//! What a reader finds in the page of an external test.

mod sample;

use cf_report::{
    CutSource, Error, ExternalCIndex, ExternalReport, PredictionRow, external_figures, render_external_html,
    render_html,
};

/// The patients of a made-up run, as if one averaged risk had been found for all.
fn report() -> ExternalReport {
    let run = sample::report(60, 5, 8);
    let c_index = |averaged: f64| ExternalCIndex {
        averaged: Some(averaged),
        ci95: Some((0.55, 0.73)),
        no_ci95: None,
        folds: vec![Some(0.601), None],
        mean: Some(0.601),
        sd: None,
    };
    let predictions: Vec<PredictionRow> =
        run.predictions.iter().map(|row| PredictionRow { survival: Vec::new(), ..row.clone() }).collect();
    ExternalReport {
        title: "CrossFusion of BLCA on Hospital B".to_owned(),
        model: run.model,
        cohort: "Hospital B".to_owned(),
        trained_on: run.cohort,
        backbone: run.backbone,
        protocol: run.protocol,
        folds: vec![0, 3],
        flow: run.flow,
        c_index: c_index(0.640),
        patient_c_index: c_index(0.652),
        cut: median(predictions.iter().map(|row| row.risk).collect()),
        patient_cut: 0.0,
        predictions,
        survival_months: Vec::new(),
        no_survival: Some(
            "Nothing is known of survival over time: the checkpoints do not say their time bins.".to_owned(),
        ),
        train_outcomes: Vec::new(),
        cut_from: CutSource::Training,
        n_patients_of_run: 0,
        remarks: vec!["the run has not finished 3 of its folds".to_owned()],
        environment: run.environment,
        inputs: run.inputs,
        run: "runs/blca".to_owned(),
        model_paper: run.model_paper,
        software_version: run.software_version,
        cohort_toml: "[cohort]\nname = \"Hospital B\"\n".to_owned(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

fn html(report: &ExternalReport) -> String {
    render_external_html(report).expect("a consistent report")
}

/// The number that stands in an element with this path in `summary.json`.
fn shown<'a>(html: &'a str, path: &str) -> &'a str {
    let after =
        html.split(&format!("data-summary=\"{path}\">")).nth(1).unwrap_or_else(|| panic!("no {path}"));
    after.split('<').next().expect("an element ends")
}

/// [`report`] with the curves that the run has.
fn with_curves() -> ExternalReport {
    let run = sample::report(60, 5, 8);
    let fold = &run.folds[0];
    ExternalReport {
        predictions: run.predictions.clone(),
        survival_months: fold.time_bin_edges_months[1..].to_vec(),
        no_survival: None,
        train_outcomes: fold.train_outcomes.clone(),
        ..report()
    }
}

#[test]
fn predicted_survival_is_held_against_what_happened_where_it_is_known() {
    let (with, without) = (html(&with_curves()), html(&report()));
    for page in [&with, &without] {
        assert!(page.contains("id=\"over-time\"") && page.contains("id=\"calibration\""));
    }
    assert_eq!(without.matches("the checkpoints do not say their time bins").count(), 2);
    assert!(!with.contains("the checkpoints do not say"));
    assert!(with.contains("estimated on the patients of this cohort"), "whose censoring is counted");
    assert!(with.contains("each predicted by the mean over the models."));
    assert!(!with.contains("Fold 0 is left out") && !with.contains("of every fold"));
    let names: Vec<&str> =
        external_figures(&with_curves()).expect("drawn").iter().map(|figure| figure.name).collect();
    for name in ["auc-over-time", "brier-over-time", "d-calibration"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn nothing_is_held_against_models_after_the_times_that_they_know() {
    // Of the same patients, followed without end and events: what is known of them while the models predict is the same.
    let end = *with_curves().survival_months.last().expect("months");
    let with_end = |end: f64| {
        let mut report = with_curves();
        report.survival_months.pop();
        report.survival_months.push(end);
        report
    };
    let middle = end / 2.0;
    let (known, mut longer) = (with_end(middle), with_end(middle));
    for row in longer.predictions.iter_mut().filter(|row| row.outcome.time() > middle) {
        row.outcome = survival_metrics::Outcome::event(row.outcome.time() * 30.0).expect("a valid time");
    }
    let n_longer = longer.predictions.iter().filter(|row| row.outcome.time() > middle).count();
    let of = |report: &ExternalReport, name: &str| {
        external_figures(report)
            .expect("drawn")
            .into_iter()
            .find(|figure| figure.name == name)
            .expect("drawn")
            .svg
    };
    for name in ["auc-over-time", "brier-over-time", "d-calibration"] {
        assert_eq!(of(&known, name), of(&longer, name), "{name}");
    }
    assert!(n_longer > 3, "this shows nothing");
    let page = html(&longer);
    assert!(
        page.contains("All models predict survival up to") && page.contains("followed for longer"),
        "{page}"
    );
    assert!(page.contains("a tenth of the patients is left or predictions end."), "{page}");
    let whole = html(&with_end(1e6));
    assert!(!whole.contains("followed for longer") && whole.contains("a tenth of the patients is left."));
    // Where nobody had the event by then, that is what is said.
    let mut late = with_end(middle);
    for row in &mut late.predictions {
        row.outcome = survival_metrics::Outcome::event(row.outcome.time() + middle).expect("a valid time");
    }
    let page = html(&late);
    for sentence in [
        "followed for longer",
        "undefined by the time that predictions end: it has 0 patients with the event",
        "before predictions end, nobody has the event",
    ] {
        assert!(page.contains(sentence), "{sentence}: {page}");
    }
}

#[test]
fn page_refers_to_nothing_outside_itself() {
    let html = html(&with_curves());
    for outside in ["<script", "<link", "@import", "url(", "src=", "href=\"http"] {
        assert!(!html.contains(outside), "{outside}");
    }
    for broken in ["NaN", "inf<", "None", "Some("] {
        assert!(!html.contains(broken), "{broken}");
    }
    for address in html.split("href=\"#").skip(1).filter_map(|after| after.split('"').next()) {
        assert!(html.contains(&format!("id=\"{address}\"")), "{address}");
    }
}

#[test]
fn numbers_of_the_summary_stand_in_their_places() {
    let html = html(&report());
    assert_eq!(shown(&html, "patient_c_index.averaged"), "0.652");
    assert_eq!(shown(&html, "c_index.mean"), "0.601");
    assert_eq!(shown(&html, "c_index.folds.1"), "\u{2013}");
    assert_eq!(shown(&html, "n_patients"), "60");
    assert!(html.contains("in 65 of 100 such pairs"), "{html}");
    assert!(html.contains("values between 55 and 73 of 100 agree"));
    assert!(html.contains(
        "<code>cf-train test --run runs/blca --config cohort.toml --out NEW_TEST --folds 0,3</code>"
    ));
    assert!(html.contains("the run has not finished 3 of its folds"));
    assert!(
        html.contains("Nothing was fitted or chosen on this cohort, the cut between the groups included.")
    );
}

#[test]
fn a_cut_at_the_median_gives_the_groups_of_cross_validation() {
    let page = html(&report());
    let run = render_html(&sample::report(60, 5, 8)).expect("a consistent report");
    for number in ["chi_square", "p_value"] {
        let (found, expected) = (
            shown(&page, &format!("risk_groups.log_rank.{number}")),
            shown(&run, &format!("log_rank.{number}")),
        );
        assert_eq!(found, expected);
    }
    assert!(!page.contains("p, by fold") && run.contains("p, by fold"));
    let curves = |figures: Vec<cf_report::Figure>| {
        figures.into_iter().find(|figure| figure.name == "kaplan-meier-slides").expect("drawn").svg
    };
    let figures = external_figures(&report()).expect("a consistent report");
    let of_run = cf_report::figures(&sample::report(60, 5, 8)).expect("a consistent report");
    assert_eq!(curves(figures), curves(of_run));
}

#[test]
fn patients_of_the_run_and_missing_groups_are_said() {
    let mut report = report();
    report.n_patients_of_run = 4;
    report.patient_cut = 1e6;
    let html = html(&report);
    assert!(html.contains("4 patients of those scored here took part in the training run, too"), "{html}");
    assert!(html.contains(" --allow-overlap</code>"));
    assert!(html.contains("is below the cut, "), "{html}");
    assert!(html.contains("could not be split into two risk groups"));
}

#[test]
fn contradictions_are_refused() {
    let mut other = report();
    other.folds.push(4);
    let error = render_external_html(&other).expect_err("two values for three folds");
    assert!(matches!(error, Error::FoldCount { field: "c_index", found: 2, expected: 3 }), "{error}");
    let mut other = report();
    other.predictions[3].risk = f64::NAN;
    assert!(matches!(external_figures(&other), Err(Error::NonFiniteRisk { .. })));
}
