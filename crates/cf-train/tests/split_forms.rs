//! Splits of every form: what lies there is found, read into the same folds, and refused where it contradicts itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use cf_train::splits::{self, HeldOutPart, HeldOutUse, Part, SplitForm};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    fn fault(&self, evaluate: HeldOutPart, texts: &[&str]) {
        fault(self.path(), evaluate, texts);
    }
}

/// Train, validation and unused ids of every fold.
type Ids = (Vec<String>, Vec<String>, Vec<String>);

#[track_caller]
fn read(path: &Path, evaluate: HeldOutPart) -> (SplitForm, Vec<Ids>) {
    let set = splits::read(path).unwrap();
    let folds = set.select(HeldOutUse::Evaluate(evaluate)).unwrap();
    assert_eq!(folds.iter().map(|fold| fold.fold).collect::<Vec<_>>(), (0..folds.len()).collect::<Vec<_>>());
    (set.form, folds.into_iter().map(|fold| (fold.train, fold.validation, fold.unused)).collect())
}

#[track_caller]
fn fault(path: &Path, evaluate: HeldOutPart, texts: &[&str]) {
    let error = splits::read(path).and_then(|set| set.select(HeldOutUse::Evaluate(evaluate))).unwrap_err();
    let error = error.to_string();
    for text in texts {
        assert!(error.contains(text), "`{text}` is not in: {error}");
    }
}

fn ids(train: &[&str], validation: &[&str], unused: &[&str]) -> Ids {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    (owned(train), owned(validation), owned(unused))
}

#[test]
fn val_chooses_where_every_fold_has_all_three_parts() {
    let folder = Folder::new();
    folder.write("splits_0.csv", ",train,val,test\n0,s1,s3,s4\n1,s2,s5,\n");
    let folds = splits::read(folder.path()).unwrap().select(HeldOutUse::ChooseOnVal).unwrap();
    let fold = &folds[0];
    assert_eq!(
        (&fold.train[..], &fold.choosing[..], &fold.validation[..], &fold.unused[..]),
        (
            &["s1", "s2"].map(str::to_owned)[..],
            &["s3", "s5"].map(str::to_owned)[..],
            &["s4".to_owned()][..],
            &[][..]
        )
    );
    assert_eq!(fold.validated_part, Part::Test);
    let fault = |texts: &[&str]| {
        let error =
            splits::read(folder.path()).and_then(|set| set.select(HeldOutUse::ChooseOnVal)).unwrap_err();
        let error = error.to_string();
        assert!(texts.iter().all(|text| error.contains(text)), "{error}");
    };
    folder.write("splits_1.csv", ",train,val,test\n0,s1,,s4\n");
    fault(&["splits_1.csv", "fold 1: found train and test, expected train, val and test", "such as 0.2"]);
    folder.write("splits_1.csv", ",train,val\n0,s1,s4\n");
    fault(&["splits_1.csv", "fold 1: found train and val, expected"]);
    folder.write("splits_1.csv", ",train,val\n");
    fault(&["fold 1: found no part"]);
}

#[test]
fn the_released_form_has_two_ragged_columns() {
    let folder = Folder::new();
    folder.write("splits_0.csv", ",train,val\n0,a,c\n1,b,\n");
    folder.write("splits_1.csv", "\u{feff};train;val\r\n0;c;a\r\n1;;b\r\n");
    folder.write("splits_0_bool.csv", "nothing,of,interest\n");
    let wanted = vec![ids(&["a", "b"], &["c"], &[]), ids(&["c"], &["a", "b"], &[])];
    assert_eq!(read(folder.path(), HeldOutPart::Val), (SplitForm::Released, wanted));
    folder.fault(HeldOutPart::Test, &["no test part", "evaluate = \"val\""]);
    folder.write("splits_3.csv", ",train,val\n0,a,c\n");
    folder.fault(HeldOutPart::Val, &["found splits_3.csv but no splits_2.csv", "without a gap"]);
    std::fs::remove_file(folder.path().join("splits_3.csv")).unwrap();
    folder.write("splits_01.csv", ",train,val\n0,a,c\n");
    folder
        .fault(HeldOutPart::Val, &["splits_01.csv and splits_1.csv are both of fold 1", "remove or rename"]);
    // Zeros in front are no other number, a sign is none.
    std::fs::remove_file(folder.path().join("splits_1.csv")).unwrap();
    folder.write("splits_+2.csv", ",train,val\n0,a,c\n");
    assert_eq!(read(folder.path(), HeldOutPart::Val).1[1], ids(&["a"], &["c"], &[]));
    std::fs::remove_file(folder.path().join("splits_01.csv")).unwrap();
    folder.write("splits_1.csv", ",train,val\n0,a,a\n");
    folder.fault(
        HeldOutPart::Val,
        &["splits_1.csv", "case a stands in `train` (line 2) and in `val` (line 2)"],
    );
    folder.write("splits_1.csv", ",train,validation\n0,a,b\n");
    folder.fault(HeldOutPart::Val, &["splits_1.csv", "no column `val`", "(unnamed), train, validation"]);
    folder.write("splits_1.csv", ",training,val\n0,a,b\n");
    folder.fault(HeldOutPart::Val, &["no column `train`"]);
}

