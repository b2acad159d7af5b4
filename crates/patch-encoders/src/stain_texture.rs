//! `stain-texture`: an encoder that needs no weights.
//!
//! It counts what a pathologist would name: how much haematoxylin and eosin there is, how both are distributed, how
//! coarse, how spotted and how directed their texture is, how large the stained objects are. It makes the whole way
//! from slides to survival work without any download, and it is a floor that a learned encoder must beat.
//!
//! A patch is unmixed into maps of haematoxylin (`h`) and eosin (`e`), in optical density (Ruifrok and Johnston, 2001).
//! From these come [`N_FEATURES`] numbers, named by [`feature_names`], in this order; `*` stands for `h` and `e`.
//!
//! | features | count | what |
//! |---|---|---|
//! | `*_mean`, `*_sd`, `*_third`, `*_fourth` | 8 | mean, standard deviation, cube root of the third and fourth root of the fourth central moment: all in optical density |
//! | `*_histogram_0` .. `_15` | 32 | share of pixels in bins of 0.1; the last has no end |
//! | `joint_H_E` | 16 | share of pixels with H in bin 0 to 3 and E in bin 0 to 3; bins end at 0.15, 0.4, 0.8 |
//! | `density_mean`, `density_sd` | 2 | optical density, mean of the three colours |
//! | `residual_mean`, `residual_sd` | 2 | what neither stain explains: pigment, ink, blood |
//! | `glass` | 1 | share of pixels whose density is below 0.05 |
//! | `*_gradient_S` | 10 | root mean square of the gradient of the map averaged over squares of S = 1, 2, 4, 8, 16 pixels |
//! | `*_direction_S` | 10 | strength of a common direction of these gradients: 0 none, 1 all parallel |
//! | `*_spots_S` | 10 | root mean square of the difference between a square and its four neighbours' mean |
//! | `*_spot_sign_S` | 10 | cube root of that difference's mean cube: positive for dark spots, negative for holes |
//! | `stain_correlation_S` | 5 | correlation of both maps |
//! | `*_peaks_S` | 6 | share of squares of S = 2, 4, 8 that exceed their eight neighbours, and the mean by 0.1: density of nuclei |
//! | `*_patchiness_S` | 4 | standard deviation over squares of S = 32, 64 |
//! | `*_size_S` | 12 | stain in objects that a square of S = 6, 10, 14, 18, 26, 34 pixels is the first not to fit into (Matheron's granulometry) |
//!
//! A feature that a patch is too small for is 0. These are the numbers of [`measure`]; [`encode`] puts each on the scale on
//! which tissue varies, as the last layer of a learned encoder does: less its mean, by its standard deviation, both from a fixed
//! table. Else a model would see what all patches have in common, and a few histogram bins. Equal patches give equal
//! bytes, on one thread or many.

mod amount;
mod granulometry;
mod map;
mod texture;
mod typical;

use crate::rgb_image::RgbImage;
use map::Stains;
use typical::TYPICAL;

/// Width of the feature vector.
pub const N_FEATURES: usize = 128;

/// Names of the features, in order.
///
/// ```
/// let names = patch_encoders::stain_texture::feature_names();
/// assert_eq!(names.len(), patch_encoders::stain_texture::N_FEATURES);
/// assert_eq!(names[0], "h_mean");
/// ```
#[must_use]
pub fn feature_names() -> Vec<String> {
    [amount::names(), texture::names(), granulometry::names()].concat()
}

/// The features of one patch, in the order of [`feature_names`], each in standard deviations from its mean in tissue; all
/// finite.
#[must_use]
pub fn encode(patch: &RgbImage) -> Vec<f32> {
    let standardised = |(value, [mean, sd]): (f32, &[f32; 2])| (value - mean) / sd;
    measure(patch).into_iter().zip(&TYPICAL).map(standardised).collect()
}

/// Mean and standard deviation of each feature in tissue, with which [`encode`] puts it on one scale.
#[must_use]
pub fn typical_features() -> &'static [[f32; 2]; N_FEATURES] {
    &TYPICAL
}

/// The features of one patch in the units of the table above, in the order of [`feature_names`]; all finite.
#[must_use]
pub fn measure(patch: &RgbImage) -> Vec<f32> {
    let stains = Stains::unmix(patch);
    let pyramid = stains.pyramid();
    [amount::features(&stains), texture::features(&pyramid), granulometry::features(&pyramid)].concat()
}

