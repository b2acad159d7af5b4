//! What a reader finds in the page and in the figures.

mod sample;

use cf_report::{
    CrossValidationReport, Dropped, Error, FlowStep, Heatmap, Level, RiskCut, Selection, TrainingCut,
    c_index_table, figures, over_time, render_html, risk_split, svg_to_png,
};
use survival_metrics::{Outcome, Status};

fn html(report: &CrossValidationReport) -> String {
    render_html(report).expect("a consistent report")
}

/// The text of the page: tags and style sheet removed, runs of white space made one.
fn text(html: &str) -> String {
    let body = html.split("<body>").nth(1).expect("a body");
    let mut text = String::new();
    for part in body.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, after)| after));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn figure(report: &CrossValidationReport, name: &str) -> String {
    let figures = figures(report).expect("a consistent report");
    figures.into_iter().find(|figure| figure.name == name).expect("the figure is drawn").svg
}

#[test]
fn page_refers_to_nothing_outside_itself() {
    let html = html(&sample::report(60, 5, 8));
    for outside in ["<script", "<link", "@import", "url(", "src=", "href=\"http"] {
        assert!(!html.contains(outside), "{outside}");
    }
    // The only addresses are the names of the SVG namespace.
    assert_eq!(html.matches("http").count(), html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    for broken in ["NaN", "inf<", "None", "Some("] {
        assert!(!html.contains(broken), "{broken}");
    }
}

#[test]
fn heatmaps_are_part_of_the_page_and_lead_to_their_folder() {
    let mut report = sample::report(60, 5, 8);
    assert!(!html(&report).contains("id=\"heatmaps\""));
    report.heatmaps.push(Heatmap {
        slide_id: "TCGA-1".to_owned(),
        reason: "predicted risk −0.410, rank 1 of 60 (1 is the highest)".to_owned(),
        picture_png: vec![0x89, b'P', b'N', b'G'],
        folder: "../heat maps/#1\"".to_owned(),
    });
    let html = html(&report);
    assert!(html.contains("src=\"data:image/png;base64,iVBORw==\""), "{html}");
    assert!(html.contains("href=\"../heat%20maps/%231%22\""), "{html}");
    assert!(html.contains("href=\"#heatmaps\"") && html.contains("alt=\"Slide TCGA-1 beside its heatmaps\""));
}

#[test]
fn scores_stand_side_by_side_with_the_optimism_between_them() {
    let mut report = sample::report(60, 3, 8);
    report.c_index = sample::summary([0.62, 0.64, 0.66].into_iter().map(Some));
    report.c_index.ci95 = Some((0.581, 0.698));
    report.last_epoch_c_index = sample::summary([0.60, 0.61, 0.62].into_iter().map(Some));
    let text = text(&html(&report));
    assert!(text.contains("0.640 ± 0.016"), "{text}");
    assert!(text.contains("95 % confidence interval 0.581 to 0.698 ."), "{text}");
    let row = "Slide level, selected epoch 0.640 0.016 0.581 to 0.698 0.640 (0.016)";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("The selected epochs score 0.030 higher than the last epochs;"), "{text}");
}

#[test]
fn no_optimism_is_claimed_where_the_last_epoch_was_selected() {
    let text = text(&html(&sample::report(60, 5, 1)));
    assert!(text.contains("The selected epoch is the last one in every fold"), "{text}");
    assert!(!text.contains("higher than the last epochs"), "{text}");
}

#[test]
fn every_dropped_id_is_listed_and_every_count_visible() {
    let mut report = sample::report(40, 5, 3);
    let ids: Vec<String> = (0..137).map(|i| format!("TCGA-XX-{i:04}-01Z")).collect();
    report.flow.push(FlowStep {
        label: "With an outcome".to_owned(),
        n_slides: 12_345,
        n_patients: 40,
        n_events: 9,
        dropped: vec![
            Dropped { reason: "no row in the clinical table".to_owned(), ids: ids.clone(), is_counted: true },
            Dropped {
                reason: "bag without a row".to_owned(),
                ids: vec!["x".to_owned(), "y".to_owned()],
                is_counted: false,
            },
        ],
    });
    let html = html(&report);
    for id in &ids {
        assert!(html.contains(&format!("<li>{id}</li>")), "{id}");
    }
    let text = text(&html);
    assert!(text.contains("With an outcome 12,345 40 9 −137 no row in the clinical table"), "{text}");
    assert!(text.contains(" 2 bags without a row x y"), "{text}");
}

