//! Clinical tables of every family, as their tools write them, give the same typed cases and slides.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};

use cf_train::RunConfig;
use cf_train::cohort::{ClinicalTable, Cohort, Slide};
use survival_metrics::{Outcome, Status};

const DAYS_PER_MONTH: f64 = 30.4375;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn try_read(clinical: &Path, settings: &[(&str, &str)]) -> cf_train::Result<ClinicalTable> {
    let settings: Vec<(String, String)> =
        [("cohort.name", "test"), ("cohort.clinical", clinical.to_str().unwrap())]
            .iter()
            .chain(settings)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
    ClinicalTable::read(&RunConfig::cohort_of_settings(&settings)?.0)
}

#[track_caller]
fn read(clinical: &Path, settings: &[(&str, &str)]) -> ClinicalTable {
    try_read(clinical, settings).unwrap()
}

#[track_caller]
fn cohort(clinical: &Path, settings: &[(&str, &str)]) -> Cohort {
    read(clinical, settings).into_cohort(&[]).unwrap()
}

#[track_caller]
fn fault(clinical: &Path, settings: &[(&str, &str)], texts: &[&str]) {
    let error = try_read(clinical, settings).unwrap_err().to_string();
    for text in texts {
        assert!(error.contains(text), "`{text}` is not in: {error}");
    }
}

fn slide(case: &str, slide: &str, months: f64, status: Status) -> Slide {
    Slide {
        case_id: case.to_owned(),
        slide_id: slide.to_owned(),
        patient_id: case.to_owned(),
        outcome: Outcome::new(months, status).unwrap(),
    }
}

/// What most tables here say: one patient with two slides and an event, one censored.
fn two_patients(unit: f64) -> Vec<Slide> {
    vec![
        slide("TCGA-2F-A9KO", "TCGA-2F-A9KO-01Z.A", 10.0 / unit, Status::Event),
        slide("TCGA-2F-A9KO", "TCGA-2F-A9KO-01Z.B", 10.0 / unit, Status::Event),
        slide("TCGA-2F-A9KP", "TCGA-2F-A9KP-01Z.C", 20.5 / unit, Status::Censored),
    ]
}

const MCAT: &str = ",case_id,slide_id,site,is_female,oncotree_code,age,survival_months,censorship,train,TP53_mut\n\
                    0,TCGA-2F-A9KO,TCGA-2F-A9KO-01Z.A.svs,2F,0,BLCA,63,10,0.0,1.0,0\n\
                    1,TCGA-2F-A9KO,TCGA-2F-A9KO-01Z.B.svs,2F,0,BLCA,63,10.0,0,1.0,0\n\
                    2,TCGA-2F-A9KP,TCGA-2F-A9KP-01Z.C.svs,2F,0,BLCA,66,20.5,1.0,1.0,1\n";

#[test]
fn mcat_tables_are_read_with_index_and_gene_columns() {
    let folder = Folder::new();
    let table = folder.write("tcga_blca_all_clean.csv", MCAT);
    for preset in ["mcat", "patch-gcn", "crossfusion"] {
        assert_eq!(cohort(&table, &[("cohort.preset", preset)]).slides(), two_patients(1.0), "{preset}");
    }
    let explicit = cohort(&table, &[("cohort.columns.censorship", "censorship")]);
    assert_eq!(explicit.slides(), two_patients(1.0));
    let cases = read(&table, &[("cohort.preset", "mcat")]).cases();
    assert_eq!(cases.iter().map(|case| case.n_slides).collect::<Vec<_>>(), [Some(2), Some(1)]);
}

