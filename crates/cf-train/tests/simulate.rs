//! Simulated cohorts: what is planted is what the truth says, and equal options give equal bytes.

#![allow(clippy::unwrap_used, reason = "helpers fail the test, too")]

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use cf_train::simulate::{
    CohortForm, CohortKind, Error, OutcomeSource, SimulateOptions, Simulated, simulate,
};
use survival_metrics::{Outcome, RiskTies, Status, concordance_index};
use tempfile::TempDir;
use wsi_bags::{Bag, Magnification, RowOrder};

/// A cohort small enough for a test: two to six 5x cells per slide.
fn small(out: PathBuf, kind: CohortKind, n_patients: usize) -> SimulateOptions {
    SimulateOptions { n_patients, backbone_dim: 8, scale: 0.004, ..SimulateOptions::new(out, kind) }
}

fn run(options: &SimulateOptions) -> Simulated {
    simulate(options, &mut |_, _| {}).unwrap_or_else(|error| panic!("{error}: {:?}", error.source()))
}

/// Every file below `dir` with its bytes, by relative path.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(dir).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Rows of a CSV table as maps from column to text.
fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn number(row: &HashMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {}", row[column]))
}

fn outcomes(rows: &[HashMap<String, String>]) -> Vec<Outcome> {
    let status = |row: &HashMap<String, String>| match number(row, "censorship") {
        0.0 => Status::Event,
        _ => Status::Censored,
    };
    rows.iter().map(|row| Outcome::new(number(row, "survival_months"), status(row)).unwrap()).collect()
}

fn read_bag(dir: &Path, slide_id: &str) -> Bag {
    let stem = wsi_bags::slide_stem(slide_id);
    wsi_bags::native::read(&dir.join(format!("bags/{stem}.h5")), "simulated", &Magnification::ALL).unwrap()
}

#[test]
fn equal_options_give_equal_bytes_and_another_seed_does_not() {
    for kind in [CohortKind::Additive, CohortKind::Interaction] {
        let dir = TempDir::new().unwrap();
        let [first, second, third] = ["a", "b", "c"].map(|name| small(dir.path().join(name), kind, 12));
        run(&first);
        run(&second);
        run(&SimulateOptions { seed: 8, ..third.clone() });
        let [first, second, third] = [first, second, third].map(|options| contents(&options.out));
        assert_eq!(first.len(), 12 * 2 + 5 + 4, "bags, patch truths, splits, tables and config");
        assert_eq!(first, second);
        for (name, bytes) in &first {
            let differs = third.get(name) != Some(bytes);
            assert!(
                differs || name == Path::new("config.toml"),
                "{} does not depend on the seed",
                name.display()
            );
        }
    }
}

#[test]
fn slides_are_planned_for_the_patients_that_bags_would_be_made_of() {
    for kind in [CohortKind::Additive, CohortKind::Interaction] {
        let dir = TempDir::new().unwrap();
        let bags = small(dir.path().join("bags"), kind, 12);
        let slides =
            SimulateOptions { form: CohortForm::Slides, ..small(dir.path().join("slides"), kind, 12) };
        let of_bags = run(&bags).ceilings;
        let of_slides = run(&slides).ceilings;
        // What is known of patients, and no more.
        assert!(of_slides.iter().all(|ceiling| of_bags.contains(ceiling)));
        assert_eq!(of_slides.len(), if kind == CohortKind::Additive { 4 } else { 1 });
        let [with_bags, with_slides] = [&bags, &slides].map(|options| contents(&options.out));
        for (name, bytes) in &with_slides {
            let is_table = name == Path::new("clinical.csv") || name.starts_with("splits");
            assert!(!is_table || with_bags.get(name) == Some(bytes), "{}", name.display());
        }
        let names: Vec<_> = with_slides.keys().filter(|name| !name.starts_with("splits")).collect();
        let expected = ["clinical.csv", "config.toml", "slides.csv", "truth.csv", "truth.json"];
        assert_eq!(names, expected.map(Path::new).iter().collect::<Vec<_>>());
        let config = fs::read_to_string(slides.out.join("config.toml")).unwrap();
        assert!(config.contains("backbone = \"stain-texture\""), "{config}");

        let (plan, truth) = (table(&slides.out.join("slides.csv")), table(&slides.out.join("truth.csv")));
        let before = table(&bags.out.join("truth.csv"));
        assert_eq!((plan.len(), truth.len()), (12, 12));
        let mut seeds: Vec<&str> = plan.iter().map(|row| row["seed"].as_str()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 12, "every slide is drawn from its own seed");
        for ((plan, truth), before) in plan.iter().zip(&truth).zip(&before) {
            assert_eq!((&plan["slide_id"], &plan["z"]), (&truth["slide_id"], &before["z"]));
            assert_eq!((&plan["cells"], &plan["kind"]), (&before["n5"], &kind.name().to_owned()));
            let parts = ["z5", "z10", "z20"].map(|part| number(plan, part));
            assert!((parts.iter().sum::<f64>() - 3f64.sqrt() * number(plan, "z")).abs() < 1e-9);
        }
    }
}

