//! The program from the outside: results, exit codes, and what it says of bad files.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Eight subjects. C-index by hand: of 20 comparable pairs (7 with a, 6 b, 4 d, 2 f, 1 g) one is discordant and one tied in risk.
const PATIENTS: &str = "\
id,months,died,censorship,arm,site,risk
a,1,1,0,x,1,0.9
b,2,1,0,x,1,0.8
c,3,0,1,x,2,0.7
d,4,1,0,x,2,0.6
e,4,0,1,y,1,0.6
f,6,1,0,y,2,0.2
g,7,1,0,y,1,0.3
h,9,0,1,y,2,0.1
";

struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory") }
    }

    fn file(&self, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join("patients.csv");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Runs `survstat` on a file with these bytes.
    fn run(&self, bytes: impl AsRef<[u8]>, arguments: &str) -> Output {
        let path = self.file(bytes);
        let words = arguments.split_whitespace();
        let mut command = Command::new(env!("CARGO_BIN_EXE_survstat"));
        command.args(words).arg("--csv").arg(path).output().expect("started")
    }

    fn json(&self, arguments: &str) -> Value {
        let output = self.run(PATIENTS, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Text of the error of a run that must fail with this code; stdout stays empty.
    fn error(&self, bytes: impl AsRef<[u8]>, arguments: &str, code: i32) -> String {
        let output = self.run(bytes, arguments);
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(output.stdout.is_empty());
        text.replace(self.dir.path().to_str().expect("UTF-8"), "DIR")
    }
}

const CINDEX: &str = "cindex --time months --event died --risk risk";

#[test]
fn cindex_prints_the_agreed_keys() {
    let expected =
        json!({"c_index": 0.925, "concordant": 18, "discordant": 1, "tied_risk": 1, "tied_time": 1});
    for line in [CINDEX, "cindex --time months --event censorship --censored-is 1 --risk risk"] {
        let found = Bench::new().json(&format!("{line} --json"));
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(found[key], *value, "{key}");
        }
        let [se, lower, upper] =
            ["standard_error", "lower", "upper"].map(|key| found[key].as_f64().expect(key));
        assert!(se > 0.0 && lower < 0.925 && 0.925 < upper && upper < 1.0, "{found}");
    }
}

/// Tables of cBioPortal open with lines that describe the columns.
#[test]
fn comments_above_the_header_are_no_rows() {
    let bench = Bench::new();
    let described = "#Patient,Overall survival,Died\n#STRING,NUMBER,NUMBER\n#1,1,1\n";
    let tabs = [described, PATIENTS].concat().replace(',', "\t");
    let output = bench.run(tabs, &format!("{CINDEX} --json"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&found["c_index"], &found["discordant"]), (&json!(0.925), &json!(1)));
    // A `#` alone is the name of an index column.
    let output = bench.run(PATIENTS.replacen("id", "#", 1), &format!("{CINDEX} --json"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["c_index"], json!(0.925));
    let text = bench.error([described, PATIENTS].concat().replace("0.9", "?"), CINDEX, 3);
    assert!(text.contains("line 5"), "{text}");
    // Neither a header nor a row is a comment for its first letter.
    let header_with_hash = format!("#{PATIENTS}");
    let rows_with_hash = [described, &PATIENTS.replace("\na,", "\n#a,")].concat();
    for text in [header_with_hash, rows_with_hash] {
        let output = bench.run(text, &format!("{CINDEX} --json"));
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&found["c_index"], &found["discordant"]), (&json!(0.925), &json!(1)));
    }
}

#[test]
fn several_risks_are_named() {
    let all = Bench::new().json(&format!("{CINDEX} --risk months --json"));
    assert_eq!(all[0]["risk"], "risk");
    assert_eq!(
        (&all[1]["risk"], &all[1]["concordant"], &all[1]["discordant"]),
        (&json!("months"), &json!(0), &json!(19))
    );
}

#[test]
fn strata_leave_only_pairs_within_them() {
    let c = Bench::new().json(&format!("{CINDEX} --strata site --json"));
    // Site 1: a-b, a-e, a-g, b-e, b-g. Site 2: d-f, d-h, f-h.
    assert_eq!((&c["concordant"], &c["discordant"]), (&json!(8), &json!(0)));
}

#[test]
fn km_prints_the_agreed_keys() {
    let km = Bench::new().json("km --time months --event died --ci plain --json");
    let keys: Vec<&String> = km.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["at_risk", "lower", "median", "median_lower", "median_upper", "survival", "time", "upper"]
    );
    assert_eq!(km["time"], json!([1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 9.0]));
    assert_eq!(km["at_risk"], json!([8, 7, 6, 5, 3, 2, 1]));
    let survival: Vec<f64> =
        km["survival"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    let by_hand = [0.875, 0.75, 0.75, 0.6, 0.4, 0.2, 0.2];
    assert!(survival.iter().zip(by_hand).all(|(s, hand)| (s - hand).abs() < 1e-15), "{survival:?}");
    assert_eq!(km["median"], 6.0);
    let lower = km["lower"][0].as_f64().expect("a limit");
    assert!((lower - (0.875 - 1.959_963_984_540_054 * (0.875_f64 * 0.125 / 8.0).sqrt())).abs() < 1e-12);
}

#[test]
fn km_by_group_is_a_list_with_levels() {
    let curves = Bench::new().json("km --time months --event died --by arm --json");
    assert_eq!((&curves[0]["level"], &curves[1]["level"]), (&json!("x"), &json!("y")));
    assert_eq!(curves[1]["time"], json!([4.0, 6.0, 7.0, 9.0]));
    // Nobody has died by month 4, where the limits of this form are undefined.
    assert_eq!(curves[1]["lower"][0], Value::Null);
}

#[test]
fn restricted_means_of_groups_are_areas_and_compared_with_the_first() {
    let bench = Bench::new();
    let means = bench.json("rmst --time months --event died --by arm --tau 7 --json");
    // x: S is 3/4, 1/2, 1/2, 0 at 1, 2, 3, 4. y: 1 up to 6, then 2/3.
    let areas = [1.0 + 0.75 + 0.5 * 2.0, 6.0 + 2.0 / 3.0];
    for (group, area) in means["groups"].as_array().expect("groups").iter().zip(areas) {
        assert!((group["rmst"].as_f64().expect("a number") - area).abs() < 1e-12, "{group}");
    }
    assert_eq!((&means["groups"][0]["n_events"], &means["groups"][1]["n_events"]), (&json!(3), &json!(2)));
    let difference = means["differences"][0]["difference"].as_f64().expect("a number");
    assert!((difference - (areas[1] - areas[0])).abs() < 1e-12);
    assert_eq!(means["differences"][0]["first"], "y");

    let before = bench.json("rmst --time months --event died --by arm --tau 0.5 --json");
    assert_eq!((&before["groups"][0]["rmst"], &before["groups"][0]["upper"]), (&json!(0.5), &json!(0.5)));
    assert_eq!(before["differences"][0]["p_value"], Value::Null, "nobody has died yet");
    assert_eq!(before["differences"][0]["difference"], 0.0);
    // Means that nobody changes may differ.
    let rows = "months,died,arm\n2,1,a\n2,1,a\n3,1,b\n3,1,b\n";
    let apart = bench.run(rows, "rmst --time months --event died --by arm --tau 3 --json");
    let apart: Value = serde_json::from_slice(&apart.stdout).expect("JSON");
    let of = |key: &str| apart["differences"][0][key].clone();
    assert_eq!((of("difference"), of("lower"), of("p_value")), (json!(1.0), Value::Null, Value::Null));
    let text =
        String::from_utf8(bench.run(PATIENTS, "rmst --time months --event died --by arm --tau 0.5").stdout);
    let text = text.expect("UTF-8");
    assert!(text.starts_with("Restricted mean of `months` up to 0.5\n\ngroup  n  events    mean"), "{text}");
    assert!(
        text.ends_with("-: neither mean has a standard error, so that the difference has none\n"),
        "{text}"
    );

    // The curve of all ends above 0 at 9; that of `x` at 0, so that it has a mean up to any time.
    let error = bench.error(PATIENTS, "rmst --time months --event died --tau 10", 3);
    assert!(error.contains("follow-up ends at 9, expected no end before --tau 10"), "{error}");
    let error = bench.error(PATIENTS, "rmst --time months --event died --by arm --tau 10", 3);
    assert!(error.contains("follow-up of `y` ends at 9"), "{error}");
    let all = bench.json("rmst --time months --event died --json");
    assert_eq!((&all["tau"], all.get("differences")), (&json!(9.0), None));
}

