//! What users bring: each fault gives an error that names file, place, found and wanted, or a counted, listed skip.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use cf_train::simulate::{CohortKind, SimulateOptions, simulate};
use support::{cf_train, fail, path, succeed};
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, SlideInfo, native, pt};

const DIM: usize = 6;

/// Twelve slides in the released layout, two folds, and a configuration that trains in a moment.
struct Study {
    dir: tempfile::TempDir,
}

impl Study {
    fn new() -> Self {
        let study = Self { dir: tempfile::tempdir().unwrap() };
        let mut table = String::from("case_id,slide_id,survival_months,censorship\n");
        for i in 0..12 {
            table += &format!("case{i},slide{i}.svs,{}.5,{}\n", i + 1, u8::from(i % 4 == 3));
            for scale in ["x5", "x10", "x20"] {
                study.write_bag(i, scale, &features(2 + i, DIM));
            }
        }
        study.write("clinical.csv", &table);
        for (fold, split) in [(0, 8..12), (1, 0..4)] {
            let mut text = String::from(",train,val\n");
            let train: Vec<usize> = (0..12).filter(|i| !split.contains(i)).collect();
            for (row, i) in train.iter().enumerate() {
                let val = split.clone().nth(row).map_or(String::new(), |i| format!("case{i}"));
                text += &format!("{row},case{i},{val}\n");
            }
            study.write(&format!("splits/splits_{fold}.csv"), &text);
        }
        study.write(
            "config.toml",
            "[cohort]\nname = \"tiny\"\nclinical = \"clinical.csv\"\npreset = \"mcat\"\nsplits = \"splits\"\n\n\
             [features]\ndir = \"features\"\nbackbone = \"enc\"\n\n\
             [model]\nname = \"crossfusion\"\nembed_dim = 8\nnum_heads = 2\n\n\
             [training]\nprotocol = \"paper\"\nmax_epochs = 1\naccumulation = 4\n",
        );
        study
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bag_path(&self, slide: usize, scale: &str) -> PathBuf {
        self.path(&format!("features/enc/{scale}/pt_files/slide{slide}.pt"))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn write_bag(&self, slide: usize, scale: &str, features: &FeatureMatrix) {
        let path = self.bag_path(slide, scale);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        pt::write_features(&path, features).unwrap();
    }

    /// Replaces text in a file of the study.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no `{from}`");
        std::fs::write(self.path(name), text.replace(from, to)).unwrap();
    }

    #[track_caller]
    fn fails(&self, code: i32, texts: &[&str]) {
        self.fails_with(&[], code, texts);
    }

    #[track_caller]
    fn fails_with(&self, more: &[&str], code: i32, texts: &[&str]) {
        let (config, out) = (self.path("config.toml"), self.path("run"));
        let mut arguments = vec!["cv", "--config", path(&config), "--out", path(&out)];
        arguments.extend(more);
        fail(&arguments, code, texts);
        assert!(!out.join("report.html").exists(), "a failed run left a report");
    }

    fn runs(&self) -> PathBuf {
        let (config, out) = (self.path("config.toml"), self.path("run"));
        succeed(&["cv", "--config", path(&config), "--out", path(&out)]);
        out
    }
}

fn features(n: usize, dim: usize) -> FeatureMatrix {
    let values = (0..n * dim).map(|i| (i as f32 * 0.37).sin()).collect();
    FeatureMatrix::new(values, n, dim).unwrap()
}

/// A `.pt` file made by PyTorch, from the tests of the reader.
fn torch_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wsi-bags/tests/data").join(name)
}

#[test]
fn the_study_itself_runs() {
    let run = Study::new().runs();
    assert!(!run.exists() || run.join("report.html").exists());
}

#[test]
fn a_truncated_bag_is_named() {
    let study = Study::new();
    let bag = study.bag_path(5, "x10");
    let bytes = std::fs::read(&bag).unwrap();
    std::fs::write(&bag, &bytes[..bytes.len() / 2]).unwrap();
    study.fails(3, &["slide5", "x10/pt_files/slide5.pt"]);
    std::fs::write(&bag, b"").unwrap();
    study.fails(3, &["slide5.pt", "empty"]);
    assert!(!study.path("run").exists(), "found before a run directory was made");
}

