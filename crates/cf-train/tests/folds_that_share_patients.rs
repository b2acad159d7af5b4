//! Folds that validate some patients twice: told by every command, and right in every number, by another way of counting.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{cf_train, cohort_of_several_slides, fail, path, succeed};

/// A validated slide of a fold.
#[derive(Debug, Clone)]
struct Row {
    fold: usize,
    case: String,
    slide: String,
    months: f64,
    is_event: bool,
    risk: f64,
}

/// What is compared: whose it is, months, event, risk.
type Subject = (String, f64, bool, f64);

/// Writes folds that validate the cases from and up to these places of the table, and train on the others.
fn write_folds(cohort: &Path, validated: &[std::ops::Range<usize>]) {
    let table = std::fs::read_to_string(cohort.join("clinical.csv")).unwrap();
    let mut cases: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    cases.dedup();
    std::fs::remove_dir_all(cohort.join("splits")).unwrap();
    std::fs::create_dir(cohort.join("splits")).unwrap();
    for (fold, validated) in validated.iter().enumerate() {
        let row = |(at, case): (usize, &&str)| {
            if validated.contains(&at) { format!("{at},,{case}\n") } else { format!("{at},{case},\n") }
        };
        let rows: String = cases.iter().enumerate().map(row).collect();
        std::fs::write(cohort.join(format!("splits/splits_{fold}.csv")), format!(",train,val\n{rows}"))
            .unwrap();
    }
}

/// What the program says on stderr with its warnings, and its exit code.
fn loudly(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_cf-train")).args(arguments).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn read_json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn rows(run: &Path, file: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for fold in 0..2 {
        let file = run.join(format!("fold_{fold}/{file}"));
        for row in csv::Reader::from_path(file).unwrap().deserialize() {
            let row: BTreeMap<String, String> = row.unwrap();
            rows.push(Row {
                fold,
                case: row["case_id"].clone(),
                slide: row["slide_id"].clone(),
                months: row["event_time_months"].parse().unwrap(),
                is_event: row["status"] == "event",
                risk: row["risk"].parse().unwrap(),
            });
        }
    }
    rows
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// The rows of each key, in the order of keys.
fn by<K: Ord>(rows: &[Row], key: impl Fn(&Row) -> K) -> BTreeMap<K, Vec<&Row>> {
    let mut groups: BTreeMap<K, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}

/// A subject with the mean risk of its rows.
fn subject(rows: &[&Row]) -> Subject {
    let first = rows[0];
    (first.case.clone(), first.months, first.is_event, mean(rows.iter().map(|row| row.risk)))
}

/// Harrell's C-index pair by pair, every subject as often as `times` says.
fn c_index(subjects: &[Subject], times: impl Fn(&str) -> f64) -> Option<f64> {
    let (mut right, mut all) = (0.0, 0.0);
    for (one, t, is_event, x) in subjects {
        for (other, u, other_event, y) in subjects {
            if *is_event && (t < u || (t == u && !other_event)) {
                let weight = times(one) * times(other);
                all += weight;
                right += weight * if (x - y).abs() <= 1e-8 { 0.5 } else { f64::from(u8::from(x > y)) };
            }
        }
    }
    (all > 0.0).then(|| right / all)
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }
}

/// Percentiles of the mean C-index where the patients of all folds are drawn once.
fn interval(folds: &[Vec<Subject>], seed: u64) -> [f64; 2] {
    let patients: BTreeSet<&str> = folds.iter().flatten().map(|subject| subject.0.as_str()).collect();
    let patients: Vec<&str> = patients.into_iter().collect();
    let mut seeds = SplitMix64(seed);
    let mut means = Vec::new();
    for _ in 0..2000 {
        let mut generator = SplitMix64(seeds.next());
        let mut times: BTreeMap<&str, f64> = BTreeMap::new();
        for _ in &patients {
            *times.entry(patients[generator.below(patients.len() as u64) as usize]).or_default() += 1.0;
        }
        let of_folds: Option<Vec<f64>> = folds
            .iter()
            .map(|fold| c_index(fold, |patient| times.get(patient).copied().unwrap_or(0.0)))
            .collect();
        means.extend(of_folds.map(|of_folds| mean(of_folds.iter().copied())));
    }
    means.sort_by(f64::total_cmp);
    [0.025, 0.975].map(|p| {
        let at = p * (means.len() - 1) as f64;
        let (low, high) = (means[at.floor() as usize], means[at.ceil() as usize]);
        low + (high - low) * at.fract()
    })
}

