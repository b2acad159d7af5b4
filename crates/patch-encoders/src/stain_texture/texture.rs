//! Texture of the stain maps at several scales: gradients, spots, peaks, agreement of both stains.

use super::map::{Map, Pyramid};

/// Sides of the squares of gradients and spots, in pixels: the first levels of the pyramid.
const SCALES: [usize; 5] = [1, 2, 4, 8, 16];
/// Sides of the squares of peaks: levels 1 to 3.
const PEAK_SCALES: [usize; 3] = [2, 4, 8];
/// Sides of the squares of patchiness: levels 5 and 6.
const PATCH_SCALES: [usize; 2] = [32, 64];
/// Optical density by which a peak exceeds the mean.
const PEAK_HEIGHT: f32 = 0.1;

pub(super) fn names() -> Vec<String> {
    let mut names = Vec::new();
    for what in ["gradient", "direction", "spots", "spot_sign"] {
        names.extend(super::names_by_stain(what, &SCALES));
    }
    names.extend(SCALES.map(|scale| format!("stain_correlation_{scale}")));
    names.extend(super::names_by_stain("peaks", &PEAK_SCALES));
    names.extend(super::names_by_stain("patchiness", &PATCH_SCALES));
    names
}

pub(super) fn features(pyramid: &Pyramid) -> Vec<f32> {
    let [h, e] = pyramid;
    let scales = || pyramid.iter().flat_map(|levels| &levels[..SCALES.len()]);
    let gradients: Vec<Gradients> = scales().map(gradients).collect();
    let spots: Vec<[f32; 2]> = scales().map(spots).collect();
    let mut features: Vec<f32> = gradients.iter().map(|of| of.strength).collect();
    features.extend(gradients.iter().map(|of| of.direction));
    features.extend(spots.iter().map(|of| of[0]));
    features.extend(spots.iter().map(|of| of[1]));
    features.extend(h.iter().zip(e).take(SCALES.len()).map(|(h, e)| correlation(&h.values, &e.values)));
    features.extend(pyramid.iter().flat_map(|levels| &levels[1..=PEAK_SCALES.len()]).map(peaks));
    features.extend(pyramid.iter().flat_map(|levels| &levels[5..5 + PATCH_SCALES.len()]).map(deviation));
    features
}

struct Gradients {
    /// Root mean square of the length.
    strength: f32,
    /// From 0 (no common direction) to 1 (all parallel).
    direction: f32,
}

/// Gradients by differences across the diagonals of 2 x 2 squares, from the mean structure tensor.
fn gradients(map: &Map) -> Gradients {
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for y in 1..map.height {
        let (above, below) = (map.row(y - 1), map.row(y));
        let (mut row_xx, mut row_yy, mut row_xy) = (0.0f32, 0.0f32, 0.0f32);
        for (a, b) in above.windows(2).zip(below.windows(2)) {
            let (falling, rising) = (b[1] - a[0], b[0] - a[1]);
            let (dx, dy) = (falling - rising, falling + rising);
            row_xx += dx * dx;
            row_yy += dy * dy;
            row_xy += dx * dy;
        }
        xx += f64::from(row_xx);
        yy += f64::from(row_yy);
        xy += f64::from(row_xy);
    }
    let n = (map.width.saturating_sub(1) * map.height.saturating_sub(1)) as f64;
    let energy = xx + yy;
    if energy <= 0.0 {
        return Gradients { strength: 0.0, direction: 0.0 };
    }
    // The differences above are twice the derivative.
    Gradients {
        strength: (0.5 * (energy / n).sqrt()) as f32,
        direction: ((xx - yy).hypot(2.0 * xy) / energy) as f32,
    }
}

/// Root mean square, and cube root of the mean cube, of the difference between a value and its four neighbours' mean.
fn spots(map: &Map) -> [f32; 2] {
    let (mut squares, mut cubes) = (0.0, 0.0);
    for y in 1..map.height.saturating_sub(1) {
        let (above, here, below) = (map.row(y - 1), map.row(y), map.row(y + 1));
        let (mut row_squares, mut row_cubes) = (0.0f32, 0.0f32);
        for ((above, here), below) in above.windows(3).zip(here.windows(3)).zip(below.windows(3)) {
            let difference = here[1] - 0.25 * ((above[1] + below[1]) + (here[0] + here[2]));
            row_squares += difference * difference;
            row_cubes += difference * difference * difference;
        }
        squares += f64::from(row_squares);
        cubes += f64::from(row_cubes);
    }
    let n = (map.width.saturating_sub(2) * map.height.saturating_sub(2)).max(1) as f64;
    [(squares / n).sqrt() as f32, (cubes / n).cbrt() as f32]
}

/// Pearson's correlation; 0 where one side does not vary.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len() as f64;
    let mean = |values: &[f32]| values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a) - mean_a, f64::from(b) - mean_b);
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    let scale = (aa * bb).sqrt();
    if scale > 0.0 { (ab / scale) as f32 } else { 0.0 }
}

/// Share of values that exceed all eight neighbours, and the mean by [`PEAK_HEIGHT`].
fn peaks(map: &Map) -> f32 {
    if map.values.is_empty() {
        return 0.0;
    }
    let n = map.values.len() as f64;
    let least = (map.values.iter().map(|&x| f64::from(x)).sum::<f64>() / n) as f32 + PEAK_HEIGHT;
    let mut count = 0;
    for y in 1..map.height.saturating_sub(1) {
        let rows = [map.row(y - 1), map.row(y), map.row(y + 1)];
        for x in 1..map.width.saturating_sub(1) {
            let value = rows[1][x];
            let around = rows.iter().flat_map(|row| &row[x - 1..=x + 1]);
            if value > least && around.filter(|&&neighbour| neighbour >= value).count() == 1 {
                count += 1;
            }
        }
    }
    (f64::from(count) / n) as f32
}

/// Standard deviation; 0 without values.
fn deviation(map: &Map) -> f32 {
    let n = map.values.len().max(1) as f64;
    let mean = map.values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    (map.values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(side: usize, value: impl Fn(f32, f32) -> f32) -> Map {
        let values = (0..side * side).map(|i| value((i % side) as f32, (i / side) as f32)).collect();
        Map { width: side, height: side, values }
    }

    #[test]
    fn a_ramp_has_its_slope_and_one_direction_and_no_spots() {
        let ramp = map(16, |x, y| 0.3 * x + 0.4 * y);
        let of = gradients(&ramp);
        assert!((of.strength - 0.5).abs() < 1e-5);
        assert!((of.direction - 1.0).abs() < 1e-5);
        assert!(spots(&ramp)[0] < 1e-5);
    }

    #[test]
    fn single_spots_are_counted_and_have_a_sign() {
        let dots = map(17, |x, y| if x % 4.0 == 2.0 && y % 4.0 == 2.0 { 1.0 } else { 0.0 });
        assert_eq!(peaks(&dots), 16.0 / 289.0);
        assert!(spots(&dots)[1] > 0.0);
        let holes = map(17, |x, y| if x % 4.0 == 2.0 && y % 4.0 == 2.0 { 0.0 } else { 1.0 });
        assert_eq!(peaks(&holes), 0.0);
        assert!(spots(&holes)[1] < 0.0);
    }

    #[test]
    fn opposite_maps_are_correlated_to_minus_one() {
        let (a, b) = ([0.0, 1.0, 3.0], [5.0, 4.0, 2.0]);
        assert!((correlation(&a, &b) + 1.0).abs() < 1e-6);
        assert_eq!(correlation(&a, &[1.0; 3]), 0.0);
    }
}
