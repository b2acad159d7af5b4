//! The patches of one slide at one magnification.

use crate::error::{Error, ErrorKind, Result};
use crate::features::FeatureMatrix;

/// Size and resolution of the patches of one magnification.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatchGeometry {
    /// Side of a patch in level-0 pixels.
    pub patch_size_level0: u32,
    /// Micrometres per pixel of the patch as the encoder saw it.
    pub mpp: f64,
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
    geometry: Option<PatchGeometry>,
}

impl PatchSet {
    /// A set of which only the features are known.
    #[must_use]
    pub fn new(features: FeatureMatrix) -> Self {
        Self { features, coords: None, parents: None, tissue: None, geometry: None }
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
    /// [`ErrorKind::Geometry`] unless both are positive and finite.
    pub fn with_geometry(mut self, geometry: PatchGeometry) -> Result<Self> {
        if geometry.patch_size_level0 == 0 {
            return Err(ErrorKind::Geometry { what: "patch_size_level0", found: 0.0 }.into());
        }
        if !(geometry.mpp.is_finite() && geometry.mpp > 0.0) {
            return Err(ErrorKind::Geometry { what: "mpp", found: geometry.mpp }.into());
        }
        self.geometry = Some(geometry);
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

    /// Size and resolution of the patches, if known.
    #[must_use]
    pub fn geometry(&self) -> Option<PatchGeometry> {
        self.geometry
    }

    /// The order of the rows, read off the coordinates. Linear in the number of patches.
    #[must_use]
    pub fn row_order(&self) -> RowOrder {
        match &self.coords {
            Some(coords) if first_out_of_order(coords).is_none() => RowOrder::RowMajor,
            _ => RowOrder::File,
        }
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
            let error = two_patches().with_geometry(PatchGeometry { patch_size_level0, mpp }).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Geometry { .. }));
        }
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