#[test]
fn bags_do_not_depend_on_how_many_patients_come_after() {
    let dir = TempDir::new().unwrap();
    let [few, many] = [12, 20].map(|n| small(dir.path().join(n.to_string()), CohortKind::Additive, n));
    run(&few);
    run(&many);
    let many = contents(&many.out);
    for (name, bytes) in contents(&few.out).iter().filter(|(name, _)| name.starts_with("bags")) {
        assert_eq!(many.get(name), Some(bytes), "{}", name.display());
    }
}

#[test]
fn lattices_are_nested_row_major_and_know_their_parents() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Interaction, 10);
    run(&options);
    let rows = table(&options.out.join("truth.csv"));
    assert_eq!(rows.len(), 10);
    for row in rows {
        let bag = read_bag(&options.out, &row["slide_id"]);
        let mut coarser: Option<Vec<[i64; 2]>> = None;
        for (magnification, side, per_cell) in
            [(Magnification::X5, 1024, 1), (Magnification::X10, 512, 4), (Magnification::X20, 256, 16)]
        {
            let set = bag.at(magnification).unwrap();
            assert_eq!(set.n_patches(), per_cell * number(&row, "n5") as usize);
            assert_eq!(set.features().dim(), 8);
            assert_eq!(set.row_order(), RowOrder::RowMajor);
            assert_eq!(set.geometry().patch_size_level0, Some(side as u32));
            assert_eq!(set.geometry().mpp, Some(0.5 * side as f64 / 256.0));
            let coords = set.coords().unwrap().to_vec();
            assert!(coords.iter().flatten().all(|k| *k >= 0 && k % side == 0));
            if let Some(coarser) = coarser {
                let parents = set.parents().unwrap();
                let mut n_children = vec![0; coarser.len()];
                for ([x, y], parent) in coords.iter().zip(parents) {
                    let parent = parent.unwrap() as usize;
                    n_children[parent] += 1;
                    assert_eq!(coarser[parent], [x - x % (2 * side), y - y % (2 * side)]);
                }
                assert!(n_children.iter().all(|n| *n == 4));
            }
            coarser = Some(coords);
        }
    }
}

#[test]
fn additive_shares_are_those_the_latent_risks_ask_for_to_half_a_patch() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Additive, 60);
    run(&options);
    for row in table(&options.out.join("truth.csv")) {
        let parts = ["z5", "z10", "z20"].map(|column| number(&row, column));
        assert!((parts.iter().sum::<f64>() / 3f64.sqrt() - number(&row, "z")).abs() < 1e-12);
        let stem = row["slide_id"].trim_end_matches(".svs");
        let patches = table(&options.out.join(format!("truth/{stem}.csv")));
        for ((scale, magnification), part) in
            [("5", "x5"), ("10", "x10"), ("20", "x20")].into_iter().zip(parts)
        {
            let n_patches = number(&row, &format!("n{scale}"));
            let share = number(&row, &format!("share{scale}"));
            let asked = 0.5 + 0.35 * part.tanh();
            assert!((share - asked).abs() <= 0.5 / n_patches + 1e-12, "{magnification}: {share} for {asked}");
            let of_scale: Vec<_> =
                patches.iter().filter(|row| row["magnification"] == magnification).collect();
            assert_eq!(of_scale.len() as f64, n_patches);
            let counted: f64 = of_scale.iter().map(|row| number(row, "class")).sum();
            assert!((counted / n_patches - share).abs() < 1e-12);
        }
    }
}

