//! The report of a study: what it says, and that it refers to nothing outside itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cf_report::{
    CohortEstimates, EpochChoice, MethodEstimate, MissingTask, PairedNumbers, PublishedValue, RunProvenance,
    StudyCell, StudyComparison, StudyReport, StudyRow, StudyTable, TableGroup, render_study_html,
};

fn cohort(heading: &str) -> CohortEstimates {
    let method = |label: &str, mean: f64, is_complete: bool| MethodEstimate {
        label: label.to_owned(),
        mean,
        n_patients: if is_complete { 1016 } else { 508 },
        ci95: Some((mean - 0.05, mean + 0.05)),
        is_complete,
    };
    CohortEstimates {
        heading: heading.to_owned(),
        n_patients: 1016,
        n_event_patients: 134,
        n_validated_twice: 0,
        methods: vec![
            method("CrossFusion", 0.643, true),
            method("AMIL", 0.59, true),
            method("<b>&", 0.7, false),
        ],
    }
}

fn report() -> StudyReport {
    let row = |label: &str, c_indices: &[f64], is_complete: bool| StudyRow {
        label: label.to_owned(),
        cells: vec![StudyCell::of_folds(c_indices, is_complete)],
    };
    let rows = vec![
        row("CrossFusion", &[0.62, 0.666], true),
        row("AMIL", &[0.59, 0.59], true),
        row("<b>&", &[0.7], false),
    ];
    let table = StudyTable {
        caption: "C-index over 2 folds.".to_owned(),
        corner: "Method".to_owned(),
        columns: vec!["BRCA".to_owned()],
        groups: vec![TableGroup { heading: String::new(), rows }],
    };
    let numbers = PairedNumbers {
        n_patients: 1016,
        mean_difference: -0.053,
        ci95: Some((-0.09, -0.01)),
        p_value: 0.0049,
        p_holm: 0.0098,
        p_folds: Some(0.31),
    };
    let comparison = |method: &str, result: Result<PairedNumbers, String>| StudyComparison {
        heading: "BRCA".to_owned(),
        method: method.to_owned(),
        reference: "CrossFusion".to_owned(),
        result,
    };
    StudyReport {
        undefined: vec!["UCEC".to_owned()],
        reference_is_best: false,
        title: "Two <cohorts>".to_owned(),
        facts: vec![("Protocol".to_owned(), "paper".to_owned())],
        tables: vec![table.with_marks()],
        cohorts: vec![cohort("BRCA"), cohort("LUAD")],
        comparisons: vec![
            comparison("AMIL", Ok(numbers)),
            comparison("<b>&", Err("no fold is finished for both".to_owned())),
        ],
        epoch_choices: vec![EpochChoice {
            heading: "BRCA".to_owned(),
            method: "AMIL".to_owned(),
            best: 0.6312,
            last: 0.5901,
        }],
        published: vec![PublishedValue {
            cohort: "BRCA".to_owned(),
            method: "AMIL".to_owned(),
            ours: "0.590 (0.000)".to_owned(),
            paper: "0.590 (0.050)".to_owned(),
            difference: Some(-0.0004),
        }],
        n_tasks: 6,
        unfinished: vec![MissingTask {
            id: "brca.b.f1-0123".to_owned(),
            state: "failed".to_owned(),
            reason: Some("slide <X> is damaged".to_owned()),
        }],
        n_seeds: 1,
        environment: vec![("cf-train".to_owned(), "0.1.0".to_owned())],
        runs: vec![RunProvenance {
            name: "brca.amil".to_owned(),
            protocol: "paper".to_owned(),
            tasks: vec!["brca.amil.f0-4567".to_owned()],
        }],
        study_toml: "[study]\nname = \"Two <cohorts>\"".to_owned(),
    }
}

