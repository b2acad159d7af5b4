//! The README's examples: published values, reproduced from the shell.
//!
//! Reads `$CF_TEST_DATA/survival` and skips with a printed reason where the variable is unset.
#![allow(clippy::print_stdout, reason = "a test says why it compared nothing")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> Option<PathBuf> {
    let root = std::env::var_os("CF_TEST_DATA").map(|root| Path::new(&root).join("survival"));
    if root.is_none() {
        println!("skipped: CF_TEST_DATA is not set");
    }
    root
}

fn survstat(root: &Path, line: &str) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_survstat"))
        .current_dir(root)
        .args(line.split_whitespace())
        .output()
        .expect("started");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn json(root: &Path, line: &str) -> Value {
    serde_json::from_slice(&survstat(root, &format!("{line} --json"))).expect("JSON")
}

fn close(value: &Value, expected: f64, relative: f64) {
    let value = value.as_f64().expect("a number");
    assert!((value / expected - 1.0).abs() <= relative, "{value} instead of {expected}");
}

/// R 4.2.2, `survival` 3.5-3.
const GBSG2: &str = "--csv datasets/gbsg2.csv --time time --event event";
/// The published risks of MCAT (Chen et al. 2021), one row per patient.
const GBMLGG: &str = "--csv tcga_mcat/gbmlgg.csv --time time --event event";

#[test]
fn hormone_therapy_in_the_gbsg2_trial() {
    let Some(root) = root() else { return };
    let test = json(&root, &format!("logrank {GBSG2} --by horTh"));
    close(&test["chi_square"], 8.564_780_853_538_956, 1e-10);
    close(&test["p_value"], 0.003_427_282_264_745_946, 1e-9);
    let stratified = json(&root, &format!("logrank {GBSG2} --by horTh --strata tgrade"));
    close(&stratified["chi_square"], 7.395_796_537_923_184, 1e-10);
    let model = json(&root, &format!("cox {GBSG2} --covariate horTh"));
    let ratio = &model["covariates"][0];
    for (key, expected) in [
        ("hazard_ratio", 0.694_884_326_657_681_5),
        ("lower", 0.543_844_054_294_082_2),
        ("upper", 0.887_872_587_043_843_9),
    ] {
        close(&ratio[key], expected, 1e-8);
    }
    // lifelines 0.30.3 with a precision of 1e-15, and with a column of its own for each grade but the second.
    let model = json(&root, &format!("cox {GBSG2} --covariate age --factor tgrade=2 --factor horTh"));
    let expected =
        [0.000_129_080_106_793_87, -0.872_387_762_471_6, 0.252_404_869_525_42, -0.341_063_971_098_11];
    for (covariate, expected) in model["covariates"].as_array().expect("covariates").iter().zip(expected) {
        close(&covariate["coefficient"], expected, 1e-9);
    }
    let third = &model["covariates"][2];
    assert_eq!([&third["covariate"], &third["level"], &third["reference"]], ["tgrade", "3", "2"]);
    assert_eq!((&model["factors"][0]["factor"], &model["factors"][0]["df"]), (&"tgrade".into(), &2.into()));
    close(&model["factors"][0]["chi_square"], 18.562_064_174_963_12, 1e-11);
    let c = json(&root, &format!("cindex {GBSG2} --risk pnodes --convention r"));
    close(&c["c_index"], 0.645_244_679_571_961_1, 1e-12);
    let se = c["standard_error"].as_f64().expect("a number");
    close(&Value::from(se * se), 0.000_268_218_617_234_947_75, 1e-10);
    let uno =
        json(&root, &format!("cindex {GBSG2} --risk pnodes --convention scikit-survival --time-weight uno"));
    close(&uno["c_index"], 0.645_923_165_516_124_9, 1e-12);
}

#[test]
fn restricted_means_are_those_of_r() {
    let Some(root) = root() else { return };
    // R 4.2.2, survfit(Surv(time, event) ~ horTh), print(rmean = 1684); the difference and its error by survRM2's formula.
    let means = json(&root, &format!("rmst {GBSG2} --by horTh --tau 1684"));
    let expected =
        [(1_199.105_466_721_106_3, 27.531_254_518_508_188), (1_329.668_673_143_803, 33.753_974_011_447_51)];
    for (group, (mean, standard_error)) in means["groups"].as_array().expect("groups").iter().zip(expected) {
        close(&group["rmst"], mean, 1e-12);
        close(&group["standard_error"], standard_error, 1e-10);
        close(&group["upper"], mean + 1.959_963_984_540_054 * standard_error, 1e-12);
    }
    let difference = &means["differences"][0];
    assert_eq!((&difference["first"], &difference["second"]), (&Value::from("1"), &Value::from("0")));
    close(&difference["difference"], expected[1].0 - expected[0].0, 1e-10);
    close(&difference["standard_error"], expected[0].1.hypot(expected[1].1), 1e-10);
    // 2 * scipy.stats.norm.sf(difference / error)
    close(&difference["p_value"], 0.002_722_437_551_457_715_7, 1e-8);
    // Without a horizon it is the earliest of the groups' last times.
    let means = json(&root, &format!("rmst {GBSG2} --by horTh"));
    close(&means["tau"], 2_563.0, 1e-15);
    close(&means["groups"][0]["rmst"], 1_537.470_022_542_638_8, 1e-12);
}