#[test]
fn interaction_lies_in_where_the_morphology_is_and_not_in_how_much_there_is() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Interaction, 400);
    let simulated = run(&options);
    let rows = table(&options.out.join("truth.csv"));
    for row in &rows {
        let stem = row["slide_id"].trim_end_matches(".svs");
        let patches = table(&options.out.join(format!("truth/{stem}.csv")));
        let share = |region: &str| {
            let place = patches.iter().filter(|row| row["magnification"] == "x20" && row["region"] == region);
            let classes: Vec<f64> = place.map(|row| number(row, "class")).collect();
            classes.iter().sum::<f64>() / classes.len() as f64
        };
        let contrast = share("1") - share("0");
        assert!((contrast - number(row, "contrast")).abs() < 1e-12);
        // Half a patch in the region, and as much outside it, where there may be one cell of 16.
        assert!((contrast - 0.45 * number(row, "z").tanh()).abs() <= 1.0 / 16.0 + 1e-12);
        assert_eq!(number(row, "share_a"), 0.5);
        let shares_of_children: Vec<f64> = patches
            .iter()
            .filter(|row| row["magnification"] == "x10")
            .map(|row| number(row, "class"))
            .collect();
        assert_eq!(shares_of_children.iter().sum::<f64>(), 0.5 * shares_of_children.len() as f64);
    }
    let outcomes = outcomes(&rows);
    let c_index = |column: &str| {
        let risk: Vec<f64> = rows.iter().map(|row| number(row, column)).collect();
        concordance_index(&outcomes, &risk, RiskTies::default()).unwrap().c_index()
    };
    assert_eq!(c_index("share_a"), 0.5);
    // The C-index of noise has a standard deviation of about 0.02 at 220 events.
    assert!((c_index("share_b") - 0.5).abs() < 0.06, "{}", c_index("share_b"));
    assert!(c_index("contrast") > 0.8, "{}", c_index("contrast"));
    // Ceilings that are reported are those a reader of the tables finds.
    for ceiling in &simulated.ceilings {
        assert_eq!(ceiling.c_index, Some(c_index(ceiling.truth)), "{}", ceiling.truth);
    }
}

#[test]
fn drawn_outcomes_follow_the_stated_law() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Additive, 400);
    let simulated = run(&options);
    let rows = table(&options.out.join("truth.csv"));
    let outcomes = outcomes(&rows);
    assert_eq!(simulated.n_event_slides, 220);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_event()).count(), 220);

    let truth: serde_json::Value =
        serde_json::from_slice(&fs::read(options.out.join("truth.json")).unwrap()).unwrap();
    let scale_months = truth["drawn_times"]["weibull_scale_months"].as_f64().unwrap();
    // Under the law, the cumulative hazards at the observed times sum to the number of events, give or take
    // its square root; the squared ones, to twice the sum over events of their hazard.
    let hazards: Vec<f64> = rows
        .iter()
        .map(|row| (number(row, "survival_months") / scale_months).powf(1.3) * (2.5 * number(row, "z")).exp())
        .collect();
    let total: f64 = hazards.iter().sum();
    assert!((total / 220.0 - 1.0).abs() < 4.0 / 220f64.sqrt(), "{total}");
    let squares: f64 = hazards.iter().map(|hazard| hazard * hazard).sum();
    let twice: f64 =
        hazards.iter().zip(&outcomes).filter(|(_, o)| o.is_event()).map(|(hazard, _)| 2.0 * hazard).sum();
    assert!((squares / twice - 1.0).abs() < 0.4, "{squares} against {twice}");

    // Over seeds, the ceiling was seen at 0.877 with a standard deviation of 0.012, and that of one of three
    // equal parts at 0.69 with 0.02.
    let ceiling = |name: &str| {
        let found = simulated.ceilings.iter().find(|ceiling| ceiling.truth == name).unwrap();
        assert_eq!(found.folds.len(), 5);
        let mean = found.folds.iter().map(|fold| fold.unwrap()).sum::<f64>() / 5.0;
        assert!((mean - found.fold_mean.unwrap()).abs() < 1e-12);
        found.c_index.unwrap()
    };
    assert!((ceiling("z") - 0.877).abs() < 0.045, "{}", ceiling("z"));
    for part in ["z5", "z10", "z20"] {
        assert!((ceiling(part) - 0.69).abs() < 0.07, "{part} {}", ceiling(part));
    }
}

