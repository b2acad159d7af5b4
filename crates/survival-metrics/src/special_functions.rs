//! Upper tails of the chi-squared and normal distributions, accurate where p-values leave the range of f64.
//!
//! A p-value is never computed as `1 - cdf`, which is noise from about 1e-14 and 0 from about 1e-17 on. Each tail
//! has a form in which only positive terms are added, and a logarithm that stays finite after the tail itself
//! underflows. Relative errors are below 1e-13, of tails down to 1e-300.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, PI};

use statrs::distribution::{ContinuousCDF, Normal};

/// `P(X > x)` for a chi-squared variable with `df` degrees of freedom; 1 for `x <= 0`.
///
/// With no degree of freedom the variable is 0, so that the tail at `x >= 0` is 0. NaN gives NaN. O(df) time.
///
/// ```text
/// df = 2m:      exp(-h) sum of h^j / j!, j = 0 .. m-1                                  with h = x / 2
/// df = 2m + 1:  exp(-h) [ erfcx(sqrt h) + sum of h^(j - 1/2) / Gamma(j + 1/2), j = 1 .. m ]
/// ```
///
/// Source: Abramowitz & Stegun 26.4.4, 26.4.5.
///
/// ```
/// use survival_metrics::special_functions::chi2_sf;
///
/// // The smallest p-value of the CrossFusion paper is 2.30e-39; `1 - cdf` is exactly 0 there.
/// assert!((chi2_sf(172.3260, 1) / 2.30e-39 - 1.0).abs() < 1e-2);
/// assert_eq!(chi2_sf(2.0, 2), (-1.0_f64).exp());
/// ```
pub fn chi2_sf(x: f64, df: usize) -> f64 {
    if df == 0 {
        return if x < 0.0 { 1.0 } else { 0.0 };
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x.is_nan() || x == f64::INFINITY {
        return if x.is_nan() { x } else { 0.0 };
    }
    let h = x / 2.0;
    let (sum, ln_scale) = tail_sum(h, df);
    if ln_scale == 0.0 {
        // In two halves: exp(-h) alone underflows at 745 while its product with the sum does not.
        let half = (-h / 2.0).exp();
        (half * sum * half).min(1.0)
    } else {
        (ln_scale - h + sum.ln()).exp().min(1.0)
    }
}

/// `ln P(X > x)` for a chi-squared variable with `df` degrees of freedom; 0 for `x <= 0`.
///
/// Finite where [`chi2_sf`] underflows (from 1485 on for one degree of freedom). Otherwise as [`chi2_sf`].
///
/// ```
/// use survival_metrics::special_functions::{chi2_ln_sf, chi2_sf};
///
/// assert_eq!(chi2_sf(4000.0, 2), 0.0);
/// assert_eq!(chi2_ln_sf(4000.0, 2), -2000.0);
/// ```
pub fn chi2_ln_sf(x: f64, df: usize) -> f64 {
    if df == 0 {
        return if x < 0.0 { 0.0 } else { f64::NEG_INFINITY };
    }
    if x <= 0.0 {
        return 0.0;
    }
    if x.is_nan() || x == f64::INFINITY {
        return -x;
    }
    let h = x / 2.0;
    // The median is close to df - 2/3. Below it the tail is near 1, where only its complement is precise.
    if x < df as f64 - 0.5 {
        return (-chi2_lower_sum(h, df)).ln_1p();
    }
    let (sum, ln_scale) = tail_sum(h, df);
    ln_scale - h + sum.ln()
}

/// `P(Z > z)` for a standard normal variable.
///
/// ```
/// use survival_metrics::special_functions::normal_sf;
///
/// assert_eq!(normal_sf(0.0), 0.5);
/// assert!((normal_sf(10.0) / 7.619_853_024_160_526e-24 - 1.0).abs() < 1e-14);
/// ```
pub fn normal_sf(z: f64) -> f64 {
    if z < 1.0 {
        return (1.0 - erf(z * FRAC_1_SQRT_2)) / 2.0;
    }
    if z == f64::INFINITY {
        return 0.0;
    }
    // The rounding error of z^2 would be magnified z^2 / 2 times by the exponential.
    let square = z * z;
    let rounding = z.mul_add(z, -square);
    (-square / 2.0).exp() * (1.0 - rounding / 2.0) * erfcx(z * FRAC_1_SQRT_2) / 2.0
}

/// `ln P(Z > z)` for a standard normal variable, finite where [`normal_sf`] underflows (from 38.5 on).
///
/// ```
/// use survival_metrics::special_functions::normal_ln_sf;
///
/// assert!((normal_ln_sf(60.0) + 1805.013_560_680_567_1).abs() < 1e-11);
/// ```
pub fn normal_ln_sf(z: f64) -> f64 {
    if z < 1.0 { (-normal_sf(-z)).ln_1p() } else { ln_erfc(z * FRAC_1_SQRT_2) - LN_2 }
}

/// The `z` that a standard normal variable exceeds with probability `p`: the inverse of [`normal_sf`].
///
/// Infinite at 0 and 1, NaN outside [0, 1].
///
/// ```
/// use survival_metrics::special_functions::normal_isf;
///
/// assert!((normal_isf(0.025) - 1.959_963_984_540_054).abs() < 1e-15);
/// ```
pub fn normal_isf(p: f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    -Normal::standard().inverse_cdf(p)
}

/// Natural logarithm of the complementary error function.
///
/// ```
/// use survival_metrics::special_functions::ln_erfc;
///
/// assert_eq!(ln_erfc(0.0), 0.0);
/// assert!((ln_erfc(30.0) + 903.974_117_110_643_9).abs() < 1e-12);
/// ```
pub fn ln_erfc(x: f64) -> f64 {
    if x < 0.5 {
        (-erf(x)).ln_1p()
    } else if x == f64::INFINITY {
        f64::NEG_INFINITY
    } else {
        erfcx(x).ln() - x * x
    }
}

/// `exp(x^2) erfc(x)` for `x >= 0`: the complementary error function without its exponential decay.
fn erfcx(x: f64) -> f64 {
    if x < 1.0 {
        return (x * x).exp() * (1.0 - erf(x));
    }
    // Laplace's continued fraction x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...))), evaluated from the inside. Cut
    // after N levels its relative error is near exp(-2 x sqrt(2 N)), here exp(-40).
    let n_levels = (200.0 / (x * x)) as u32 + 10;
    let inner = (1..=n_levels).rev().fold(x, |tail, level| x + f64::from(level) / 2.0 / tail);
    1.0 / (PI.sqrt() * inner)
}

/// Error function for `x < 1`, by its series of positive terms (Abramowitz & Stegun 7.1.6).
///
/// statrs 0.19 has one too, but its complement is wrong by 1e-10 (relative) around 1/2.
fn erf(x: f64) -> f64 {
    if x <= -1.0 {
        return erfcx(-x) * (-x * x).exp() - 1.0;
    }
    chi2_lower_sum(x * x, 1).copysign(x)
}

/// The sum `s` in `P(X > 2h) = exp(-h) exp(ln_scale) s`, returned as `(s, ln_scale)`.
///
/// The scale is 0 unless the sum leaves the range of f64, which takes hundreds of degrees of freedom.
fn tail_sum(h: f64, df: usize) -> (f64, f64) {
    const LARGE: f64 = 1e280;
    let odd = df % 2 == 1;
    // Terms are h^j / Gamma(j + 1) over j = 0, 1, .. or 1/2, 3/2, ..
    let (mut sum, mut term, mut j) =
        if odd { (erfcx(h.sqrt()), h.sqrt() * FRAC_2_SQRT_PI, 0.5) } else { (0.0, 1.0, 0.0) };
    let mut ln_scale = 0.0;
    for _ in 0..df / 2 {
        sum += term;
        j += 1.0;
        term *= h / j;
        if term > LARGE || sum > LARGE {
            term /= LARGE;
            sum /= LARGE;
            ln_scale += LARGE.ln();
        }
    }
    (sum, ln_scale)
}

/// `P(X <= 2h)` by its power series, whose terms are positive (Abramowitz & Stegun 6.5.29).
fn chi2_lower_sum(h: f64, df: usize) -> f64 {
    let a = df as f64 / 2.0;
    // h^a / Gamma(a + 1), built up as a product so that neither part overflows.
    let (start, mut j) = if df % 2 == 1 { (h.sqrt() * FRAC_2_SQRT_PI, 0.5) } else { (1.0, 0.0) };
    let mut lead = start;
    while j < a {
        j += 1.0;
        lead *= h / j;
    }
    let (mut sum, mut term, mut n) = (0.0, 1.0, a);
    while term > sum * f64::EPSILON / 4.0 {
        sum += term;
        n += 1.0;
        term *= h / n;
    }
    lead * sum * (-h).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_points_are_continuous() {
        for (low, high) in [(1.0_f64.next_down(), 1.0), (0.5_f64.next_down(), 0.5)] {
            assert!((ln_erfc(low) / ln_erfc(high) - 1.0).abs() < 1e-14);
        }
        assert!((normal_ln_sf(1.0_f64.next_down()) / normal_ln_sf(1.0) - 1.0).abs() < 1e-14);
        for df in 1..200 {
            let x = df as f64 - 0.5;
            assert!((chi2_ln_sf(x.next_down(), df) / chi2_ln_sf(x, df) - 1.0).abs() < 1e-12, "df {df}");
        }
    }

    #[test]
    fn chi_squared_tails_fall_monotonically_to_1e5() {
        for df in [1, 2, 3, 4, 7, 30] {
            let mut last = (1.0, 0.0);
            for step in 1..=20_000 {
                let x = f64::from(step) * 5.0;
                let here = (chi2_sf(x, df), chi2_ln_sf(x, df));
                assert!(here.0 <= last.0 && here.1 < last.1, "df {df}, x {x}");
                last = here;
            }
        }
    }

    #[test]
    fn many_degrees_of_freedom_do_not_overflow() {
        // By the Wilson-Hilferty approximation, which is good to three digits here.
        let (x, df) = (11_000.0, 10_000);
        let spread = 2.0 / (9.0 * df as f64);
        let z = ((x / df as f64).cbrt() - (1.0 - spread)) / spread.sqrt();
        assert!((chi2_ln_sf(x, df) / normal_ln_sf(z) - 1.0).abs() < 1e-3);
        assert!((chi2_sf(x, df).ln() / chi2_ln_sf(x, df) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_ends_of_the_range_are_defined() {
        assert_eq!((chi2_sf(0.0, 3), chi2_ln_sf(-1.0, 3)), (1.0, 0.0));
        assert_eq!((chi2_sf(f64::INFINITY, 1), chi2_ln_sf(f64::INFINITY, 1)), (0.0, f64::NEG_INFINITY));
        assert_eq!((chi2_sf(1.0, 0), chi2_ln_sf(1.0, 0)), (0.0, f64::NEG_INFINITY));
        assert_eq!((normal_isf(0.0), normal_isf(1.0)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(normal_isf(1.5).is_nan() && chi2_sf(f64::NAN, 1).is_nan());
        assert_eq!((normal_sf(f64::INFINITY), normal_ln_sf(f64::INFINITY)), (0.0, f64::NEG_INFINITY));
        assert_eq!((normal_sf(f64::NEG_INFINITY), normal_ln_sf(f64::NEG_INFINITY)), (1.0, 0.0));
    }
}