#[test]
fn every_number_of_the_study_is_on_the_page() {
    let page = render_study_html(&report()).unwrap();
    for text in [
        "<span class=\"best\">0.643 (0.023)</span>",
        "<span class=\"second\">0.590 (0.000)</span>",
        "<span class=\"partial\">0.700</span>",
        "UCEC: a method has no C-index, as none of its finished folds has two patients who can be compared.",
        "BRCA: of 2 methods with all their folds, CrossFusion has the highest C-index of patients, 0.643 (95 % interval 0.593 to 0.693).",
        "AMIL is significantly lower",
        "There is one seed",
        "1 of 6 tasks are missing",
        "\u{2212}0.053",
        "\u{2212}0.090 to \u{2212}0.010",
        "9.80e-3",
        "0.310",
        "no fold is finished for both",
        "0.631",
        "0.041",
        "0.590 (0.050)",
        "brca.amil.f0-4567",
        "arXiv 2503.02064",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // 0.0004 below the paper is no difference in three decimals, and no negative zero.
    assert!(page.contains("<td class=\"strong\">0.000</td>"));
}

#[test]
fn the_page_refers_to_nothing_and_escapes_what_it_is_given() {
    let page = render_study_html(&report()).unwrap();
    for absent in ["<script", "<link", "https://", "url(", "<b>", "<cohorts>", "<X>", "NaN"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert_eq!(page.matches("http://").count(), page.matches("http://www.w3.org/2000/svg").count());
    // Two figures, each with a title and a description of its own.
    for id in ["study-forest-0-title", "study-forest-0-desc", "study-forest-1-title", "study-forest-1-desc"] {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn a_study_without_results_says_so() {
    let nothing = StudyReport {
        tables: Vec::new(),
        cohorts: Vec::new(),
        undefined: Vec::new(),
        comparisons: Vec::new(),
        epoch_choices: Vec::new(),
        published: Vec::new(),
        ..report()
    };
    let page = render_study_html(&nothing).unwrap();
    for text in [
        "Nothing can be said yet",
        "There is nothing to compare.",
        "No epoch was recorded.",
        "No cell of this study",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn methods_scored_on_different_patients_are_not_ranked() {
    let page = |report: &StudyReport| render_study_html(report).unwrap();
    let same = report();
    assert!(page(&same).contains("CrossFusion has the highest C-index"), "this shows nothing");
    let mut apart = report();
    apart.cohorts[0].methods[1].n_patients = 700;
    let text = page(&apart);
    assert!(text.contains("(CrossFusion on 1016, AMIL on 700), so that their C-indices can"), "{text}");
    assert!(text.contains("BRCA: up to 1016 patients") && text.contains("LUAD: 1016 patients"), "{text}");
    assert_eq!(
        text.matches("has the highest C-index").count() + 1,
        page(&same).matches("has the highest C-index").count()
    );

    let table = |n: [usize; 2]| {
        let row = |(label, n): (&str, usize)| StudyRow {
            label: label.to_owned(),
            cells: vec![
                StudyCell::of_folds(&[0.6, 0.7], true).scored_on(n),
                StudyCell::of_folds(&[0.6, 0.5], true).scored_on(9),
            ],
        };
        StudyTable {
            caption: String::new(),
            corner: "Method".to_owned(),
            columns: vec!["BRCA".to_owned(), "LUAD".to_owned()],
            groups: vec![TableGroup {
                heading: String::new(),
                rows: ["a", "b"].into_iter().zip(n).map(row).collect(),
            }],
        }
        .with_marks()
    };
    let marks = |table: &StudyTable| -> Vec<bool> {
        table.groups[0].rows[0].cells.iter().map(|cell| cell.mark == cf_report::Mark::Best).collect()
    };
    assert_eq!((marks(&table([83, 83])), table([83, 83]).unranked()), (vec![true, true], vec![]));
    assert_eq!((marks(&table([83, 56])), table([83, 56]).unranked()), (vec![false, true], vec!["BRCA"]));
    // The mean over cohorts is of the same patients only where each cohort is.
    assert_eq!(table([83, 56]).with_mean_column().unranked(), ["BRCA", "Mean"]);
}

#[test]
fn what_a_report_cannot_say_has_its_reason() {
    let mut chosen = report();
    chosen.reference_is_best = true;
    let caveat = "No reference was named";
    assert!(
        render_study_html(&chosen).unwrap().contains(caveat)
            && !render_study_html(&report()).unwrap().contains(caveat)
    );
    let mut nothing = report();
    (nothing.cohorts, nothing.comparisons, nothing.undefined) = (Vec::new(), Vec::new(), Vec::new());
    assert!(render_study_html(&nothing).unwrap().contains("no two methods have all of their folds"));
    nothing.unfinished = (0..nothing.n_tasks)
        .map(|at| MissingTask { id: at.to_string(), state: "waiting".to_owned(), reason: None })
        .collect();
    assert!(render_study_html(&nothing).unwrap().contains("no task is finished"));
}