#[test]
fn drawn_folds_partition_the_cohort_and_share_its_events() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Interaction, 43);
    run(&options);
    let clinical = table(&options.out.join("clinical.csv"));
    let events: HashMap<&str, bool> =
        clinical.iter().map(|row| (row["case_id"].as_str(), row["censorship"] == "0")).collect();
    let mut validated = Vec::new();
    for fold in 0..5 {
        let text = fs::read_to_string(options.out.join(format!("splits/splits_{fold}.csv"))).unwrap();
        assert!(text.starts_with(",train,val\n0,"));
        let rows = table(&options.out.join(format!("splits/splits_{fold}.csv")));
        let column = |name: &str| -> Vec<String> {
            rows.iter().map(|row| row[name].clone()).filter(|case| !case.is_empty()).collect()
        };
        let (train, val) = (column("train"), column("val"));
        assert_eq!(train.len() + val.len(), 43);
        assert!(val.iter().all(|case| !train.contains(case)));
        assert!((8..=9).contains(&val.len()));
        let n_events = val.iter().filter(|case| events[case.as_str()]).count();
        // 43 - ceil(0.45 * 43) = 23 events.
        assert!((4..=5).contains(&n_events), "{n_events}");
        validated.extend(val);
    }
    validated.sort();
    validated.dedup();
    assert_eq!(validated.len(), 43);
}

#[test]
fn config_is_ready_to_run() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Interaction, 10);
    run(&options);
    let config: toml::Table = fs::read_to_string(options.out.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["cohort"]["name"].as_str(), Some("simulated-interaction"));
    for (section, key) in [("cohort", "clinical"), ("cohort", "splits"), ("features", "dir")] {
        assert!(options.out.join(config[section][key].as_str().unwrap()).exists(), "{key}");
    }
    assert_eq!(config["features"]["backbone"].as_str(), Some("simulated"));
    assert_eq!(config["model"]["embed_dim"].as_integer(), Some(32));
    assert_eq!(config["model"]["attention_dropout"].as_float(), Some(0.0));
    assert_eq!(config["training"]["protocol"].as_str(), Some("sound"));
    assert_eq!(config["training"]["learning_rate"].as_float(), Some(3e-3));
    assert_eq!(config["training"]["accumulation"].as_integer(), Some(16));
}

#[test]
fn progress_counts_every_slide() {
    let dir = TempDir::new().unwrap();
    let mut calls = Vec::new();
    let options = small(dir.path().join("cohort"), CohortKind::Additive, 10);
    simulate(&options, &mut |done, total| calls.push((done, total))).unwrap();
    assert_eq!(calls, (1..=10).map(|done| (done, 10)).collect::<Vec<_>>());
}

/// A clinical table in TCGA's form: a patient with two slides, a time of 0, columns that are not needed,
/// a case in no fold, and one in a fold without a row.
const CLINICAL: &str = "\
site,case_id,slide_id,age,survival_months,censorship
2F,TCGA-2F-0001,TCGA-2F-0001-01Z-00-DX1.AB-1.svs,63,24.11,0
2F,TCGA-2F-0001,TCGA-2F-0001-01Z-00-DX2.AB-2.svs,63,24.11,0.0
CM,TCGA-CM-0002,TCGA-CM-0002-01Z-00-DX1.AB-3.svs,51,0,0
CM,TCGA-CM-0003,TCGA-CM-0003-01Z-00-DX1.AB-4.svs,\"70,5\",81.5,1
CM,TCGA-CM-0004,TCGA-CM-0004-01Z-00-DX1.AB-5.svs,,3.25,0
CM,TCGA-CM-0005,TCGA-CM-0005-01Z-00-DX1.AB-6.svs,,60,1.0
";
const SPLITS: [&str; 2] = [
    ",train,val\n0,TCGA-CM-0003,TCGA-2F-0001\n1,TCGA-CM-0004,TCGA-CM-0002\n2,TCGA-XX-0009,\n",
    ",train,val\n0,TCGA-2F-0001,TCGA-CM-0003\n1,TCGA-CM-0002,TCGA-CM-0004\n",
];

