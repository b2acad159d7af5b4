//! Elementary functions in straight-line arithmetic, so that loops over them vectorise.

/// `exp(x)`, relative error below 3e-7; below -87 it stays at 1.6e-38, above 88 at 1.7e38. NaN stays NaN.
///
/// With `n = round(x / ln 2)`: `exp(x) = 2^n exp(r)`, `|r| <= ln 2 / 2`, by the polynomial of Cephes' `expf`. Adding
/// [`ROUND`] leaves `n + 127`, the exponent of `2^n`, in the low bits of the sum.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23 + 127: above 2^23 neighbouring floats are 1 apart.
    const ROUND: f32 = 12_583_039.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Comparisons and not `clamp`: NaN passes both and reaches the result.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = (-n).mul_add(LN_2_LOW, (-n).mul_add(LN_2_HIGH, x));
    let p = 1.987_569_2e-4_f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let exp_r = (p * r).mul_add(r, r) + 1.0;
    exp_r * f32::from_bits(shifted.to_bits() << 23)
}

/// The error function, absolute error below 4e-7. NaN stays NaN.
///
/// `x P(x^2) / Q(x^2)` on `|x| <= 3.925`, beyond which erf is 1 to within 3e-8; coefficients by an equal-ripple fit,
/// whose own error is 1.4e-9.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = if x > 3.925 { 3.925 } else { x };
    let x = if x < -3.925 { -3.925 } else { x };
    let t = x * x;
    let p = -1.336_214_5e-8_f32;
    let p = p.mul_add(t, 4.722_732_2e-6);
    let p = p.mul_add(t, 3.805_539e-4);
    let p = p.mul_add(t, 3.832_978_6e-3);
    let p = p.mul_add(t, 5.428_272_3e-2);
    let p = p.mul_add(t, 1.847_029e-1);
    let p = p.mul_add(t, std::f32::consts::FRAC_2_SQRT_PI);
    let q = 6.346_532_7e-5_f32;
    let q = q.mul_add(t, 1.305_394_4e-3);
    let q = q.mul_add(t, 1.543_279_7e-2);
    let q = q.mul_add(t, 1.137_799_7e-1);
    let q = q.mul_add(t, 4.970_222e-1);
    let q = q.mul_add(t, 1.0);
    x * p / q
}

/// The hyperbolic tangent, relative error below 3e-7. NaN stays NaN.
///
/// Up to 0.625 an odd polynomial (that of Cephes' `tanhf`), beyond it `1 - 2 / (exp(2 |x|) + 1)`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let t = x * x;
    let p = -5.704_988_7e-3_f32;
    let p = p.mul_add(t, 2.063_909e-2);
    let p = p.mul_add(t, -5.373_971_6e-2);
    let p = p.mul_add(t, 1.333_144_2e-1);
    let p = p.mul_add(t, -3.333_328e-1);
    let near = (p * t).mul_add(x, x);
    let far = (1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 257th float of the range, positive and negative.
    fn floats(limit: f32) -> impl Iterator<Item = f32> {
        (0..limit.to_bits()).step_by(257).map(f32::from_bits).flat_map(|x| [x, -x])
    }

    #[test]
    fn exp_is_within_its_stated_error() {
        for x in floats(87.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error:e} of itself");
        }
    }

    #[test]
    fn tanh_is_within_its_stated_error() {
        for x in floats(20.0).filter(|x| x.abs() > 1e-30) {
            let exact = f64::from(x).tanh();
            let error = ((f64::from(tanh(x)) - exact) / exact).abs();
            assert!(error < 3e-7, "tanh({x}) is off by {error:e} of itself");
        }
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!((tanh(0.0), tanh(f32::INFINITY), tanh(-1e30)), (0.0, 1.0, -1.0));
    }

    #[test]
    fn exp_saturates_and_keeps_nan() {
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(-1e30) < 2e-38);
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn erf_is_within_its_stated_error() {
        for x in floats(6.0) {
            let error = (f64::from(erf(x)) - libm::erf(f64::from(x))).abs();
            assert!(error < 4e-7, "erf({x}) is off by {error:e}");
        }
        assert!(erf(f32::NAN).is_nan());
        assert_eq!(erf(f32::INFINITY), erf(5.0));
        assert_eq!(erf(0.0), 0.0);
    }
}