#[test]
fn delimiters_line_ends_marks_quotes_and_blank_rows_change_nothing() {
    let folder = Folder::new();
    let quoted = MCAT.replace(",2F,", ",\"Site \"\"2F\"\", Bern\",");
    let forms = [
        ("semicolon.csv", MCAT.replace(',', ";")),
        ("tab.tsv", MCAT.replace(',', "\t")),
        ("windows.csv", format!("\u{feff}{}", MCAT.replace('\n', "\r\n"))),
        ("quoted.csv", quoted.clone()),
        (
            "quoted_semicolon.csv",
            quoted.replace(",\"Site \"\"2F\"\", Bern\",", ";\"Site; Bern\";").replace(',', ";"),
        ),
        ("spreadsheet.csv", format!("{MCAT},,,,,,,,,,\n,,,,,,,,,,\n")),
        ("spaces.csv", MCAT.replace(',', " , ")),
        ("no_last_line_end.csv", MCAT.trim_end().to_owned()),
    ];
    for (name, text) in forms {
        let table = folder.write(name, text);
        assert_eq!(cohort(&table, &[("cohort.preset", "mcat")]).slides(), two_patients(1.0), "{name}");
    }
}

fn zip_of(members: &[(&str, &str)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in members {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn zipped_tables_are_read_and_other_archives_refused() {
    let folder = Folder::new();
    let preset = [("cohort.preset", "mcat")];
    for method in [zip::CompressionMethod::Deflated, zip::CompressionMethod::Stored] {
        let members = [("tables/blca.csv", MCAT), ("__MACOSX/tables/._blca.csv", "shadow")];
        let table = folder.write("blca.csv.zip", zip_of(&members, method));
        assert_eq!(cohort(&table, &preset).slides(), two_patients(1.0));
    }
    let stored = |members: &[(&str, &str)]| zip_of(members, zip::CompressionMethod::Stored);
    let two = folder.write("two.zip", stored(&[("a.csv", MCAT), ("b.csv", MCAT)]));
    fault(&two, &preset, &["two.zip", "a.csv, b.csv", "exactly one"]);
    let none = folder.write("none.zip", stored(&[("readme.md", "hello")]));
    fault(&none, &preset, &["readme.md", "exactly one"]);
    fault(&folder.write("empty.zip", stored(&[])), &preset, &["empty.zip", "nothing", "exactly one"]);
    let workbook =
        folder.write("table.xlsx", stored(&[("[Content_Types].xml", ""), ("xl/workbook.xml", "")]));
    fault(&workbook, &preset, &["table.xlsx", "Excel workbook", "CSV"]);
    let whole = zip_of(&[("a.csv", MCAT)], zip::CompressionMethod::Deflated);
    fault(&folder.write("cut.zip", &whole[..whole.len() / 2]), &preset, &["cut.zip", "can't be unzipped"]);
}

#[test]
fn survpath_has_an_endpoint_choice_and_skips_what_was_not_recorded() {
    let folder = Folder::new();
    let table = folder.write(
        "tcga_brca.csv",
        "case_id,slide_id,survival_months,censorship,survival_months_dss,censorship_dss,survival_months_pfi,censorship_pfi\n\
         A,a1.svs,10,0,10,1,5,0\nA,a2.svs,10,0,10,1,5,0\nB,b.svs,20.5,1,20.5,0,20.5,1\nC,c.svs,3,0,NA,,3,1\n",
    );
    let read =
        |endpoint: &str| cohort(&table, &[("cohort.preset", "survpath"), ("cohort.endpoint", endpoint)]);
    assert_eq!(read("os").slides()[3], slide("C", "c", 3.0, Status::Event));
    let dss = read("dss");
    assert_eq!(
        dss.slides(),
        [
            slide("A", "a1", 10.0, Status::Censored),
            slide("A", "a2", 10.0, Status::Censored),
            slide("B", "b", 20.5, Status::Event)
        ]
    );
    assert_eq!((dss.dropped().len(), dss.dropped()[0].ids.as_slice()), (1, ["c".to_owned()].as_slice()));
    assert!(dss.dropped()[0].reason.contains("without a time or a status"));
    assert_eq!(read("pfi").slides()[0], slide("A", "a1", 5.0, Status::Event));
    fault(&table, &[("cohort.preset", "survpath"), ("cohort.endpoint", "pfs")], &["`pfs`", "os, dss, pfi"]);
    fault(&table, &[("cohort.preset", "survpath"), ("cohort.endpoint", "oss")], &["oss", "`os`", "`dss`"]);
    let refused =
        [("cohort.preset", "survpath"), ("cohort.endpoint", "dss"), ("cohort.missing_outcome", "error")];
    fault(&table, &refused, &["line 5", "`survival_months_dss`", "found `NA`", "missing_outcome = \"skip\""]);
    fault(
        &table,
        &[("cohort.endpoint", "dss"), ("cohort.columns.event", "x")],
        &["cohort.endpoint", "preset"],
    );
}

#[test]
fn mmp_counts_days_and_keeps_its_table_in_the_split_folders() {
    let folder = Folder::new();
    let header = "case_id,slide_id,tissue_source_site,mpp,os_survival_days,os_censorship,dss_survival_days,dss_censorship\n";
    let a1 = "TCGA-2F-A9KO,TCGA-2F-A9KO-01Z.A.svs,2F,0.25,10,0,,\n";
    let a2 = "TCGA-2F-A9KO,TCGA-2F-A9KO-01Z.B.svs,2F,0.25,10,0,,\n";
    let c = "TCGA-2F-A9KP,TCGA-2F-A9KP-01Z.C.svs,2F,0.25,20.5,1,8,0\n";
    let table = folder.write("mmp.csv", format!("{header}{a1}{a2}{c}"));
    let months = two_patients(DAYS_PER_MONTH);
    assert_eq!(cohort(&table, &[("cohort.preset", "mmp")]).slides(), months);
    let dss = cohort(&table, &[("cohort.preset", "panther"), ("cohort.endpoint", "dss")]);
    assert_eq!(
        dss.slides(),
        [slide("TCGA-2F-A9KP", "TCGA-2F-A9KP-01Z.C", 8.0 / DAYS_PER_MONTH, Status::Event)]
    );

    folder.write("splits/os_k=0/train.csv", format!("{header}{a1}{a2}"));
    folder.write("splits/os_k=0/test.csv", format!("{header}{c}"));
    folder.write("splits/os_k=1/train.csv", format!("{header}{c}"));
    let last = folder.write("splits/os_k=1/test.csv", format!("{header}{a1}{a2}"));
    let splits = folder.0.path().join("splits");
    assert_eq!(cohort(&splits, &[("cohort.preset", "mmp")]).slides(), months);
    std::fs::write(&last, format!("{header}{a1}{}", a2.replace(",10,", ",11,"))).unwrap();
    fault(&splits, &[("cohort.preset", "mmp")], &["test.csv", "01Z.B", "line 3", "train.csv"]);
    fault(&splits, &[("cohort.preset", "mcat")], &["is a folder", "preset `mmp`"]);
}

#[test]
fn stamp_joins_a_clini_table_with_a_slide_table() {
    let folder = Folder::new();
    let clini = folder.write(
        "clini.csv",
        "PATIENT,AGE,days,status\nTCGA-2F-A9KO,63,10,dead\nTCGA-2F-A9KP,66,20.5,Alive\nP3,50,,alive\nP4,51,7,alive\n",
    );
    let slides = folder.write(
        "slide.csv",
        "PATIENT,FILENAME\nTCGA-2F-A9KO,TCGA-2F-A9KO-01Z.A.h5\nTCGA-2F-A9KP,bags/TCGA-2F-A9KP-01Z.C.h5\n\
         TCGA-2F-A9KO,TCGA-2F-A9KO-01Z.B.h5\nP3,p3.h5\nP9,p9.h5\n",
    );
    let slides = slides.to_str().unwrap();
    let settings = [
        ("cohort.preset", "stamp"),
        ("cohort.slides", slides),
        ("cohort.columns.time", "days"),
        ("cohort.columns.time_unit", "days"),
        ("cohort.columns.event", "status"),
    ];
    let found = cohort(&clini, &settings);
    let mut wanted = two_patients(DAYS_PER_MONTH);
    wanted.swap(1, 2);
    assert_eq!(found.slides(), wanted);
    let dropped: Vec<(&str, &[String])> =
        found.dropped().iter().map(|dropped| (dropped.reason.as_str(), dropped.ids.as_slice())).collect();
    assert_eq!(
        dropped,
        [
            ("patient without a row in the slide table", ["P4".to_owned()].as_slice()),
            ("slide of a patient without a time or a status", &["p3".to_owned()]),
            ("slide whose patient is not in the clinical table", &["p9".to_owned()]),
            ("row without a time or a status", &["P3".to_owned()]),
        ]
    );
    fault(&clini, &settings[..2], &["preset `stamp`", "PATIENT, AGE, days, status", "event = ", "time_unit"]);
    fault(&clini, &settings[..3], &["preset `stamp`", "event = "]);
    let without_unit = [settings[0], settings[1], settings[2], settings[4]];
    fault(&clini, &without_unit, &["unit of column `days`", "time_unit"]);
    let foreign = folder.write("foreign.csv", "PATIENT,FILENAME\nX,x.h5\n");
    let mut other = settings;
    other[1].1 = foreign.to_str().unwrap();
    fault(&clini, &other, &["foreign.csv", "it says X", "the clinical table P4"]);
    let twice = folder.write("twice.csv", "PATIENT,FILENAME\nP4,x.h5\nP4,x.h5\n");
    other[1].1 = twice.to_str().unwrap();
    fault(&clini, &other, &["twice.csv", "slide x", "line 2", "line 3"]);
    let renamed = folder.write("renamed.csv", "case,file\nTCGA-2F-A9KO,q.h5\n");
    other[1].1 = renamed.to_str().unwrap();
    fault(&clini, &other, &["no column `PATIENT`", "case, file", "[cohort.slide_columns] case_id"]);
    let mut columns = other.to_vec();
    columns.extend([("cohort.slide_columns.case_id", "case"), ("cohort.slide_columns.slide_id", "file")]);
    assert_eq!(cohort(&clini, &columns).slides()[0].slide_id, "q");
}

#[test]
fn cbioportal_patients_meet_the_bags_that_are_called_after_them() {
    let folder = Folder::new();
    let text = "#Patient Identifier\tOverall Survival (Months)\tOverall Survival Status\n\
                #STRING\tNUMBER\tSTRING\n\
                PATIENT_ID\tOS_MONTHS\tOS_STATUS\tPFS_MONTHS\tPFS_STATUS\n\
                TCGA-2F-A9KO\t10\t1:DECEASED\t4\t1:PROGRESSION\n\
                TCGA-2F-A9KP\t20.5\t0:LIVING\t20.5\t0:CENSORED\n\
                TCGA-2F-A9KQ\t[Not Available]\t0:LIVING\t1\t0:CENSORED\n\
                TCGA-2F-A9KR\t7\t0:LIVING\t1\t0:CENSORED\n";
    let table = folder.write("data_clinical_patient.txt", text);
    let bags = [
        "TCGA-2F-A9KO-01Z.A",
        "TCGA-2F-A9KO-01Z.B",
        "TCGA-2F-A9KP-01Z.C",
        "TCGA-2F-A9KQ-01Z",
        "TCGA-ZZ-0000-01Z",
    ]
    .map(str::to_owned);
    let found = read(&table, &[("cohort.preset", "cbioportal")]).into_cohort(&bags).unwrap();
    assert_eq!(found.slides(), two_patients(1.0));
    let ids: Vec<&[String]> = found.dropped().iter().map(|dropped| dropped.ids.as_slice()).collect();
    assert_eq!(
        ids,
        [&["TCGA-2F-A9KQ".to_owned()], &["TCGA-2F-A9KR".to_owned()], &["TCGA-2F-A9KQ-01Z".to_owned()]]
    );
    let pfs = read(&table, &[("cohort.preset", "cbioportal"), ("cohort.endpoint", "pfs")]);
    assert_eq!(pfs.cases()[0].outcome, Outcome::event(4.0).unwrap());
    assert_eq!(pfs.cases()[0].n_slides, None);
    let error =
        read(&table, &[("cohort.preset", "cbioportal")]).into_cohort(&["slide1".to_owned()]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("TCGA-2F-A9KO") && error.contains("slide1") && error.contains("slides = "),
        "{error}"
    );

    let lying = folder.write("lying.txt", text.replace("20.5\t0:LIVING", "20.5\t1:LIVING"));
    fault(
        &lying,
        &[("cohort.preset", "cbioportal")],
        &["line 5", "`OS_STATUS`", "found `1:LIVING`", "line 4"],
    );
    let twice = folder.write("twice.txt", text.replace("A9KR", "A9KO"));
    fault(
        &twice,
        &[("cohort.preset", "cbioportal")],
        &["patient TCGA-2F-A9KO stands in line 4 and in line 7"],
    );
}

/// Rows as GDC exports them: one for every diagnosis and treatment of a case, `'--` for what was not recorded.
const GDC: &str = "case_id\tcase_submitter_id\tproject_id\tdays_to_death\tvital_status\tdays_to_last_follow_up\ttreatment_type\n\
    1f6c\tTCGA-2F-A9KO\tTCGA-BLCA\t10\tDead\t'--\tPharmaceutical Therapy, NOS\n\
    1f6c\tTCGA-2F-A9KO\tTCGA-BLCA\t10\tDead\t'--\tRadiation Therapy, NOS\n\
    2a7d\tTCGA-2F-A9KP\tTCGA-BLCA\t'--\tAlive\t20.5\tRadiation Therapy, NOS\n\
    2a7d\tTCGA-2F-A9KP\tTCGA-BLCA\t'--\tAlive\t'--\tSurgery, NOS\n\
    3b8e\tTCGA-2F-A9KQ\tTCGA-BLCA\t'--\tDead\t3\t'--\n\
    4c9f\tTCGA-2F-A9KR\tTCGA-BLCA\t'--\tNot Reported\t'--\t'--\n";

#[test]
fn gdc_takes_deaths_and_follow_ups_from_their_own_columns() {
    let folder = Folder::new();
    let prefixed = GDC
        .replace("case_id\tcase_submitter_id", "cases.case_id\tcases.submitter_id")
        .replace("days_to_death\tvital_status", "demographic.days_to_death\tdemographic.vital_status")
        .replace("days_to_last_follow_up", "diagnoses.days_to_last_follow_up");
    let bags = [
        "TCGA-2F-A9KO-01Z.A",
        "TCGA-2F-A9KO-01Z.B",
        "TCGA-2F-A9KP-01Z.C",
        "TCGA-2F-A9KQ-01Z",
        "TCGA-2F-A9KR-01Z",
    ]
    .map(str::to_owned);
    let preset = [("cohort.preset", "gdc")];
    for (name, text) in [("clinical.tsv", GDC), ("prefixed.tsv", prefixed.as_str())] {
        let table = folder.write(name, text);
        let found = read(&table, &preset).into_cohort(&bags).unwrap();
        assert_eq!(found.slides(), two_patients(DAYS_PER_MONTH), "{name}");
        // Nobody knows when the one died, or what became of the other; that one row of a case lacks its time is no loss.
        let dropped: Vec<&[String]> = found.dropped().iter().map(|dropped| dropped.ids.as_slice()).collect();
        let without_outcome = ["TCGA-2F-A9KQ".to_owned(), "TCGA-2F-A9KR".to_owned()];
        let bags_of_these = ["TCGA-2F-A9KQ-01Z".to_owned(), "TCGA-2F-A9KR-01Z".to_owned()];
        assert_eq!(dropped, [&without_outcome[..], &bags_of_these[..]], "{name}");
    }
    let disagrees = folder.write("disagrees.tsv", GDC.replacen("\t10\tDead", "\t12\tDead", 1));
    fault(&disagrees, &preset, &["patient TCGA-2F-A9KO", "line 3", "line 2", "event at"]);
    let negative = folder.write("negative.tsv", GDC.replace("\t20.5\t", "\t-7\t"));
    fault(&negative, &preset, &["line 4, column `days_to_last_follow_up`", "`-7`", "days, at least 0"]);
    let clinical = folder.write("all.tsv", GDC.replace("days_to_last_follow_up", "follow_up"));
    fault(&clinical, &preset, &["no column `days_to_last_follow_up`", "censored_time = "]);
    // The same columns by their names; TCGA's case ids are the submitter's.
    let table = folder.write("clinical.tsv", GDC);
    let by_name = [
        ("cohort.preset", "gdc"),
        ("cohort.columns.time", "days_to_death"),
        ("cohort.columns.censored_time", "days_to_last_follow_up"),
        ("cohort.columns.event", "vital_status"),
    ];
    assert_eq!(read(&table, &by_name).into_cohort(&bags).unwrap().slides(), two_patients(DAYS_PER_MONTH));
    fault(&table, &[], &["it is never guessed", "preset = \"gdc\" in [cohort]"]);
}

#[test]
fn gdc_archives_give_their_clinical_table() {
    let folder = Folder::new();
    let members = [
        ("exposure.tsv", "case_id\n1f6c\n"),
        ("clinical.tsv", GDC),
        ("family_history.tsv", "case_id\n1f6c\n"),
    ];
    let preset = [("cohort.preset", "gdc")];
    let wanted = read(&folder.write("clinical.tsv", GDC), &preset).cases();
    assert_eq!(wanted.len(), 2);
    let zipped = folder.write("clinical.zip", zip_of(&members, zip::CompressionMethod::Deflated));
    let packed = folder.write("clinical.cart.2024-05-06.tar.gz", gzip(&tar_of(&members)));
    let gzipped = folder.write("clinical.tsv.gz", gzip(GDC.as_bytes()));
    for table in [zipped, packed.clone(), gzipped] {
        assert_eq!(read(&table, &preset).cases(), wanted, "{}", table.display());
    }
    let without = folder.write("other.tar.gz", gzip(&tar_of(&[members[0], members[2]])));
    fault(&without, &preset, &["exposure.tsv, family_history.tsv", "one clinical.tsv"]);
    let whole = std::fs::read(packed).unwrap();
    let cut = folder.write("cut.tar.gz", &whole[..whole.len() / 2]);
    fault(&cut, &preset, &["cut.tar.gz", "can't be"]);
    let short = tar_of(&members);
    let short = folder.write("short.tar.gz", gzip(&short[..1400]));
    fault(&short, &preset, &["short.tar.gz", "can't be unpacked"]);
}

#[test]
fn every_member_of_a_gzip_file_is_read() {
    let folder = Folder::new();
    let preset = [("cohort.preset", "gdc")];
    let wanted = read(&folder.write("clinical.tsv", GDC), &preset).cases();
    let parts = |at: usize| [gzip(&GDC.as_bytes()[..at]), gzip(&GDC.as_bytes()[at..])];
    let whole = GDC.len();
    // As `cat` and `bgzip` leave them, with an empty member and with the zeros of a tape behind.
    let joined = |at: usize, padding: usize| [&parts(at).concat()[..], &vec![0; padding]].concat();
    for (at, padding) in [(0, 0), (whole / 2, 0), (whole / 2, 512), (whole - 1, 1), (whole, 0)] {
        let table = folder.write("clinical.tsv.gz", joined(at, padding));
        assert_eq!(read(&table, &preset).cases(), wanted, "cut at {at}, {padding} zeros");
    }
    let [first, second] = parts(whole / 2);
    let padded = folder.write("padded.tsv.gz", [&first[..], &[0; 40], &second].concat());
    assert_eq!(read(&padded, &preset).cases(), wanted);
    let tail = folder.write("tail.tsv.gz", [&first[..], &second, b"PK"].concat());
    let end = format!("2 bytes after byte {} are no gzip", first.len() + second.len());
    fault(&tail, &preset, &["tail.tsv.gz", &end, "pack the file again"]);
    let cut = folder.write("cut.tsv.gz", [&first[..], &second[..second.len() - 5]].concat());
    fault(&cut, &preset, &["cut.tsv.gz", "can't be"]);
}

fn tar_of(members: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn patho_bench_tables_name_slides_in_either_column() {
    let folder = Folder::new();
    for column in ["slide_id", "filename"] {
        let table = folder.write(
            "k=all.tsv",
            format!(
                "case_id\t{column}\tOS\tOS_event\tOS_days\tfold_0\n\
                 TCGA-2F-A9KO\tTCGA-2F-A9KO-01Z.A\t1\t1\t10\ttrain\n\
                 TCGA-2F-A9KO\tTCGA-2F-A9KO-01Z.B\t1\t1\t10\ttrain\n\
                 TCGA-2F-A9KP\tTCGA-2F-A9KP-01Z.C\t0\t0\t20.5\ttest\n"
            ),
        );
        let found = cohort(&table, &[("cohort.preset", "patho-bench")]);
        assert_eq!(found.slides(), two_patients(DAYS_PER_MONTH));
    }
}

#[test]
fn explicit_columns_read_any_table() {
    let folder = Folder::new();
    let table = folder.write(
        "hospital.csv",
        "Fall;Schnitt;Jahre;Vitalstatus\nTCGA-2F-A9KO;TCGA-2F-A9KO-01Z.A;1;verstorben\n\
         TCGA-2F-A9KO;TCGA-2F-A9KO-01Z.B;1;verstorben\nTCGA-2F-A9KP;TCGA-2F-A9KP-01Z.C;2.05;lebend\n",
    );
    let columns = [
        ("cohort.columns.case_id", "Fall"),
        ("cohort.columns.slide_id", "Schnitt"),
        ("cohort.columns.time", "Jahre"),
        ("cohort.columns.time_unit", "years"),
        ("cohort.columns.event", "Vitalstatus"),
        ("cohort.columns.event_values", "[\"verstorben\"]"),
        ("cohort.columns.censored_values", "[\"lebend\"]"),
    ];
    assert_eq!(
        cohort(&table, &columns).slides(),
        two_patients(1.0 / 1.2)
            .iter()
            .map(|s| {
                let months = if s.case_id.ends_with('O') { 12.0 } else { 2.05 * 12.0 };
                slide(&s.case_id, &s.slide_id, months, s.outcome.status())
            })
            .collect::<Vec<_>>()
    );
    fault(&table, &columns[..5], &["line 2", "`Vitalstatus`", "found `verstorben`", "event_values"]);
    fault(&table, &columns[..6], &["event_values", "censored_values", "both or none"]);
    let mut both = columns.to_vec();
    both[6].1 = "[\"Verstorben\"]";
    fault(&table, &both, &["`verstorben`", "`event_values`", "`censored_values`"]);

    // Columns override a preset one by one, the sign included.
    let table = folder.write("mixed.csv", MCAT.replace("censorship", "died"));
    let found = cohort(&table, &[("cohort.preset", "mcat"), ("cohort.columns.event", "died")]);
    assert_eq!(found.slides()[0].outcome.status(), Status::Censored);
    let found = cohort(&table, &[("cohort.preset", "mcat"), ("cohort.columns.censorship", "died")]);
    assert_eq!(found.slides(), two_patients(1.0));
}

#[test]
fn the_sign_is_never_guessed() {
    let folder = Folder::new();
    let table = folder.write("mcat.csv", MCAT);
    fault(
        &table,
        &[],
        &[
            "mcat.csv",
            "never guessed",
            "survival_months, censorship",
            "preset = \"mcat\"",
            "event = ",
            "censorship = ",
        ],
    );
    let other = folder.write("other.csv", "case_id,slide_id,survival_months,status\na,a,1,1\n");
    fault(&other, &[], &["never guessed", "case_id, slide_id, survival_months, status", "mcat, survpath"]);
    let both = [("cohort.columns.event", "status"), ("cohort.columns.censorship", "status")];
    fault(&other, &both, &["both `event` and `censorship`"]);
    let misspelt = [("cohort.preset", "mcta")];
    fault(&other, &misspelt, &["`mcta`", "the nearest is `mcat`"]);
}

#[test]
fn a_unit_that_a_name_contradicts_is_asked_for() {
    let folder = Folder::new();
    let table = folder.write("days.csv", "case_id,slide_id,OS_days,dead\na,a,100,1\n");
    let settings = [("cohort.columns.time", "OS_days"), ("cohort.columns.event", "dead")];
    fault(&table, &settings, &["`OS_days` speaks of days", "time_unit = \"days\"", "\"months\""]);
    let months = |unit: &'static str| {
        cohort(&table, &[settings[0], settings[1], ("cohort.columns.time_unit", unit)]).slides()[0]
            .outcome
            .time()
    };
    assert_eq!((months("months"), months("days")), (100.0, 100.0 / DAYS_PER_MONTH));
}

#[test]
fn faults_of_a_table_name_line_and_column() {
    let folder = Folder::new();
    let preset = [("cohort.preset", "mcat")];
    let check =
        |name: &str, bytes: Vec<u8>, texts: &[&str]| fault(&folder.write(name, bytes), &preset, texts);
    check(
        "twice.csv",
        MCAT.replace("age", "site").into_bytes(),
        &["line 1", "`site`", "columns 4 and 7", "rename"],
    );
    check("none.csv", b"\n\n".to_vec(), &["none.csv", "is empty"]);
    check("header.csv", MCAT.lines().next().unwrap().as_bytes().to_vec(), &["no rows"]);
    check("page.csv", b"<!DOCTYPE html><html>".to_vec(), &["web page"]);
    check("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1".to_vec(), &["Excel workbook", "CSV"]);
    check("wide.csv", b"\xff\xfec\0a\0".to_vec(), &["UTF-16", "UTF-8"]);
    let utf16 = |bytes: fn(u16) -> [u8; 2]| MCAT.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    check("little.csv", utf16(u16::to_le_bytes), &["is UTF-16", "UTF-8"]);
    check("big.csv", utf16(u16::to_be_bytes), &["is UTF-16", "UTF-8"]);
    for line in ["sep=,", "SEP=;", "\"sep=\t\""] {
        let text = format!("\u{feff}{line}\r\n{MCAT}");
        check("excel.csv", text.into_bytes(), &[&format!("line 1: `{line}`"), "Excel", "delete the line"]);
    }
    let latin = [MCAT.replace("BLCA,66", "BLCA,66 J").as_bytes(), b"x,\xe4\n"].concat();
    check("latin.csv", latin, &["line 5, byte 3", "not UTF-8"]);
    check(
        "comma.csv",
        MCAT.replace(',', ";").replace("20.5", "20,5").into_bytes(),
        &["line 4", "20,5", "decimal point"],
    );
    check("short.csv", MCAT.replace(",1.0,1\n", ",1.0\n").into_bytes(), &["line 4", "10 cells, expected 11"]);
    check(
        "case.csv",
        MCAT.replace("2,TCGA-2F-A9KP,", "2,,").into_bytes(),
        &["line 4, column `case_id`", "an id"],
    );
    check(
        "mixed.csv",
        MCAT.replace("20.5,1.0", "20.5,alive").into_bytes(),
        &["line 4", "found `alive`", "as in line 2"],
    );
    check(
        "two.csv",
        MCAT.replace("20.5,1.0", "20.5,2").into_bytes(),
        &["line 4", "`censorship`", "found `2`", "0 or 1"],
    );
    check(
        "empty.csv",
        MCAT.replace("20.5,", ",").into_bytes(),
        &["line 4", "`survival_months`", "found ``", "skip"],
    );
    let column = "no column `survival_months`";
    check(
        "column.csv",
        MCAT.replace("survival_months", "time").into_bytes(),
        &[column, "(unnamed), case_id", "time = "],
    );
    let presets = folder.write("portal.csv", "PATIENT_ID,OS_MONTHS,OS_STATUS\nA,1,1:DECEASED\n");
    fault(&presets, &preset, &["no column `case_id`", "those of preset = \"cbioportal\""]);
    let skipped =
        folder.write("skipped.csv", MCAT.replace(",10,", ",,").replace(",10.0,", ",,").replace("20.5", "NA"));
    fault(&skipped, &[preset[0], ("cohort.missing_outcome", "skip")], &["none of its 3 rows"]);
    let genes: Vec<String> = (0..100).map(|i| format!("GENE{i}")).collect();
    let genes = folder.write("genes.csv", format!("{}\n{}\n", genes.join(","), ["1"; 100].join(",")));
    fault(&genes, &preset, &["GENE23 and 76 more"]);
}
