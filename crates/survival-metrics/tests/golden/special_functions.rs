//! Special functions against 25-digit values made with mpmath.

use crate::data::{json, root};
use serde_json::Value;
use survival_metrics::special_functions::{
    chi2_ln_sf, chi2_sf, ln_erfc, normal_isf, normal_ln_sf, normal_sf,
};

/// Relative error required of tails and logarithms.
const RELATIVE: f64 = 1e-13;

fn table(name: &str) -> Option<Vec<Value>> {
    let file = json(&root()?.join("expected/special_functions.json"));
    Some(file[name].as_array().expect("a list of values").clone())
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(digits) => digits.parse().expect("a number in decimal digits"),
        other => other.as_f64().expect("a number"),
    }
}

fn assert_close(ours: f64, expected: f64, absolute: f64, case: &Value) {
    let error = (ours - expected).abs();
    assert!(error <= RELATIVE * expected.abs() + absolute, "{ours:e} instead of {expected:e}: {case}");
}

#[test]
fn chi_squared_tails_agree_with_mpmath() {
    let Some(cases) = table("chi2") else { return };
    for case in &cases {
        let (x, df) = (number(&case["x"]), number(&case["df"]) as usize);
        let sf = number(&case["sf"]);
        // Below 1e-300 the f64 itself runs out of digits.
        if sf > 1e-300 {
            assert_close(chi2_sf(x, df), sf, 0.0, case);
        } else {
            assert!(chi2_sf(x, df) <= 1.0001e-300, "{case}");
        }
        // The table rounds logarithms closer to 0 than its 25 digits of the tail to 0.
        assert_close(chi2_ln_sf(x, df), number(&case["ln_sf"]), 1e-50, case);
        assert_close(chi2_ln_sf(x, df) / std::f64::consts::LN_10, number(&case["log10_sf"]), 1e-50, case);
    }
    assert_eq!(cases.len(), 192);
    println!("compared {} chi-squared tails", cases.len());
}

#[test]
fn normal_tails_agree_with_mpmath() {
    let Some(cases) = table("normal") else { return };
    for case in &cases {
        let z = number(&case["z"]);
        let sf = number(&case["sf"]);
        if sf > 1e-300 {
            assert_close(normal_sf(z), sf, 0.0, case);
            assert_close(2.0 * normal_sf(z), number(&case["two_sided"]), 0.0, case);
        }
        assert_close(normal_ln_sf(z), number(&case["ln_sf"]), 0.0, case);
        assert_close(
            ln_erfc(z / std::f64::consts::SQRT_2) / std::f64::consts::LN_10,
            number(&case["log10_two_sided"]),
            // The argument's rounding, 1e-16 z, meets the slope 2 / sqrt(pi) of ln erfc near 0.
            1e-16,
            case,
        );
    }
    assert_eq!(cases.len(), 15);
    println!("compared {} normal tails", cases.len());
}

#[test]
fn normal_quantiles_agree_with_mpmath() {
    let Some(cases) = table("normal_isf") else { return };
    for case in &cases {
        let (p, isf) = (number(&case["p"]), number(&case["isf"]));
        // Half a unit in the last place of p, carried to z: the whole error near p = 1.
        let density = (-isf * isf / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let rounding = (p.next_up() - p) / 2.0 / density;
        assert_close(normal_isf(p), isf, rounding + 1e-16, case);
    }
    assert_eq!(cases.len(), 15);
    println!("compared {} normal quantiles", cases.len());
}

#[test]
fn chi_squared_tails_at_mpmath_quantiles_give_the_probability_back() {
    let Some(cases) = table("chi2_isf") else { return };
    for case in &cases {
        let (x, df) = (number(&case["isf"]), number(&case["df"]) as usize);
        let (digits, exponent) = case["p"]
            .as_str()
            .and_then(|p| p.split_once('e'))
            .unwrap_or((case["p"].as_str().expect("digits"), "0"));
        // 1e-320 itself is not an f64 with enough digits.
        let ln_p = digits.parse::<f64>().expect("digits").ln()
            + exponent.parse::<f64>().expect("exponent") * std::f64::consts::LN_10;
        assert_close(chi2_ln_sf(x, df), ln_p, 1e-16 * x, case);
    }
    assert_eq!(cases.len(), 5);
    println!("compared {} chi-squared quantiles", cases.len());
}