#[test]
fn pt_files_that_hold_no_tensor_are_refused_by_what_they_hold() {
    for (name, texts) in [
        ("wrong_list.pt", ["list", "tensor"]),
        ("wrong_dict.pt", ["dict", "tensor"]),
        ("wrong_numpy.pt", ["pickled NumPy object", "wanted a bare tensor"]),
        ("wrong_legacy.pt", ["legacy", "zip"]),
        ("wrong_call.pt", ["refused to load", "."]),
        ("wrong_npy.pt", ["slide0", "NumPy"]),
        ("wrong_no_rows.pt", ["slide0", "no patches"]),
        ("wrong_inf.pt", ["row", "infinite"]),
    ] {
        let study = Study::new();
        std::fs::copy(torch_file(name), study.bag_path(0, "x5")).unwrap();
        study.fails(3, &["slide0.pt", texts[0], texts[1]]);
    }
}

#[test]
fn nan_features_are_located() {
    let study = Study::new();
    let bag = study.bag_path(3, "x20");
    let bytes = std::fs::read(&bag).unwrap();
    // The third number of the first row, wherever the archive keeps it.
    let wanted = (2.0_f32 * 0.37).sin().to_le_bytes();
    let at = bytes.windows(4).position(|window| window == wanted).unwrap();
    let mut bytes = bytes;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&bag, bytes).unwrap();
    study.fails(3, &["slide3.pt", "row 0, column 2", "NaN"]);
}

#[test]
fn features_of_another_width_are_refused() {
    let study = Study::new();
    for scale in ["x5", "x10", "x20"] {
        study.write_bag(6, scale, &features(4, DIM + 1));
    }
    study.fails(3, &["slide6", "7 columns, expected 6"]);
    let study = Study::new();
    study.write_bag(6, "x20", &features(4, DIM + 1));
    study.fails(3, &["slide6", "7 columns, expected 6"]);
    // Without a run as well.
    let config = study.path("config.toml");
    fail(&["cv", "--config", path(&config), "--dry-run"], 3, &["slide6.pt", "7 columns, expected 6"]);
    assert!(!study.path("run").exists());
}

#[test]
fn slides_without_a_magnification_are_listed_and_left_out() {
    let study = Study::new();
    std::fs::remove_file(study.bag_path(2, "x10")).unwrap();
    for scale in ["x5", "x10", "x20"] {
        std::fs::remove_file(study.bag_path(7, scale)).unwrap();
        study.write_bag(99, scale, &features(3, DIM));
    }
    let run = study.runs();
    let folds = std::fs::read_to_string(run.join("folds.json")).unwrap();
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    for text in [
        "slide whose bag lacks x10",
        "slide2",
        "slide without a bag",
        "slide7",
        "bag without a row in the clinical table",
        "slide99",
    ] {
        assert!(folds.contains(text), "`{text}` is not in folds.json");
        assert!(report.contains(text), "`{text}` is not in the report");
    }
    let rows = std::fs::read_to_string(run.join("fold_1/predictions.csv")).unwrap();
    assert!(!rows.contains("slide2,") && rows.contains("slide1,"));
}

#[test]
fn where_no_slide_has_what_the_model_reads_it_says_what_they_lack() {
    let study = Study::new();
    (0..12).for_each(|slide| std::fs::remove_file(study.bag_path(slide, "x10")).unwrap());
    std::fs::remove_file(study.bag_path(3, "x5")).unwrap();
    study.fails(
        3,
        &[
            "features: no slide has all that the model reads",
            "slide whose bag lacks x10, which crossfusion reads: 11 (slide0, ..)",
            "slide whose bag lacks x5 and x10, which crossfusion reads: 1 (slide3, ..)",
            "or choose a model that reads what is there (`cf-train models`)",
        ],
    );
}