/// Chi-square of the log-rank test, from the sums at each time with an event.
fn log_rank(subjects: &[(Subject, bool)]) -> f64 {
    let (mut excess, mut variance) = (0.0, 0.0);
    let times: BTreeSet<u64> =
        subjects.iter().filter(|(subject, _)| subject.2).map(|(subject, _)| subject.1.to_bits()).collect();
    for time in times.into_iter().map(f64::from_bits) {
        let count = |of: &dyn Fn(&Subject, bool) -> bool| {
            subjects.iter().filter(|(subject, is_high)| of(subject, *is_high)).count() as f64
        };
        let n = count(&|subject, _| subject.1 >= time);
        let high = count(&|subject, is_high| subject.1 >= time && is_high);
        let d = count(&|subject, _| subject.1 == time && subject.2);
        excess += count(&|subject, is_high| subject.1 == time && subject.2 && is_high) - d * high / n;
        if n > 1.0 {
            variance += d * (high / n) * (1.0 - high / n) * (n - d) / (n - 1.0);
        }
    }
    excess * excess / variance
}

#[track_caller]
fn assert_close(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= 1e-10 * expected.abs().max(1.0),
        "{what}: {found}, expected {expected}"
    );
}

/// The text behind a mark of the page, up to the next tag.
#[track_caller]
fn shown<'a>(page: &'a str, mark: &str) -> &'a str {
    let rest = page.split(mark).nth(1).unwrap_or_else(|| panic!("`{mark}` is not in the page"));
    rest.split('<').next().unwrap().trim()
}

