//! Median filter of bytes.

use image::GrayImage;
use rayon::prelude::*;

/// The median of the `side` by `side` pixels around each pixel; pixels beyond the border repeat it.
///
/// `side` is made odd by rounding up. Cost: proportional to the pixels times `side`, whatever they hold.
#[must_use]
pub fn median(image: &GrayImage, side: u32) -> GrayImage {
    let radius = (side / 2) as usize;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut out = GrayImage::new(image.width(), image.height());
    if width == 0 || height == 0 {
        return out;
    }
    let source = image.as_raw().as_slice();
    out.as_mut().par_chunks_exact_mut(width).enumerate().for_each(|(y, row)| {
        let rows: Vec<&[u8]> = (0..=2 * radius)
            .map(|offset| (y + offset).saturating_sub(radius).min(height - 1) * width)
            .map(|start| &source[start..start + width])
            .collect();
        filter_row(&rows, radius, row);
    });
    out
}

/// Moves one window along a row: its histogram, the median and how many values lie below it (Huang 1979).
fn filter_row(rows: &[&[u8]], radius: usize, out: &mut [u8]) {
    let last = out.len() - 1;
    let mut counts = [0u32; 256];
    for offset in 0..=2 * radius {
        let column = offset.saturating_sub(radius).min(last);
        for row in rows {
            counts[usize::from(row[column])] += 1;
        }
    }
    let half = (rows.len() * rows.len()) as u32 / 2;
    let (mut median, mut below) = (0usize, 0u32);
    for (x, value) in out.iter_mut().enumerate() {
        if x > 0 {
            let leaving = (x - 1).saturating_sub(radius);
            let entering = (x + radius).min(last);
            for row in rows {
                let (old, new) = (usize::from(row[leaving]), usize::from(row[entering]));
                counts[old] -= 1;
                below -= u32::from(old < median);
                counts[new] += 1;
                below += u32::from(new < median);
            }
        }
        while below > half {
            median -= 1;
            below -= counts[median];
        }
        while below + counts[median] <= half {
            below += counts[median];
            median += 1;
        }
        *value = median as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by sorting.
    fn sorted(image: &GrayImage, side: u32) -> GrayImage {
        let radius = i64::from(side / 2);
        GrayImage::from_fn(image.width(), image.height(), |x, y| {
            let at = |dx: i64, dy: i64| {
                let x = (i64::from(x) + dx).clamp(0, i64::from(image.width()) - 1);
                let y = (i64::from(y) + dy).clamp(0, i64::from(image.height()) - 1);
                image.get_pixel(x as u32, y as u32).0[0]
            };
            let mut values: Vec<u8> = (-radius..=radius)
                .flat_map(|dy| (-radius..=radius).map(move |dx| (dx, dy)))
                .map(|(dx, dy)| at(dx, dy))
                .collect();
            values.sort_unstable();
            image::Luma([values[values.len() / 2]])
        })
    }

    proptest! {
        #[test]
        fn the_moving_window_agrees_with_sorting(
            width in 1u32..20, height in 1u32..20, radius in 0u32..6, seed in prop::collection::vec(any::<u8>(), 400),
        ) {
            let image = GrayImage::from_fn(width, height, |x, y| image::Luma([seed[(y * 20 + x) as usize]]));
            let side = 2 * radius + 1;
            prop_assert_eq!(median(&image, side), sorted(&image, side));
        }
    }
}