/// Both stains' names, as features carry them.
const STAINS: [&str; 2] = ["h", "e"];

/// `<stain>_<what>_<size>` for both stains and every size, stain by stain.
fn names_by_stain(what: &str, sizes: &[usize]) -> Vec<String> {
    STAINS.iter().flat_map(|stain| sizes.iter().map(move |size| format!("{stain}_{what}_{size}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(side: usize) -> RgbImage {
        let scrambled = |i: usize| (i as u32 + 1).wrapping_mul(0x9E37_79B1);
        let sample = |x: u32| ((x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B) >> 24) as u8;
        let pixels = (0..side * side * 3).map(|i| sample(scrambled(i))).collect();
        RgbImage::new(side, side, pixels).unwrap()
    }

    fn feature(features: &[f32], name: &str) -> f32 {
        features[feature_names().iter().position(|n| n == name).unwrap()]
    }

    /// Dark blue squares of `side` pixels, `apart` from corner to corner, on white.
    fn squares(side: usize, apart: usize) -> RgbImage {
        let pixel = |i: usize| {
            let (x, y) = (i % 256, i / 256);
            let inside = |at: usize| (apart / 2..apart / 2 + side).contains(&(at % apart));
            if inside(x) && inside(y) { [80, 60, 140] } else { [255; 3] }
        };
        RgbImage::new(256, 256, (0..256 * 256).flat_map(pixel).collect()).unwrap()
    }

    #[test]
    fn there_are_as_many_distinct_names_as_features_and_all_features_are_finite() {
        let mut names = feature_names();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), N_FEATURES);
        for side in [1, 2, 3, 5, 17, 64, 256] {
            let features = measure(&noise(side));
            assert_eq!(features.len(), N_FEATURES);
            assert!(features.iter().all(|x| x.is_finite()), "side {side}");
        }
    }

    #[test]
    fn features_are_encoded_in_standard_deviations() {
        let patch = noise(64);
        for ((encoded, measured), [mean, sd]) in
            encode(&patch).iter().zip(measure(&patch)).zip(typical_features())
        {
            assert!(*sd > 0.0 && (encoded * sd + mean - measured).abs() < 1e-5);
        }
    }

    #[test]
    fn white_is_glass_without_stain_or_texture() {
        let features = measure(&RgbImage::new(64, 64, vec![255; 64 * 64 * 3]).unwrap());
        let wanted = ["glass", "h_histogram_0", "e_histogram_0", "joint_0_0"];
        for (name, value) in feature_names().iter().zip(features) {
            assert_eq!(value, f32::from(u8::from(wanted.contains(&name.as_str()))), "{name}");
        }
    }

    #[test]
    fn a_quarter_turn_changes_no_feature_but_by_rounding() {
        let patch = noise(64);
        let turned: Vec<u8> =
            (0..64 * 64).flat_map(|i| patch.row(i % 64)[3 * (63 - i / 64)..][..3].to_vec()).collect();
        let turned = measure(&RgbImage::new(64, 64, turned).unwrap());
        for ((name, a), b) in feature_names().iter().zip(measure(&patch)).zip(turned) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{name}: {a} and {b}");
        }
    }

    #[test]
    fn the_size_of_objects_shows_in_the_granulometry() {
        let (small, large) = (measure(&squares(8, 32)), measure(&squares(16, 64)));
        // A square of 8 pixels holds one of 6 and not one of 10; one of 16 holds 14 and not 18.
        let total: f32 =
            [6, 10, 14, 18, 26, 34].iter().map(|s| feature(&small, &format!("h_size_{s}"))).sum();
        assert!(feature(&small, "h_size_10") > 0.99 * total);
        assert!(feature(&large, "h_size_18") > 0.99 * total);
        assert!(feature(&small, "h_mean") - feature(&large, "h_mean") < 1e-6, "equally much stain");
        assert!(feature(&small, "h_spot_sign_4") > 0.0, "dark spots");
    }

    #[test]
    fn stripes_have_a_direction_and_noise_has_none() {
        let stripes = (0..256 * 256).flat_map(|i| if i % 16 < 8 { [120, 90, 160] } else { [230; 3] });
        let stripes = measure(&RgbImage::new(256, 256, stripes.collect()).unwrap());
        assert!(feature(&stripes, "h_direction_1") > 0.99);
        assert!(feature(&measure(&noise(256)), "h_direction_1") < 0.05);
    }
}