#[test]
fn people_see_survival_at_the_times_they_ask_for() {
    let output = Bench::new().run(PATIENTS, "km --time months --event died --at 4,12");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // Up to month 4 three have died and two were censored, one of them at 4, where five were at risk.
    assert!(text.contains("\n4           5       3         2    0.6000 "), "{text}");
    assert!(text.contains("\n12          0       5         3         -          -          -\n"), "{text}");
    assert!(text.ends_with("-: after the last observed time, where nobody was seen\n"), "{text}");
    let error = Bench::new().error(PATIENTS, "km --time months --event died --at=-1", 2);
    assert!(error.contains("such as 12,36,60"), "{error}");
}

#[test]
fn logrank_prints_the_agreed_keys() {
    let test = Bench::new().json("logrank --time months --event died --by arm --json");
    let keys: Vec<&String> = test.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["chi_square", "df", "groups", "log10_p", "p_value"]);
    // x: 4/8 + 3/7 + 1/5 expected of 3 deaths.
    let expected = 0.5 + 3.0 / 7.0 + 0.2;
    let variance = 0.25 + 12.0 / 49.0 + 4.0 / 25.0;
    let chi_square = (3.0_f64 - expected).powi(2) / variance;
    assert!((test["chi_square"].as_f64().expect("a number") - chi_square).abs() < 1e-12);
    assert_eq!(test["df"], 1);
    let group = &test["groups"][0];
    assert_eq!((&group["level"], &group["n"], &group["observed"]), (&json!("x"), &json!(4), &json!(3.0)));
    assert!((group["expected"].as_f64().expect("a number") - expected).abs() < 1e-12);
    let p = test["p_value"].as_f64().expect("a number");
    assert!((p.log10() - test["log10_p"].as_f64().expect("a number")).abs() < 1e-12);
}

#[test]
fn logrank_splits_a_risk_at_its_median() {
    let test = Bench::new().json("logrank --time months --event died --risk risk --strata site --json");
    let levels: Vec<&Value> =
        test["groups"].as_array().expect("groups").iter().map(|g| &g["level"]).collect();
    assert_eq!(levels, ["low", "high"]);
    assert_eq!((&test["groups"][0]["n"], &test["groups"][1]["n"]), (&json!(3), &json!(5)));
}

/// Two risks below and two above 0.25, in another file.
const TRAINING: &str = "risk\n0.1\n0.2\n0.3\n5\n";

impl Bench {
    /// The JSON of a run with `TRAINING` as `train.csv`.
    fn json_with_training(&self, arguments: &str) -> Value {
        let path = self.dir.path().join("train.csv");
        std::fs::write(&path, TRAINING).expect("written");
        self.json(&arguments.replace("train.csv", path.to_str().expect("UTF-8")))
    }
}

#[test]
fn a_risk_is_cut_where_the_command_line_says() {
    let bench = Bench::new();
    let line = "logrank --time months --event died --risk risk --json";
    // High: a to e and g; low: f and h. Deaths at 1, 2, 4 (high, of 8, 7 and 5 with 6, 5 and 3 at high risk), at 6 (low, of 3 with 1 at
    // high risk) and at 7 (high, of 2 with 1).
    let expected = 6.0 / 8.0 + 5.0 / 7.0 + 3.0 / 5.0 + 1.0 / 3.0 + 1.0 / 2.0;
    let variance: f64 = [(6.0, 8.0), (5.0, 7.0), (3.0, 5.0), (1.0, 3.0), (1.0, 2.0)]
        .map(|(high, all): (f64, f64)| high / all * (1.0 - high / all))
        .iter()
        .sum();
    let chi_square = (4.0_f64 - expected).powi(2) / variance;
    let given = bench.json(&format!("{line} --cut 0.25"));
    let learned = bench.json_with_training(&format!("{line} --cut-from train.csv"));
    for test in [&given, &learned] {
        assert_eq!((&test["groups"][0]["n"], &test["groups"][1]["n"]), (&json!(2), &json!(6)));
        assert_eq!(test["groups"][1]["observed"], json!(4.0));
        let found = test["chi_square"].as_f64().expect("a number");
        assert!((found - chi_square).abs() < 1e-12, "{found}, not {chi_square}");
    }
    assert_eq!(given["cut"], json!({"column": "risk", "value": 0.25, "source": "given"}));
    assert_eq!((&learned["cut"]["value"], &learned["cut"]["source"]), (&json!(0.25), &json!("other-median")));
    assert!(learned["cut"]["file"].as_str().is_some_and(|file| file.ends_with("train.csv")), "{learned}");
    // Of the subjects themselves 0.6 is in the middle, and a risk at the cut is high.
    let own = bench.json(line);
    assert_eq!((&own["cut"]["value"], &own["cut"]["source"]), (&json!(0.6), &json!("own-median")));
    assert!(own["cut"]["file"].as_str().is_some_and(|file| file.ends_with("patients.csv")), "{own}");
    let by_hand = bench.json(&format!("{line} --cut 0.6"));
    assert_eq!((&by_hand["groups"], &by_hand["chi_square"]), (&own["groups"], &own["chi_square"]));

    // f and h: at 6 half of the two die, at 9 none.
    let curves =
        bench.json_with_training("km --time months --event died --risk risk --cut-from train.csv --json");
    assert_eq!((&curves[0]["level"], &curves[0]["survival"]), (&json!("low"), &json!([0.5, 0.5])));
    assert_eq!(curves[0]["cut"], learned["cut"]);
    assert_eq!(curves[1]["at_risk"][0], 6);
}

#[test]
fn a_cut_is_told_to_people_with_its_source() {
    let bench = Bench::new();
    let train = bench.dir.path().join("train.csv");
    std::fs::write(&train, TRAINING).expect("written");
    let train = train.to_str().expect("UTF-8");
    for command in ["km", "logrank"] {
        let text = |cut: &str| {
            let output =
                bench.run(PATIENTS, &format!("{command} --time months --event died --risk risk{cut}"));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout)
                .expect("UTF-8")
                .replace(bench.dir.path().to_str().expect("UTF-8"), "DIR")
        };
        for (cut, said) in [
            (
                String::new(),
                "high: risk of at least 0.6, its median in DIR/patients.csv, the file that is split\n\n",
            ),
            (" --cut 2.5e-1".to_owned(), "high: risk of at least 0.25, as --cut gives it\n\n"),
            (
                format!(" --cut-from {train}"),
                "high: risk of at least 0.25, its median in DIR/train.csv (--cut-from)\n\n",
            ),
        ] {
            let text = text(&cut);
            assert!(text.starts_with(said), "{text}");
        }
    }
    let figure = bench.dir.path().join("curves.svg");
    let line =
        format!("logrank --time months --event died --risk risk --cut 0.25 --svg {}", figure.display());
    assert!(bench.run(PATIENTS, &line).status.success());
    let svg = std::fs::read_to_string(figure).expect("drawn");
    assert!(svg.contains("high: risk of at least 0.25; log-rank p = "), "{svg}");
}