#[test]
fn survival_at_given_times_is_that_of_the_curve() {
    let Some(root) = root() else { return };
    let whole = json(&root, &format!("km {GBSG2}"));
    let at = json(&root, &format!("km {GBSG2} --at 0,567,1000.5,2659,3000"));
    assert_eq!(at["survival"], whole["survival"]);
    let rows = at["at"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    assert_eq!([&rows[0]["survival"], &rows[0]["lower"]], [1.0, 1.0]);
    assert_eq!(rows[0]["at_risk"], 686);
    let times: Vec<f64> = whole["time"].as_array().expect("times").iter().filter_map(Value::as_f64).collect();
    for row in &rows[1..4] {
        let time = row["time"].as_f64().expect("a time");
        let last = times.iter().rposition(|&t| t <= time).expect("a step");
        for key in ["survival", "lower", "upper"] {
            assert_eq!(row[key], whole[key][last], "{key} at {time}");
        }
        let at_risk = times.iter().position(|&t| t >= time).expect("followed");
        assert_eq!(row["at_risk"], whole["at_risk"][at_risk]);
    }
    assert!(rows[4]["survival"].is_null() && rows[4]["upper"].is_null() && rows[4]["at_risk"] == 0);
}

#[test]
fn mcat_on_gbmlgg_and_luad() {
    let Some(root) = root() else { return };
    let c = json(&root, &format!("cindex {GBMLGG} --risk risk_MCAT"));
    close(&c["c_index"], 0.806_135_620_192_732_8, 1e-9);
    let test = json(&root, &format!("logrank {GBMLGG} --risk risk_MCAT"));
    close(&test["p_value"], 8.981_598_578_145_574e-31, 1e-6);
    let luad = "--csv tcga_mcat/luad.csv --time time --event event --risk risk_MCAT";
    close(&json(&root, &format!("logrank {luad}"))["p_value"], 0.014_398_371_845_611, 1e-6);
    close(&json(&root, &format!("cindex {luad}"))["c_index"], 0.612_372_097_854_879_8, 1e-9);
    let both = json(&root, &format!("compare {GBMLGG} --risk risk_MCAT --risk risk_AMIL --strata fold"));
    assert!(both["differences"][0]["difference"].as_f64() > Some(0.0), "{both}");
    assert_eq!(both["risks"].as_array().map(Vec::len), Some(2));
}

#[test]
fn scores_of_predicted_survival_agree_with_scikit_survival() {
    let Some(root) = root() else { return };
    let predictions = "--csv predictions/gbsg2_cox_test.csv --train predictions/gbsg2_train.csv --time time --event event \
                       --convention scikit-survival";
    let brier = json(&root, &format!("brier {predictions}"));
    close(&brier["integrated_brier"], 0.175_367_338_179_646_45, 1e-10);
    close(&brier["integrated_reference"], 0.196_674_897_756_989_32, 1e-10);
    let times = brier["time"].as_array().expect("times").iter().map(Value::to_string).collect::<Vec<_>>();
    let auc = json(&root, &format!("auc {predictions} --risk risk --at {}", times.join(",")));
    close(&auc["auc"][0], 0.731_032_119_245_386_7, 1e-10);
    close(&auc["mean_auc"], 0.722_874_690_734_966_7, 1e-10);
}

#[test]
fn figures_are_whole_documents() {
    let Some(root) = root() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    for (name, line) in [
        ("km", format!("km {GBSG2} --by tgrade")),
        ("logrank", format!("logrank {GBSG2} --by horTh")),
        ("cox", format!("cox {GBSG2} --covariate horTh --covariate tgrade")),
        ("auc", format!("auc {GBSG2} --risk pnodes")),
        ("cindex", format!("cindex {GBSG2} --risk pnodes --risk tsize")),
        ("brier", "brier --csv predictions/gbsg2_cox_test.csv --time time --event event".to_owned()),
    ] {
        let path = dir.path().join(format!("{name}.svg"));
        survstat(&root, &format!("{line} --svg {}", path.display()));
        let svg = std::fs::read_to_string(&path).expect("written");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("<title"), "{name}");
        // It renders, text and all.
        cf_report::svg_to_png(&svg, 1.0).expect("valid SVG");
    }
    let km = std::fs::read_to_string(dir.path().join("km.svg")).expect("written");
    assert!(km.contains("At risk"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 6, "nothing is left beside");
}
