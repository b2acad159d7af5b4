//! `cf-train splits make` and `check`: what the files hold, and what is found wrong with them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cf_train::splits::{self, HeldOutPart, HeldOutUse};
use serde_json::Value;
use support::{cf_train, fail, path, succeed};

/// Patients of 12 sites of unequal size, some with two slides, a third with an event.
fn table(dir: &Path) -> std::path::PathBuf {
    let mut text = String::from("case_id,slide_id,survival_months,censorship\n");
    let mut n = 0;
    for site in 0..12 {
        for _ in 0..=(site % 4) * 3 {
            let case = format!("TCGA-{site:02}-{n:04}");
            for slide in 0..=usize::from(n % 5 == 0) {
                text += &format!("{case},{case}-{slide}.svs,{}.5,{}\n", 1 + n * 7 % 50, u8::from(n % 3 != 0));
            }
            n += 1;
        }
    }
    let file = dir.join("clinical.csv");
    std::fs::write(&file, text).unwrap();
    file
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(arguments)).unwrap()
}

fn make(clinical: &Path, out: &Path, more: &[&str]) -> Value {
    let arguments =
        ["splits", "make", "--clinical", path(clinical), "--preset", "mcat", "--out", path(out), "--json"];
    json(&[&arguments[..], more].concat())
}

fn validated(out: &Path) -> Vec<BTreeSet<String>> {
    let folds = splits::read(out).unwrap().select(HeldOutUse::Evaluate(HeldOutPart::Val)).unwrap();
    folds.into_iter().map(|fold| fold.validation.into_iter().collect()).collect()
}

fn numbers(check: &Value, part: &str, key: &str) -> Vec<u64> {
    check["folds"].as_array().unwrap().iter().map(|fold| fold[part][key].as_u64().unwrap()).collect()
}

fn spread(numbers: &[u64]) -> u64 {
    numbers.iter().max().unwrap() - numbers.iter().min().unwrap()
}

#[test]
fn folds_by_patient_are_a_partition_with_even_events() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    let out = dir.path().join("splits");
    let check = make(&clinical, &out, &[]);
    let folds = validated(&out);
    assert_eq!(folds.len(), 5);
    let all: BTreeSet<&String> = folds.iter().flatten().collect();
    assert_eq!((all.len(), folds.iter().map(BTreeSet::len).sum::<usize>()), (66, 66));
    assert_eq!(numbers(&check, "validation", "n_event_patients").iter().sum::<u64>(), 22);
    assert!(spread(&numbers(&check, "validation", "n_event_patients")) <= 1);
    assert!(spread(&numbers(&check, "validation", "n_patients")) <= 1);
    for (train, validation) in
        numbers(&check, "train", "n_patients").iter().zip(numbers(&check, "validation", "n_patients"))
    {
        assert_eq!(train + validation, 66);
    }
    assert_eq!(
        (check["errors"].clone(), check["warnings"].clone()),
        (serde_json::json!([]), serde_json::json!([]))
    );

    let text = std::fs::read_to_string(out.join("splits_0.csv")).unwrap();
    assert!(text.starts_with(",train,val\n0,TCGA-"), "{text}");
    assert_eq!(text.lines().count(), 1 + numbers(&check, "train", "n_patients")[0] as usize);
    fail(
        &["splits", "make", "--clinical", path(&clinical), "--preset", "mcat", "--out", path(&out)],
        3,
        &["holds splits_0.csv already", "--out"],
    );
}

#[test]
fn folds_repeat_by_seed_and_differ_between_seeds() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    for more in [&[][..], &["--group-by", "site"]] {
        let made = |name: &str, seed: &str| {
            let out = dir.path().join(format!("{name}{}", more.len()));
            make(&clinical, &out, &[more, &["--seed", seed]].concat());
            (0..5).map(|k| std::fs::read(out.join(format!("splits_{k}.csv"))).unwrap()).collect::<Vec<_>>()
        };
        let first = made("a", "1");
        assert_eq!(first, made("b", "1"));
        assert_ne!(first, made("c", "2"));
    }
}

/// The table with a column `hospital`, by case and row.
fn with_hospitals(clinical: &Path, hospital: impl Fn(&str, usize) -> String) {
    let text = std::fs::read_to_string(clinical).unwrap();
    let mut rows = text.lines();
    let mut edited = format!("{},hospital\n", rows.next().unwrap());
    for (index, row) in rows.enumerate() {
        edited += &format!("{row},{}\n", hospital(row.split(',').next().unwrap(), index));
    }
    std::fs::write(clinical, edited).unwrap();
}