/// Writes the table and the splits; returns options that take their outcomes from them.
fn from_table(dir: &Path, clinical: &str) -> SimulateOptions {
    let splits = dir.join("folds");
    fs::create_dir(&splits).unwrap();
    for (fold, text) in SPLITS.iter().enumerate() {
        fs::write(splits.join(format!("splits_{fold}.csv")), text).unwrap();
    }
    let table = dir.join("table.csv");
    fs::write(&table, clinical).unwrap();
    let outcomes = OutcomeSource::Table { clinical: table, splits };
    SimulateOptions { outcomes, ..small(dir.join("cohort"), CohortKind::Additive, 0) }
}

#[test]
fn a_real_table_keeps_its_rows_outcomes_and_folds() {
    let dir = TempDir::new().unwrap();
    let options = from_table(dir.path(), CLINICAL);
    let simulated = run(&options);
    assert_eq!((simulated.n_slides, simulated.n_patients, simulated.n_event_slides), (6, 5, 4));
    assert_eq!(fs::read_to_string(options.out.join("clinical.csv")).unwrap(), CLINICAL);
    for (fold, text) in SPLITS.iter().enumerate() {
        let path = options.out.join(format!("splits/splits_{fold}.csv"));
        assert_eq!(fs::read_to_string(path).unwrap(), *text);
    }
    assert!(!options.out.join("splits/splits_2.csv").exists());
    let given = table(&dir.path().join("table.csv"));
    let truth = table(&options.out.join("truth.csv"));
    for (given, truth) in given.iter().zip(&truth) {
        assert_eq!(given["slide_id"], truth["slide_id"]);
        for column in ["survival_months", "censorship"] {
            assert_eq!(number(given, column), number(truth, column));
        }
        assert_eq!(read_bag(&options.out, &given["slide_id"]).magnifications().count(), 3);
    }
    // Two slides of one patient.
    for column in ["z", "z5", "z10", "z20"] {
        assert_eq!(truth[0][column], truth[1][column]);
    }
    assert_ne!(truth[0]["n5"].parse::<f64>(), Ok(0.0));
}

#[test]
fn latent_risks_drawn_given_outcomes_order_them() {
    let dir = TempDir::new().unwrap();
    let mut clinical = String::from("case_id,slide_id,survival_months,censorship\n");
    // Times that follow no Weibull law, on purpose, and heavy ties.
    for patient in 0..300 {
        let months = (patient % 60) + 3;
        clinical += &format!("P{patient},P{patient}.svs,{months},{}\n", u8::from(patient % 7 < 4));
    }
    let splits = dir.path().join("folds");
    fs::create_dir(&splits).unwrap();
    fs::write(splits.join("splits_0.csv"), ",train,val\n0,P1,P2\n1,P3,P4\n").unwrap();
    let table = dir.path().join("table.csv");
    fs::write(&table, clinical).unwrap();
    let outcomes = OutcomeSource::Table { clinical: table, splits };
    let out = dir.path().join("cohort");
    let simulated = run(&SimulateOptions { outcomes, ..small(out, CohortKind::Additive, 0) });
    let ceiling = simulated.ceilings[0].c_index.unwrap();
    // The clock of the law follows the table, so the ceiling is about that of drawn outcomes.
    assert!((ceiling - 0.877).abs() < 0.05, "{ceiling}");
}

