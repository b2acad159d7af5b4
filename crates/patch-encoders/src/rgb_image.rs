//! An 8-bit RGB image in memory.

use crate::error::{Error, Result};

/// Samples of a pixel: red, green, blue.
pub(crate) const CHANNELS: usize = 3;

/// An 8-bit RGB image, row by row from the top left; a pixel is three consecutive bytes.
///
/// ```
/// use patch_encoders::RgbImage;
///
/// let image = RgbImage::new(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// assert_eq!(image.pixels()[3..], [0, 0, 255]);
/// assert!(RgbImage::new(2, 2, vec![0; 6]).is_err());
/// # Ok::<(), patch_encoders::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// An image of `width * height` pixels, `pixels` being their `3 * width * height` bytes.
    ///
    /// # Errors
    /// [`Error::PixelCount`] if the bytes are more or fewer, or the image has no pixel.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        let wanted = width.checked_mul(height).and_then(|area| area.checked_mul(CHANNELS));
        if pixels.is_empty() || wanted != Some(pixels.len()) {
            return Err(Error::PixelCount { width, height, found: pixels.len() });
        }
        Ok(Self { width, height, pixels })
    }

    /// Pixels from left to right, at least 1.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels from top to bottom, at least 1.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The bytes of one row; `y` is below the height.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width * CHANNELS..][..self.width * CHANNELS]
    }

    /// The `width x height` window whose top left corner is `(left, top)` and which lies inside the image.
    pub(crate) fn window(&self, left: usize, top: usize, width: usize, height: usize) -> Self {
        let mut pixels = Vec::with_capacity(width * height * CHANNELS);
        for y in top..top + height {
            pixels.extend_from_slice(&self.row(y)[left * CHANNELS..(left + width) * CHANNELS]);
        }
        Self { width, height, pixels }
    }
}