#[test]
fn folds_by_a_column_keep_every_hospital_on_one_side() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    // Ids of no barcode; hospitals of another size than sites, one with a comma and blanks in its name.
    let text = std::fs::read_to_string(&clinical).unwrap().replace("TCGA-", "P");
    std::fs::write(&clinical, text).unwrap();
    let of_case = |case: &str| match case.rsplit('-').next().unwrap().parse::<usize>().unwrap() % 17 {
        0..=4 => "St. Anna, Wing 2".to_owned(),
        number => format!("H{}", number % 9),
    };
    with_hospitals(&clinical, |case, _| format!("\"{}\"", of_case(case)));
    let out = dir.path().join("splits");
    let by = ["--group-by", "column:hospital"];
    let made = make(&clinical, &out, &[&by[..], &["--folds", "4"]].concat());
    assert_eq!(made["group_column"], "hospital");
    let mut fold_of_hospital: BTreeMap<String, usize> = BTreeMap::new();
    let mut cases = BTreeSet::new();
    for fold in 0..4 {
        let text = std::fs::read_to_string(out.join(format!("splits_{fold}.csv"))).unwrap();
        let column = |index: usize| -> BTreeSet<String> {
            let ids = text.lines().skip(1).map(|row| row.split(',').nth(index).unwrap().to_owned());
            ids.filter(|id| !id.is_empty()).collect()
        };
        let (train, val) = (column(1), column(2));
        let hospitals = |ids: &BTreeSet<String>| ids.iter().map(|id| of_case(id)).collect::<BTreeSet<_>>();
        assert!(hospitals(&train).is_disjoint(&hospitals(&val)), "fold {fold}");
        assert_eq!(made["folds"][fold]["n_validation_sites"], hospitals(&val).len());
        for hospital in hospitals(&val) {
            assert_eq!(fold_of_hospital.insert(hospital, fold), None, "validated once");
        }
        assert!(val.iter().all(|case| cases.insert(case.clone())), "validated once");
    }
    assert_eq!((fold_of_hospital.len(), cases.len()), (10, 66));

    // Folds by patient do not keep them apart; the same count by hand.
    let mixed = dir.path().join("mixed");
    make(&clinical, &mixed, &[]);
    let check = |splits: &Path, more: &[&str]| {
        let arguments =
            ["splits", "check", "--clinical", path(&clinical), "--preset", "mcat", "--splits", path(splits)];
        succeed(&[&arguments[..], more].concat())
    };
    let told: Value =
        serde_json::from_str(&check(&mixed, &["--json", "--group-by", "column:hospital"])).unwrap();
    let parts: Vec<BTreeSet<String>> = validated(&mixed);
    let hospitals = |ids: &BTreeSet<String>| ids.iter().map(|id| of_case(id)).collect::<BTreeSet<_>>();
    for (fold, val) in parts.iter().enumerate() {
        let others = parts.iter().enumerate().filter(|(other, _)| *other != fold);
        let trained: BTreeSet<String> = others.flat_map(|(_, ids)| hospitals(ids)).collect();
        let shared: Vec<String> = hospitals(val).intersection(&trained).cloned().collect();
        assert_eq!(told["folds"][fold]["shared_sites"], serde_json::json!(shared));
        let n_patients = val.iter().filter(|id| trained.contains(&of_case(id))).count();
        assert_eq!(told["folds"][fold]["n_patients_of_shared_sites"], n_patients);
        let warning =
            format!("fold {fold}: {} groups by column `hospital` trained and validated on", shared.len());
        assert!(told["warnings"].to_string().contains(&warning), "{told}");
    }
    let shown = check(&mixed, &by);
    assert!(shown.contains("shared groups") && shown.contains("St. Anna, Wing 2"), "{shown}");
    assert!(!check(&out, &by).contains("warning"));
    let plain: Value = serde_json::from_str(&check(&mixed, &["--json"])).unwrap();
    assert!(
        plain.get("group_column").is_none() && plain["folds"][0]["n_validation_sites"].is_null(),
        "{plain}"
    );
}

