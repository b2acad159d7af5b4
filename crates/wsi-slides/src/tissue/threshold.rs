//! Fixed and Otsu's thresholds.

use image::GrayImage;

/// 255 where the value is above `level`, 0 elsewhere.
#[must_use]
pub fn above(image: &GrayImage, level: u8) -> GrayImage {
    let mut out = image.clone();
    for value in out.iter_mut() {
        *value = if *value > level { 255 } else { 0 };
    }
    out
}

/// The level that separates values best into two classes: the one of largest variance between them (Otsu 1979), the
/// lowest of equals, as OpenCV finds it.
///
/// Values above it form the upper class. 0 for an image of one value.
#[must_use]
pub fn otsu(image: &GrayImage) -> u8 {
    let mut counts = [0u64; 256];
    for value in image.iter() {
        counts[usize::from(*value)] += 1;
    }
    let n = image.len() as f64;
    if n == 0.0 {
        return 0;
    }
    let mean = counts.iter().enumerate().map(|(value, count)| value as f64 * *count as f64).sum::<f64>() / n;
    let (mut best, mut best_variance) = (0u8, 0.0);
    // Share and mean of the lower class so far.
    let (mut share, mut lower_mean) = (0.0, 0.0);
    for (value, count) in (0u8..=255).zip(counts) {
        let p = count as f64 / n;
        lower_mean *= share;
        share += p;
        let upper_share = 1.0 - share;
        // A class of rounding errors has no mean.
        if share.min(upper_share) < f64::from(f32::EPSILON)
            || share.max(upper_share) > 1.0 - f64::from(f32::EPSILON)
        {
            continue;
        }
        lower_mean = (lower_mean + f64::from(value) * p) / share;
        let upper_mean = (mean - share * lower_mean) / upper_share;
        let variance = share * upper_share * (lower_mean - upper_mean).powi(2);
        if variance > best_variance {
            (best, best_variance) = (value, variance);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_not_above() {
        let image = GrayImage::from_raw(3, 1, vec![7, 8, 9]).unwrap();
        assert_eq!(above(&image, 8).as_raw(), &[0, 0, 255]);
    }

    #[test]
    fn otsu_separates_two_heaps() {
        let mut values = vec![20; 50];
        values.extend([25; 50]);
        values.extend([200; 30]);
        let image = GrayImage::from_raw(130, 1, values).unwrap();
        assert_eq!(otsu(&image), 25, "the lowest level between the heaps");
        assert_eq!(otsu(&GrayImage::from_pixel(4, 4, image::Luma([9]))), 0);
    }
}
