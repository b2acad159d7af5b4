//! A PNG or JPEG image as a slide of one level.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ColorType, DynamicImage, ImageDecoder, ImageReader, RgbImage};

use crate::error::{BoxedSource, Error, ErrorKind, Result};
use crate::reader::{LARGEST_REGION, Level, SlideReader, check_region};
use crate::resolution::StatedResolution;
use crate::tile::Tile;
use crate::{region, tile_codec};

/// An image that is held in memory whole. It states no resolution: the user must.
pub struct ImageSlide {
    path: PathBuf,
    format: &'static str,
    level: Level,
    pixels: Arc<Tile>,
    properties: BTreeMap<String, String>,
}

impl ImageSlide {
    /// Decodes the image. Transparency is dropped, and an orientation in EXIF has no effect: pixels lie as they are stored. The pixels of
    /// baseline JPEG are those of libjpeg.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Structure`] for a damaged image or one that is far larger than its file, [`ErrorKind::Limit`] for one of more than 2^28
    /// pixels, [`ErrorKind::Unsupported`] for 16-bit samples.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_unnamed(path).map_err(|error| error.in_file(path))
    }

    fn open_unnamed(path: &Path) -> Result<Self> {
        let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
        let length = std::fs::metadata(path).map_err(failed)?.len();
        let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(failed)?;
        let format = match reader.format() {
            Some(image::ImageFormat::Png) => "png",
            _ => "jpeg",
        };
        let damaged = |source| damaged(format, source);
        let decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        let found = u64::from(width) * u64::from(height);
        if found > LARGEST_REGION {
            let what = "an image in pixels";
            return Err(ErrorKind::Limit { what, found, limit: LARGEST_REGION }.into());
        }
        if let Err(fault) = tile_codec::check_compression(length, width, height) {
            let place = format!("the {format} image");
            let fault = format!(
                "{fault}; an image that is meant so can be saved as tiled TIFF or JPEG, or without compression"
            );
            return Err(ErrorKind::Structure { place, fault, source: None }.into());
        }
        match decoder.color_type() {
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {}
            other => {
                let bits = u32::from(other.bits_per_pixel()) / u32::from(other.channel_count());
                let (found, wanted) = (format!("{bits}-bit samples"), "8-bit grey and RGB");
                return Err(ErrorKind::Unsupported { found, wanted }.into());
            }
        }
        let pixels = match format {
            // The decoder of the library takes what is left of a JPEG file that was cut short for all there was.
            "jpeg" => {
                let bytes = std::fs::read(path).map_err(failed)?;
                tile_codec::decode_jpeg_file(&bytes, found).map_err(|fault| {
                    let place = format!("the {format} image");
                    Error::from(ErrorKind::Structure { place, fault, source: None })
                })?
            }
            _ => {
                let rgb = DynamicImage::from_decoder(decoder).map_err(damaged)?.into_rgb8();
                Tile { width, height, rgb: rgb.into_raw() }
            }
        };
        let level = Level { width, height, downsample: 1.0 };
        let pixels = Arc::new(pixels);
        let properties = BTreeMap::from([("image.format".to_owned(), format.to_owned())]);
        Ok(Self { path: path.to_owned(), format, level, pixels, properties })
    }
}

fn damaged(format: &str, source: image::ImageError) -> Error {
    let fault = "it does not decode".to_owned();
    let source: BoxedSource = Box::new(source);
    ErrorKind::Structure { place: format!("the {format} image"), fault, source: Some(source) }.into()
}

impl SlideReader for ImageSlide {
    fn format(&self) -> &str {
        self.format
    }

    fn levels(&self) -> &[Level] {
        std::slice::from_ref(&self.level)
    }

    fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    fn stated_resolution(&self) -> StatedResolution {
        StatedResolution::default()
    }

    fn read_region(&self, level: usize, corner: [i64; 2], size: [u32; 2]) -> Result<RgbImage> {
        let level = check_region(self.levels(), level, size).map_err(|error| error.in_file(&self.path))?;
        let tile_size = [level.width, level.height];
        region::read(level, tile_size, corner, size, |_, _| Ok(Some(Arc::clone(&self.pixels))))
    }
}