#[test]
fn every_number_counts_patients_as_often_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort_of_several_slides(dir.path(), 40);
    let config = cohort.join("config.toml");
    write_folds(&cohort, &[0..16, 8..24]);

    let doctor = succeed(&["doctor", "--config", path(&config)]);
    let told = "8 patients validated by several folds";
    assert!(doctor.contains("validated-twice") && doctor.contains(told), "{doctor}");
    let check = succeed(&["splits", "check", "--config", path(&config)]);
    assert!(check.contains(&format!("warning: {told}: SIM-")), "{check}");

    let run = dir.path().join("run");
    let (said, code) = loudly(&["cv", "--config", path(&config), "--out", path(&run)]);
    assert_eq!(code, Some(0), "{said}");
    let fact = "8 of 24 patients are validated by several folds";
    assert!(said.contains(fact), "{said}");

    let summary = read_json(&run.join("summary.json"));
    let rows = rows(&run, "predictions.csv");
    let (slides, patients) = (by(&rows, |row| row.slide.clone()), by(&rows, |row| row.case.clone()));
    assert!(rows.len() > slides.len() && slides.len() > patients.len(), "this shows nothing");
    let has_event = |of: &BTreeMap<String, Vec<&Row>>| of.values().filter(|rows| rows[0].is_event).count();
    for (key, n) in [
        ("n_slides", slides.len()),
        ("n_patients", patients.len()),
        ("n_events", has_event(&slides)),
        ("n_event_patients", has_event(&patients)),
        ("n_validated_twice", 8),
    ] {
        assert_eq!(summary[key], n, "{key}");
    }

    // Folds have their own slides and patients; a resample has each patient as often in one fold as in the other.
    let of_folds = |key: fn(&Row) -> (usize, String)| -> Vec<Vec<Subject>> {
        let mut folds = vec![Vec::new(), Vec::new()];
        by(&rows, key).into_iter().for_each(|((fold, _), rows)| folds[fold].push(subject(&rows)));
        folds
    };
    let levels = [
        ("c_index", of_folds(|row| (row.fold, row.slide.clone()))),
        ("patient_c_index", of_folds(|row| (row.fold, row.case.clone()))),
    ];
    for (key, folds) in &levels {
        let c_indices: Vec<f64> = folds.iter().map(|fold| c_index(fold, |_| 1.0).unwrap()).collect();
        for (at, c_index) in c_indices.iter().enumerate() {
            assert_close(&summary[key]["folds"][at], *c_index, key);
        }
        assert_close(&summary[key]["mean"], mean(c_indices.iter().copied()), key);
        for (at, end) in interval(folds, 7).into_iter().enumerate() {
            assert_close(&summary[key]["ci95"][at], end, "end of the interval");
        }
    }

    // Groups have every slide and patient once, at the mean of risks and cuts.
    let split = |of: &BTreeMap<String, Vec<&Row>>, cut: &dyn Fn(&[&Row]) -> f64| -> Vec<(Subject, bool)> {
        of.values().map(|rows| (subject(rows), subject(rows).3 >= cut(rows))).collect()
    };
    for (key, of) in [("log_rank_learned_cut", &slides), ("patient_log_rank_learned_cut", &patients)] {
        let cuts: Vec<f64> =
            summary[key]["cuts"].as_array().unwrap().iter().map(|c| c.as_f64().unwrap()).collect();
        let groups = split(of, &|rows| mean(rows.iter().map(|row| cuts[row.fold])));
        assert_eq!(summary[key]["n_high"], groups.iter().filter(|(_, is_high)| *is_high).count(), "{key}");
        assert_eq!(summary[key]["n_low"], groups.iter().filter(|(_, is_high)| !is_high).count(), "{key}");
        assert_close(&summary[key]["chi_square"], log_rank(&groups), key);
    }
    let pooled = median(slides.values().map(|rows| subject(rows).3).collect());
    assert_close(&summary["log_rank"]["chi_square"], log_rank(&split(&slides, &|_| pooled)), "pooled");

    // The page says the same, and why what it lacks is lacking.
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for key in ["n_slides", "n_patients", "n_events", "n_event_patients"] {
        assert_eq!(shown(&page, &format!("data-summary=\"{key}\">")), summary[key].to_string(), "{key}");
    }
    assert!(page.matches(fact).count() >= 5, "{}", page.matches(fact).count());
    assert!(page.contains("resampled once for all folds that validate them"));
    assert!(!page.contains("patients resampled within each fold") && !page.contains("with 95 % band"));
    let several =
        patients.values().filter(|rows| rows.iter().map(|row| &row.slide).collect::<BTreeSet<_>>().len() > 1);
    assert!(
        page.contains(&format!("{} of 24 patients have more than one slide, at most 2", several.count()))
    );
    for (level, n) in
        [("Slide level", format!("{} slides", slides.len())), ("Patient level", "24 patients".into())]
    {
        assert!(page.contains(&format!("{level}: {n}, cut at training medians")), "{level}: {n}");
    }
    assert!(page.contains("24 patients, each predicted by a model that was not trained on them"));
    for (key, folds) in &levels {
        for (at, fold) in folds.iter().enumerate() {
            let cell = format!("data-summary=\"{key}.folds.{at}\">");
            let limits = shown(page.split(&cell).nth(1).unwrap(), "</td><td>");
            let (low, high) =
                limits.split_once(" to ").unwrap_or_else(|| panic!("{key}, fold {at}: {limits}"));
            let c_index = c_index(fold, |_| 1.0).unwrap();
            assert!(low.parse::<f64>().unwrap() < c_index && c_index < high.parse().unwrap(), "{limits}");
        }
    }
    // By fold: validated patients, and their sides in the figure of cuts.
    for fold in 0..2 {
        let n_patients =
            by(&rows, |row| (row.fold, row.case.clone())).keys().filter(|of| of.0 == fold).count();
        assert_eq!(n_patients, 16);
        assert!(
            page.contains(&format!("Fold {fold}: ")) && page.contains(" of 16 with event"),
            "fold {fold}"
        );
    }

    let evaluated = cf_train(&["evaluate", "--run", path(&run)]);
    assert!(String::from_utf8(evaluated.stdout).unwrap().contains(fact));
}