#[test]
fn a_column_of_sites_gives_the_folds_of_sites_and_a_faulty_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    let sound = std::fs::read_to_string(&clinical).unwrap();
    with_hospitals(&clinical, |case, _| case[5..7].to_owned());
    let files = |by: &str| {
        let out = dir.path().join(by.replace(':', "-"));
        make(&clinical, &out, &["--group-by", by]);
        (0..5)
            .map(|k| std::fs::read_to_string(out.join(format!("splits_{k}.csv"))).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(files("site"), files("column:hospital"));

    let out = dir.path().join("none");
    let make = |by: &str, code: i32, texts: &[&str]| {
        let arguments =
            ["splits", "make", "--clinical", path(&clinical), "--preset", "mcat", "--out", path(&out)];
        fail(&[&arguments[..], &["--group-by", by]].concat(), code, texts);
        assert!(!out.exists());
    };
    make(
        "column:scanner",
        3,
        &["clinical.csv", "no column `scanner` to group by", "survival_months", "hospital"],
    );
    for none in ["hospital", "column:", "column: "] {
        make(none, 2, &["expected site, or column:NAME"]);
    }
    let again = |hospital: &dyn Fn(&str, usize) -> String| {
        std::fs::write(&clinical, &sound).unwrap();
        with_hospitals(&clinical, hospital);
    };
    again(&|case, _| {
        if matches!(&case[8..], "0003" | "0011") { "NA".to_owned() } else { case[5..7].to_owned() }
    });
    make(
        "column:hospital",
        3,
        &["2 of 66 patients have no value, expected one each: TCGA-", "-0003, TCGA-", "-0011;"],
    );
    // Line 2 and 3 are the two slides of one patient.
    again(&|case, row| if row == 1 { "other".to_owned() } else { case[5..7].to_owned() });
    let two = [
        "1 of 66 patients have more than one value, expected one each: TCGA-00-0000 (00 in line 2, other in line 3)",
    ];
    make("column:hospital", 3, &two);
    // A row that says nothing beside one that does.
    again(&|case, row| if row == 1 { String::new() } else { case[5..7].to_owned() });
    succeed(&[
        "splits",
        "make",
        "--clinical",
        path(&clinical),
        "--preset",
        "mcat",
        "--out",
        path(&out),
        "--group-by",
        "column:hospital",
    ]);
}

#[test]
fn folds_by_site_keep_every_site_on_one_side() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    let out = dir.path().join("splits");
    let check = make(&clinical, &out, &["--group-by", "site", "--folds", "4"]);
    let mut fold_of_site: BTreeMap<String, usize> = BTreeMap::new();
    for (fold, cases) in validated(&out).iter().enumerate() {
        for case in cases {
            assert_eq!(*fold_of_site.entry(case[5..7].to_owned()).or_insert(fold), fold, "site of {case}");
        }
    }
    assert_eq!(fold_of_site.len(), 12);
    for fold in check["folds"].as_array().unwrap() {
        assert_eq!(fold["shared_sites"], serde_json::json!([]));
        let edges: Vec<f64> = serde_json::from_value(fold["time_bin_edges_months"].clone()).unwrap();
        assert!(edges.len() == 5 && edges.is_sorted_by(|a, b| a < b), "{edges:?}");
        assert!(fold["n_validation_sites"].as_u64().unwrap() >= 2);
    }
    // Sites of 1, 4, 7 and 10 patients, three of each, in four folds of 16.5.
    let (patients, events) =
        (numbers(&check, "validation", "n_patients"), numbers(&check, "validation", "n_event_patients"));
    assert!(spread(&patients) <= 3 && spread(&events) <= 1, "{patients:?} {events:?}");

    let many = ["splits", "make", "--clinical", path(&clinical), "--preset", "mcat", "--group-by", "site"];
    let other = dir.path().join("other");
    fail(&[&many[..], &["--folds", "13", "--out", path(&other)]].concat(), 3, &["12 sites", "13 folds"]);
    std::fs::write(&clinical, std::fs::read_to_string(&clinical).unwrap().replace("TCGA-00", "P")).unwrap();
    fail(&[&many[..], &["--out", path(&other)]].concat(), 3, &["patient P-0000 has no TCGA barcode"]);
    assert!(!other.exists());
}

