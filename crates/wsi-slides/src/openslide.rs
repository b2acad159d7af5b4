//! OpenSlide as a reader, behind the feature of that name: NDPI, MRXS, SCN, BIF, VMS and the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;
use openslide_rs::{Address, OpenSlide, Region, Size};

use crate::error::{Error, ErrorKind, Result};
use crate::reader::{Level, SlideReader, check_region};
use crate::resolution::StatedResolution;

/// A slide that OpenSlide reads.
pub struct OpenSlideReader {
    path: PathBuf,
    // An error sticks to a handle for good, so the handle is then replaced.
    handle: Mutex<Arc<OpenSlide>>,
    format: String,
    levels: Vec<Level>,
    properties: BTreeMap<String, String>,
}

impl OpenSlideReader {
    /// Opens a slide.
    ///
    /// # Errors
    /// [`ErrorKind::OpenSlide`] with OpenSlide's reason.
    pub fn open(path: &Path) -> Result<Self> {
        let slide = handle(path)?;
        let mut levels = Vec::new();
        for (size, downsample) in slide.all_level_dimensions().iter().zip(slide.all_level_downsamples()) {
            levels.push(Level { width: size.w, height: size.h, downsample: *downsample });
        }
        let mut properties = BTreeMap::new();
        for name in slide.property_names().map_err(|error| failed(path, &error))? {
            if let Ok(value) = slide.property_value(&name) {
                properties.insert(name, value);
            }
        }
        let format = properties.get("openslide.vendor").cloned().unwrap_or_else(|| "openslide".to_owned());
        Ok(Self { path: path.to_owned(), handle: Mutex::new(Arc::new(slide)), format, levels, properties })
    }

    /// The version of the library.
    ///
    /// # Errors
    /// [`ErrorKind::OpenSlide`] if it does not tell.
    pub fn version() -> Result<String> {
        OpenSlide::version().map_err(|error| ErrorKind::OpenSlide { fault: error.to_string() }.into())
    }

    fn property(&self, name: &str) -> Option<f64> {
        self.properties.get(name).and_then(|value| value.trim().parse().ok())
    }
}

fn handle(path: &Path) -> Result<OpenSlide> {
    OpenSlide::new(path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &openslide_rs::errors::OpenSlideError) -> Error {
    Error::from(ErrorKind::OpenSlide { fault: error.to_string() }).in_file(path)
}

impl SlideReader for OpenSlideReader {
    fn format(&self) -> &str {
        &self.format
    }

    fn levels(&self) -> &[Level] {
        &self.levels
    }

    fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    fn stated_resolution(&self) -> StatedResolution {
        let mpp = self.property("openslide.mpp-x").zip(self.property("openslide.mpp-y"));
        let power = self.property("openslide.objective-power");
        StatedResolution { mpp: mpp.map(|(x, y)| [x, y]), power }
    }

    fn read_region(&self, level: usize, corner: [i64; 2], size: [u32; 2]) -> Result<RgbImage> {
        let found = check_region(&self.levels, level, size).map_err(|error| error.in_file(&self.path))?;
        // The binding takes no negative corners: what lies before the slide is left black.
        let before = corner.map(|at| (-(at.min(0) as f64) / found.downsample).ceil() as u32);
        let part = [0, 1].map(|axis| size[axis].saturating_sub(before[axis]));
        let mut out = RgbImage::new(size[0], size[1]);
        let [Ok(x), Ok(y)] = corner.map(|at| u32::try_from(at.max(0))) else { return Ok(out) };
        if part.contains(&0) {
            return Ok(out);
        }
        let level = u32::try_from(level).unwrap_or(u32::MAX);
        let region = Region { size: Size { w: part[0], h: part[1] }, level, address: Address { x, y } };
        let slide = Arc::clone(&self.handle.lock().unwrap_or_else(PoisonError::into_inner));
        let pixels = match slide.read_region(&region) {
            Ok(pixels) => pixels,
            Err(error) => {
                *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(handle(&self.path)?);
                return Err(failed(&self.path, &error));
            }
        };
        let (width, left) = (part[0] as usize, before[0] as usize * 3);
        let rows = out.as_mut().chunks_exact_mut(size[0] as usize * 3).skip(before[1] as usize);
        for (row, source) in rows.zip(pixels.chunks_exact(width * 4)) {
            for (pixel, argb) in row[left..].chunks_exact_mut(3).zip(source.chunks_exact(4)) {
                pixel.copy_from_slice(&opaque(argb));
            }
        }
        Ok(out)
    }
}

/// The colour of a premultiplied pixel without its alpha, as `convert("RGB")` of other tools leaves it.
fn opaque(argb: &[u8]) -> [u8; 3] {
    let [a, r, g, b] = match *argb {
        [x, y, z, w] => u32::from_ne_bytes([x, y, z, w]).to_be_bytes(),
        _ => [0; 4],
    };
    match a {
        0 => [0; 3],
        255 => [r, g, b],
        // OpenSlide's Python binding divides the same way.
        _ => [r, g, b].map(|value| (255 * u32::from(value) / u32::from(a)).min(255) as u8),
    }
}