#[test]
fn a_bag_without_a_fact_that_the_model_needs_is_refused_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = dir.path().join("cohort");
    let options = SimulateOptions {
        n_patients: 20,
        backbone_dim: DIM,
        scale: 0.004,
        ..SimulateOptions::new(cohort.clone(), CohortKind::Additive)
    };
    simulate(&options, &mut |_, _| {}).unwrap();
    // The last slide alone: neither the size of its patches nor their parents are known.
    let file =
        std::fs::read_dir(cohort.join("bags")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let bag = native::read(&file, "simulated", &Magnification::ALL).unwrap();
    let placed = |set: &PatchSet| {
        PatchSet::new(set.features().clone()).with_coords(set.coords().unwrap().to_vec()).unwrap()
    };
    let bare = bag.sets().map(|(at, set)| (at, placed(set)));
    let bare = Bag::new(bag.slide_id(), bare).unwrap();
    std::fs::remove_file(&file).unwrap();
    native::write(&file, &bare, "simulated", &SlideInfo::default()).unwrap();
    let config = std::fs::read_to_string(cohort.join("config.toml")).unwrap();
    let (before, after) = (config.find("[model]").unwrap(), config.find("[training]").unwrap());
    for (model, what) in [
        ("zoommil", "coordinates with a patch size of the x5 patches"),
        ("csmil", "coordinates with a patch size, or a parent for each patch, of the x10 patches"),
    ] {
        let text =
            [&config[..before], &format!("[model]\nname = \"{model}\"\n\n"), &config[after..]].concat();
        std::fs::write(cohort.join("config.toml"), text).unwrap();
        let (config, out) = (cohort.join("config.toml"), dir.path().join("run"));
        let wanted = format!("slide {}: {model} needs {what}", bag.slide_id());
        fail(&["cv", "--config", path(&config), "--out", path(&out)], 3, &[&wanted]);
        assert!(!out.exists(), "a run was begun");
    }
}

#[test]
fn ids_that_never_join_are_shown_from_both_sides() {
    let study = Study::new();
    study.edit("clinical.csv", "slide", "TCGA-XX-");
    study.edit("clinical.csv", "TCGA-XX-_id", "slide_id");
    study.fails(3, &["no slide of the clinical table has a bag", "TCGA-XX-0", "slide0"]);
    let study = Study::new();
    study.edit("splits/splits_0.csv", "case", "patient");
    study.fails(3, &["splits_0.csv", "0 training and 0 validation slides"]);
    let study = Study::new();
    study.edit("splits/splits_0.csv", "case0,", "stranger,");
    let folds = std::fs::read_to_string(study.runs().join("folds.json")).unwrap();
    assert!(
        folds.contains("case of a split file without a row in the clinical table")
            && folds.contains("stranger")
    );
}

#[test]
fn ids_that_were_read_as_numbers_are_told_as_such() {
    let study = Study::new();
    for name in ["clinical.csv", "splits/splits_0.csv", "splits/splits_1.csv"] {
        let text = std::fs::read_to_string(study.path(name)).unwrap();
        study.write(
            name,
            &text.replace("case_id", "CASE_ID").replace("case", "100").replace("CASE_ID", "case_id"),
        );
    }
    // pandas makes floats of a column with empty cells.
    for case in 8..12 {
        study.edit("splits/splits_0.csv", &format!(",100{case}\n"), &format!(",100{case}.0\n"));
    }
    study.fails(
        3,
        &["splits_0.csv", "8 training and 0 validation slides", "`10010.0` for `10010`", "dtype=str"],
    );
}

#[test]
fn a_slide_that_stands_twice_is_named_with_both_lines() {
    let study = Study::new();
    study.edit("clinical.csv", "slide4.svs", "slide3.svs");
    study.fails(3, &["clinical.csv", "slide3", "line 5", "line 6"]);
}

