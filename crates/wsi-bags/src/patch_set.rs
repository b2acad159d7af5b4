//! The patches of one slide at one magnification.

use crate::error::{Error, ErrorKind, Result};
use crate::features::FeatureMatrix;
use crate::provenance::Provenance;

/// Size and resolution of the patches of one magnification, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PatchGeometry {
    /// Side of a patch in level-0 pixels.
    pub patch_size_level0: Option<u32>,
    /// Micrometres per pixel of the patch as the encoder saw it.
    pub mpp: Option<f64>,
}

/// In which order the rows of a patch set run. Models that fold tokens into a square grid depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// Coordinates are known and rise strictly, first by y, then by x: the order of a lattice.
    RowMajor,
    /// The order of the file, about which nothing is known.
    File,
}

impl RowOrder {
    /// The name stored in files: `row-major` or `file`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::RowMajor => "row-major",
            Self::File => "file",
        }
    }

    /// Reads the order off coordinates. Linear in their number.
    #[must_use]
    pub fn of(coords: &[[i64; 2]]) -> Self {
        if first_out_of_order(coords).is_none() { Self::RowMajor } else { Self::File }
    }
}

/// The patches of one slide at one magnification: features, and what else is known about each patch.
///
/// Every optional array has one entry per row of the features.
///
/// ```
/// use wsi_bags::{FeatureMatrix, PatchSet, RowOrder};
///
/// let features = FeatureMatrix::new(vec![0.1, 0.2, 0.3, 0.4], 2, 2)?;
/// let patches = PatchSet::new(features).with_coords(vec![[0, 0], [512, 0]])?;
/// assert_eq!(patches.row_order(), RowOrder::RowMajor);
/// assert_eq!(patches.coords(), Some(&[[0, 0], [512, 0]][..]));
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PatchSet {
    features: FeatureMatrix,
    coords: Option<Vec<[i64; 2]>>,
    parents: Option<Vec<Option<u32>>>,
    tissue: Option<Vec<u8>>,
    geometry: PatchGeometry,
    parent_fallbacks: Option<usize>,
    provenance: Provenance,
}

impl PatchSet {
    /// A set of which only the features are known.
    #[must_use]
    pub fn new(features: FeatureMatrix) -> Self {
        Self {
            features,
            coords: None,
            parents: None,
            tissue: None,
            geometry: PatchGeometry::default(),
            parent_fallbacks: None,
            provenance: Provenance::default(),
        }
    }

    /// Adds positions: `[x, y]` of each patch's top left corner in level-0 pixels.
    ///
    /// # Errors
    /// [`ErrorKind::RowCount`] unless there is one position for each patch.
    pub fn with_coords(mut self, coords: Vec<[i64; 2]>) -> Result<Self> {
        self.check_rows("coords", coords.len())?;
        self.coords = Some(coords);
        Ok(self)
    }

    /// Adds the size and resolution of the patches.
    ///
    /// # Errors
    /// [`ErrorKind::Geometry`] unless what is known is positive and finite.
    pub fn with_geometry(mut self, geometry: PatchGeometry) -> Result<Self> {
        if geometry.patch_size_level0 == Some(0) {
            return Err(ErrorKind::Geometry { what: "patch_size_level0", found: 0.0 }.into());
        }
        if let Some(mpp) = geometry.mpp.filter(|mpp| !(mpp.is_finite() && *mpp > 0.0)) {
            return Err(ErrorKind::Geometry { what: "mpp", found: mpp }.into());
        }
        self.geometry = geometry;
        Ok(self)
    }

    /// Adds, for each patch, the index of the patch that holds it in the next coarser magnification.
    ///
    /// [`Bag::new`](crate::Bag::new) checks the indices against that magnification.
    ///
    /// # Errors
    /// [`ErrorKind::RowCount`] unless there is one entry for each patch.
    pub fn with_parents(mut self, parents: Vec<Option<u32>>) -> Result<Self> {
        self.check_rows("parent", parents.len())?;
        self.parents = Some(parents);
        Ok(self)
    }

    /// Adds how many of the parents are not the patch that holds this one, but the nearest: see
    /// [`parents`](crate::parents).
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if there are more than patches, or any without parents.
    pub fn with_parent_fallbacks(mut self, n_fallbacks: usize) -> Result<Self> {
        let limit = self.parents.as_ref().map_or(0, Vec::len);
        if n_fallbacks > limit {
            let (found, limit) = (n_fallbacks as u64, limit as u64);
            return Err(ErrorKind::Limit { what: "number of parent fallbacks", found, limit }.into());
        }
        self.parent_fallbacks = Some(n_fallbacks);
        Ok(self)
    }

    /// Adds what is known of the making of the features.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Adds the tissue class of each patch.
    ///
    /// # Errors
    /// [`ErrorKind::RowCount`] unless there is one class for each patch.
    pub fn with_tissue(mut self, tissue: Vec<u8>) -> Result<Self> {
        self.check_rows("tissue", tissue.len())?;
        self.tissue = Some(tissue);
        Ok(self)
    }

    /// Number of patches, at least 1.
    #[must_use]
    pub fn n_patches(&self) -> usize {
        self.features.n_patches()
    }

    /// The features, one row per patch.
    #[must_use]
    pub fn features(&self) -> &FeatureMatrix {
        &self.features
    }

