//! Patches to pixels, from level-0 coordinates.

use crate::patch_boxes::PatchBoxes;

/// A grid of pixels on the slide: where it starts and how many level-0 pixels each of its pixels spans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelGrid {
    /// Top left corner in level-0 pixels.
    pub corner: [f64; 2],
    /// Level-0 pixels per pixel along x and y. They differ where a side was not divisible.
    pub scale: [f64; 2],
    /// Width and height in pixels.
    pub size: [u32; 2],
}

impl PixelGrid {
    /// A grid of `size` (width, height) over a whole slide of `level0` pixels, so that both end at the same place.
    #[must_use]
    pub fn over(level0: [u32; 2], size: [u32; 2]) -> Self {
        let scale = [0, 1].map(|axis| f64::from(level0[axis]) / f64::from(size[axis].max(1)));
        Self { corner: [0.0; 2], scale, size }
    }

    /// The part of this grid that starts at pixel `corner`.
    #[must_use]
    pub fn part(&self, corner: [u32; 2], size: [u32; 2]) -> Self {
        let corner = [0, 1].map(|axis| self.corner[axis] + f64::from(corner[axis]) * self.scale[axis]);
        Self { corner, size, ..*self }
    }

    /// The pixels along one axis whose centres lie in `[start, start + side)`; where there is none, as for patches
    /// smaller than a pixel, the one that holds the middle. `None` outside the grid.
    fn pixels(&self, axis: usize, start: i64, side: u32) -> Option<[u32; 2]> {
        let place = |level0: f64| (level0 - self.corner[axis]) / self.scale[axis];
        let (from, to) = (place(start as f64), place(start as f64 + f64::from(side)));
        let (mut first, mut end) = ((from - 0.5).ceil(), (to - 0.5).ceil());
        if first >= end {
            first = ((from + to) / 2.0).floor();
            end = first + 1.0;
        }
        let limit = f64::from(self.size[axis]);
        let (first, end) = (first.max(0.0), end.min(limit));
        (first < end).then_some([first as u32, end as u32])
    }

    /// The rectangle `[left, top, right, bottom)` of a patch in pixels of this grid; `None` outside it.
    #[must_use]
    pub fn rectangle(&self, corner: [i64; 2], side: u32) -> Option<[u32; 4]> {
        let [left, right] = self.pixels(0, corner[0], side)?;
        let [top, bottom] = self.pixels(1, corner[1], side)?;
        Some([left, top, right, bottom])
    }
}

/// One shade per pixel, `None` where no patch lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadeMap {
    width: u32,
    shades: Vec<Option<u8>>,
}

impl ShadeMap {
    /// Draws rectangles of pixels with their shades. Where several lie on one pixel, it gets their mean.
    pub(crate) fn draw(size: [u32; 2], rectangles: impl Iterator<Item = ([u32; 4], u8)>) -> Self {
        let [width, height] = size.map(|length| length as usize);
        // Sum of shades, and how many.
        let mut sums = vec![(0u32, 0u32); width * height];
        for ([left, top, right, bottom], shade) in rectangles {
            let (right, bottom) = ((right as usize).min(width), (bottom as usize).min(height));
            for y in top as usize..bottom {
                let row = y * width;
                for (sum, n) in sums.get_mut(row + left as usize..row + right).unwrap_or_default() {
                    *sum += u32::from(shade);
                    *n += 1;
                }
            }
        }
        let mean = |(sum, n): (u32, u32)| (n > 0).then(|| ((sum + n / 2) / n) as u8);
        Self { width: size[0], shades: sums.into_iter().map(mean).collect() }
    }

    /// Draws the patches of one magnification on `grid`. Memory: 12 bytes a pixel. Patches that overlap share a mean.
    ///
    /// - `shades`: one per patch, in the order of `boxes`.
    #[must_use]
    pub fn of_patches(grid: &PixelGrid, boxes: &PatchBoxes, shades: &[u8]) -> Self {
        let rectangle =
            |(corner, shade): (&[i64; 2], &u8)| Some((grid.rectangle(*corner, boxes.side)?, *shade));
        Self::draw(grid.size, boxes.corners.iter().zip(shades).filter_map(rectangle))
    }

    /// The shade of a pixel; `None` where no patch lies, and outside.
    #[must_use]
    pub fn at(&self, x: u32, y: u32) -> Option<u8> {
        if x >= self.width {
            return None;
        }
        self.shades.get(y as usize * self.width as usize + x as usize).copied().flatten()
    }

    /// All pixels, row by row.
    pub(crate) fn pixels(&self) -> &[Option<u8>] {
        &self.shades
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsi_bags::Magnification;

    #[test]
    fn neighbouring_patches_leave_no_gap_and_no_overlap_at_any_scale() {
        for scale in [1.0, 3.7, 16.2, 63.999, 100.5, 511.0] {
            let grid = PixelGrid { corner: [0.0; 2], scale: [scale; 2], size: [4000, 4000] };
            let mut end = 0;
            for column in 0..7 {
                let [left, _, right, _] = grid.rectangle([column * 512, 0], 512).unwrap();
                assert_eq!(left, end, "{scale}");
                assert!((f64::from(right) * scale - (column + 1) as f64 * 512.0).abs() <= scale / 2.0 + 1e-9);
                end = right;
            }
        }
    }

    #[test]
    fn a_patch_smaller_than_a_pixel_is_on_the_pixel_of_its_middle() {
        let grid = PixelGrid { corner: [0.0; 2], scale: [1000.0; 2], size: [3, 3] };
        assert_eq!(grid.rectangle([990, 1600], 100), Some([1, 1, 2, 2]));
        assert_eq!(grid.rectangle([3100, 0], 100), None);
        assert_eq!(grid.rectangle([-200, 0], 100), None);
    }

    #[test]
    fn overlapping_patches_share_their_mean_and_bare_glass_has_none() {
        let grid = PixelGrid::over([40, 20], [4, 2]);
        let boxes =
            PatchBoxes { magnification: Magnification::X20, side: 20, corners: vec![[0, 0], [10, 0]] };
        let map = ShadeMap::of_patches(&grid, &boxes, &[100, 201]);
        let row: Vec<_> = (0..5).map(|x| map.at(x, 1)).collect();
        assert_eq!(row, [Some(100), Some(151), Some(201), None, None]);
        assert_eq!(map.at(0, 2), None);
    }
}