#[test]
fn ids_and_texts_cannot_become_markup() {
    let mut report = sample::report(40, 5, 3);
    let hostile = "<script>alert(\"x\")</script>&amp;'";
    report.title = hostile.to_owned();
    report.config_toml = hostile.to_owned();
    report.protocol_notes = vec![hostile.to_owned()];
    report.environment = vec![(hostile.to_owned(), hostile.to_owned())];
    report.flow[0].dropped =
        vec![Dropped { reason: hostile.to_owned(), ids: vec![hostile.to_owned()], is_counted: true }];
    report.folds[0].c_index_note = Some(hostile.to_owned());
    let html = html(&report);
    assert!(!html.contains("<script"), "unescaped");
    // Title, heading, note of the fold, reason, id, protocol note, environment twice, configuration.
    assert_eq!(html.matches("&#60;script&#62;").count(), 9);
}

#[test]
fn slides_and_patients_have_their_own_curves_and_tests() {
    let report = sample::report(200, 5, 3);
    let (slides, patients) =
        (figure(&report, "kaplan-meier-slides"), figure(&report, "kaplan-meier-patients"));
    assert!(slides.contains("Slide level: 243 slides, cut at risk −"), "{slides}");
    assert!(patients.contains("Patient level: 200 patients, cut at risk −"), "{patients}");
    // 200 patients are cut into halves, all of which are at risk at the start.
    assert_eq!(patients.matches(">100</text>").count(), 2, "{patients}");
    let text = text(&html(&report));
    assert!(text.contains("25 of 200 patients have more than one slide, at most 4."), "{text}");
}

/// A report whose folds differ in the scale of their risks, with cuts that follow it.
fn learned(n_folds: usize) -> CrossValidationReport {
    let mut report = sample::report(200, n_folds, 3);
    for row in &mut report.predictions {
        row.risk += 100.0 * row.fold as f64;
    }
    let cut = |fold: usize| {
        let median = -2.4 + 100.0 * fold as f64;
        TrainingCut { fold, slides: median, patients: median + 0.1 }
    };
    report.risk_cut = RiskCut::Training((0..n_folds).map(cut).collect());
    report
}

#[test]
fn a_learned_cut_is_that_of_all_that_speaks_of_risk_groups() {
    let report = learned(5);
    let split = |cut: &RiskCut, level| risk_split(level, &report.predictions, cut).unwrap().unwrap();
    let patients = split(&report.risk_cut, Level::Patient);
    let (high, low) = (patients.n_high, patients.n_low);
    assert!(high + low == 200 && high != low, "the groups need not be halves: {high} and {low}");
    let svg = figure(&report, "kaplan-meier-patients");
    assert!(svg.contains("Patient level: 200 patients, cut at training medians"), "{svg}");
    assert!(svg.contains(&format!("High risk: {high} patients, ")), "{svg}");
    // All are at risk at the start, below the figure.
    assert!(svg.contains(&format!(">{high}</text>")) && svg.contains(&format!(">{low}</text>")), "{svg}");
    let page = html(&report);
    let text = text(&page);
    let p = |p: Option<f64>| {
        let text = format!("{:.2e}", p.unwrap());
        assert!(text.contains("e-"), "{text}");
        text
    };
    for sentence in [
        format!("At any time, the {high} patients whose predicted risk is at least the median of those trained on in their fold had the event"),
        format!("the {low} others (hazard ratio"),
        format!("Patient level: {high} patients at high and {low} at low risk."),
        "The cut of a fold is the median risk of its training part, slides or patients, as its own model predicts it".to_owned(),
        "Patient level, cut at the pooled median of the validation risks instead (".to_owned(),
    ] {
        assert!(text.contains(&sentence), "{sentence}: {text}");
    }
    assert!(!text.contains("Validation risks of all folds are pooled"), "{text}");
    // The test of the page, of its finding and of the figure is one, the pooled one beside it another.
    let of_learned = p(patients.p_value);
    assert!(
        text.contains(&format!("(log-rank p = {of_learned})")) && svg.contains(&of_learned),
        "{of_learned}: {text}"
    );
    let pooled = split(&RiskCut::PooledMedian, Level::Patient);
    let of_pooled = format!("log-rank p = {:.3}", pooled.p_value.unwrap());
    assert!(text.contains(&of_pooled), "{of_pooled}: {text}");
    assert!(page.contains("data-summary=\"log_rank_learned_cut.p_value\">"));
    assert_eq!(page.matches("data-summary=\"log_rank.p_value\">").count(), 1);
    assert!(text.contains(" 4 398 ") && text.contains("Cut of each fold"), "{text}");
}

