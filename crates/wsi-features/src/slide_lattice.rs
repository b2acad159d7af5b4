//! Where the patches of a slide lie: resolution, tissue, lattice.

use std::path::Path;

use wsi_bags::{Magnification, Squares, parents};
use wsi_slides::lattice::{Inclusion, NestedPatches, Padding, PatchSides, clam, nested};
use wsi_slides::tissue::{self, Ink, Tissue};
use wsi_slides::{Resolution, ResolutionOverride, SlideReader, open, resolve_slide};

use crate::error::{Error, Result};
use crate::extract::{ExtractOptions, LatticeKind};
use crate::slide_scale::SlideScale;
use crate::tissue_remarks::{no_patches, no_tissue};

/// A slide of known resolution.
pub(crate) struct OpenSlide<'a> {
    pub(crate) path: &'a Path,
    pub(crate) reader: Box<dyn SlideReader>,
    pub(crate) resolution: Resolution,
}

/// The patches of a slide, and what was found on the way.
pub(crate) struct Laid {
    pub(crate) scale: SlideScale,
    pub(crate) scales: Vec<NestedPatches>,
    pub(crate) n_pieces: usize,
    pub(crate) tissue_share: f64,
    pub(crate) ink: Ink,
}

/// Opens a slide and decides its resolution.
///
/// # Errors
/// [`Error::Slide`].
pub(crate) fn open_slide<'a>(
    path: &'a Path,
    given: ResolutionOverride,
    options: &ExtractOptions,
) -> Result<OpenSlide<'a>> {
    let reader = open(path)?;
    let resolution =
        resolve_slide(reader.as_ref(), given, options.preference).map_err(|error| error.in_file(path))?;
    Ok(OpenSlide { path, reader, resolution })
}

impl OpenSlide<'_> {
    /// Width and height of level 0.
    pub(crate) fn size(&self) -> [u32; 2] {
        self.reader.levels().first().map_or([0, 0], |level| [level.width, level.height])
    }

    /// How large patches are.
    ///
    /// # Errors
    /// [`Error::Slide`] for a slide that is too coarse for them.
    pub(crate) fn scale(&self, options: &ExtractOptions) -> Result<SlideScale> {
        let finest = options.magnifications.iter().copied().max().unwrap_or(Magnification::X20);
        SlideScale::new(self.resolution.clone(), options.target_mpp, finest)
            .map_err(|error| error.in_file(self.path).into())
    }

    /// Finds tissue, then lays patches.
    ///
    /// # Errors
    /// [`Error::Slide`], [`Error::NoTissue`].
    pub(crate) fn lay(&self, options: &ExtractOptions) -> Result<Laid> {
        let scale = self.scale(options)?;
        let found =
            tissue::find(self.reader.as_ref(), &options.tissue).map_err(|error| error.in_file(self.path))?;
        let nothing = |reason: String| Error::NoTissue { slide: self.path.to_owned(), reason };
        if found.contours.is_empty() {
            return Err(nothing(no_tissue(&found, &options.tissue)));
        }
        let scales = match options.lattice {
            LatticeKind::Nested => nested(&found.contours, self.size(), scale.sides, &options.magnifications),
            LatticeKind::Clam => clam_grids(&found, scale.sides, &options.magnifications)?,
        };
        if let Some(empty) = scales.iter().find(|scale| scale.patches.corners.is_empty()) {
            let reason = format!("{}: {}", empty.magnification, no_patches(&found, &empty.patches));
            return Err(nothing(reason));
        }
        let (n_pieces, tissue_share) = (found.contours.len(), found.share());
        Ok(Laid { scale, scales, n_pieces, tissue_share, ink: found.ink })
    }
}

/// CLAM's grid for each magnification.
fn clam_grids(
    found: &Tissue,
    sides: PatchSides,
    magnifications: &[Magnification],
) -> Result<Vec<NestedPatches>> {
    let mut magnifications = magnifications.to_vec();
    magnifications.sort_unstable();
    magnifications.dedup();
    let grid = |magnification: Magnification| {
        clam(&found.contours, sides.at(magnification), Inclusion::AnyOfFour, Padding::Beyond)
    };
    let laid = |magnification| NestedPatches { magnification, patches: grid(magnification), parents: None };
    with_parents(magnifications.into_iter().map(laid).collect())
}

/// CLAM's grids are not nested: a patch gets the coarser one that holds its centre, or the nearest.
fn with_parents(mut scales: Vec<NestedPatches>) -> Result<Vec<NestedPatches>> {
    for fine in 1..scales.len() {
        let coarse = fine - 1;
        if scales[fine].magnification.coarser() != Some(scales[coarse].magnification) {
            continue;
        }
        let squares =
            |idx: usize| Squares { coords: &scales[idx].patches.corners, side: scales[idx].patches.side };
        if !(scales[coarse].patches.corners.is_empty() || scales[fine].patches.corners.is_empty()) {
            scales[fine].parents = Some(parents(squares(fine), squares(coarse))?.index);
        }
    }
    Ok(scales)
}
