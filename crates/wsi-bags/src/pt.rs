//! PyTorch `.pt` files, without PyTorch: bags of features and state dicts.
//!
//! Files are those that `torch.save` has written since version 1.6: a zip archive of a pickle and the bytes of each
//! tensor. The pickle is read by an interpreter that can build tensors and plain containers and nothing else; a name
//! of anything else is refused, never imported or called. What a file states is compared with what it holds before
//! memory is set aside for it.
//!
//! ```
//! use wsi_bags::{FeatureMatrix, pt};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! let path = directory.path().join("slide.pt");
//! let features = FeatureMatrix::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2)?;
//! pt::write_features(&path, &features)?;
//! let read = pt::read_features(&path)?;
//! assert_eq!(read.row(2), Some(&[5.0, 6.0][..]));
//! assert!(read.is_mapped());
//! # Ok::<(), wsi_bags::Error>(())
//! ```

mod archive;
mod bytes;
mod state_dict;
mod tensor;
mod unpickle;
mod value;
mod write;

use std::path::Path;
use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::features::FeatureMatrix;
use crate::gather::gather;
use crate::replace::replace_file;

use archive::Archive;
use tensor::Tensor;
use unpickle::unpickle;
use value::{Objects, Value};

pub use state_dict::{NamedTensor, StateDict, read_state_dict};

/// Reads a file that holds one two-dimensional tensor of floats, `[n_patches, dim]`, as CLAM writes them.
///
/// 16-bit, 32-bit and 64-bit floats are read; all become `f32`. Row-major 32-bit values are not copied but stay in
/// the memory-mapped file; they are read through once, to make sure that they are finite. Their checksum is not
/// computed.
///
/// # Errors
/// With the path: [`ErrorKind::FileKind`] if it is not a zip archive by `torch.save` (legacy files, HDF5),
/// [`ErrorKind::Content`] if it holds anything but a tensor, [`ErrorKind::Global`] if it asks for a class that is not
/// part of one, [`ErrorKind::Shape`], [`ErrorKind::ElementType`], [`ErrorKind::TensorLayout`],
/// [`ErrorKind::NonFinite`], [`ErrorKind::EmptyBag`], and [`ErrorKind::Archive`] or [`ErrorKind::Pickle`] if it is
/// damaged.
pub fn read_features(path: &Path) -> Result<FeatureMatrix> {
    features(path).map_err(|error| error.in_file(path))
}

fn features(path: &Path) -> Result<FeatureMatrix> {
    with_features(path, |tensor, archive| {
        let (n_patches, dim) = (tensor.shape[0], tensor.shape[1]);
        match tensor.mapped(archive) {
            Some(floats) => FeatureMatrix::mapped(Arc::new(floats), n_patches, dim),
            None => match tensor.run() {
                Some((element, run)) => {
                    FeatureMatrix::gathered(gather(archive.file(), element, &[run])?, n_patches, dim)
                }
                None => FeatureMatrix::new(tensor.values(archive)?, n_patches, dim),
            },
        }
    })
}

/// Number of patches, width and element type of a file that [`read_features`] would read. No value is read.
#[cfg(feature = "store")]
pub(crate) fn features_shape(path: &Path) -> Result<(usize, usize, crate::element_type::ElementType)> {
    with_features(path, |tensor, _| Ok((tensor.shape[0], tensor.shape[1], tensor.storage.element_type)))
        .map_err(|error| error.in_file(path))
}

/// Finds the tensor of a bag, which has two axes and a float type, and hands it on.
fn with_features<T>(path: &Path, then: impl FnOnce(&Tensor, &Archive) -> Result<T>) -> Result<T> {
    const WANTED: &str = "a bare tensor, as of torch.save(features, path)";
    let mut archive = Archive::open(path)?;
    let (root, objects) = read_pickle(&mut archive, WANTED)?;
    let view = objects
        .tensor(root)
        .ok_or_else(|| ErrorKind::Content { found: objects.describe(root), wanted: WANTED })?;
    let found = objects.sizes(view.shape).unwrap_or_default();
    if found.len() != 2 {
        let wanted = match found.as_slice() {
            [1, _, _] => "[n_patches, dim], as of `features[0]`",
            _ => "[n_patches, dim]",
        };
        return Err(ErrorKind::Shape { found, wanted: wanted.to_owned() }.into());
    }
    let tensor = Tensor::locate(view, &objects, &mut archive)?;
    let element = tensor.storage.element_type;
    if !element.is_float() {
        return Err(ErrorKind::ElementType {
            found: element.name().to_owned(),
            wanted: "float16, bfloat16, float32 or float64",
        }
        .into());
    }
    then(&tensor, &archive)
}

/// Writes features as one bare f32 tensor, readable by `torch.load(path, weights_only=True)`.
///
/// The file is written beside its name and renamed, so it is never seen half done. Equal features give equal bytes.
///
/// # Errors
/// [`ErrorKind::Io`] with the path if it cannot be written.
pub fn write_features(path: &Path, features: &FeatureMatrix) -> Result<()> {
    write_features_as(path, features, FeatureType::F32)
}

/// As [`write_features`], with numbers of the given type, rounded to nearest.
///
/// # Errors
/// As [`write_features`], and [`ErrorKind::BeyondHalf`] for a feature that the type cannot hold.
pub fn write_features_as(path: &Path, features: &FeatureMatrix, feature_type: FeatureType) -> Result<()> {
    replace_file(path, |beside| write::write_archive(beside, features, feature_type))
}

fn read_pickle(archive: &mut Archive, wanted: &'static str) -> Result<(Value, Objects)> {
    let record = archive.record("data.pkl")?;
    archive.verify(record)?;
    unpickle(archive.bytes(record)).map_err(|kind| match kind {
        ErrorKind::Global { name } if name.starts_with("numpy.") => {
            ErrorKind::Content { found: format!("a pickled NumPy object (`{name}`)"), wanted }.into()
        }
        kind => kind.into(),
    })
}
