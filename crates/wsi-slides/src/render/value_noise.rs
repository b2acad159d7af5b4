//! Smooth noise that is a function of place and seed.

/// A hash of a place and a purpose, in `[0, 1)`.
pub(super) fn at(seed: u64, purpose: u64, x: i64, y: i64) -> f32 {
    (bits(seed, purpose, x, y) >> 40) as f32 / (1u64 << 24) as f32
}

/// The bits behind [`at`]: the finaliser of SplitMix64 over a mix of the four.
pub(super) fn bits(seed: u64, purpose: u64, x: i64, y: i64) -> u64 {
    let mut z = seed
        ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (x as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        ^ (y as u64).wrapping_mul(0x94d0_49bb_1331_11eb).rotate_left(32);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        z = (z ^ (z >> 30)).wrapping_mul(factor);
    }
    z ^ (z >> 31)
}

/// The whole part of a coordinate, downwards. `f32::floor` is a call where the processor's baseline has no such instruction,
/// and there are several per pixel.
pub(super) fn floor(x: f32) -> f32 {
    let towards_zero = x as i32 as f32;
    if towards_zero > x { towards_zero - 1.0 } else { towards_zero }
}

/// Noise in `[0, 1)` whose features are about `period` across: values at lattice points, interpolated smoothly.
pub(super) fn smooth(seed: u64, purpose: u64, x: f32, y: f32, period: f32) -> f32 {
    let (x, y) = (x / period, y / period);
    let (left, top) = (floor(x), floor(y));
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - left), ease(y - top));
    let value = |dx: i64, dy: i64| at(seed, purpose, left as i64 + dx, top as i64 + dy);
    let above = value(0, 0) * (1.0 - u) + value(1, 0) * u;
    let below = value(0, 1) * (1.0 - u) + value(1, 1) * u;
    above * (1.0 - v) + below * v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_evenly_and_purposes_are_independent() {
        let n = 10_000;
        let of = |purpose| (0..n).map(move |x| f64::from(at(7, purpose, x, -x)));
        let mean = of(1).sum::<f64>() / n as f64;
        // Standard error 0.003.
        assert!((mean - 0.5).abs() < 0.012, "{mean}");
        let product = of(1).zip(of(2)).map(|(a, b)| (a - 0.5) * (b - 0.5)).sum::<f64>() / n as f64;
        assert!(product.abs() < 0.004, "{product}");
    }

    #[test]
    fn noise_is_continuous() {
        let at = |x: f32| smooth(3, 1, x, 5.5, 10.0);
        assert!((0..1000).all(|step| (at(step as f32 * 0.1) - at((step + 1) as f32 * 0.1)).abs() < 0.03));
    }
}
