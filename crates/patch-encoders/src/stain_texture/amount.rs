//! How much stain there is, and how it is distributed over pixels, wherever they lie.

use super::STAINS;
use super::map::Stains;

const BINS: usize = 16;
/// Width of a bin, in optical density.
const BIN: f32 = 0.1;
/// Ends of the coarse bins of the joint histogram; the last bin has none.
const JOINT_ENDS: [f32; 3] = [0.15, 0.4, 0.8];
const JOINT_BINS: usize = JOINT_ENDS.len() + 1;
/// Density below which a pixel is glass.
const GLASS: f32 = 0.05;

pub(super) fn names() -> Vec<String> {
    let moments = ["mean", "sd", "third", "fourth"];
    let mut names: Vec<String> =
        STAINS.iter().flat_map(|stain| moments.map(|moment| format!("{stain}_{moment}"))).collect();
    names.extend(super::names_by_stain("histogram", &std::array::from_fn::<_, BINS, _>(|bin| bin)));
    names
        .extend((0..JOINT_BINS * JOINT_BINS).map(|i| format!("joint_{}_{}", i / JOINT_BINS, i % JOINT_BINS)));
    names.extend(["density_mean", "density_sd", "residual_mean", "residual_sd", "glass"].map(str::to_owned));
    names
}

pub(super) fn features(stains: &Stains) -> Vec<f32> {
    let [h, e] = stains.maps.each_ref().map(|map| &map.values[..]);
    let mut features = Vec::new();
    features.extend([h, e].into_iter().flat_map(moments));
    features.extend([h, e].into_iter().flat_map(histogram));
    features.extend(joint_histogram(h, e));
    for values in [&stains.density, &stains.residual] {
        features.extend_from_slice(&moments(values)[..2]);
    }
    let n_glass = stains.density.iter().filter(|&&density| density < GLASS).count();
    features.push(share(n_glass, stains.density.len()));
    features
}

fn share(n: usize, of: usize) -> f32 {
    (n as f64 / of as f64) as f32
}

/// Mean, standard deviation, cube root of the third and fourth root of the fourth central moment: one unit for all.
fn moments(values: &[f32]) -> [f32; 4] {
    let n = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let mut sums = [0.0; 3];
    for &x in values {
        let distance = f64::from(x) - mean;
        let square = distance * distance;
        sums[0] += square;
        sums[1] += square * distance;
        sums[2] += square * square;
    }
    let [second, third, fourth] = sums.map(|sum| sum / n);
    [mean, second.sqrt(), third.cbrt(), fourth.sqrt().sqrt()].map(|x| x as f32)
}

fn histogram(values: &[f32]) -> [f32; BINS] {
    let mut counts = [0; BINS];
    for &x in values {
        counts[((x / BIN) as usize).min(BINS - 1)] += 1;
    }
    counts.map(|count| share(count, values.len()))
}

fn joint_histogram(h: &[f32], e: &[f32]) -> [f32; JOINT_BINS * JOINT_BINS] {
    let bin = |x: f32| JOINT_ENDS.iter().filter(|&&end| x >= end).count();
    let mut counts = [0; JOINT_BINS * JOINT_BINS];
    for (&h, &e) in h.iter().zip(e) {
        counts[bin(h) * JOINT_BINS + bin(e)] += 1;
    }
    counts.map(|count| share(count, h.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_definition() {
        // Distances from the mean 3 are -3, -1, 4: squares 26 / 3, cubes 36 / 3, fourth powers 338 / 3.
        let [mean, sd, third, fourth] = moments(&[0.0, 2.0, 7.0]);
        assert_eq!(mean, 3.0);
        assert!((sd - (26f32 / 3.0).sqrt()).abs() < 1e-6);
        assert!((third - 12f32.cbrt()).abs() < 1e-6);
        assert!((fourth - (338f32 / 3.0).powf(0.25)).abs() < 1e-6);
    }

    #[test]
    fn the_last_bin_has_no_end() {
        let counts = histogram(&[0.05, 0.15, 1.55, 99.0]);
        assert_eq!((counts[0], counts[1], counts[BINS - 1]), (0.25, 0.25, 0.5));
    }
}
