//! The inverse transform with libjpeg's integers (Loeffler, Ligtenberg and Moschytz 1989; 13 fractional bits).

use pulp::{Arch, Simd, WithSimd};

const BITS: u32 = 13;
/// Fractional bits kept between the passes.
const PASS_BITS: u32 = 2;

/// Transforms a block into 8 rows of `out`. `last` is the last place in zigzag order that is not 0.
pub(super) fn inverse(block: &[i32; 64], last: usize, out: &mut [u8], stride: usize) {
    if last == 0 {
        // The general case with one coefficient, which comes to this.
        let value = sample(descale(block[0] << PASS_BITS, PASS_BITS + 3));
        for row in out.chunks_mut(stride).take(8) {
            row[..8].fill(value);
        }
        return;
    }
    let samples = Arch::new().dispatch(Whole(block));
    for (row, target) in samples.chunks_exact(8).zip(out.chunks_mut(stride)) {
        target[..8].copy_from_slice(row);
    }
}

/// A whole block, compiled for each vector unit.
struct Whole<'a>(&'a [i32; 64]);

impl WithSimd for Whole<'_> {
    type Output = [u8; 64];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        // Eight columns side by side, then eight rows side by side.
        let columns = pass::<{ BITS - PASS_BITS }>(self.0);
        let rows = transposed(&pass::<{ BITS + PASS_BITS + 3 }>(&transposed(&columns)));
        rows.map(sample)
    }
}

/// Transforms each column.
#[inline(always)]
fn pass<const SHIFT: u32>(block: &[i32; 64]) -> [i32; 64] {
    let mut out = [0; 64];
    for x in 0..8 {
        let column: [i32; 8] = std::array::from_fn(|y| block[8 * y + x]);
        let values = transform(column);
        for y in 0..8 {
            out[8 * y + x] = descale(values[y], SHIFT);
        }
    }
    out
}

#[inline(always)]
fn transposed(block: &[i32; 64]) -> [i32; 64] {
    std::array::from_fn(|at| block[8 * (at % 8) + at / 8])
}

#[inline(always)]
fn descale(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

#[inline(always)]
fn sample(value: i32) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}

/// One dimension, times 2^13.
#[inline(always)]
fn transform(input: [i32; 8]) -> [i32; 8] {
    let mul = |a: i32, b: i32| a.wrapping_mul(b);
    // Even part.
    let [i0, i1, i2, i3, i4, i5, i6, i7] = input;
    let z1 = mul(i2.wrapping_add(i6), 4433);
    let even2 = z1.wrapping_sub(mul(i6, 15137));
    let even3 = z1.wrapping_add(mul(i2, 6270));
    let even0 = mul(i0.wrapping_add(i4), 1 << BITS);
    let even1 = mul(i0.wrapping_sub(i4), 1 << BITS);
    let sums = [
        even0.wrapping_add(even3),
        even1.wrapping_add(even2),
        even1.wrapping_sub(even2),
        even0.wrapping_sub(even3),
    ];
    // Odd part.
    let z1 = mul(i7.wrapping_add(i1), -7373);
    let z2 = mul(i5.wrapping_add(i3), -20995);
    let (z3, z4) = (i7.wrapping_add(i3), i5.wrapping_add(i1));
    let z5 = mul(z3.wrapping_add(z4), 9633);
    let z3 = mul(z3, -16069).wrapping_add(z5);
    let z4 = mul(z4, -3196).wrapping_add(z5);
    let odds = [
        mul(i1, 12299).wrapping_add(z1).wrapping_add(z4),
        mul(i3, 25172).wrapping_add(z2).wrapping_add(z3),
        mul(i5, 16819).wrapping_add(z2).wrapping_add(z4),
        mul(i7, 2446).wrapping_add(z1).wrapping_add(z3),
    ];
    std::array::from_fn(|at| {
        if at < 4 { sums[at].wrapping_add(odds[at]) } else { sums[7 - at].wrapping_sub(odds[7 - at]) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in floating point.
    fn exact(block: &[i32; 64]) -> Vec<f64> {
        let scale = |at: usize| if at == 0 { 0.5f64.sqrt() } else { 1.0 };
        let basis = |x: usize, u: usize| (std::f64::consts::PI * (2 * x + 1) as f64 * u as f64 / 16.0).cos();
        let value = |x: usize, y: usize| {
            let sum = |v: usize| -> f64 {
                (0..8)
                    .map(|u| scale(u) * scale(v) * f64::from(block[8 * v + u]) * basis(x, u) * basis(y, v))
                    .sum()
            };
            (0..8).map(sum).sum::<f64>() / 4.0 + 128.0
        };
        (0..64).map(|at| value(at % 8, at / 8)).collect()
    }

    #[test]
    fn the_integers_are_within_rounding_of_the_definition() {
        let mut block = [0; 64];
        for (at, value) in [(0, 310), (1, -95), (8, 60), (9, 33), (18, -27), (35, 14), (63, 9)] {
            block[at] = value;
        }
        let mut out = [0; 64];
        inverse(&block, 63, &mut out, 8);
        for (found, exact) in out.iter().zip(exact(&block)) {
            assert!((f64::from(*found) - exact.clamp(0.0, 255.0)).abs() < 0.6, "{found} {exact}");
        }
        let flat = std::array::from_fn(|at| if at == 0 { -77 } else { 0 });
        let mut general = [0; 64];
        inverse(&flat, 1, &mut general, 8);
        inverse(&flat, 0, &mut out, 8);
        assert_eq!(out, general);
    }
}
