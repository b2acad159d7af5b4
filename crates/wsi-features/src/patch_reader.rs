//! Patches of one slide, as the encoder sees them.

use std::path::{Path, PathBuf};

use patch_encoders::{Filter, RgbImage, resize};
use wsi_slides::{Level, SlideReader};

use crate::error::{Error, Result};

/// Which level patches are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelSource {
    /// The level nearest above the wanted resolution: a sixteenth of the pixels or less for coarse patches.
    #[default]
    NearestLevel,
    /// Level 0, shrunk: what a patch is by definition, at the cost of every pixel.
    Level0,
}

impl PixelSource {
    /// As bags state it, and as the command line names it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NearestLevel => "nearest",
            Self::Level0 => "level0",
        }
    }
}

/// A downsample that is off by this much is taken as it is, as in TRIDENT.
const LEVEL_TOLERANCE: f64 = 0.1;

/// Reads patches of one size from one slide.
#[derive(Debug)]
pub(crate) struct PatchReader<'a> {
    path: PathBuf,
    level: usize,
    /// Side of the square that is read from that level.
    side: u32,
    /// Side that the encoder gets.
    wanted: usize,
    slide: SlideOf<'a>,
}

/// A slide, whose readers have nothing to show.
struct SlideOf<'a>(&'a dyn SlideReader);

impl std::fmt::Debug for SlideOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.format())
    }
}

impl<'a> PatchReader<'a> {
    /// For patches of `side` level-0 pixels that become `wanted` pixels wide.
    pub(crate) fn new(
        path: &Path,
        slide: &'a dyn SlideReader,
        side: u32,
        wanted: usize,
        source: PixelSource,
    ) -> Self {
        let ratio = f64::from(side) / wanted as f64;
        let level = match source {
            PixelSource::Level0 => 0,
            PixelSource::NearestLevel => nearest_level(slide.levels(), ratio),
        };
        let downsample = slide.levels().get(level).map_or(1.0, |level| level.downsample);
        let side = ((f64::from(side) / downsample).round() as u32).max(1);
        Self { path: path.to_owned(), level, side, wanted, slide: SlideOf(slide) }
    }

    /// Reads the patch at a corner in level-0 pixels and resizes it as Pillow would, bicubic.
    pub(crate) fn read(&self, corner: [i64; 2]) -> Result<RgbImage> {
        let region = self.slide.0.read_region(self.level, corner, [self.side; 2])?;
        let encoder = |source| Error::Encoder { slide: self.path.clone(), source };
        let side = self.side as usize;
        let patch = RgbImage::new(side, side, region.into_raw()).map_err(encoder)?;
        if side == self.wanted {
            return Ok(patch);
        }
        resize(&patch, self.wanted, self.wanted, Filter::Bicubic).map_err(encoder)
    }
}

/// The level whose downsample is `ratio`, or else the largest below it.
fn nearest_level(levels: &[Level], ratio: f64) -> usize {
    let near = levels.iter().position(|level| (level.downsample - ratio).abs() <= LEVEL_TOLERANCE);
    near.or_else(|| levels.iter().rposition(|level| level.downsample <= ratio)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_taken_by_the_ratio_of_patch_to_picture() {
        let levels = [1.0, 4.003, 16.05].map(|downsample| Level { width: 1, height: 1, downsample });
        let found: Vec<usize> = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0]
            .iter()
            .map(|ratio| nearest_level(&levels, *ratio))
            .collect();
        assert_eq!(found, [0, 0, 0, 1, 1, 2, 2]);
    }
}