#[test]
fn folds_on_one_side_of_their_cut_and_empty_groups_become_sentences() {
    let mut report = learned(3);
    let RiskCut::Training(cuts) = &mut report.risk_cut else { panic!("a learned cut") };
    cuts[1].patients = -1e6;
    let n = report.folds[1].n_validation_patients;
    let one_sided = text(&html(&report));
    let sentence = format!("Patient level: In fold 1 all {n} patients are at high risk.");
    assert!(one_sided.contains(&sentence) && !one_sided.contains("In fold 0 all"), "{one_sided}");

    let RiskCut::Training(cuts) = &mut report.risk_cut else { panic!("a learned cut") };
    cuts.iter_mut().for_each(|cut| cut.patients = 1e6);
    let empty = text(&html(&report));
    let sentence = "The risk of every patient is below the training median of the fold, so that the high-risk group is empty \
                    and no log-rank test is possible.";
    assert!(empty.contains(&format!("Patient level: {sentence}")), "{empty}");
    assert!(empty.contains(&format!("two risk groups that a test can compare. {sentence}")), "{empty}");
    assert!(empty.contains("Patient level: 0 patients at high and 200 at low risk."), "{empty}");
    // The pooled median has groups all the same.
    let sentence = "as in the paper: 100 patients at high and 100 at low risk, log-rank p = ";
    assert!(empty.contains(sentence), "{empty}");
    let svg = figure(&report, "kaplan-meier-patients");
    assert!(svg.contains("no log-rank test is possible") && !svg.contains("High risk: "), "{svg}");
}

#[test]
fn a_p_value_beyond_f64_is_printed_from_its_logarithm() {
    let mut report = sample::report(4000, 1, 1);
    for (i, row) in report.predictions.iter_mut().enumerate() {
        // No patient twice, and the half with the higher risk has its events first.
        row.patient_id = format!("p{i}");
        row.outcome = Outcome::new(1.0 + i as f64, Status::Event).expect("a valid time");
        row.risk = -(i as f64);
    }
    let svg = figure(&report, "kaplan-meier-patients");
    let p = svg.split("log-rank p = ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a p-value");
    let (mantissa, exponent) = p.split_once("e-").expect("scientific notation");
    assert!((1.0..10.0).contains(&mantissa.parse::<f64>().expect("a number")), "{p}");
    assert!(exponent.parse::<u32>().expect("a number") > 308, "{p}");
}

#[test]
fn equal_risks_become_a_sentence_and_one_curve() {
    let mut report = sample::report(40, 5, 3);
    report.predictions.iter_mut().for_each(|row| row.risk = -4.0);
    let text = text(&html(&report));
    let sentence = "Slide level: The risk of every slide is at least the median, −4.00, so that the low-risk group is \
                    empty and no log-rank test is possible.";
    assert!(text.contains(sentence), "{text}");
    let svg = figure(&report, "kaplan-meier-slides");
    assert!(svg.contains("no log-rank test is possible") && svg.contains("High risk: "), "{svg}");
    assert!(!svg.contains("Low risk: "), "{svg}");
}