    /// `[x, y]` of each patch's top left corner in level-0 pixels, if known.
    #[must_use]
    pub fn coords(&self) -> Option<&[[i64; 2]]> {
        self.coords.as_deref()
    }

    /// Index into the next coarser magnification for each patch, if known; `None` inside for a patch without parent.
    #[must_use]
    pub fn parents(&self) -> Option<&[Option<u32>]> {
        self.parents.as_deref()
    }

    /// Tissue class of each patch, if known.
    #[must_use]
    pub fn tissue(&self) -> Option<&[u8]> {
        self.tissue.as_deref()
    }

    /// Size and resolution of the patches, as far as known.
    #[must_use]
    pub fn geometry(&self) -> PatchGeometry {
        self.geometry
    }

    /// How many patches have the nearest coarse patch as parent because none holds them, if that was counted.
    #[must_use]
    pub fn parent_fallbacks(&self) -> Option<usize> {
        self.parent_fallbacks
    }

    /// What is known of the making of the features.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The order of the rows, read off the coordinates. Linear in the number of patches.
    #[must_use]
    pub fn row_order(&self) -> RowOrder {
        self.coords().map_or(RowOrder::File, RowOrder::of)
    }

    fn check_rows(&self, what: &'static str, found: usize) -> Result<()> {
        let expected = self.n_patches();
        if found == expected {
            Ok(())
        } else {
            Err(Error::from(ErrorKind::RowCount { what, expected, found }))
        }
    }
}

/// Index of the first patch that does not lie after its predecessor in row-major order.
pub(crate) fn first_out_of_order(coords: &[[i64; 2]]) -> Option<usize> {
    coords.windows(2).position(|pair| [pair[0][1], pair[0][0]] >= [pair[1][1], pair[1][0]]).map(|idx| idx + 1)
}

/// Parents out of stored indices, -1 standing for none.
#[cfg(feature = "store")]
pub(crate) fn parents_from_stored(stored: Vec<i64>) -> Result<Vec<Option<u32>>> {
    let parent = |(patch_idx, parent)| match parent {
        -1 => Ok(None),
        _ => u32::try_from(parent).map(Some).map_err(|_| {
            let coarser = "an index is -1 or fits 32 bits".to_owned();
            ErrorKind::Parent { patch_idx, parent, coarser }.into()
        }),
    };
    stored.into_iter().enumerate().map(parent).collect()
}

/// Tissue classes out of stored integers.
#[cfg(feature = "store")]
pub(crate) fn tissue_from_stored(stored: Vec<i64>) -> Result<Vec<u8>> {
    let class = |class: i64| {
        let beyond =
            ErrorKind::Limit { what: "tissue class", found: class.unsigned_abs(), limit: u8::MAX.into() };
        u8::try_from(class).map_err(|_| beyond.into())
    };
    stored.into_iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_patches() -> PatchSet {
        PatchSet::new(FeatureMatrix::new(vec![1.0, 2.0], 2, 1).unwrap())
    }

    #[test]
    fn every_array_must_have_one_entry_per_patch() {
        let errors = [
            ("coords", two_patches().with_coords(vec![[0, 0]; 3]).unwrap_err()),
            ("parent", two_patches().with_parents(vec![None]).unwrap_err()),
            ("tissue", two_patches().with_tissue(Vec::new()).unwrap_err()),
        ];
        for (name, error) in errors {
            assert!(
                matches!(error.kind(), ErrorKind::RowCount { what, expected: 2, .. } if *what == name),
                "{error}"
            );
        }
    }

    #[test]
    fn impossible_geometry_is_refused() {
        for (patch_size_level0, mpp) in
            [(0, 0.5), (512, 0.0), (512, -1.0), (512, f64::NAN), (512, f64::INFINITY)]
        {
            let geometry = PatchGeometry { patch_size_level0: Some(patch_size_level0), mpp: Some(mpp) };
            let error = two_patches().with_geometry(geometry).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Geometry { .. }));
        }
    }

    #[test]
    fn there_are_not_more_fallbacks_than_parents() {
        assert!(two_patches().with_parent_fallbacks(1).is_err(), "no parents at all");
        let set = two_patches().with_parents(vec![Some(0), Some(0)]).unwrap();
        assert_eq!(set.clone().with_parent_fallbacks(2).unwrap().parent_fallbacks(), Some(2));
        assert!(matches!(set.with_parent_fallbacks(3).unwrap_err().kind(), ErrorKind::Limit { .. }));
    }

    #[test]
    fn row_order_is_read_off_the_coordinates() {
        let order = |coords: [[i64; 2]; 2]| two_patches().with_coords(coords.to_vec()).unwrap().row_order();
        assert_eq!(order([[0, 0], [512, 0]]), RowOrder::RowMajor);
        assert_eq!(order([[512, 0], [0, 512]]), RowOrder::RowMajor);
        assert_eq!(order([[512, 0], [0, 0]]), RowOrder::File);
        assert_eq!(order([[0, 512], [512, 0]]), RowOrder::File);
        assert_eq!(order([[0, 0], [0, 0]]), RowOrder::File, "the same place twice is no lattice");
        assert_eq!(two_patches().row_order(), RowOrder::File);
    }
}