#[test]
fn every_tcga_table_keeps_its_slides_and_folds() {
    let Ok(data) = std::env::var("CF_TEST_DATA") else {
        println!("skipped: CF_TEST_DATA is not set");
        return;
    };
    // A relative path counts from the workspace.
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(data).join("tcga");
    for (cohort, n_slides, n_patients) in [("coad", 424, 416), ("gbmlgg", 1042, 573), ("luad", 507, 444)] {
        let dir = TempDir::new().unwrap();
        let clinical = data.join(format!("clinical/{cohort}.csv"));
        let splits = data.join("splits").join(cohort);
        let outcomes = OutcomeSource::Table { clinical: clinical.clone(), splits: splits.clone() };
        let out = dir.path().join("cohort");
        let options = SimulateOptions { outcomes, ..small(out.clone(), CohortKind::Interaction, 0) };
        let simulated = run(&options);
        assert_eq!((simulated.n_slides, simulated.n_patients), (n_slides, n_patients), "{cohort}");
        assert_eq!(fs::read(&clinical).unwrap(), fs::read(out.join("clinical.csv")).unwrap());
        for fold in 0..5 {
            let name = format!("splits_{fold}.csv");
            assert_eq!(
                fs::read(splits.join(&name)).unwrap(),
                fs::read(out.join("splits").join(name)).unwrap()
            );
        }
        assert_eq!(fs::read_dir(out.join("bags")).unwrap().count(), n_slides);
        // Real times are mapped onto the clock of the law, so every cohort has a ceiling worth reaching.
        let ceiling = simulated.ceilings[0].c_index.unwrap();
        assert!((0.83..0.95).contains(&ceiling), "{cohort} {ceiling}");
    }
}

/// The error of a simulation that must fail and leave nothing behind.
fn failure(options: &SimulateOptions) -> Error {
    let folder = options.out.parent().unwrap();
    let count = || fs::read_dir(folder).unwrap().count();
    let before = count();
    let error = simulate(options, &mut |_, _| {}).expect_err("must be refused");
    assert_eq!(count(), before, "{error}: something was left behind");
    error
}

#[test]
fn an_output_that_holds_something_is_refused_and_an_empty_one_is_used() {
    let dir = TempDir::new().unwrap();
    let options = small(dir.path().join("cohort"), CohortKind::Additive, 10);
    fs::create_dir(&options.out).unwrap();
    run(&options);
    let before = contents(&options.out);
    let error = failure(&options);
    assert!(matches!(&error, Error::OutputNotEmpty { path } if *path == options.out), "{error}");
    assert_eq!(contents(&options.out), before);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let good = small(dir.path().join("cohort"), CohortKind::Additive, 10);
    let bad = [
        SimulateOptions { n_patients: 9, ..good.clone() },
        SimulateOptions { backbone_dim: 2, ..good.clone() },
        SimulateOptions { scale: 0.0, ..good.clone() },
        SimulateOptions { scale: f64::NAN, ..good.clone() },
        SimulateOptions { scale: 1e9, ..good.clone() },
    ];
    for (options, name) in bad.iter().zip(["n_patients", "backbone_dim", "scale", "scale", "scale"]) {
        let error = failure(options);
        assert!(matches!(error, Error::Option { option, .. } if option == name), "{error}");
    }
}

#[test]
fn a_missing_column_is_named_with_those_that_are_there() {
    let dir = TempDir::new().unwrap();
    let error = failure(&from_table(dir.path(), &CLINICAL.replace("survival_months", "months")));
    let text = error.to_string();
    assert!(text.ends_with(
        "table.csv has no column `survival_months`; it has `site`, `case_id`, `slide_id`, `age`, `months`, `censorship`"
    ), "{text}");
}

#[test]
fn bad_cells_are_named_with_line_and_column() {
    let faults = [
        (
            "81.5,1",
            "NaN,1",
            "line 5, column `survival_months`: found `NaN`, expected a finite number of months, at least 0",
        ),
        (
            "81.5,1",
            "-1,1",
            "line 5, column `survival_months`: found `-1`, expected a finite number of months, at least 0",
        ),
        (
            "81.5,1",
            ",1",
            "line 5, column `survival_months`: found ``, expected a finite number of months, at least 0",
        ),
        (
            "81.5,1",
            "inf,1",
            "line 5, column `survival_months`: found `inf`, expected a finite number of months, at least 0",
        ),
        ("81.5,1", "81.5,2", "line 5, column `censorship`: found `2`, expected 1 (censored) or 0 (event)"),
        ("81.5,1", "81.5,", "line 5, column `censorship`: found ``, expected 1 (censored) or 0 (event)"),
        ("CM,TCGA-CM-0005,", "CM,,", "line 7, column `case_id`: found ``, expected an id"),
        (
            "TCGA-CM-0004-01Z-00-DX1.AB-5.svs",
            "../other.svs",
            "line 6, column `slide_id`: found `../other.svs`, expected an id that can name a file",
        ),
    ];
    for (good, bad, expected) in faults {
        let dir = TempDir::new().unwrap();
        let text = failure(&from_table(dir.path(), &CLINICAL.replacen(good, bad, 1))).to_string();
        assert!(text.ends_with(&format!("table.csv {expected}")), "{text}");
    }
}