#[test]
fn a_cut_that_cannot_be_is_refused() {
    let bench = Bench::new();
    let train = bench.dir.path().join("train.csv");
    let train_path = train.to_str().expect("UTF-8");
    let error =
        |more: &str, code| bench.error(PATIENTS, &format!("logrank --time months --event died {more}"), code);
    for (more, said) in [
        (format!("--risk risk --cut 1 --cut-from {train_path}"), "cannot be used with"),
        ("--by arm --cut 1".to_owned(), "--risk"),
        (format!("--by arm --cut-from {train_path}"), "--risk"),
        ("--risk risk --cut half".to_owned(), "expected a finite number, such as -2.5"),
        ("--risk risk --cut inf".to_owned(), "expected a finite number, such as -2.5"),
    ] {
        let text = error(&more, 2);
        assert!(text.contains(said), "{more}: {text}");
    }
    let text = error("--risk risk --cut -1e-3", 3);
    assert!(
        text.contains("high: risk of at least -0.001, as --cut gives it: the group `low` is empty"),
        "{text}"
    );
    assert!(text.contains("hint: `risk` goes from 0.1 to 0.9; cut between them with --cut"), "{text}");
    let text = error("--risk risk --cut 0.95", 3);
    assert!(text.contains("the group `high` is empty"), "{text}");
    let text = error(&format!("--risk risk --cut-from {train_path}"), 3);
    assert!(text.contains("hint: --cut-from wants the path of a readable CSV file"), "{text}");
    for (bytes, said) in [
        ("score\n1\n", "DIR/train.csv: no column is called `risk`"),
        ("risk\n1\ninf\n", "DIR/train.csv line 3: column `risk`: found `inf`, expected a finite number"),
        ("risk\n", "DIR/train.csv: the file has a header but no rows"),
    ] {
        std::fs::write(&train, bytes).expect("written");
        let text = error(&format!("--risk risk --cut-from {train_path}"), 3);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn people_get_tables() {
    let bench = Bench::new();
    let text = |arguments: &str| String::from_utf8(bench.run(PATIENTS, arguments).stdout).expect("UTF-8");
    let cindex = text(CINDEX);
    assert!(cindex.contains("8 subjects, 5 events"), "{cindex}");
    assert!(
        cindex
            .contains("risk   0.9250     0.6770     0.9864          18           1          1          1\n"),
        "{cindex}"
    );
    let km = text("km --time months --event died");
    assert!(km.starts_with("8 subjects, 5 events, median survival 6 (95% limits "), "{km}");
    assert!(km.contains("\n3           6       0         1    0.7500"), "{km}");
    let logrank = text("logrank --time months --event died --by arm");
    assert!(logrank.contains("x      4         3      1.13\n"), "{logrank}");
    assert!(logrank.contains("df = 1, p = "), "{logrank}");
}

#[test]
fn every_subcommand_shows_an_example() {
    for command in ["cindex", "km", "rmst", "logrank"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_survstat")).args([command, "--help"]).output().expect("started");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && text.contains(&format!("survstat {command} --csv ")), "{text}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let bench = Bench::new();
    assert!(bench.error(PATIENTS, "cindex --time months --event died", 2).contains("--risk"));
    assert!(bench.error(PATIENTS, "logrank --time months --event died", 2).contains("--by"));
    assert!(bench.error(PATIENTS, "km --time months --event died --level 95", 2).contains("such as 0.95"));
    assert!(bench.error(PATIENTS, &format!("{CINDEX} --censored-is 2"), 2).contains("0..=1"));
}

#[test]
fn a_censoring_column_wants_its_meaning() {
    let text = Bench::new().error(PATIENTS, "km --time months --event censorship", 2);
    assert!(text.contains("`censorship`") && text.contains("--censored-is 1 if 1 means censored"), "{text}");
    let bench = Bench::new();
    let rows = "months,is_alive,cens_status,risk\n1,0,dead,3\n2,1,alive,1\n3,0,dead,2\n";
    let text = bench.error(rows, "cindex --time months --risk risk --event is_alive", 2);
    assert!(text.contains("`is_alive`"), "{text}");
    // True and False are numbers, and so is what stands before a colon.
    for cells in
        [["True", "False", "True"], ["1:CENSORED", "0:EVENT", "1:CENSORED"], ["1:None", "0:Some", "1:None"]]
    {
        let [a, b, c] = cells;
        let rows = format!("months,censored,risk\n1,{a},3\n2,{b},1\n3,{c},2\n");
        let text = bench.error(rows, "cindex --time months --risk risk --event censored", 2);
        assert!(text.contains("`censored`") && text.contains("--censored-is 1"), "{text}");
    }
    // Words say it themselves.
    let by = |event: &str| {
        let output = bench.run(rows, &format!("cindex --time months --risk risk --event {event} --json"));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(by("cens_status"), by("is_alive --censored-is 1"));
}

#[test]
fn a_missing_file_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_survstat"))
        .args(CINDEX.split_whitespace())
        .args(["--csv", "nowhere/patients.csv"])
        .output()
        .expect("started");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(3));
    assert!(text.starts_with("error: cannot read nowhere/patients.csv: No such file"), "{text}");
}

#[test]
fn a_missing_column_lists_the_columns_and_the_nearest() {
    let text = Bench::new().error(PATIENTS, "km --time month --event died", 3);
    assert_eq!(
        text,
        "error: DIR/patients.csv: no column is called `month`; the columns are `id`, `months`, `died`, \
         `censorship`, `arm`, `site`, `risk`\n  hint: did you mean `months`?\n"
    );
    let text = Bench::new().error(PATIENTS, "km --time follow_up --event died", 3);
    assert!(text.ends_with("hint: name one of these columns\n"), "{text}");
}

/// The error of the patients' file with one cell replaced.
fn error_with(from: &str, to: &str) -> String {
    assert_eq!(PATIENTS.matches(from).count(), 1, "{from}");
    Bench::new().error(PATIENTS.replace(from, to), CINDEX, 3)
}

#[test]
fn bad_cells_are_named_by_line_and_column() {
    for (time, shown) in
        [("NaN", "`NaN`"), ("-3", "`-3`"), ("inf", "`inf`"), ("soon", "`soon`"), ("", "nothing")]
    {
        let text = error_with("c,3,", &format!("c,{time},"));
        let place = format!(
            "error: DIR/patients.csv line 4: column `months`: found {shown}, expected a finite number of at least 0\n"
        );
        assert!(text.starts_with(&place), "{text}");
    }
    let text = error_with("b,2,1,", "b,2,2,");
    assert!(text.contains("line 3: column `died`: found `2`, expected 0 or 1 as in line 2\n"), "{text}");
    let text = error_with("a,1,1,", "a,1,2,");
    assert!(text.contains("line 2: column `died`: found `2`, expected 0 or 1, or dead and alive"), "{text}");
    let text = error_with("b,2,1,", "b,2,,");
    assert!(text.contains("line 3: column `died`: found nothing, expected 0 or 1"), "{text}");
    let text = error_with("0.7", "NaN");
    assert!(text.contains("line 4: column `risk`: found `NaN`, expected a number\n"), "{text}");
}

#[test]
fn files_that_are_no_table_are_refused() {
    let bench = Bench::new();
    let error = |bytes: &[u8]| bench.error(bytes, CINDEX, 3);
    assert!(error(b"").contains("the file is empty, expected a header row"));
    assert!(error(b"months,died,risk\n").contains("has a header but no rows"));
    let text = error(b"months,died,risk\n1,1,0.5\n2,1\n");
    assert!(text.contains("line 3: 2 cells, expected 3 as in the header"), "{text}");
    let text = error(b"months,died,risk\n1,1,0.5\n2,1,caf\xe9\n");
    assert!(text.contains("line 3: column `risk` is not valid UTF-8 from its byte 4 on"), "{text}");
    let text = error(b"months,died,ris\xe9\n1,1,0.5\n");
    assert!(text.contains("line 1: cell 3 is not valid UTF-8"), "{text}");
    for (begin, is, way_out) in [
        (&b"\xff\xfem\0o\0"[..], "the file is UTF-16, expected UTF-8 text", "iconv -f utf-16 -t utf-8"),
        (b"\xfe\xff\0m\0o", "the file is UTF-16, expected UTF-8 text", "iconv -f utf-16 -t utf-8"),
        (b"\x1f\x8b\x08\0", "the file is compressed by gzip", "gunzip"),
        (b"PK\x03\x04\x14", "a zip archive or an Excel workbook", "save the sheet as CSV (UTF-8)"),
        (b"\xd0\xcf\x11\xe0", "the file is an Excel workbook", "save the sheet as CSV (UTF-8)"),
    ] {
        let text = error(begin);
        assert!(text.contains(is) && text.contains(way_out) && !text.contains("latin1"), "{text}");
    }
    let text = error(b"months,died,risk,risk\n1,1,0.5,0.5\n");
    assert!(text.contains("more than one column is called `risk`"), "{text}");
}

#[test]
fn undefined_statistics_are_bad_data() {
    let bench = Bench::new();
    let censored = "months,died,risk,arm\n1,0,0.5,x\n2,0,0.1,x\n";
    let text = bench.error(censored, CINDEX, 3);
    assert!(
        text.contains("C-index of `risk`: all 2 subjects are censored, expected at least one event"),
        "{text}"
    );
    let text = bench.error(censored, "logrank --time months --event died --by arm", 3);
    assert!(text.contains("log-rank test of the groups x: all subjects are in one group"), "{text}");
    let text = bench.error(censored, "cox --time months --event died --covariate risk", 3);
    assert!(text.contains("Cox model: all 2 subjects are censored, expected at least one event\n"), "{text}");
    assert!(text.ends_with("hint: check --event and --censored-is\n"), "{text}");
    for at in ["", " --at 1"] {
        let text = bench.error(censored, &format!("auc --time months --event died --risk risk{at}"), 3);
        assert!(text.contains("AUC of `risk`: all 2 subjects are censored, expected at least one"), "{text}");
        assert!(text.ends_with("hint: check --event and --censored-is\n"), "{text}");
    }
    let line = "cox --time months --event died --covariate risk --covariate one";
    let ones =
        PATIENTS.lines().map(|line| format!("{line},1\n")).collect::<String>().replace("risk,1", "risk,one");
    let text = bench.error(ones, line, 3);
    assert!(text.contains("Cox model: `one` is constant or a combination of the other"), "{text}");
    let constant = "months,died,risk\n1,1,-4\n2,0,-4\n";
    let text = bench.error(constant, "logrank --time months --event died --risk risk", 3);
    assert!(text.contains("median split of `risk`: the low-risk group is empty"), "{text}");
}

#[test]
fn a_comparison_needs_two_risks_and_names_the_pair() {
    let bench = Bench::new();
    let text = bench.error(PATIENTS, "compare --time months --event died --risk risk", 2);
    assert!(text.contains("a comparison needs two risk columns\n  hint: repeat --risk"), "{text}");
    let both = bench.json("compare --time months --event died --risk risk --risk censorship --json");
    assert_eq!(both["differences"][0]["second"], "censorship");
    let again = |line: &str| format!("{line},{}\n", line.rsplit(',').next().unwrap_or_default());
    let rows = PATIENTS.lines().map(again).collect::<String>().replace("risk,risk", "risk,again");
    let line = "compare --time months --event died --risk risk --risk again --json";
    let same: Value = serde_json::from_slice(&bench.run(rows, line).stdout).expect("JSON");
    let same_pair = &same["differences"][0];
    assert_eq!((&same_pair["difference"], &same_pair["p_value"]), (&json!(0.0), &Value::Null));
    assert_eq!(same["equality"], Value::Null);
}

#[test]
fn risks_that_differ_in_all_pairs_alike_keep_their_difference() {
    let bench = Bench::new();
    let rows = "months,died,a,b,c\n1,1,4,0,4\n2,1,3,0,3\n3,1,2,0,1\n4,1,1,0,2\n";
    let line = "compare --time months --event died --risk a --risk b --risk c";
    let found: Value =
        serde_json::from_slice(&bench.run(rows, &format!("{line} --json")).stdout).expect("JSON");
    let pair = &found["differences"][0];
    assert_eq!(
        (&pair["first"], &pair["second"], &pair["difference"]),
        (&json!("a"), &json!("b"), &json!(0.5))
    );
    for key in ["standard_error", "z", "p_value", "log10_p", "holm_p", "log10_holm_p"] {
        assert_eq!(pair[key], Value::Null, "{key}");
        assert!(found["differences"][1][key].is_number(), "{key}");
    }
    // Two tests are left to adjust for.
    let p = |k: usize, key: &str| found["differences"][k][key].as_f64().expect("a number");
    let smaller = p(1, "p_value").min(p(2, "p_value"));
    assert_eq!(p(1, "holm_p").min(p(2, "holm_p")), (2.0 * smaller).min(1.0));
    assert_eq!(found["equality"], Value::Null);
    let text = String::from_utf8(bench.run(rows, line).stdout).expect("UTF-8");
    assert!(
        text.contains("a - b     +0.5000          -          -               -      -         -         -\n"),
        "{text}"
    );
    assert!(text.contains("-: no subject changes the difference, as with"), "{text}");
    assert!(
        text.ends_with(
            "all equal: no test, as the C-indices differ in a way that no subject or cluster changes\n"
        ),
        "{text}"
    );
    // The interval is that of the level.
    let narrow = bench.run(rows, &format!("{line} --json --level 0.5"));
    let narrow: Value = serde_json::from_slice(&narrow.stdout).expect("JSON");
    let width = |of: &Value| {
        of["differences"][1]["upper"].as_f64().expect("a number")
            - of["differences"][1]["lower"].as_f64().expect("a number")
    };
    assert!((width(&narrow) / width(&found) - 0.674_489_750_196_081_7 / 1.959_963_984_540_054).abs() < 1e-9);
}

#[test]
fn p_values_below_f64_are_adjusted_too() {
    // All of `a` die before the first of `b` and `c`: far below 1e-308.
    let mut rows = "months,died,arm,x,y,z\n".to_owned();
    for i in 0..4000_i32 {
        let arm = if i < 2000 {
            "a"
        } else if i % 2 == 0 {
            "b"
        } else {
            "c"
        };
        rows += &format!("{},1,{arm},{},{i},{}\n", i + 1, -i, i * 37 % 4001);
    }
    let bench = Bench::new();
    let json = |line: &str| -> Value {
        serde_json::from_slice(&bench.run(&rows, &format!("{line} --json")).stdout).expect("JSON")
    };
    let text = |line: &str| String::from_utf8(bench.run(&rows, line).stdout).expect("UTF-8");
    let pairwise = "logrank --time months --event died --by arm --pairwise";
    let pair = &json(pairwise)["pairs"][0];
    let number = |of: &Value, key: &str| of[key].as_f64().expect("a number");
    assert_eq!(number(pair, "holm_p"), 0.0);
    assert!(number(pair, "log10_p") < -320.0, "{pair}");
    // The smallest of three times 3, the next one times 2.
    assert!(number(pair, "log10_holm_p") > number(pair, "log10_p") + 0.3, "{pair}");
    assert!(number(pair, "log10_holm_p") < -320.0, "{pair}");
    let compare = "compare --time months --event died --risk x --risk y --risk z";
    for table in [text(pairwise), text(compare)] {
        assert!(!table.contains("NaN") && !table.contains("inf"), "{table}");
    }
    let noisy = &json(compare)["differences"][1];
    assert!(number(noisy, "holm_p") == 0.0 && number(noisy, "log10_holm_p") < -320.0, "{noisy}");
}

#[test]
fn one_cluster_is_refused_with_a_way_out() {
    let bench = Bench::new();
    let rows = PATIENTS.replace(",arm,", ",all,").replace(",y,", ",x,");
    for line in [
        "cindex --risk risk",
        "compare --risk risk --risk site",
        "logrank --risk risk",
        "cox --covariate risk",
    ] {
        let text = bench.error(&rows, &format!("{line} --time months --event died --cluster all"), 3);
        assert!(text.contains("all subjects are in one cluster, expected at least two clusters\n"), "{text}");
        assert!(
            text.contains("hint: --cluster wants a column with a value of its own per patient"),
            "{text}"
        );
    }
}

#[test]
fn a_cox_model_of_clusters_says_which_tests_allow_for_them() {
    let bench = Bench::new();
    let line = "cox --time months --event died --covariate risk";
    let plain = bench.json(&format!("{line} --json"));
    let clustered = bench.json(&format!("{line} --cluster arm --json"));
    let number = |of: &Value| of.as_f64().expect("a number");
    let z = number(&clustered["covariates"][0]["z"]);
    assert!((number(&clustered["wald_test"]["chi_square"]) / (z * z) - 1.0).abs() < 1e-12, "{clustered}");
    assert_ne!(clustered["wald_test"], plain["wald_test"]);
    assert_eq!(clustered["likelihood_ratio_test"], plain["likelihood_ratio_test"]);
    let text = |line: &str| String::from_utf8(bench.run(PATIENTS, line).stdout).expect("UTF-8");
    let note =
        "Limits, z, p and the Wald test allow for clusters; the other tests take rows for independent.\n";
    assert!(text(&format!("{line} --cluster arm")).ends_with(note));
    assert!(!text(line).contains("clusters"));
}

#[test]
fn words_for_a_missing_value_are_no_labels() {
    let bench = Bench::new();
    for word in
        ["NA", "nan", "None", "null", "N/A", "[Not Available]", "'--", "Unknown", "<NA>", "#N/A", ".", "?"]
    {
        let rows = PATIENTS.replace("d,4,1,0,x,", &format!("d,4,1,0,{word},"));
        for line in [
            "logrank --by arm",
            "km --by arm",
            "cindex --risk risk --strata arm",
            "cindex --risk risk --cluster arm",
        ] {
            let text = bench.error(&rows, &format!("{line} --time months --event died"), 3);
            let place = format!("DIR/patients.csv line 5: column `arm`: found `{word}`, expected a label\n");
            assert!(text.contains(&place) && text.contains("hint: it reads as a missing value"), "{text}");
        }
    }
}

#[test]
fn auc_has_default_times_wherever_one_is_possible() {
    let bench = Bench::new();
    let line = "auc --time months --event died --risk risk --json";
    let times = |rows: &str| {
        let output = bench.run(rows, line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["time"].clone()
    };
    // The latest subjects are events, which nobody outlives.
    assert_eq!(times("months,died,risk\n1,1,3\n2,1,1\n3,1,2\n"), json!([1.0, 2.0]));
    assert_eq!(times("months,died,risk\n1,1,3\n2,1,1\n2,1,2\n2,1,2\n"), json!([1.0]));
    let text = bench.error("months,died,risk\n2,1,3\n2,1,1\n", line, 3);
    assert!(text.contains("AUC of `risk`: no subject outlives an event"), "{text}");
    assert!(text.contains("hint: check --time, --event and --censored-is"), "{text}");
}

/// Linux has a file that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_temporary_and_leaves_nothing_beside() {
    let bench = Bench::new();
    let svg = bench.dir.path().join("km.svg");
    std::os::unix::fs::symlink("/dev/full", bench.dir.path().join("km.svg.part")).expect("linked");
    let line = format!("km --time months --event died --svg {}", svg.display());
    let text = bench.error(PATIENTS, &line, 75);
    assert!(text.contains("cannot write DIR/km.svg: ") && text.contains("hint: run it again"), "{text}");
    let left: Vec<_> = std::fs::read_dir(bench.dir.path())
        .expect("a folder")
        .map(|f| f.expect("a file").file_name())
        .collect();
    assert_eq!(left, ["patients.csv"]);
    let missing =
        format!("km --time months --event died --svg {}", bench.dir.path().join("no/km.svg").display());
    assert!(bench.error(PATIENTS, &missing, 3).contains("hint: --svg wants a path in a folder that exists"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output = Command::new(env!("CARGO_BIN_EXE_survstat"))
        .args(CINDEX.split_whitespace())
        .arg("--csv")
        .arg(bench.file(PATIENTS))
        .stdout(full)
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{text}");
    assert!(text.contains("cannot write the result"), "{text}");
}

#[test]
fn a_cox_model_that_separates_is_bad_data() {
    let rows = "months,died,x\n1,1,1\n2,1,1\n3,0,0\n4,0,0\n";
    let text = Bench::new().error(rows, "cox --time months --event died --covariate x", 3);
    assert!(text.contains("Cox model: `x` separates those with events"), "{text}");
    let text = Bench::new().error(PATIENTS, "cox --time months --event died --covariate arm", 3);
    assert!(text.contains("column `arm`: found `x`, expected a finite number"), "{text}");
}

#[test]
fn medians_have_the_limits_that_lifelines_and_r_give() {
    // Remission of 42 children (Freireich 1963), as `lifelines.datasets.load_leukemia` and R's `MASS::gehan` have it.
    let on_drug =
        "35,0 34,0 32,0 32,0 25,0 23,1 22,1 20,0 19,0 17,0 16,1 13,1 11,0 10,0 10,1 9,0 7,1 6,0 6,1 6,1 6,1";
    let control = "23 22 17 15 12 12 11 11 8 8 8 8 5 5 4 4 3 2 2 1 1";
    let rows = on_drug
        .split(' ')
        .map(|row| format!("{row},6-MP\n"))
        .chain(control.split(' ').map(|weeks| format!("{weeks},1,control\n")));
    let rows = format!("weeks,relapse,arm\n{}", rows.collect::<String>());
    let bench = Bench::new();
    let run =
        |more: &str| bench.run(&rows, &format!("km --time weeks --event relapse --by arm {more}")).stdout;
    let medians = |convention: &str| -> Vec<Value> {
        let curves: Value =
            serde_json::from_slice(&run(&format!("--convention {convention} --json"))).expect("JSON");
        let of = |curve: &Value| json!([curve["median"], curve["median_lower"], curve["median_upper"]]);
        curves.as_array().expect("a list").iter().map(of).collect()
    };
    // median_survival_times(kmf.confidence_interval_) of lifelines 0.30; print(survfit(..)) of R.
    assert_eq!(medians("lifelines"), [json!([23.0, 13.0, null]), json!([8.0, 4.0, 11.0])]);
    assert_eq!(medians("r"), [json!([23.0, 16.0, null]), json!([8.0, 4.0, 12.0])]);
    let text = String::from_utf8(run("--convention r")).expect("UTF-8");
    assert!(
        text.contains("6-MP: 21 subjects, 9 events, median survival 23 (95% limits 16 to -)\n"),
        "{text}"
    );
    assert!(
        text.contains("control: 21 subjects, 21 events, median survival 8 (95% limits 4 to 12)\n"),
        "{text}"
    );
}

#[test]
fn conventions_change_what_libraries_differ_in() {
    let bench = Bench::new();
    let median = |convention: &str| -> Value {
        let arguments = format!("km --time months --event died --convention {convention} --json");
        let output = bench.run("months,died\n1,1\n2,1\n3,1\n4,1\n", &arguments).stdout;
        serde_json::from_slice::<Value>(&output).expect("JSON")["median"].clone()
    };
    // S is 1/2 from 2 to 3 here: the midpoint, and the left end.
    assert_eq!((median("r"), median("lifelines")), (json!(2.5), json!(2.0)));
    let text =
        bench.error(PATIENTS, "logrank --time months --event died --by arm --strata site --weight gehan", 2);
    assert!(text.contains("--weight and --strata do not go together"), "{text}");
}

#[test]
fn an_interval_that_cannot_be_had_is_shown_as_none() {
    let bench = Bench::new();
    for rows in
        ["months,died,risk,noise\n1,1,2,1\n2,1,1,2\n", "months,died,risk,noise\n1,1,3,1\n2,1,2,3\n3,0,1,2\n"]
    {
        let json = |line: &str| -> Value {
            serde_json::from_slice(&bench.run(rows, &format!("{line} --json")).stdout).expect("JSON")
        };
        let text = |line: &str| String::from_utf8(bench.run(rows, line).stdout).expect("UTF-8");
        let c = json(CINDEX);
        assert_eq!(c["c_index"], 1.0);
        for key in ["standard_error", "lower", "upper"] {
            assert_eq!(c.get(key), Some(&Value::Null), "{key}");
        }
        let table = text(CINDEX);
        assert!(table.contains("risk   1.0000          -          -  "), "{table}");
        assert!(table.contains("-: no subject changes the estimate"), "{table}");
        let compared = "compare --time months --event died --risk risk --risk noise";
        assert_eq!(json(compared)["risks"][0].get("standard_error"), Some(&Value::Null));
        assert!(text(compared).contains("risk    1.0000               -\n"), "{}", text(compared));
        let auc = "auc --time months --event died --risk risk --at 1";
        let of_auc = json(auc);
        for key in ["standard_error", "lower", "upper"] {
            assert_eq!(of_auc[key], json!([null]), "{key}");
        }
        assert!(text(auc).contains("1.0000          -          -\n"), "{}", text(auc));
    }
    let svg = bench.dir.path().join("forest.svg");
    let drawn = bench.run("months,died,risk\n1,1,2\n2,1,1\n", &format!("{CINDEX} --svg {}", svg.display()));
    assert!(drawn.status.success() && svg.exists(), "{}", String::from_utf8_lossy(&drawn.stderr));
    assert!(!std::fs::read_to_string(svg).expect("written").contains("1.000 (1.000 to 1.000)"));
    let known = String::from_utf8(bench.run(PATIENTS, CINDEX).stdout).expect("UTF-8");
    assert!(!known.contains("-: "), "{known}");
}

/// The C-index of the patients with other words for what `died` says.
fn c_index_with(event: &str, censored: &str, more: &str) -> Value {
    let rows = PATIENTS.lines().map(|line| {
        let mut cells: Vec<&str> = line.split(',').collect();
        cells[2] = match cells[2] {
            "1" => event,
            "0" => censored,
            title => title,
        };
        cells.join(",") + "\n"
    });
    let output = Bench::new().run(rows.collect::<String>(), &format!("{CINDEX} --json {more}"));
    assert!(output.status.success(), "{event}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn events_may_be_told_by_the_words_of_clinical_tables_and_predictions() {
    let wanted = Bench::new().json(&format!("{CINDEX} --json"));
    for (event, censored) in [
        ("event", "censored"),
        ("Dead", "Alive"),
        ("DECEASED", "LIVING"),
        ("True", "False"),
        ("1.0", "0.0"),
        ("1:DECEASED", "0:LIVING"),
        ("1:Recurred", "0:DiseaseFree"),
    ] {
        assert_eq!(c_index_with(event, censored, ""), wanted, "{event}");
    }
    // Numbers follow --censored-is, words speak for themselves.
    assert_eq!(c_index_with("False", "True", "--censored-is 1"), wanted);
    assert_eq!(c_index_with("0:DECEASED", "1:LIVING", "--censored-is 1"), wanted);
    assert_eq!(c_index_with("dead", "alive", "--censored-is 1"), wanted);
    let text = error_with("b,2,1,", "b,2,dead,");
    assert!(text.contains("line 3: column `died`: found `dead`, expected 0 or 1 as in line 2\n"), "{text}");
    let text = error_with("a,1,1,", "a,1,dead,");
    let place = "line 3: column `died`: found `1`, expected a word as in line 2: dead or alive";
    assert!(text.contains(place) && text.contains("hint: a column says it one way"), "{text}");
    let text = error_with("a,1,1,", "a,1,1:LIVING,");
    assert!(text.contains("line 2: column `died`: found `1:LIVING`, expected 0 or 1, or dead"), "{text}");
}

#[test]
fn the_header_decides_what_separates_values() {
    let bench = Bench::new();
    let wanted = bench.json(&format!("{CINDEX} --json"));
    for separator in [";", "\t"] {
        let output = bench.run(PATIENTS.replace(',', separator), &format!("{CINDEX} --json"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("JSON"), wanted);
    }
    let text = bench.error("id;months;died;risk\na;1,5;1;0.5\n", CINDEX, 3);
    let place = "line 2: column `months`: found `1,5`, expected a finite number of at least 0\n";
    assert!(text.contains(place) && text.contains("hint: numbers have a decimal point"), "{text}");
    for (time, hint) in [
        ("1,260", "hint: write 1260 if the comma separates thousands, 1.260 if it is a decimal comma"),
        ("1,260.5", "hint: numbers have no commas between thousands: write 1260.5"),
    ] {
        let text = bench.error(format!("months;died;risk\n{time};1;0.5\n"), CINDEX, 3);
        assert!(text.contains(hint), "{text}");
    }
    let text = bench.error("months;died;risk\n1;1\n", CINDEX, 3);
    let hint =
        "hint: the header has semicolons between values; a value that holds a semicolon needs double quotes";
    assert!(text.contains("2 cells, expected 3") && text.contains(hint), "{text}");
    let text = bench.error("months,died,risk\n1,1,0,5\n", CINDEX, 3);
    assert!(text.contains("4 cells, expected 3") && text.contains("a value that holds a comma"), "{text}");
}

#[test]
fn a_training_file_that_is_not_there_is_told_by_its_option() {
    let line = "auc --time months --event died --risk risk --train nowhere.csv";
    let text = Bench::new().error(PATIENTS, line, 3);
    assert!(text.starts_with("error: cannot read nowhere.csv: No such file"), "{text}");
    assert!(text.ends_with("hint: --train wants the path of a readable CSV file\n"), "{text}");
}

#[test]
fn times_of_a_list_may_have_spaces_between_them() {
    let bench = Bench::new();
    let path = bench.file(PATIENTS);
    let auc = |at: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_survstat"));
        command.args("auc --time months --event died --risk risk --json --at".split(' ')).arg(at);
        command.arg("--csv").arg(&path).output().expect("started")
    };
    let spaced: Value = serde_json::from_slice(&auc("3, 6").stdout).expect("JSON");
    assert_eq!(spaced["time"], json!([3.0, 6.0]));
    for at in ["3 6", "NaN", "3,"] {
        let refused = auc(at);
        assert_eq!(refused.status.code(), Some(2), "{at}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("such as 12,24,36"), "{at}");
    }
}

#[test]
fn a_column_that_is_named_twice_is_refused() {
    let bench = Bench::new();
    for (line, option) in [
        ("cindex --risk risk --risk site --risk risk", "--risk"),
        ("compare --risk risk --risk risk", "--risk"),
        ("cox --covariate risk --covariate risk", "--covariate"),
    ] {
        let text = bench.error(PATIENTS, &format!("{line} --time months --event died"), 2);
        assert!(text.contains(&format!("{option} names the column `risk` twice\n")), "{text}");
    }
}

#[test]
fn errors_are_lines_of_json_for_programs() {
    let bench = Bench::new();
    let line = "--log-format json --quiet km --time months --event censorship";
    let text = bench.error(PATIENTS, line, 2);
    let said: Value = serde_json::from_str(&text).expect("one line of JSON");
    assert_eq!((&said["level"], &said["fields"]["exit_code"]), (&json!("ERROR"), &json!(2)));
    let message = said["fields"]["message"].as_str().expect("a text");
    assert!(message.starts_with("column `censorship` may mark events"), "{message}");
    let plain = bench.error(PATIENTS, "km --quiet --time months --event censorship", 2);
    assert!(plain.starts_with("error: column `censorship`"), "{plain}");
    let result = bench.run(PATIENTS, &format!("{CINDEX} --quiet --log-format json"));
    assert!(result.status.success() && result.stderr.is_empty() && !result.stdout.is_empty());
}

#[test]
fn a_quote_that_takes_rows_is_an_error_where_it_opens() {
    let bench = Bench::new();
    let line = "km --time months --event died";
    let rows = "months,died,sex\n1,1,M\n2,1,\"F\n3,0,F\n4,1,M";
    let text = bench.error(rows, line, 3);
    assert!(
        text.starts_with("error: DIR/patients.csv line 3: the quote that opens here is never closed"),
        "{text}"
    );
    assert!(text.ends_with("within a quoted value, a quote is written twice\n"), "{text}");
    let text = bench.error(format!("{rows}\"\n5,1,F\n"), line, 3);
    assert!(text.contains("line 3: the quote that opens here closes on a later line"), "{text}");
    // Notes of several lines are text.
    let noted = rows.replace("\"F\n3,0,F\n", "\"F\n(sic, I think)\"\n3,0,F\n");
    let found = bench.run(noted, line);
    assert!(String::from_utf8_lossy(&found.stdout).starts_with("4 subjects, 3 events"), "{found:?}");
}

#[test]
fn lines_are_counted_as_editors_do() {
    let bench = Bench::new();
    let bad = "months,died,risk\n1,1,0.5\n\n\n2,1,NaN\n3,1,0.2\n";
    let short = "months,died,risk\n\n1,1,0.5\n2,1\n";
    let mixed = "months,died,risk\n\n1,1,0.5\n2,dead,0.5\n";
    for end in ["\n", "\r\n", "\r"] {
        let error = |rows: &str| bench.error(rows.replace('\n', end), CINDEX, 3);
        assert!(error(bad).contains("patients.csv line 5: column `risk`: found `NaN`"), "{}", error(bad));
        assert!(
            error(short).contains("patients.csv line 4: 2 cells, expected 3 as in the header"),
            "{}",
            error(short)
        );
        let text = error(mixed);
        assert!(
            text.contains("line 4: column `died`: found `dead`, expected 0 or 1 as in line 3\n"),
            "{text}"
        );
        assert!(error(&format!("\u{feff}{bad}")).contains("line 5: column `risk`"));
    }
}

#[test]
fn tables_of_spreadsheets_are_read_as_they_are() {
    let bench = Bench::new();
    let km = |rows: &str, time: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_survstat"));
        command.args(["km", "--event", "died", "--time", time, "--csv"]).arg(bench.file(rows));
        let output = command.output().expect("started");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output)
    };
    // Rows of nothing but delimiters below the table, and a header with a line end in it.
    let (text, output) = km("months,died\n1,1\n2,0\n,\n,\n", "months");
    assert!(text.starts_with("2 subjects, 1 events"), "{output:?}");
    let (text, output) = km("\"time\n(months, days)\";died\n1;1\n2;0\n", "time\n(months, days)");
    assert!(text.starts_with("2 subjects, 1 events"), "{output:?}");
    let text = bench.error("months,died\n,\n,\n", "km --time months --event died", 3);
    assert!(text.contains("has a header but no rows"), "{text}");
}

#[test]
fn a_column_of_censorships_is_known_by_any_name() {
    for name in ["os_censorship", "is_censored", "Censored", "dss_CENSORSHIP"] {
        let rows = PATIENTS.replace(",censorship,", &format!(",{name},"));
        let line = format!("cindex --time months --event {name} --risk risk");
        let text = Bench::new().error(&rows, &line, 2);
        assert!(text.contains(&format!("column `{name}` may mark events or censorings by 1")), "{text}");
        let said = Bench::new().run(&rows, &format!("{line} --censored-is 1 --json"));
        let found: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        assert_eq!(found["concordant"], 18, "{name}");
    }
}

#[test]
fn a_missing_column_of_many_or_of_one_letter_is_told_briefly() {
    let text = Bench::new().error("t,event,x\n1,1,2\n", "km --time t --event e", 3);
    assert!(text.ends_with("hint: name one of these columns\n"), "{text}");
    let text = Bench::new().error("t,event,x\n1,1,2\n", "km --time T --event event", 3);
    assert!(text.ends_with("hint: did you mean `t`?\n"), "{text}");
    let genes = |of: &dyn Fn(u32) -> String| (0..20_000).map(of).collect::<Vec<_>>().join(",");
    let rows = format!("t,{}\n1,{}\n", genes(&|k| format!("GENE{k}")), genes(&|_| "0".to_owned()));
    let text = Bench::new().error(rows, "km --time t --event died", 3);
    assert!(text.contains("`GENE22` and 19977 more\n") && text.len() < 500, "{text}");
}

#[test]
fn a_pair_without_a_test_leaves_the_others_theirs() {
    let bench = Bench::new();
    let rows = "months,died,arm\n1,1,a\n2,1,a\n3,0,b\n4,0,c\n5,1,a\n";
    let line = "logrank --time months --event died --by arm --pairwise";
    let found: Value =
        serde_json::from_slice(&bench.run(rows, &format!("{line} --json")).stdout).expect("JSON");
    let pairs = found["pairs"].as_array().expect("pairs");
    let names: Vec<_> = pairs.iter().map(|pair| (&pair["first"], &pair["second"])).collect();
    assert_eq!(names, [(&json!("a"), &json!("b")), (&json!("a"), &json!("c")), (&json!("b"), &json!("c"))]);
    // a against b: expected in a 3/4, 2/3 and 1 of 3 events.
    let (expected, variance) = (3.0 / 4.0 + 2.0 / 3.0 + 1.0, 3.0 / 16.0 + 2.0 / 9.0);
    let chi_square = pairs[0]["chi_square"].as_f64().expect("a number");
    assert!((chi_square - (3.0_f64 - expected).powi(2) / variance).abs() < 1e-12, "{found}");
    let number = |key: &str| pairs[0][key].as_f64().expect("a number");
    assert_eq!(number("holm_p"), 2.0 * number("p_value"));
    for key in ["chi_square", "p_value", "log10_p", "holm_p", "log10_holm_p"] {
        assert_eq!(pairs[2].get(key), Some(&Value::Null), "{key}");
    }
    let text = String::from_utf8(bench.run(rows, line).stdout).expect("UTF-8");
    assert!(text.contains("b and c           -         -         -\n-: at no event time"), "{text}");
}

#[test]
fn the_title_of_a_weighted_test_says_so() {
    let bench = Bench::new();
    let line = "logrank --time months --event died --by arm --weight";
    let text = |weight: &str| {
        String::from_utf8(bench.run(PATIENTS, &format!("{line} {weight}")).stdout).expect("UTF-8")
    };
    assert!(text("logrank").contains("\nlog-rank chi-square = "), "{}", text("logrank"));
    // Three events in x, each weighted by Andersen's estimate of survival: 8/9, 7/8 of it, and 5/6 of that.
    let observed = 8.0 / 9.0 * (1.0 + 7.0 / 8.0 * (1.0 + 5.0 / 6.0));
    let peto = text("peto");
    assert!(peto.contains("\nPeto-weighted log-rank chi-square = "), "{peto}");
    assert!(peto.contains(&format!("\nx      4      {:.2}  ", observed)), "{peto}");
}

#[test]
fn risks_are_tied_in_all_commands_as_the_convention_has_it() {
    let bench = Bench::new();
    let rows = "months,died,risk\n1,1,4e-10\n2,1,3e-10\n3,0,2e-10\n4,0,1e-10\n";
    let auc = |convention: &str| -> Value {
        let line =
            format!("auc --time months --event died --risk risk --at 2 --json --convention {convention}");
        serde_json::from_slice(&bench.run(rows, &line).stdout).expect("JSON")
    };
    for (convention, expected) in [("r", 1.0), ("lifelines", 1.0), ("scikit-survival", 0.5), ("default", 0.5)]
    {
        assert_eq!(auc(convention)["auc"], json!([expected]), "{convention}");
    }
}

#[test]
fn a_brier_score_of_nobody_left_is_refused() {
    let bench = Bench::new();
    let line = "brier --time months --event died";
    let rows = "months,died,S@1,S@9\n1,1,.5,.1\n2,0,.6,.1\n3,0,.9,.1\n";
    let text = bench.error(rows, line, 3);
    let place = "Brier score: the probability of being uncensored is 0 at time 9";
    assert!(text.contains(place) && text.contains("usable times lie below 3\n"), "{text}");
    assert!(text.contains("hint: leave out the columns of later times"), "{text}");
    // Where all have died the dead stand for all, but not for scikit-survival.
    let dead = rows.replace("3,0,", "3,1,");
    let output = bench.run(&dead, &format!("{line} --json"));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!((found["brier"][1].as_f64().expect("a number") - 0.01).abs() < 1e-15, "{found}");
    let text = bench.error(&dead, &format!("{line} --convention scikit-survival"), 3);
    assert!(text.contains("time 9 is not below the last one of the file, 3"), "{text}");
    let text = bench.error(rows.replace(".6", "1.1"), line, 3);
    assert!(
        text.contains("line 3: column `S@1`: found `1.1`, expected a probability between 0 and 1"),
        "{text}"
    );
    let text = bench.error(rows.replace("S@9", "S@1.0"), line, 3);
    assert!(text.contains("columns `S@1` and `S@1.0` are of the same time\n"), "{text}");
}

#[test]
fn columns_of_predicted_survival_are_read_or_refused_and_none_is_passed_over() {
    let bench = Bench::new();
    let line = "brier --time months --event died --json";
    let rows = "months,died,S@1,S@2\n1,1,.5,.1\n2,0,.6,.3\n3,1,.9,.4\n4,0,.9,.8\n";
    let json = |rows: &str, line: &str| -> Value {
        let output = bench.run(rows, line);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let found = json(rows, line);
    for name in ["S@2months", "S@ 2", "S@inf", "S@later"] {
        let text = bench.error(rows.replace("S@2", name), line, 3);
        let wanted = format!("column `{name}`: found `{}` after `S@`, expected a time", &name[2..]);
        assert!(text.contains(&wanted) && text.contains("--survival-suffix"), "{text}");
    }
    // As the tables of a test have them.
    let rows = rows.replace("S@1", "survival_1_months").replace("S@2", "survival_2_months");
    let line = format!("{line} --survival-prefix survival_ --survival-suffix _months");
    assert_eq!(json(&rows, &line), found);
    let named = rows.replace("months,died", "survival_months,survival_event");
    let of_outcome =
        line.replace("--time months --event died", "--time survival_months --event survival_event");
    assert_eq!(json(&named, &of_outcome), found);
    let text = bench.error(rows.replace("_2_months", "_2"), &line, 3);
    assert!(text.contains("found `2` after `survival_`, expected a time and `_months`"), "{text}");
}

#[test]
fn a_brier_score_after_the_end_of_follow_up_is_refused_whatever_the_training_sample() {
    let bench = Bench::new();
    let train = bench.dir.path().join("train.csv");
    std::fs::write(&train, "months,died\n1,1\n20,1\n30,0\n").expect("written");
    let rows = format!("months,died,S@5,S@15\n1,1,.1,.1\n2,1,.9,.9\n{}", "10,0,.9,.9\n".repeat(6));
    let line = format!("brier --time months --event died --train {}", train.display());
    let text = bench.error(rows, &line, 3);
    let place = "nobody is followed beyond 10, where follow-up ends with a censoring: survivors of time 15";
    assert!(text.contains(place) && text.ends_with("hint: leave out the columns of later times\n"), "{text}");
}

#[test]
fn factors_are_their_levels_against_a_reference() {
    let bench = Bench::new();
    let stages = ["II", "I", "III", "II", "I", "III", "II", "I", "III", "II", "I", "III"];
    let times = [5, 9, 1, 4, 12, 6, 3, 7, 2, 10, 8, 11];
    let row = |(at, (stage, months)): (usize, (&&str, &i32))| {
        let is = |level: &str| u8::from(*stage == level);
        let (died, age) = (u8::from(at % 4 != 1), 50 + (at * 7) % 11);
        format!("{months},{died},{stage},{},{},{age}\n", is("II"), is("III"))
    };
    let rows: String = stages.iter().zip(&times).enumerate().map(row).collect();
    let rows = format!("months,died,stage,two,three,age\n{rows}");
    let fit = |line: &str| -> Value {
        let output = bench.run(&rows, &format!("cox --time months --event died --json {line}"));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let (factor, columns) =
        (fit("--covariate age --factor stage"), fit("--covariate age --covariate two --covariate three"));
    for (a, b) in [0, 1, 2].map(|at| (&factor["covariates"][at], &columns["covariates"][at])) {
        assert_eq!((&a["coefficient"], &a["p_value"]), (&b["coefficient"], &b["p_value"]));
    }
    assert_eq!(factor["covariates"][1]["level"], "II");
    assert_eq!((factor["covariates"][0].get("level"), columns.get("factors")), (None, None));
    // Of one factor alone, all levels are the model; and no reference changes that test.
    let by = |reference: &str| fit(&format!("--factor stage={reference}"));
    let chi_square = |of: &Value| of["factors"][0]["chi_square"].as_f64().expect("a number");
    let (first, last) = (by("I"), by("III"));
    assert!(
        (chi_square(&first) / first["wald_test"]["chi_square"].as_f64().expect("a number") - 1.0).abs()
            < 1e-9
    );
    assert!((chi_square(&first) / chi_square(&last) - 1.0).abs() < 1e-9);
    let text = String::from_utf8(bench.run(&rows, "cox --time months --event died --factor stage").stdout);
    let text = text.expect("UTF-8");
    assert!(
        text.contains("stage III vs I") && text.contains("all levels of stage (Wald): chi-square"),
        "{text}"
    );

    let refused = |line: &str, code: i32, words: &str| {
        let text = bench.error(&rows, &format!("cox --time months --event died {line}"), code);
        assert!(text.contains(words), "{text}");
    };
    refused("--factor stage=IV", 3, "column `stage` has no level `IV`; its levels are I, II, III");
    refused("--factor stage --covariate stage", 3, "column `stage`: found `II`, expected a finite number");
    refused("--factor age --covariate age", 2, "name the column `age` twice");
    refused("--factor stage --factor stage=II", 2, "name the column `stage` twice");
    refused("", 2, "--covariate");
    let signs = rows.replace("stage,two", "a=b,two").replace("III", "c=d");
    let output = bench.run(&signs, "cox --time months --event died --json --factor a=b=c=d");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"reference\":\"c=d\""), "{output:?}");
    let alike = rows.replace("III", "I").replace("II", "I");
    let text = bench.error(alike, "cox --time months --event died --factor stage", 3);
    assert!(text.contains("column `stage` has one level, `I`"), "{text}");
}

#[test]
fn ways_out_fit_what_went_wrong() {
    let bench = Bench::new();
    let outcome = "--time months --event died";
    let error = |rows: &str, line: &str| bench.error(rows, &format!("{line} {outcome}"), 3);
    let rows = "months,died,risk\n1,1,3\n2,0,2\n3,1,1\n3,0,2\n";
    let text = error(rows, "cindex --risk risk --time-weight uno --convention scikit-survival");
    assert!(text.contains("usable times lie below 3\n") && text.contains("out with --tau, or"), "{text}");
    let text = error(rows, "cindex --risk risk --tau 0.5");
    assert!(text.contains("hint: raise --tau"), "{text}");
    for tau in ["nan", "inf", "0", "soon"] {
        let text = bench.error(rows, &format!("cindex --risk risk --tau {tau} {outcome}"), 2);
        assert!(text.contains("expected a finite number above 0"), "{text}");
    }
    let text = bench.error(rows, &format!("auc --risk risk --at 2,1,2 {outcome}"), 2);
    assert!(text.contains("--at names the time 2 twice\n"), "{text}");
    let text = error(&rows.replace("3,1,1", "3,1,inf"), "logrank --risk risk");
    assert!(text.contains("line 4: column `risk`: found `inf`, expected a finite number\n"), "{text}");
    let text = error(&rows.replace("3,1,1", "3,1,1e400"), "cindex --risk risk");
    assert!(text.contains("line 4: column `risk`: found `1e400`, expected a number\n"), "{text}");
    let text = error(PATIENTS, "cox --covariate risk --cluster arm --ties exact");
    assert!(text.contains("hint: take --ties efron or breslow"), "{text}");
}

#[test]
fn what_a_cox_model_lacks_is_said_of_those_who_are_compared() {
    let bench = Bench::new();
    let line = "cox --time months --event died --covariate x";
    // Constant in each stratum, and constant once somebody has an event.
    let strata = "months,died,x,s\n1,1,0,a\n2,1,0,a\n1,1,1,b\n2,0,1,b\n";
    let text = bench.error(strata, &format!("{line} --strata s"), 3);
    let place = "`x` is constant or a combination of the other covariates among those who are compared";
    assert!(text.contains(place), "{text}");
    let text = bench.error("months,died,x\n1,0,5\n2,1,1\n3,1,1\n", line, 3);
    assert!(text.contains(place), "{text}");
    // All have events; their order is what separates them.
    let text = bench.error("months,died,x\n1,1,3\n2,1,2\n3,1,1\n", line, 3);
    assert!(text.contains("`x` separates those with events from those at risk with them"), "{text}");
}

#[test]
fn figures_that_cannot_be_drawn_have_a_way_out() {
    let bench = Bench::new();
    let svg = bench.dir.path().join("figure.svg");
    let line = |command: &str| format!("{command} --time months --event died --svg {}", svg.display());
    let text = bench.error(PATIENTS, &line("km --by id"), 3);
    assert!(text.contains("it has 8 curves, expected 1 to 6\n  hint: leave --svg out"), "{text}");
    std::fs::create_dir(&svg).expect("made");
    let text = bench.error(PATIENTS, &line("km"), 3);
    assert!(text.contains("hint: there is a folder of this name; name a file"), "{text}");
    std::fs::remove_dir(&svg).expect("removed");
    let nowhere = bench.dir.path().join("nowhere/figure.svg");
    let text =
        bench.error(PATIENTS, &format!("km --time months --event died --svg {}", nowhere.display()), 3);
    assert!(text.contains("hint: --svg wants a path in a folder that exists"), "{text}");
    let steep = PATIENTS.replace(",0.", ",0.000");
    let text = bench.error(steep, &line("cox --covariate risk"), 3);
    assert!(
        text.contains("the limits of the hazard ratio of `risk` are too large or small to draw\n"),
        "{text}"
    );
    assert!(text.contains("hint: give the column in a larger or smaller unit, or leave --svg out"), "{text}");
}

#[test]
fn levels_are_titled_as_they_were_given() {
    let bench = Bench::new();
    for line in [
        CINDEX,
        "km --time months --event died",
        "auc --time months --event died --risk risk",
        "cox --time months --event died --covariate risk",
    ] {
        let text =
            String::from_utf8(bench.run(PATIENTS, &format!("{line} --level 0.55")).stdout).expect("UTF-8");
        assert!(text.contains("  lower 55%  ") && text.contains("  upper 55%"), "{text}");
    }
}
