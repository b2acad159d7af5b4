//! Writing features as CLAM does.

use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::hdf5::{Rows, Values, Writer};
use crate::patch_set::PatchSet;
use crate::replace::replace_file;
use crate::slide_info::SlideInfo;

/// CLAM's chunks.
const ROWS_PER_CHUNK: usize = 32;

/// Writes an HDF5 file of one slide and magnification in CLAM's form: `features` `[n, d]` (f32 by CLAM itself) and
/// `coords` i32 `[n, 2]`, in chunks of 32 rows, both open to growth. What CLAM does not store and this crate reads is added as
/// attributes of `coords`: `patch_size_level0`, `level0_width`, `level0_height`.
///
/// # Errors
/// [`ErrorKind::MissingCoords`] without coordinates, [`ErrorKind::Limit`] if one does not fit 32 bits,
/// [`ErrorKind::BeyondHalf`] for a feature that `feature_type` cannot hold,
/// [`ErrorKind::Hdf5`] or [`ErrorKind::Io`] if the file cannot be written.
pub(crate) fn write_h5(
    path: &Path,
    patches: &PatchSet,
    slide: &SlideInfo,
    feature_type: FeatureType,
) -> Result<()> {
    let coords = patches.coords().ok_or(ErrorKind::MissingCoords)?;
    let narrow = |c: &i64| {
        let beyond = ErrorKind::Limit {
            what: "a coordinate",
            found: c.unsigned_abs(),
            limit: i32::MAX.unsigned_abs().into(),
        };
        i32::try_from(*c).map_err(|_| beyond)
    };
    let coords = coords.as_flattened().iter().map(narrow).collect::<Result<Vec<i32>, _>>()?;
    replace_file(path, |beside| {
        let writer = Writer::create(beside)?;
        let root = writer.root();
        let rows = Rows::Chunked(ROWS_PER_CHUNK);
        root.write_features("features", patches.features(), feature_type, rows)?;
        root.write("coords", [patches.n_patches(), 2], Values::I32(&coords), rows)?;
        let attributes = [
            ("patch_size_level0", patches.geometry().patch_size_level0.map(u64::from)),
            ("level0_width", slide.width),
            ("level0_height", slide.height),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                root.group("coords").set_whole(name, value)?;
            }
        }
        writer.finish()
    })
}