#[test]
fn a_patient_in_train_and_validation_is_named() {
    let study = Study::new();
    study.edit("splits/splits_1.csv", ",case4,case0", ",case0,case0");
    study.fails(3, &["splits_1.csv", "case0", "`train` (line 2)", "`val` (line 2)"]);
    // Two cases of one patient, by their barcodes.
    let study = Study::new();
    for (name, from, to) in [
        ("clinical.csv", "case8,slide8.svs,9.5,0", "TCGA-AA-0001-01,slide8.svs,9.5,0"),
        ("clinical.csv", "case1,slide1.svs,2.5,0", "TCGA-AA-0001-02,slide1.svs,9.5,0"),
        ("splits/splits_0.csv", "case8", "TCGA-AA-0001-01"),
        ("splits/splits_1.csv", "case8", "TCGA-AA-0001-01"),
        ("splits/splits_0.csv", "case1,", "TCGA-AA-0001-02,"),
        ("splits/splits_1.csv", "case1\n", "TCGA-AA-0001-02\n"),
    ] {
        study.edit(name, from, to);
    }
    study.fails(3, &["splits_0.csv", "patient TCGA-AA-0001", "slide1", "slide8"]);
}

#[test]
fn a_patient_with_two_outcomes_is_named() {
    let study = Study::new();
    study.edit("clinical.csv", "case1,slide1", "case0,slide1");
    study.fails(3, &["patient case0 has two outcomes", "event at 1.5 months", "event at 2.5 months"]);
}

#[test]
fn a_fold_without_events_is_reported_and_the_run_goes_on() {
    let study = Study::new();
    for i in 8..12 {
        study.edit(
            "clinical.csv",
            &format!("slide{i}.svs,{}.5,0", i + 1),
            &format!("slide{i}.svs,{}.5,1", i + 1),
        );
        if i == 10 {
            break;
        }
    }
    let run = study.runs();
    let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert!(summary["c_index"]["folds"][0].is_null() && !summary["c_index"]["folds"][1].is_null());
    assert_eq!(summary["c_index"]["mean"], summary["c_index"]["folds"][1]);
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("no validation slide has an event"));
}

#[test]
fn an_inverted_or_foreign_status_column_is_caught() {
    let study = Study::new();
    let text = std::fs::read_to_string(study.path("clinical.csv")).unwrap();
    let all_censored: String = text.lines().map(|line| line.replace(".5,0", ".5,1") + "\n").collect();
    study.write("clinical.csv", &all_censored);
    study.fails(3, &["clinical.csv", "all 12 slides are censored", "event = "]);
    let study = Study::new();
    study.edit("clinical.csv", "slide5.svs,6.5,0", "slide5.svs,6.5,alive");
    study.fails(3, &["clinical.csv", "line 7", "`censorship`", "found `alive`, expected 0 or 1", "slide5"]);
}

#[test]
fn folds_without_their_table_are_no_folds_of_a_simulation() {
    let study = Study::new();
    let (splits, out) = (study.path("splits"), study.path("cohort"));
    fail(&["simulate", "--splits", path(&splits), "--out", path(&out)], 2, &["--clinical"]);
    assert!(!out.exists());
}

#[test]
fn an_inner_part_without_a_patient_is_refused() {
    let study = Study::new();
    let texts =
        ["training.inner_validation is 0.01, of which not one training patient is held out", "fold 0"];
    study.fails_with(
        &["--set", "training.protocol=sound", "--set", "training.inner_validation=0.01"],
        3,
        &texts,
    );
}

/// The study's folds with a part `test`, in CLAM's form.
fn with_three_parts() -> Study {
    let study = Study::new();
    for (fold, val, test) in [(0, [4, 5], [8, 9]), (1, [8, 9], [0, 1])] {
        let train: Vec<usize> = (0..12).filter(|i| !val.contains(i) && !test.contains(i)).collect();
        let mut text = String::from(",train,val,test\n");
        for (row, i) in train.iter().enumerate() {
            let cell = |part: &[usize]| part.get(row).map_or(String::new(), |i| format!("case{i}"));
            text += &format!("{row},case{i},{},{}\n", cell(&val), cell(&test));
        }
        study.write(&format!("splits/splits_{fold}.csv"), &text);
    }
    study.edit("config.toml", "protocol = \"paper\"", "protocol = \"sound\"\ninner_validation = \"val\"");
    study
}

