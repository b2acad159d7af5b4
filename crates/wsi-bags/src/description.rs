//! What is known of the patches of a slide without reading their features.

use std::path::PathBuf;

use crate::coords::are_at_one_place;
use crate::error::{Error, ErrorKind, Result};
use crate::magnification::Magnification;
use crate::one_slide::check_together;
use crate::parents::Parents;
use crate::patch_set::{PatchGeometry, RowOrder};
use crate::patch_source::PatchSource;
use crate::provenance::Provenance;
use crate::scale_parents::scale_parents;
use crate::slide_info::SlideInfo;
use crate::store::BagStore;

/// The patches of one slide at one magnification, without their features.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchDescription {
    /// The file that would be read.
    pub path: PathBuf,
    /// Number of patches, at least 1.
    pub n_patches: usize,
    /// Columns of the features, at least 1.
    pub dim: usize,
    /// How a feature is stored: `float16`, `bfloat16`, `float32` or `float64`.
    pub element_type: &'static str,
    /// Whether coordinates in level-0 pixels are known.
    pub has_coords: bool,
    /// Whether all of several patches lie at the same place, so that coordinates tell nothing.
    pub at_one_place: bool,
    /// The order of the rows, read off the coordinates.
    pub row_order: RowOrder,
    /// Size and resolution of the patches.
    pub geometry: PatchGeometry,
    /// Tool and encoder.
    pub provenance: Provenance,
    /// The slide.
    pub slide: SlideInfo,
    /// Whether the file has parents.
    pub has_parents: bool,
    /// How many patches were given the nearest coarse patch as parent, if the file counts them.
    pub parent_fallbacks: Option<usize>,
    /// Whether the file has tissue classes.
    pub has_tissue: bool,
}

impl From<&PatchSource> for PatchDescription {
    fn from(source: &PatchSource) -> Self {
        Self {
            path: source.path.clone(),
            n_patches: source.n_patches,
            dim: source.dim,
            element_type: source.element.name(),
            has_coords: source.coords.is_some(),
            at_one_place: source.coords.as_deref().is_some_and(are_at_one_place),
            row_order: source.row_order(),
            geometry: source.geometry,
            provenance: source.provenance.clone(),
            slide: source.slide,
            has_parents: source.parents.is_some(),
            parent_fallbacks: source.parent_fallbacks,
            has_tissue: source.tissue.is_some(),
        }
    }
}

impl BagStore {
    /// What is known of the patches of a slide at one magnification. Headers, coordinates and indices are read and
    /// checked, features are not: they may still hold NaN.
    ///
    /// # Errors
    /// As [`BagStore::read`], but for [`ErrorKind::NonFinite`] and damage to the features themselves.
    pub fn describe(&self, slide_id: &str, magnification: Magnification) -> Result<PatchDescription> {
        let stem = self.stem(slide_id)?;
        self.source(stem, magnification).map(|source| PatchDescription::from(&source))
    }

    /// Whether what the files of a slide say of several magnifications fits together, as in [`BagStore::read`]. Features are
    /// not read.
    ///
    /// # Errors
    /// Those of [`BagStore::describe`], [`ErrorKind::Disagreement`] if the files of two magnifications state different slides,
    /// and [`ErrorKind::Parent`] if a parent index lies outside the next coarser of them.
    pub fn check_together(&self, slide_id: &str, magnifications: &[Magnification]) -> Result<()> {
        let stem = self.stem(slide_id)?;
        let sources = magnifications.iter().map(|at| Ok((*at, self.source(stem, *at)?)));
        check_together(&sources.collect::<Result<Vec<_>>>()?)
    }

    /// The parents of the patches of a slide at one magnification, from coordinates; `None` where coordinates or patch
    /// sizes of either magnification are not known and cannot be told from the lattices.
    ///
    /// # Errors
    /// As [`BagStore::describe`], and [`ErrorKind::MissingMagnification`] for 5x patches, which have no parents.
    pub fn find_parents(&self, slide_id: &str, magnification: Magnification) -> Result<Option<Parents>> {
        let stem = self.stem(slide_id)?;
        let Some(coarser) = magnification.coarser() else {
            let present = self.presence(slide_id)?.magnifications().collect();
            return Err(Error::from(ErrorKind::MissingMagnification { wanted: magnification, present }));
        };
        scale_parents(&self.source(stem, magnification)?, &self.source(stem, coarser)?, magnification)
    }
}