#[test]
fn a_cohort_without_events_becomes_sentences() {
    let mut report = sample::report(40, 2, 3);
    for row in &mut report.predictions {
        row.outcome = Outcome::new(row.outcome.time(), Status::Censored).expect("the same time");
    }
    for fold in &mut report.folds {
        (fold.c_index, fold.patient_c_index, fold.last_epoch_c_index) = (None, None, None);
        fold.history.iter_mut().for_each(|row| row.validation_c_index = None);
    }
    report.folds[1].c_index_note = Some("no event in the fold".to_owned());
    for summary in [&mut report.c_index, &mut report.patient_c_index, &mut report.last_epoch_c_index] {
        *summary = sample::summary([None, None].into_iter());
    }
    let text = text(&html(&report));
    for sentence in [
        "No C-index: no fold has a pair of slides that can be compared.",
        "Fold 0: no C-index, because no two slides can be compared.",
        "Fold 1: no event in the fold.",
        "The log-rank test is undefined: at no event time are both groups at risk",
        "median not reached",
    ] {
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
    assert!(figures(&report).expect("drawn").iter().all(|figure| figure.name != "c-index-per-fold"));
}

#[test]
fn a_run_without_folds_is_a_page_whose_only_figure_is_the_cohort() {
    let report = sample::report(0, 0, 0);
    let text = text(&html(&report));
    for sentence in ["No fold was run.", "There are no validation predictions", "No epoch was recorded."] {
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
    let names: Vec<_> = figures(&report).expect("drawn").into_iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["cohort-flow"]);
}

#[test]
fn one_fold_has_no_spread() {
    let text = text(&html(&sample::report(40, 1, 2)));
    assert!(text.contains("one fold, so that the spread is unknown"), "{text}");
}

#[test]
fn long_and_many_histories_are_drawn_in_bounds() {
    let report = sample::report(240, 12, 100);
    let svg = figure(&report, "training-curves");
    assert!(svg.contains(">fold 11</text>"), "{svg}");
    assert!(svg.contains("for epochs 0 to 99"), "{svg}");
    let html = html(&report);
    assert_eq!(html.matches("<details class=\"history\">").count(), 12);
    assert_eq!(html.matches("(selected)</th>").count(), 12);
}

#[test]
fn a_diverged_loss_is_a_dash_in_the_table() {
    let mut report = sample::report(40, 2, 3);
    report.folds[0].history[2].train_loss = f64::NAN;
    report.folds[0].history[2].validation_loss = f64::INFINITY;
    let html = html(&report);
    assert!(html.contains("<td>–</td><td>–</td>") && !html.contains("NaN"), "{html}");
}

#[test]
fn contradictory_data_is_refused_by_name() {
    let mut report = sample::report(40, 2, 3);
    report.predictions[3].risk = f64::NAN;
    let slide_id = report.predictions[3].slide_id.clone();
    let error = render_html(&report).expect_err("a risk is NaN");
    assert_eq!(error.to_string(), format!("risk of slide {slide_id} is NaN, expected a finite number"));

    let mut report = sample::report(40, 2, 3);
    report.patient_c_index.folds.pop();
    let error = figures(&report).expect_err("a fold is missing");
    assert_eq!(error.to_string(), "`patient_c_index` has 1 folds, expected 2, one per fold report");

    let mut report = sample::report(40, 2, 3);
    report.predictions[1].outcome = Outcome::new(999.0, Status::Censored).expect("a valid time");
    assert!(matches!(render_html(&report), Err(Error::ConflictingOutcomes { .. })));
}

#[test]
fn pictures_have_the_colours_of_their_curves() {
    let report = sample::report(60, 5, 4);
    for figure in figures(&report).expect("drawn") {
        let png = svg_to_png(&figure.svg, 1.0).expect("a picture");
        let picture = resvg::tiny_skia::Pixmap::decode_png(&png).expect("a PNG");
        // Text, and of the palette blue, where there are marks, and vermillion, where there is a second series.
        let colours = [(0x1a, 0x1d, 0x21), (0x00, 0x72, 0xb2), (0xd5, 0x5e, 0x00)];
        let n_colours = match figure.name {
            "cohort-flow" => 1,
            "auc-over-time" | "fold-balance" | "d-calibration" => 2,
            name if name.starts_with("calibration-") => 2,
            _ => 3,
        };
        for (red, green, blue) in colours.into_iter().take(n_colours) {
            let same = |p: &&resvg::tiny_skia::PremultipliedColorU8| {
                (p.red(), p.green(), p.blue()) == (red, green, blue)
            };
            let n = picture.pixels().iter().filter(same).count();
            assert!(n > 20, "{}: {n} pixels of #{red:02x}{green:02x}{blue:02x}", figure.name);
        }
    }
}

#[test]
fn the_finding_says_what_was_found_and_how_certain_it_is() {
    let mut report = sample::report(200, 5, 3);
    report.patient_c_index = sample::summary([0.62, 0.64, 0.66, 0.68, 0.70].into_iter().map(Some));
    report.patient_c_index.ci95 = Some((0.59, 0.73));
    report.patient_last_epoch_c_index = sample::summary([Some(0.63); 5].into_iter());
    let found = text(&html(&report));
    for sentence in [
        "in 66 of 100 such pairs the model gave that patient the higher risk (patient-level C-index 0.660, mean of 5 folds)",
        "between 59 and 73 of 100 agree with what was seen (95 % interval); guessing is no likely explanation.",
        "Single folds range from 62 to 70 of 100.",
        "the last epoch, which nobody chose, orders 63 of 100 pairs rightly.",
        "validation sites send slides to training, too",
        "a difference larger than chance would usually make it (log-rank p = ",
        "The predicted probabilities come closer to what happened than one curve for everybody",
    ] {
        assert!(found.contains(sentence), "{sentence}: {found}");
    }
    report.patient_c_index.ci95 = Some((0.45, 0.73));
    report.selection = Selection::WithoutReportedFold;
    report.folds.iter_mut().for_each(|fold| fold.sites = None);
    let found = text(&html(&report));
    for sentence in [
        "the 95 % interval is 45 to 73 of 100 and includes 50: guessing remains a possible explanation.",
        "No epoch was chosen by its score on the patients that are scored here.",
        "The sites of the patients are unknown",
    ] {
        assert!(found.contains(sentence), "{sentence}: {found}");
    }
    assert!(!found.contains("which nobody chose"), "{found}");
}

#[test]
fn nothing_is_claimed_that_all_pairs_alike_contradict_or_no_interval_covers() {
    let mut report = sample::report(200, 5, 3);
    report.patient_c_index = sample::summary([0.62, 0.64, 0.66, 0.68, 0.70].into_iter().map(Some));
    report.patient_c_index.ci95 = Some((0.59, 0.73));
    // Half of the pairs in every fold are in order, whatever the mean says.
    let mut risks = (0..).map(|at| f64::from(at * 37 % 101));
    report.predictions.iter_mut().for_each(|row| row.risk = risks.next().unwrap_or(0.0));
    let found = text(&html(&report));
    let sentence = "the 95 % interval of the mean is 59 to 73 of 100; that of all pairs within folds, counted alike, is ";
    assert!(found.contains(sentence) && found.contains("and includes 50: guessing remains"), "{found}");
    assert!(!found.contains("no likely explanation"), "{found}");

    report.patient_c_index.ci95 = None;
    report.patient_c_index.no_ci95 = Some("every resample has the same value".to_owned());
    let found = text(&html(&report));
    for sentence in [
        "There is no interval for the C-index, as every resample has the same value, so its certainty is unknown.",
        "mean and standard deviation of 5 folds. There is no confidence interval: every resample has the same value.",
    ] {
        assert!(found.contains(sentence), "{sentence}: {found}");
    }
}

#[test]
fn groups_without_a_finite_hazard_ratio_are_compared_all_the_same() {
    let separated = |sign: f64| {
        let mut report = sample::report(40, 1, 2);
        for (i, row) in report.predictions.iter_mut().enumerate() {
            row.patient_id = format!("p{i}");
            row.outcome = Outcome::new(1.0 + i as f64, Status::Event).expect("a valid time");
            row.risk = sign * i as f64;
        }
        text(&html(&report))
    };
    let found = separated(-1.0);
    let sentence = "Compared with the 24 others, the 25 patients with the higher predicted risk had the event earlier or more \
                    often, a difference larger than chance would usually make it (log-rank p = ";
    assert!(found.contains(sentence), "{found}");
    assert!(
        found.contains(
            "). The hazard ratio has no finite estimate, as all events of the low-risk group come after the last time of the \
             high-risk group."
        ),
        "{found}"
    );
    assert!(!found.contains("could not be split"), "{found}");
    assert!(separated(1.0).contains("had the event later or less often, a difference larger"));
}

#[test]
fn a_run_of_some_folds_says_so_and_is_repeated_with_them() {
    let mut report = sample::report(60, 2, 3);
    let whole = text(&html(&report));
    assert!(whole.contains("with the event, in 2 folds") && !whole.contains("--folds"), "{whole}");
    report.n_planned_folds = 5;
    let part = text(&html(&report));
    assert!(part.contains("with the event, in 2 of 5 folds"), "{part}");
    assert!(part.contains("cf-train cv --config config.toml --out NEW_RUN --folds 0,1 "), "{part}");
}

#[test]
fn probabilities_that_do_not_come_true_are_told_apart_from_good_ones() {
    let mut report = sample::report(200, 5, 3);
    // The order of the risks stays, the probabilities become absurd.
    report.predictions.iter_mut().flat_map(|row| &mut row.survival).for_each(|s| *s = 0.95 + 0.05 * *s);
    let found = text(&html(&report));
    assert!(found.contains("so they are not to be relied on."), "{found}");
    assert!(found.contains("The predicted curves as a whole are not calibrated"), "{found}");
}

#[test]
fn every_fold_has_its_balance_bins_and_sites() {
    let report = sample::report(120, 3, 2);
    let html = html(&report);
    let text = text(&html);
    for fold in &report.folds {
        let rows = || report.predictions.iter().filter(|row| row.fold == fold.fold);
        // Patients are in the order of their ids, slides of one beside each other.
        let mut patients: Vec<_> = rows().collect();
        patients.dedup_by(|a, b| a.patient_id == b.patient_id);
        let events = patients.iter().filter(|row| row.outcome.is_event()).count();
        let balance = format!("{events} of {} with event", patients.len());
        assert!(html.contains(&balance), "{balance}");
        let in_second = |row: &&&cf_report::PredictionRow| (8.51..15.38).contains(&row.outcome.time());
        let second = patients.iter().filter(in_second).filter(|row| row.outcome.is_event()).count();
        let censored = patients.iter().filter(in_second).count() - second;
        let cell = format!("{second} + {censored} 8.51 to 15.38");
        assert!(text.contains(&cell), "fold {}: {cell}: {text}", fold.fold);
        let sites = fold.sites.as_ref().expect("the ids are barcodes");
        assert!(html.contains(&sites.shared.join(" ")), "{sites:?}");
    }
}

#[test]
fn numbers_of_the_summary_are_marked_with_their_place() {
    let report = sample::report(60, 3, 4);
    let html = html(&report);
    let shown = |path: &str| -> Vec<&str> {
        let mark = format!("data-summary=\"{path}\">");
        html.split(&mark).skip(1).filter_map(|rest| rest.split('<').next()).collect()
    };
    let mean = report.c_index.mean.map(|mean| format!("{mean:.3}")).expect("a mean");
    assert_eq!(shown("c_index.mean"), [mean.as_str(), mean.as_str()]);
    let fold = report.patient_c_index.folds[1].map(|c| format!("{c:.3}")).expect("a C-index");
    assert_eq!(shown("patient_c_index.folds.1"), [fold.as_str()]);
    assert_eq!(shown("n_patients"), ["60"]);
    assert_eq!(shown("log_rank.p_value").len(), 1);
}

#[test]
fn survival_of_another_number_of_bins_is_refused_by_name() {
    let mut report = sample::report(40, 2, 3);
    report.predictions[0].survival.pop();
    let slide_id = report.predictions[0].slide_id.clone();
    let error = render_html(&report).expect_err("three values for four bins");
    let expected =
        format!("slide {slide_id} has 3 survival probabilities, expected 4, one per time bin of fold 0");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn text_table_has_the_paper_format_and_every_fold() {
    let mut report = sample::report(40, 2, 3);
    report.c_index = sample::summary([Some(0.6004), Some(0.66)].into_iter());
    report.patient_c_index = sample::summary([Some(0.5), None].into_iter());
    report.last_epoch_c_index = sample::summary([None, None].into_iter());
    report.patient_last_epoch_c_index = sample::summary([None, None].into_iter());
    let table = c_index_table(&report);
    let expected = "\
C-index                            mean (sd)         95 % CI  fold 0  fold 1
Slide level, selected epoch    0.630 (0.030)  0.600 to 0.660   0.600   0.660
Patient level, selected epoch  0.500 (0.000)  0.500 to 0.500   0.500       –
Slide level, last epoch                    –               –       –       –
Patient level, last epoch                  –               –       –       –
";
    assert_eq!(table, expected);
}

#[test]
fn numbers_over_time_for_programs_are_those_of_the_page() {
    let report = sample::report(60, 5, 8);
    let (found, page) = (over_time(&report).expect("scored"), text(&html(&report)));
    assert_eq!(found.folds.len(), report.folds.len());
    let mean = found.mean.expect("scored");
    let accuracy =
        mean.accuracy.map_or_else(|| "\u{2013}".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let uno = mean.uno_c_index.expect("pairs");
    let rows = found
        .folds
        .iter()
        .map(|fold| (format!("{}", fold.fold), fold.whole))
        .chain([("Mean".to_owned(), mean)]);
    for (label, whole) in rows {
        let row = format!(
            "{label} {:.3} {:.3} {:.3} {:.3}",
            whole.uno_c_index.expect("pairs"),
            whole.mean_auc,
            whole.integrated_brier.expect("curves"),
            whole.integrated_kaplan_meier_brier.expect("curves")
        );
        assert!(page.contains(&row), "{row} is not in {page}");
    }
    assert!(page.contains(&accuracy.replace('-', "\u{2212}")), "{accuracy}");
    assert!(
        (uno - found.folds.iter().filter_map(|fold| fold.whole.uno_c_index).sum::<f64>() / 5.0).abs() < 1e-12
    );
    for fold in &found.folds {
        let n = found.months.len();
        let briers = [&fold.brier, &fold.kaplan_meier_brier].map(|brier| brier.as_ref().map(Vec::len));
        assert_eq!((fold.auc.len(), briers), (n, [Some(n); 2]));
    }
    let calibration = found.calibration.expect("curves");
    for horizon in &calibration.horizons {
        let predicted = format!("{:.0} months", horizon.months);
        assert!(page.contains(&predicted), "{predicted}");
        let (low, high) = horizon.ci95.expect("limits");
        assert!(low <= horizon.observed && horizon.observed <= high);
    }
    assert!((calibration.d_bins.iter().sum::<f64>() - calibration.n_patients as f64).abs() < 1e-9);
    // Models that predict no survival are scored by their risks alone.
    let sentence = "They say who is at higher risk.";
    let ranking = CrossValidationReport { no_survival: Some(sentence.to_owned()), ..report.clone() };
    let of_risk = over_time(&ranking).expect("scored");
    assert_eq!(
        (&of_risk.folds[0].auc, of_risk.mean.map(|mean| mean.mean_auc)),
        (&found.folds[0].auc, Some(mean.mean_auc))
    );
    assert!(of_risk.folds[0].brier.is_none() && of_risk.calibration.is_none());
    assert_eq!(html(&ranking).matches(sentence).count(), 2, "over time and calibration");
    assert!(figures(&ranking).expect("drawn").iter().all(|figure| !figure.name.starts_with("brier")));
    let mut nothing = report;
    nothing.predictions.clear();
    let found = over_time(&nothing).expect("consistent");
    assert!(found.mean.is_none() && found.calibration.is_none() && !found.left_out.is_empty(), "{found:?}");
}