#[test]
fn clam_has_a_test_part_and_the_configuration_chooses() {
    let folder = Folder::new();
    folder.write("splits_0.csv", ",train,val,test\n0,s1,s3,s4\n1,s2,,\n");
    let (form, folds) = read(folder.path(), HeldOutPart::Val);
    assert_eq!((form, folds), (SplitForm::Clam, vec![ids(&["s1", "s2"], &["s3"], &["s4"])]));
    assert_eq!(read(folder.path(), HeldOutPart::Test).1, [ids(&["s1", "s2"], &["s4"], &["s3"])]);
    // One held-out part is validated whatever its name.
    folder.write("splits_0.csv", ",train,val,test\n0,s1,,s4\n1,s2,,\n");
    assert_eq!(read(folder.path(), HeldOutPart::Val).1, [ids(&["s1", "s2"], &["s4"], &[])]);
    folder.write("splits_0.csv", ",train,val,test\n0,s1,s3,s1\n");
    folder.fault(HeldOutPart::Val, &["s1", "`train` (line 2)", "`test` (line 2)"]);
}

#[test]
fn mmp_has_a_folder_per_fold_and_a_row_per_slide() {
    let folder = Folder::new();
    let rows = |cases: &[&str]| {
        let rows = cases.iter().enumerate().map(|(i, case)| format!("{case},{case}-{i}.svs,1\n"));
        format!("case_id,slide_id,os_survival_days\n{}", rows.collect::<String>())
    };
    folder.write("all/os_k=0/train.csv", &rows(&["a", "a", "b"]));
    folder.write("all/os_k=0/val.csv", &rows(&["c"]));
    folder.write("all/os_k=0/test.csv", &rows(&["d", "d"]));
    folder.write("all/os_k=1/train.csv", &rows(&["c"]));
    folder.write("all/os_k=1/val.csv", &rows(&["a"]));
    folder.write("all/os_k=1/test.csv", &rows(&["b"]));
    let all = folder.path().join("all");
    let wanted = vec![ids(&["a", "b"], &["c"], &["d"]), ids(&["c"], &["a"], &["b"])];
    assert_eq!(read(&all, HeldOutPart::Val), (SplitForm::Mmp, wanted.clone()));
    assert_eq!(read(&all, HeldOutPart::Test).1[0], ids(&["a", "b"], &["d"], &["c"]));
    assert_eq!(read(&all.join("os"), HeldOutPart::Val).1, wanted);

    folder.write("all/dss_k=0/train.csv", &rows(&["a"]));
    fault(&all, HeldOutPart::Val, &["several tasks: dss, os", "name one"]);
    assert_eq!(read(&all.join("os"), HeldOutPart::Val).1, wanted);
    fault(&all.join("dss"), HeldOutPart::Val, &["dss_k=0", "train.csv alone"]);
    folder.write("all/os_k=01/train.csv", &rows(&["a"]));
    fault(&all.join("os"), HeldOutPart::Val, &["os_k=01 and os_k=1 are both of fold 1"]);
    std::fs::remove_dir_all(all.join("os_k=01")).unwrap();
    folder.write("all/os_k=1/val.csv", &rows(&["c"]));
    fault(&all.join("os"), HeldOutPart::Val, &["os_k=1", "case c", "train.csv (line 2)", "val.csv (line 2)"]);
    folder.write("all/os_k=1/val.csv", "case,slide_id\na,a\n");
    fault(&all.join("os"), HeldOutPart::Val, &["val.csv", "no column `case_id`", "case, slide_id"]);
}