#[test]
fn stamp_files_hold_the_same_folds() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    let (released, stamp) = (dir.path().join("released"), dir.path().join("stamp"));
    make(&clinical, &released, &["--folds", "3"]);
    make(&clinical, &stamp, &["--folds", "3", "--format", "stamp"]);
    assert_eq!(validated(&released), validated(&stamp));
    let text = std::fs::read_to_string(stamp.join("splits.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let first = value["splits"][0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["test_patients", "train_patients"]);
}

#[test]
fn too_many_folds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = table(dir.path());
    let out = dir.path().join("splits");
    let arguments =
        ["splits", "make", "--clinical", path(&clinical), "--preset", "mcat", "--out", path(&out)];
    fail(
        &[&arguments[..], &["--folds", "23"]].concat(),
        3,
        &["clinical.csv", "22 of 66 patients have an event"],
    );
    fail(&[&arguments[..], &["--folds", "1"]].concat(), 2, &["--folds", "2.."]);
    fail(&["splits", "make", "--out", path(&out)], 2, &["--config"]);
    fail(
        &["splits", "make", "--clinical", path(&clinical), "--out", path(&out)],
        3,
        &["clinical.csv", "never guessed", "preset = \"mcat\""],
    );
}

#[test]
fn check_finds_every_fault_and_exits_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = dir.path().join("clinical.csv");
    std::fs::write(
        &clinical,
        "case_id,slide_id,survival_months,censorship\n\
         TCGA-AA-0001-01,s1,5,0\nTCGA-AA-0001-02,s2,5,0\nTCGA-AA-0002,s3,6,0\nTCGA-BB-0003,s4,7,1\n\
         TCGA-BB-0004,s5,8,1\nTCGA-CC-0005,s6,9,1\n",
    )
    .unwrap();
    let folds = dir.path().join("splits");
    std::fs::create_dir(&folds).unwrap();
    // A patient by two cases on both sides; a case on both sides; a stranger; TCGA-CC-0005 in no fold.
    let first = ",train,val\n0,TCGA-AA-0001-01,TCGA-AA-0001-02\n1,TCGA-AA-0002,TCGA-BB-0004\n2,TCGA-BB-0003,\n3,stranger,\n";
    std::fs::write(folds.join("splits_0.csv"), first).unwrap();
    let second = ",train,val\n0,TCGA-BB-0003,TCGA-AA-0002\n1,TCGA-BB-0004,TCGA-BB-0004\n";
    std::fs::write(folds.join("splits_1.csv"), second).unwrap();
    let arguments =
        ["splits", "check", "--clinical", path(&clinical), "--preset", "mcat", "--splits", path(&folds)];
    let output = support::cf_train(&arguments);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3));
    for text in [
        "error: fold 0: 1 patient trained and validated on: TCGA-AA-0001",
        "error: fold 1: TCGA-BB-0004 stands in `train` (line 3) and in `val` (line 3)",
        "error: fold 1: 1 patient trained and validated on: TCGA-BB-0004",
        "error: fold 1: no training patient has an event",
        "warning: 1 case of the split files without a row in the clinical table: stranger",
        "warning: 1 case of the clinical table in no fold: TCGA-CC-0005",
        "warning: 2 cases in folds, but validated by none: TCGA-AA-0001-01 TCGA-BB-0003",
    ] {
        assert!(shown.contains(text), "`{text}` is not in:\n{shown}");
    }
    fail(&arguments, 3, &["splits", "and 3 more faults"]);

    let output = support::cf_train(&[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let check: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(check["form"], "released");
    assert_eq!(check["ids_without_row"], serde_json::json!(["stranger"]));
    assert_eq!(check["folds"][0]["shared_patients"], serde_json::json!(["TCGA-AA-0001"]));
    assert_eq!(
        check["folds"][0]["train"],
        serde_json::json!({"n_ids": 4, "n_patients": 3, "n_slides": 3, "n_event_patients": 2})
    );
    assert_eq!(check["folds"][0]["shared_sites"], serde_json::json!(["AA", "BB"]));
    assert_eq!(check["folds"][0]["n_validation_sites"], 2);

    // A fold without validation events is a warning, so the command succeeds.
    std::fs::write(
        folds.join("splits_0.csv"),
        ",train,val\n0,TCGA-AA-0001-01,TCGA-BB-0003\n1,s2,s5\n2,s3,s6\n",
    )
    .unwrap();
    std::fs::write(folds.join("splits_1.csv"), ",train,val\n0,s4,TCGA-AA-0001\n1,s3,s5\n").unwrap();
    let shown = succeed(&arguments);
    assert!(shown.contains("warning: fold 0: no validation patient has an event"), "{shown}");
    assert!(!shown.contains("error:"), "{shown}");
}

/// pandas reads a column of whole numbers with gaps as floats, and writes `1000.0`; one without gaps loses zeros in front.
#[test]
fn ids_that_were_read_as_numbers_are_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let clinical = dir.path().join("clinical.csv");
    let folds = dir.path().join("splits");
    std::fs::create_dir(&folds).unwrap();
    let check = |ids: [&str; 4], split: &str| -> Value {
        let rows: String = ids.iter().map(|id| format!("{id},s{id},{}.5,0\n", id.len())).collect();
        std::fs::write(&clinical, format!("case_id,slide_id,survival_months,censorship\n{rows}")).unwrap();
        std::fs::write(folds.join("splits_0.csv"), format!(",train,val\n{split}")).unwrap();
        let arguments = [
            "splits",
            "check",
            "--clinical",
            path(&clinical),
            "--preset",
            "mcat",
            "--splits",
            path(&folds),
            "--json",
        ];
        serde_json::from_slice(&support::cf_train(&arguments).stdout).unwrap()
    };
    let all = |found: &Value, key: &str| found[key].to_string();
    let float = check(["1000", "1001", "1002", "1003"], "0,1000,1002.0\n1,1001,1003.0\n");
    let told = all(&float, "errors");
    assert!(told.contains("writes as another number: 2, such") && told.contains("dtype=str"), "{told}");
    assert!(told.contains("`1002.0` for `1002`"), "{told}");
    let zeros = check(["0001", "0002", "1002", "1003"], "0,1,1002\n1,2,1003\n2,stranger,\n");
    assert!(all(&zeros, "errors").contains("writes as another number: 2, such"), "{zeros}");
    assert!(all(&zeros, "errors").contains("`1` for `0001`"), "{zeros}");
    let table = check(["1000.0", "1001.0", "1002.0", "1003.0"], "0,1000,1002\n1,1001,1003\n");
    assert!(all(&table, "errors").contains("`1000` for `1000.0`"), "{table}");
    // Where every fold has patients, a run goes on.
    let some = check(["0001", "1001", "1002", "1003"], "0,1,1002\n1,1001,1003\n");
    assert_eq!(some["errors"], serde_json::json!([]));
    assert!(all(&some, "warnings").contains("writes as another number: 1, such"), "{some}");
    let stranger = check(["0001", "1001", "1002", "1003"], "0,17,1002\n1,1001,1003\n");
    assert!(!stranger.to_string().contains("another number"), "{stranger}");
}