#[test]
fn a_part_that_cannot_choose_the_epoch_is_refused() {
    with_three_parts().runs();
    let study = with_three_parts();
    study.fails_with(
        &["--set", "training.protocol=paper"],
        3,
        &["training.inner_validation is \"val\", expected 0 in the `paper`"],
    );
    study.fails_with(
        &["--set", "cohort.evaluate=val"],
        3,
        &["cohort.evaluate is \"val\", expected \"test\"", "or leave it out"],
    );
    for wrong in ["test", "true"] {
        let set = format!("training.inner_validation={wrong}");
        study.fails_with(
            &["--set", &set],
            3,
            &["--set: `training.inner_validation` is", wrong, "expected a number, or \"val\""],
        );
    }
    study.fails_with(
        &["--set", "training.inner_validation=0.7"],
        3,
        &["is 0.7, expected a share in [0, 0.5], or \"val\""],
    );

    study.edit("splits/splits_1.csv", "case8,case0", ",case0");
    study.edit("splits/splits_1.csv", "case9,case1", ",case1");
    let texts = [
        "splits_1.csv",
        "fold 1: found train and test, expected train, val and test",
        "a share of the training patients",
    ];
    study.fails(3, &texts);

    let study = with_three_parts();
    for i in [4, 5] {
        study.edit(
            "clinical.csv",
            &format!("slide{i}.svs,{}.5,0", i + 1),
            &format!("slide{i}.svs,{}.5,1", i + 1),
        );
    }
    study.fails(
        3,
        &["splits_0.csv", "fold 0: all 2 slides of val are censored, expected events to choose the epoch by"],
    );

    // A patient whose two slides stand on two sides.
    let sides = [
        ("case0", "1.5", "patient case0 is in train (slide slide0) and in val (slide slide4)"),
        ("case8", "9.5", "patient case8 is in val (slide slide4) and in test (slide slide4)"),
    ];
    for (case, months, text) in sides {
        let study = with_three_parts();
        study.edit("clinical.csv", "case4,slide4.svs,5.5", &format!("{case},slide4.svs,{months}"));
        study.edit("splits/splits_0.csv", ",case4,", ",slide4,");
        study.fails(3, &["splits_0.csv", "fold 0", text]);
    }
}

#[test]
fn times_that_are_none_are_located() {
    for bad in ["-1", "NaN", "inf", "", "two"] {
        let study = Study::new();
        study.edit("clinical.csv", "slide5.svs,6.5", &format!("slide5.svs,{bad}"));
        let found = format!("found `{bad}`");
        study.fails(3, &["clinical.csv", "line 7", "`survival_months`", &found, "months, at least 0"]);
    }
}

#[test]
fn tables_that_are_no_tables_are_refused() {
    let study = Study::new();
    study.edit("clinical.csv", "censorship", "dead");
    study.fails(3, &["clinical.csv", "no column `censorship`", "survival_months, dead", "[cohort.columns]"]);
    let study = Study::new();
    study.edit("clinical.csv", "case5,slide5.svs,6.5,0", "case5,slide5.svs");
    study.fails(3, &["clinical.csv", "line 7", "2 cells, expected 4"]);
    let study = Study::new();
    study.write("clinical.csv", "case_id,slide_id,survival_months,censorship\n");
    study.fails(3, &["clinical.csv", "no rows"]);
    let study = Study::new();
    std::fs::remove_file(study.path("clinical.csv")).unwrap();
    study.fails(3, &["cannot read", "clinical.csv", "No such file"]);
    let study = Study::new();
    std::fs::remove_dir_all(study.path("splits")).unwrap();
    study.fails(3, &["splits: there is no such directory or file"]);
    std::fs::create_dir(study.path("splits")).unwrap();
    study.fails(3, &["splits", "no splits_0.csv"]);
    let study = Study::new();
    std::fs::remove_dir_all(study.path("features")).unwrap();
    study.fails(3, &["features"]);
}

