//! The patches of a slide at one magnification, all known of them but the features.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::coords::{Frame, check_frame};
use crate::element_type::ElementType;
use crate::error::{ErrorKind, Result};
use crate::features::FeatureMatrix;
use crate::hdf5::{FloatMatrix, Reader};
use crate::mmap::MappedFile;
use crate::patch_set::{PatchGeometry, PatchSet, RowOrder};
use crate::provenance::Provenance;
use crate::pt;
use crate::safetensors::TensorPlace;
use crate::slide_info::SlideInfo;

/// What a file says of the patches of one magnification. Coordinates and indices have been read, features have not.
pub(crate) struct PatchSource {
    pub(crate) path: PathBuf,
    pub(crate) n_patches: usize,
    pub(crate) dim: usize,
    pub(crate) element: ElementType,
    pub(crate) coords: Option<Vec<[i64; 2]>>,
    pub(crate) parents: Option<Vec<Option<u32>>>,
    pub(crate) parent_fallbacks: Option<usize>,
    pub(crate) tissue: Option<Vec<u8>>,
    pub(crate) geometry: PatchGeometry,
    pub(crate) provenance: Provenance,
    pub(crate) slide: SlideInfo,
    /// Magnification of the slide at level 0.
    pub(crate) level0_magnification: Option<f64>,
    values: Values,
}

/// Where the features are.
enum Values {
    Hdf5 { reader: Rc<Reader>, group: String, matrix: FloatMatrix },
    Pt,
    Safetensors { file: Arc<MappedFile>, tensor: TensorPlace },
}

impl PatchSource {
    /// Features in a dataset of an HDF5 file.
    pub(crate) fn hdf5(path: &Path, reader: &Rc<Reader>, group: &str, matrix: FloatMatrix) -> Self {
        let (n_patches, dim, element) = (matrix.n_patches, matrix.dim, matrix.element);
        let values = Values::Hdf5 { reader: Rc::clone(reader), group: group.to_owned(), matrix };
        Self::of(path, n_patches, dim, element, values)
    }

    /// Features in a tensor of a safetensors file.
    pub(crate) fn safetensors(path: &Path, file: &Arc<MappedFile>, tensor: TensorPlace) -> Self {
        let (n_patches, dim, element) = (tensor.n_rows, tensor.n_columns, tensor.element);
        Self::of(path, n_patches, dim, element, Values::Safetensors { file: Arc::clone(file), tensor })
    }

    /// Features as the one tensor of a `.pt` file.
    pub(crate) fn pt(path: &Path) -> Result<Self> {
        let (n_patches, dim, element) = pt::features_shape(path)?;
        Ok(Self::of(path, n_patches, dim, element, Values::Pt))
    }

    fn of(path: &Path, n_patches: usize, dim: usize, element: ElementType, values: Values) -> Self {
        Self {
            path: path.to_owned(),
            n_patches,
            dim,
            element,
            coords: None,
            parents: None,
            parent_fallbacks: None,
            tissue: None,
            geometry: PatchGeometry::default(),
            provenance: Provenance::default(),
            slide: SlideInfo::default(),
            level0_magnification: None,
            values,
        }
    }

    /// The order of the rows.
    pub(crate) fn row_order(&self) -> RowOrder {
        self.coords.as_deref().map_or(RowOrder::File, RowOrder::of)
    }

    /// Where in the file the features are, if they are in an HDF5 file and in one piece.
    pub(crate) fn feature_bytes(&self) -> Option<Range<u64>> {
        match &self.values {
            Values::Hdf5 { matrix, .. } => matrix.bytes(),
            Values::Pt | Values::Safetensors { .. } => None,
        }
    }

    /// Refuses what cannot be the patches of one magnification: nothing at all, arrays of different lengths,
    /// coordinates that are not level-0 pixels. `step` is the stated distance between neighbours.
    pub(crate) fn check(&self, step: Option<u32>) -> Result<()> {
        if self.n_patches == 0 {
            return Err(ErrorKind::EmptyBag.into());
        }
        if self.dim == 0 {
            return Err(ErrorKind::ZeroWidth.into());
        }
        let lengths = [
            ("coords", self.coords.as_ref().map(Vec::len)),
            ("parent", self.parents.as_ref().map(Vec::len)),
            ("tissue", self.tissue.as_ref().map(Vec::len)),
        ];
        for (what, found) in lengths {
            if let Some(found) = found.filter(|found| *found != self.n_patches) {
                return Err(ErrorKind::RowCount { what, expected: self.n_patches, found }.into());
            }
        }
        self.slide.check()?;
        let frame = Frame { slide_size: [self.slide.width, self.slide.height], step };
        check_frame(self.coords.as_deref().unwrap_or_default(), frame)
    }

    /// Reads the features.
    pub(crate) fn into_patches(self) -> Result<PatchSet> {
        let features = match self.values {
            Values::Pt => pt::read_features(&self.path)?,
            Values::Hdf5 { reader, group, matrix } => {
                let group = reader.group(&group)?.ok_or(ErrorKind::EmptyBag)?;
                group.features(&matrix)?
            }
            Values::Safetensors { file, tensor } => features_of(&file, &tensor)?,
        };
        let mut set = PatchSet::new(features).with_geometry(self.geometry)?.with_provenance(self.provenance);
        if let Some(coords) = self.coords {
            set = set.with_coords(coords)?;
        }
        if let Some(parents) = self.parents {
            set = set.with_parents(parents)?;
        }
        if let Some(n_fallbacks) = self.parent_fallbacks {
            set = set.with_parent_fallbacks(n_fallbacks)?;
        }
        match self.tissue {
            Some(tissue) => set.with_tissue(tissue),
            None => Ok(set),
        }
    }
}

fn features_of(file: &Arc<MappedFile>, tensor: &TensorPlace) -> Result<FeatureMatrix> {
    match tensor.mapped(file) {
        Some(floats) => FeatureMatrix::mapped(Arc::new(floats), tensor.n_rows, tensor.n_columns),
        None => FeatureMatrix::gathered(tensor.gather(file)?, tensor.n_rows, tensor.n_columns),
    }
}