#[test]
fn a_study_counts_a_patient_once_in_its_tables_and_its_tests() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort_of_several_slides(dir.path(), 40);
    write_folds(&cohort, &[0..16, 8..24]);
    let file = dir.path().join("study.toml");
    let text = "[study]\nname = \"Shared\"\ncohorts = [\"cohort\"]\nmodels = [\"amil\", \"dsmil\"]\nbackbones = [\"simulated\"]\n\
                seeds = [7]\n[training]\nprotocol = \"sound\"\nmax_epochs = 1\naccumulation = 4\n";
    std::fs::write(&file, format!("{text}{}", support::COHORT_TABLES)).unwrap();
    let study = dir.path().join("study");
    succeed(&["study", "plan", path(&file), "--out", path(&study)]);
    let (said, code) = loudly(&["study", "run", path(&study)]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("8 of 24 patients are validated by several folds").count(), 1, "{said}");
    succeed(&["study", "collect", path(&study)]);
    let results = read_json(&study.join("study.json"));
    for cell in results["cells"].as_array().unwrap() {
        assert_eq!((&cell["n_patients"], &cell["n_validated_twice"]), (&24.into(), &8.into()), "{cell}");
    }
    let compared = &results["comparisons"][0]["result"]["compared"];
    assert_eq!(compared["n_patients"], 24, "{compared}");
    let page = std::fs::read_to_string(study.join("report.html")).unwrap();
    assert!(page.contains("8 of 24 patients are validated by several folds"));
    let resampled =
        "patients resampled within folds (each once for all folds that validate them), alike for all seeds";
    assert!(page.contains(resampled), "{page}");
}

#[test]
fn folds_that_validate_the_same_are_refused_with_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort_of_several_slides(dir.path(), 40);
    let config = cohort.join("config.toml");
    write_folds(&cohort, &[0..10, 10..20, 0..10]);
    let texts =
        ["fold 2 (splits_2.csv) validates the same patients as fold 0 (splits_0.csv); remove one of the two"];
    let run = dir.path().join("run");
    let cv = ["cv", "--config", path(&config), "--out", path(&run)];
    for folds in [&[][..], &["--folds", "0,2"]] {
        fail(&[&cv, folds].concat(), 3, &texts);
    }
    fail(&["splits", "check", "--config", path(&config)], 3, &texts);
    let check = cf_train(&["splits", "check", "--config", path(&config), "--json"]);
    let check: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(check["folds"][2]["same_validation_as"], 0);
    assert!(check["folds"][1].get("same_validation_as").is_none());
    // They are told of as such, and not one by one.
    assert_eq!(check["patients_validated_twice"], serde_json::json!([]));
}

/// Repeated trainings on one test set can be run one at a time, each into a run of its own.
#[test]
fn folds_that_validate_the_same_are_trained_where_one_of_them_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort_of_several_slides(dir.path(), 40);
    let config = cohort.join("config.toml");
    write_folds(&cohort, &[0..10, 0..10, 0..10, 10..20]);
    let cv = |run: &str, folds: &str, more: &[&str]| {
        let run = dir.path().join(run);
        let settings = ["--set", "training.max_epochs=1", "--out", path(&run), "--folds", folds];
        loudly(&[&["cv", "--config", path(&config)], &settings[..], more].concat())
    };
    let told =
        "fold 1 (splits_1.csv) validates the same patients as fold 0 (splits_0.csv): they are one test";
    for (run, folds) in [("first", "0,3"), ("third", "2")] {
        let (said, code) = cv(run, folds, &[]);
        assert!(code == Some(0) && said.contains(told), "{said}");
    }
    let summary = dir.path().join("first/summary.json");
    let before = std::fs::read(&summary).unwrap();
    assert_eq!(read_json(&summary)["n_patients"], 20);
    // Their mean would count the patients twice, however the folds come together; of 1 and 2 neither is the first.
    for (run, folds, more) in
        [("first", "2", &["--resume"][..]), ("third", "1", &["--resume"]), ("new", "1,2", &[])]
    {
        let (said, code) = cv(run, folds, more);
        assert!(code == Some(3) && said.contains("into runs of their own"), "{said}");
    }
    assert_eq!(std::fs::read(&summary).unwrap(), before, "the run is as it was");
    assert!(!dir.path().join("new").exists());
}