#[test]
fn a_bag_that_does_not_fit_is_refused_before_training_with_what_would() {
    let study = Study::new();
    let budget = |text: &str| format!("training.memory_budget={text}");
    // Twelve slides of at most 13 patches a scale: the program itself takes more than a megabyte.
    study.fails_with(
        &["--set", &budget("1 MiB")],
        4,
        &["slide slide", "39 patches", "memory budget is 1 MiB", "raise training.memory_budget"],
    );
    study.fails_with(&["--set", &budget("12 KiB")], 3, &["memory_budget", "found `12 KiB`", "12 GiB"]);
}

#[test]
fn configurations_name_line_key_and_the_way_out() {
    let study = Study::new();
    study.edit("config.toml", "max_epochs", "max_epoch");
    study.fails(3, &["config.toml", "line 18", "`training.max_epoch`", "`training.max_epochs`"]);
    let study = Study::new();
    study.edit("config.toml", "protocol = \"paper\"\n", "");
    study.fails(3, &["training.protocol is missing", "`paper`", "`sound`"]);
    let study = Study::new();
    study.edit("config.toml", "embed_dim = 8", "embed_dim = \"wide\"");
    study.fails(3, &["line 13", "`model.embed_dim` is \"wide\", expected a whole number"]);
    let study = Study::new();
    study.edit("config.toml", "name = \"crossfusion\"", "name = \"crossfusio\"");
    study.fails(3, &["crossfusio", "crossfusion-wo-cp"]);
    let study = Study::new();
    study.edit("config.toml", "name = \"tiny\"", "name = tiny");
    study.fails(3, &["config.toml", "line 2"]);
    study.edit("config.toml", "name = tiny", "name = \"tiny\"");
    study.fails_with(
        &["--set", "training.learning_rate=-1"],
        3,
        &["training.learning_rate is -1", "positive"],
    );
    study.fails_with(&["--set", "training.sede=1"], 3, &["training.sede", "`training.seed`"]);
    study.fails_with(&["--set", "seed"], 2, &["expected KEY=VALUE"]);
    study.fails_with(&["--folds", "0-5"], 3, &["fold 2 was asked for, found folds 0 to 1"]);
    study.fails_with(
        &["--folds", "1-0"],
        2,
        &["found `1-0`, expected a number or a range, such as 3 or 0-4"],
    );
    study.fails_with(&["--folds", "5"], 3, &["fold 5 was asked for, found folds 0 to 1"]);
    study.fails_with(&["--device", "cuda:0"], 2, &["built for the CPU only"]);
}

#[test]
fn an_output_directory_with_other_files_is_left_alone() {
    let study = Study::new();
    study.write("run/thesis.docx", "do not lose me");
    study.fails(3, &["run", "is not empty and holds no run"]);
    assert_eq!(std::fs::read_to_string(study.path("run/thesis.docx")).unwrap(), "do not lose me");
    fail(&["evaluate", "--run", path(&study.path("run"))], 3, &["no config.toml", "cf-train cv"]);
    fail(&["report", "--run", path(&study.path("nowhere"))], 3, &["nowhere", "no config.toml"]);
}