#[test]
fn a_table_with_windows_line_ends_has_the_same_lines_and_no_open_quote() {
    let dir = TempDir::new().unwrap();
    let table = CLINICAL.replace("81.5,1", "NaN,1").replace('\n', "\r\n");
    let text = failure(&from_table(dir.path(), &table)).to_string();
    assert!(text.contains("table.csv line 5, column `survival_months`: found `NaN`"), "{text}");
    let dir = TempDir::new().unwrap();
    let text = failure(&from_table(dir.path(), &CLINICAL.replace("CM,TCGA-CM-0005,", "CM,\"TCGA-CM-0005,")))
        .to_string();
    assert!(text.contains("table.csv: line 7: the quote that opens here is never closed"), "{text}");
}

#[test]
fn a_slide_in_two_rows_is_refused_with_both_lines() {
    let dir = TempDir::new().unwrap();
    let error = failure(&from_table(dir.path(), &CLINICAL.replace("DX2.AB-2", "DX1.AB-1")));
    let Error::DuplicateSlide { slide, first_line, second_line, .. } = &error else { panic!("{error}") };
    assert_eq!((slide.as_str(), *first_line, *second_line), ("TCGA-2F-0001-01Z-00-DX1.AB-1", 2, 3));
}

#[test]
fn a_patient_with_two_outcomes_is_refused_with_both_lines() {
    let dir = TempDir::new().unwrap();
    let error = failure(&from_table(dir.path(), &CLINICAL.replace("24.11,0.0", "24.12,0.0")));
    let Error::ConflictingOutcomes { patient, first_line, second_line, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((patient.as_str(), *first_line, *second_line), ("TCGA-2F-0001", 2, 3));
}

#[test]
fn tables_without_rows_or_events_are_refused() {
    let header = CLINICAL.lines().next().unwrap();
    let censored = format!("{header}\nA,B,C.svs,1,2.5,1\n");
    for (text, expected) in [(header, "no rows"), (censored.as_str(), "censored slides only")] {
        let dir = TempDir::new().unwrap();
        let error = failure(&from_table(dir.path(), text));
        assert!(matches!(&error, Error::NoEvents { found, .. } if *found == expected), "{error}");
    }
}

#[test]
fn a_row_of_another_length_is_refused_with_its_line() {
    let dir = TempDir::new().unwrap();
    let error = failure(&from_table(dir.path(), &CLINICAL.replace("81.5,1", "81.5")));
    assert!(matches!(error, Error::Table(_)), "{error}");
    let text = error.to_string();
    let wanted = "table.csv: line 5: 5 cells, expected 6 as in the header; the header has commas between values; \
                  a value that holds a comma needs double quotes around it";
    assert!(text.ends_with(wanted), "{text}");
}

#[test]
fn splits_that_are_missing_or_unrelated_are_refused() {
    let dir = TempDir::new().unwrap();
    let options = from_table(dir.path(), CLINICAL);
    let first = dir.path().join("folds/splits_0.csv");

    fs::write(&first, ",train,val\n0,TCGA-CM-0003,SOMEONE-ELSE\n").unwrap();
    let error = failure(&options);
    assert!(matches!(&error, Error::UnmatchedSplit { path, .. } if *path == first), "{error}");

    fs::write(&first, ",train,valid\n0,TCGA-CM-0003,TCGA-CM-0002\n").unwrap();
    let error = failure(&options);
    assert!(matches!(&error, Error::MissingColumn { path, column: "val", .. } if *path == first), "{error}");

    fs::remove_file(&first).unwrap();
    let error = failure(&options);
    assert!(matches!(&error, Error::NoSplits { path } if *path == first), "{error}");
}
