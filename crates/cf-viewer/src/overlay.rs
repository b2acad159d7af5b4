//! A map laid over a picture of the slide.

use image::{Rgb, RgbImage};

use crate::raster::ShadeMap;

/// Blends the colours of a map into a picture of the same size: `opacity` 0 leaves the picture, 1 hides it where a patch
/// lies. Where no patch lies, the picture stays.
pub fn blend(picture: &mut RgbImage, map: &ShadeMap, colours: &[[u8; 3]; 256], opacity: f32) {
    for (pixel, shade) in picture.pixels_mut().zip(map.pixels()) {
        let Some(shade) = shade else { continue };
        let colour = colours[usize::from(*shade)];
        for (value, over) in pixel.0.iter_mut().zip(colour) {
            *value = (f32::from(*value) * (1.0 - opacity) + f32::from(over) * opacity).round() as u8;
        }
    }
}

/// A map on white, without the slide.
#[must_use]
pub fn map_alone(map: &ShadeMap, size: [u32; 2], colours: &[[u8; 3]; 256]) -> RgbImage {
    let mut picture = RgbImage::from_pixel(size[0], size[1], Rgb([255; 3]));
    blend(&mut picture, map, colours, 1.0);
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::PixelGrid;
    use crate::{ColourMap, PatchBoxes};
    use wsi_bags::Magnification;

    #[test]
    fn only_patches_are_coloured_and_opacity_mixes() {
        let grid = PixelGrid::over([20, 10], [2, 1]);
        let boxes = PatchBoxes { magnification: Magnification::X20, side: 10, corners: vec![[10, 0]] };
        let map = ShadeMap::of_patches(&grid, &boxes, &[255]);
        let colours = ColourMap::Viridis.table();
        let mut picture = RgbImage::from_pixel(2, 1, Rgb([100, 100, 100]));
        blend(&mut picture, &map, &colours, 0.4);
        assert_eq!(picture.get_pixel(0, 0).0, [100; 3]);
        // Viridis ends at (253, 231, 37).
        assert_eq!(picture.get_pixel(1, 0).0, [161, 152, 75]);
        assert_eq!(map_alone(&map, [2, 1], &colours).into_raw(), [255, 255, 255, 253, 231, 37]);
    }
}