#[test]
fn weights_of_another_model_or_width_are_refused() {
    let study = Study::new();
    let run = study.runs();
    let weights = run.join("fold_0/best.safetensors");
    let set = format!("training.initial_weights={}", path(&weights));
    std::fs::rename(&run, study.path("first")).unwrap();
    let set = set.replace("/run/", "/first/");
    study.fails_with(
        &["--set", &set, "--set", "model.embed_dim=16"],
        3,
        &["best.safetensors", "not of this model and width", "expected ["],
    );
    study.fails_with(
        &["--set", &set, "--set", "model.name=crossfusion-wo-cp"],
        3,
        &["best.safetensors", "not of this model and width"],
    );
    // Before anything is begun, or would be.
    assert!(!study.path("run").exists());
    let config = study.path("config.toml");
    let dry = ["cv", "--config", path(&config), "--dry-run", "--set"];
    fail(&[&dry[..], &["training.initial_weights=absent.safetensors"]].concat(), 3, &["absent.safetensors"]);

    let weights = study.path("first/fold_0/best.safetensors");
    let wide = study.path("wide");
    for scale in ["x5", "x10", "x20"] {
        let file = wide.join(format!("enc/{scale}/pt_files/w.pt"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        pt::write_features(&file, &features(3, DIM + 2)).unwrap();
    }
    let predict = |checkpoint: &Path, slide: &str, texts: &[&str]| {
        let arguments = ["predict", "--checkpoint", path(checkpoint), "--model", "crossfusion", "--features"];
        let rest = [path(&wide), "--backbone", "enc", "--slide", slide];
        fail(&[&arguments[..], &rest].concat(), 3, texts);
    };
    predict(&weights, "w", &["reads features of 6 columns", "has 8"]);
    predict(&weights, "missing", &["missing"]);
    let truncated = study.path("truncated.safetensors");
    std::fs::write(&truncated, &std::fs::read(&weights).unwrap()[..100]).unwrap();
    predict(&truncated, "w", &["truncated.safetensors"]);
    predict(&torch_file("wrong_list.pt"), "w", &["list"]);
}

#[test]
fn weights_that_are_not_finite_are_refused_wherever_they_are_read() {
    let study = Study::new();
    let run = study.runs();
    for (name, number) in [("nan", f32::NAN), ("infinite", f32::NEG_INFINITY)] {
        let mut bytes = std::fs::read(run.join("fold_0/best.safetensors")).unwrap();
        let last = bytes.last_chunk_mut::<4>().unwrap();
        *last = number.to_le_bytes();
        let weights = study.path(&format!("{name}.safetensors"));
        std::fs::write(&weights, bytes).unwrap();
        let texts = [path(&weights), "` holds NaN or an infinite number", "take another checkpoint"];
        let (config, out, features) =
            (study.path("config.toml"), study.path(&format!("run of {name}")), study.path("features"));
        let set = format!("training.initial_weights={}", path(&weights));
        fail(&["cv", "--config", path(&config), "--out", path(&out), "--set", &set], 3, &texts);
        let of = ["--checkpoint", path(&weights), "--model", "crossfusion", "--features", path(&features)];
        let of = [&of[..], &["--backbone", "enc", "--slide", "slide0"]].concat();
        fail(&[&["predict"], &of[..]].concat(), 3, &texts);
        fail(&[&["grad"], &of[..], &["--time-bin", "1", "--event"]].concat(), 3, &texts);
        let findings = cf_train(&["doctor", "--config", path(&config), "--set", &set]);
        let findings = String::from_utf8(findings.stdout).unwrap();
        assert!(findings.contains(texts[1]), "{findings}");
    }
}

#[test]
fn features_too_large_to_compute_with_stop_a_run_and_are_not_predicted_from() {
    let study = Study::new();
    let huge = |n: usize, number: f32| FeatureMatrix::new(vec![number; n * DIM], n, DIM).unwrap();
    // Without a projection nothing norms the features before their maps are convolved.
    study.edit("config.toml", "embed_dim = 8", "embed_dim = 6");
    for scale in ["x5", "x10", "x20"] {
        study.write_bag(2, scale, &huge(5, 1e30));
    }
    study.fails(
        3,
        &["epoch 1, slide slide2: the loss is NaN", "features are far larger than those of others"],
    );

    study.edit("config.toml", "name = \"crossfusion\"\nembed_dim = 6\nnum_heads = 2", "name = \"amil\"");
    for scale in ["x5", "x10", "x20"] {
        study.write_bag(2, scale, &features(5, DIM));
        study.write_bag(12, scale, &huge(5, f32::MAX));
    }
    std::fs::remove_dir_all(study.path("run")).unwrap();
    let (weights, features) = (study.runs().join("fold_0/best.safetensors"), study.path("features"));
    let of = ["--checkpoint", path(&weights), "--model", "amil", "--features", path(&features)];
    let of = [&of[..], &["--backbone", "enc", "--slide", "slide12"]].concat();
    let texts = ["slide slide12: ", " holds ", "expected finite numbers", "best.safetensors"];
    fail(&[&["predict"], &of[..]].concat(), 3, &texts);
    fail(&[&["grad"], &of[..], &["--time-bin", "1", "--event"]].concat(), 3, &texts);
}