#[test]
fn stamp_lists_patients_in_json() {
    let folder = Folder::new();
    let text = r#"{"splits": [{"train_patients": ["a", "b"], "test_patients": ["c"]},
                              {"train_patients": ["c"], "test_patients": ["a", "b"]}]}"#;
    let file = folder.write("splits.json", text);
    let wanted = vec![ids(&["a", "b"], &["c"], &[]), ids(&["c"], &["a", "b"], &[])];
    for path in [folder.path(), &file] {
        for evaluate in [HeldOutPart::Val, HeldOutPart::Test] {
            assert_eq!(read(path, evaluate), (SplitForm::Stamp, wanted.clone()));
        }
    }
    folder.write("splits.json", &text.replace("[\"c\"]},\n", "[\"a\"]},\n"));
    folder.fault(
        HeldOutPart::Val,
        &["splits.json", "case a", "`train_patients` of split 0", "`test_patients` of split 0"],
    );
    folder.write("splits.json", "{\"splits\": [{\"train\": []}]}");
    folder.fault(HeldOutPart::Val, &["splits.json", "train_patients"]);
    folder.write("splits.json", "{\"splits\": []}");
    folder.fault(HeldOutPart::Val, &["splits.json", "no splits"]);
    // Ids that are numbers stand without quotes where Python wrote them as such.
    let numbers = r#"{"splits": [{"train_patients": [17, "b"], "test_patients": [90071992547409931]}]}"#;
    folder.write("splits.json", &format!("\u{feff}{numbers}"));
    assert_eq!(read(folder.path(), HeldOutPart::Val).1, [ids(&["17", "b"], &["90071992547409931"], &[])]);
    folder.write("splits.json", &numbers.replace("17", "17.0"));
    folder.fault(HeldOutPart::Val, &["splits.json", "found 17.0 as an id, expected a text", "line 1"]);
    let utf16: Vec<u8> = numbers.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.path().join("splits.json"), utf16).unwrap();
    folder.fault(HeldOutPart::Val, &["splits.json", "is UTF-16", "save it as UTF-8"]);
}

#[test]
fn patho_bench_has_a_column_per_fold() {
    let folder = Folder::new();
    let text = "case_id\tslide_id\tOS_days\tfold_0\tfold_1\na\ta1\t1\ttrain\ttest\na\ta2\t1\ttrain\ttest\n\
                b\tb\t2\ttest\ttrain\nc\tc\t3\ttrain\t\n";
    let file = folder.write("k=all.tsv", text);
    let wanted = vec![ids(&["a", "c"], &["b"], &[]), ids(&["b"], &["a"], &[])];
    for path in [folder.path(), &file] {
        assert_eq!(read(path, HeldOutPart::Val), (SplitForm::PathoBench, wanted.clone()));
    }
    folder.write("k=all.tsv", &text.replace("a2\t1\ttrain", "a2\t1\ttest"));
    folder.fault(HeldOutPart::Val, &["case a", "`fold_0` = train (line 2)", "`fold_0` = test (line 3)"]);
    folder.write("k=all.tsv", &text.replace("2\ttest", "2\tholdout"));
    folder.fault(HeldOutPart::Val, &["line 4, column `fold_0`", "found `holdout`", "train, val, test"]);
    folder.write("k=all.tsv", &text.replace("fold_1", "fold_2"));
    folder.fault(HeldOutPart::Val, &["column fold_2 but no column fold_1"]);
    folder.write("k=all.tsv", &text.replace("fold_1", "fold0"));
    folder.fault(HeldOutPart::Val, &["column fold_0 and column fold0 are both of fold 0"]);
    folder.write("k=all.tsv", &text.replace("fold", "part"));
    folder.fault(HeldOutPart::Val, &["no columns fold_0", "part_0"]);
}

#[test]
fn nothing_and_two_forms_are_told_apart() {
    let folder = Folder::new();
    let looked_for = ["splits_0.csv", "<task>_k=0/train.csv", "splits.json", "k=all.tsv"];
    folder.fault(HeldOutPart::Val, &looked_for);
    fault(&folder.path().join("nowhere"), HeldOutPart::Val, &["nowhere: there is no such directory or file"]);
    folder.write("splits_0.csv", ",train,val\n0,a,b\n");
    let json =
        folder.write("splits.json", r#"{"splits": [{"train_patients": ["a"], "test_patients": ["b"]}]}"#);
    folder.fault(HeldOutPart::Val, &["splits_K.csv (train, val) and splits.json", "one form"]);
    let set = splits::read(&json).unwrap();
    assert_eq!(set.validated_part(HeldOutUse::Evaluate(HeldOutPart::Val)).unwrap(), Part::Test);
}