#[test]
fn check_takes_the_configuration_and_its_choice_of_a_part() {
    let dir = tempfile::tempdir().unwrap();
    table(dir.path());
    let config = dir.path().join("study.toml");
    let text = "[cohort]\nname = \"study\"\nclinical = \"clinical.csv\"\npreset = \"mcat\"\n";
    std::fs::write(&config, text).unwrap();
    let out = dir.path().join("made");
    succeed(&["splits", "make", "--config", path(&config), "--out", path(&out)]);
    fail(&["splits", "check", "--config", path(&config)], 2, &["names no splits", "--splits"]);
    std::fs::write(&config, format!("{text}splits = \"made\"\n")).unwrap();
    let shown = succeed(&["splits", "check", "--config", path(&config)]);
    assert!(shown.contains("validated part `val`") && shown.contains("overlap"), "{shown}");

    // CLAM's form: the last validation case becomes the test part.
    for fold in 0..5 {
        let file = out.join(format!("splits_{fold}.csv"));
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines: Vec<String> = text.lines().map(|line| format!("{line},")).collect();
        lines[0] = ",train,val,test".to_owned();
        let cells: Vec<String> = lines[1].split(',').map(str::to_owned).collect();
        lines[1] = format!("{},{},,{}", cells[0], cells[1], cells[2]);
        std::fs::write(&file, lines.join("\n")).unwrap();
    }
    let check =
        |more: &[&str]| json(&[&["splits", "check", "--config", path(&config), "--json"], more].concat());
    let (val, test) = (check(&[]), check(&["--evaluate", "test"]));
    assert_eq!(
        (val["validated_part"].as_str(), test["validated_part"].as_str()),
        (Some("val"), Some("test"))
    );
    assert_eq!(numbers(&test, "validation", "n_patients"), [1; 5]);
    assert_eq!(numbers(&val, "unused", "n_patients"), [1; 5]);
    assert_eq!(check(&["--set", "cohort.evaluate=test"]), test);
    let choosing = ["--set", "training.inner_validation=val"];
    let mut chosen = check(&choosing);
    assert_eq!(
        (chosen["validated_part"].as_str(), chosen["choosing_part"].as_str()),
        (Some("test"), Some("val"))
    );
    assert!(test.get("choosing_part").is_none());
    chosen.as_object_mut().unwrap().remove("choosing_part");
    let uses_of_val = ["shared_sites", "n_patients_of_shared_sites"];
    let mut same = test.clone();
    for check in [&mut chosen, &mut same] {
        check.as_object_mut().unwrap().remove("warnings");
        for fold in check["folds"].as_array_mut().unwrap() {
            uses_of_val.iter().for_each(|key| drop(fold.as_object_mut().unwrap().remove(*key)));
        }
    }
    assert_eq!(chosen, same, "the same parts, for another use");
    assert_eq!(check(&[&["--evaluate", "test"][..], &choosing].concat())["choosing_part"], "val");
    fail(
        &["splits", "check", "--config", path(&config), "--evaluate", "val", choosing[0], choosing[1]],
        2,
        &["--evaluate val does not go with training.inner_validation"],
    );
    // A site of which the epoch is chosen is learned from, though none of it is trained on.
    let of_parts = |train: &str, val: &str, test: &str| format!(",train,val,test\n0,{train},{val},{test}\n");
    let site = |case: &str| case.split('-').nth(1).unwrap().to_owned();
    let made_by_hand = dir.path().join("by_hand");
    std::fs::create_dir(&made_by_hand).unwrap();
    let clinical = std::fs::read_to_string(dir.path().join("clinical.csv")).unwrap();
    let cases: Vec<&str> = clinical.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    let (val, held) = cases
        .iter()
        .flat_map(|a| cases.iter().map(move |b| (*a, *b)))
        .find(|(a, b)| a[..12] != b[..12] && site(a) == site(b))
        .unwrap();
    let train = cases.iter().find(|case| site(case) != site(val)).unwrap();
    std::fs::write(made_by_hand.join("splits_0.csv"), of_parts(train, val, held)).unwrap();
    let shared = |more: &[&str]| {
        let arguments =
            ["splits", "check", "--config", path(&config), "--splits", path(&made_by_hand), "--json"];
        let output = cf_train(&[&arguments[..], more].concat());
        let check: Value = serde_json::from_slice(&output.stdout).unwrap();
        check["folds"][0]["shared_sites"].clone()
    };
    assert_eq!(shared(&["--evaluate", "test"]), serde_json::json!([]));
    assert_eq!(shared(&choosing), serde_json::json!([site(val)]));
    let checked = ["splits", "check", "--config", path(&config)];
    let shown = succeed(&[&checked[..], &choosing].concat());
    assert!(shown.contains("validated part `test`, epoch chosen on `val`"), "{shown}");
    let n_val = numbers(&test, "unused", "n_patients")[0];
    assert!(shown.contains(&format!("fold 0: {n_val} patients of `val`,")), "{shown}");
    // The first patient of val is trained on as well.
    let file = out.join("splits_0.csv");
    let sound = std::fs::read_to_string(&file).unwrap();
    let slide_of = |text: &str| {
        let clinical = std::fs::read_to_string(dir.path().join("clinical.csv")).unwrap();
        let row = clinical.lines().find(|line| line.starts_with(&format!("{text},"))).unwrap().to_owned();
        row.split(',').nth(1).unwrap().trim_end_matches(".svs").to_owned()
    };
    let case = sound.lines().nth(2).unwrap().split(',').nth(2).unwrap().to_owned();
    std::fs::write(&file, format!("{sound}\n999,{},,\n", slide_of(&case))).unwrap();
    let unused = check(&["--evaluate", "test"]);
    assert_eq!(unused["errors"], serde_json::json!([]));
    let told = format!(
        "fold 0: 1 patient of val, which chooses the epoch, trained or validated on: {}",
        &case[..12]
    );
    fail(&[&checked[..], &choosing].concat(), 3, &[&told]);
    std::fs::write(&file, sound).unwrap();
    std::fs::write(&config, text.replace("preset", "preste")).unwrap();
    fail(
        &["splits", "check", "--config", path(&config)],
        3,
        &["line 4", "`cohort.preste`", "`cohort.preset`"],
    );
}
