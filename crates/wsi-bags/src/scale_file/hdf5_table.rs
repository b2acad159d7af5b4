//! HDF5 files of CLAM, TRIDENT, AtlasPatch, MMP and STAMP, told apart by what is in them.

use std::path::Path;
use std::rc::Rc;

use crate::coords::whole;
use crate::error::{Error, ErrorKind, Result};
use crate::hdf5::{Group, Reader};
use crate::patch_set::PatchGeometry;
use crate::patch_source::PatchSource;
use crate::provenance::Provenance;
use crate::slide_info::SlideInfo;

use super::{Expected, stamp};

pub(super) const COORDS: &str = "coords";
const FEATURES: &str = "features";
/// What the dataset of features is called: by CLAM, TRIDENT and MMP; by STAMP; by STAMP for multiplexed images.
const FEATURE_NAMES: [&str; 3] = [FEATURES, "feats", "patch_embeddings"];
/// Columns of AtlasPatch's coordinates: x, y, width and height as read, level.
const ATLASPATCH_COLUMNS: u64 = 5;

/// What a file says of its patches.
pub(super) fn open(path: &Path, expected: Expected<'_>) -> Result<PatchSource> {
    let reader = Rc::new(Reader::open(path)?);
    let root = reader.root();
    let mut source = if let Some(group) = root.group(FEATURES)? {
        atlaspatch_features(path, &reader, &group, expected.encoder)?
    } else {
        table_features(path, &reader, &root)?
    };
    let has_coords = root.datasets()?.iter().any(|name| name == COORDS);
    if expected.by_stamp || stamp::wrote(&root)? {
        stamp::describe(&root, has_coords, expected.slide_mpp, &mut source)?;
        source.check(None)?;
        return Ok(source);
    }
    let frame = if has_coords { describe(&root, expected, &mut source)? } else { None };
    source.check(frame).map_err(|error| error.at_place(COORDS))?;
    Ok(source)
}

/// One dataset per encoder in the group `features`.
fn atlaspatch_features(
    path: &Path,
    reader: &Rc<Reader>,
    group: &Group<'_>,
    encoder: &str,
) -> Result<PatchSource> {
    let found = group.datasets()?;
    let Some(name) = found.iter().find(|name| super::is_name_of(encoder, name)) else {
        let kind = ErrorKind::MissingEncoder { encoder: encoder.to_owned(), found };
        return Err(Error::from(kind).at_place(group.path()));
    };
    let mut source = PatchSource::hdf5(path, reader, group.path(), group.float_matrix(name)?);
    source.provenance.encoder = Some(name.clone());
    source.provenance.tool = Some("atlaspatch".to_owned());
    Ok(source)
}

/// One dataset, whatever its name.
fn table_features(path: &Path, reader: &Rc<Reader>, root: &Group<'_>) -> Result<PatchSource> {
    let found = root.datasets()?;
    let mut names = FEATURE_NAMES.iter().filter(|name| found.iter().any(|dataset| dataset == *name));
    let name = match (names.next(), names.next()) {
        (Some(name), None) => *name,
        (Some(first), Some(second)) => {
            let found = format!("features as `{first}` and as `{second}`");
            return Err(ErrorKind::Content { found, wanted: "one of them" }.into());
        }
        (None, _) => {
            let found =
                found.into_iter().chain(root.groups()?.iter().map(|group| format!("{group}/"))).collect();
            let name = FEATURE_NAMES.join("` or `");
            return Err(ErrorKind::MissingDataset { name, found }.into());
        }
    };
    let mut source = PatchSource::hdf5(path, reader, root.path(), root.float_matrix(name)?);
    source.provenance.encoder = root.text_of(name, "encoder")?;
    Ok(source)
}

/// Coordinates in level-0 pixels and what is said about them. Returns the stated distance between neighbours.
fn describe(root: &Group<'_>, expected: Expected<'_>, source: &mut PatchSource) -> Result<Option<u32>> {
    source.coords = Some(level0_coords(root)?);
    let side = |found: u64, name| {
        u32::try_from(found)
            .map_err(|_| root.wrong_attribute_of(COORDS, name, found.to_string(), "a size that fits 32 bits"))
    };
    const SIDE: &str = "patch_size_level0";
    let stated = match root.positive_integer_of(COORDS, SIDE)? {
        Some(stated) => Some(stated),
        None => root.positive_integer(SIDE)?,
    };
    source.geometry =
        PatchGeometry { patch_size_level0: stated.map(|stated| side(stated, SIDE)).transpose()?, mpp: None };
    source.slide = SlideInfo {
        width: root.positive_integer_of(COORDS, "level0_width")?,
        height: root.positive_integer_of(COORDS, "level0_height")?,
        mpp: None,
    };
    source.level0_magnification = level0_magnification(root);
    const TARGET: &str = "target_magnification";
    let target = root.positive_number_of(COORDS, TARGET)?;
    if let Some(target) = target.filter(|target| *target != f64::from(expected.magnification.power())) {
        let wanted = "the power of the magnification under which the file lies";
        return Err(root.wrong_attribute_of(COORDS, TARGET, target.to_string(), wanted));
    }
    if target.is_some() && source.provenance.tool.is_none() {
        source.provenance = Provenance { tool: Some("trident".to_owned()), ..source.provenance.clone() };
    }
    let size = root.positive_integer_of(COORDS, "patch_size")?;
    let overlap = root.whole_number_of(COORDS, "overlap")?;
    Ok(match (source.geometry.patch_size_level0, size, overlap) {
        // The overlap is in pixels of the patch as read, the step in those of level 0. Rounding may cost one pixel.
        (Some(side), Some(size), Some(overlap)) if overlap < size => {
            let step = u64::from(side) * (size - overlap) / size;
            u32::try_from(step).ok().map(|step| step.saturating_sub(1)).filter(|step| *step > 0)
        }
        _ => None,
    })
}

/// The magnification at which the slide was scanned. Only files of one slide are compared by it, so that what is no number of
/// that kind is nothing that is stated.
fn level0_magnification(root: &Group<'_>) -> Option<f64> {
    const NAME: &str = "level0_magnification";
    let of_coords = root.positive_number_of(COORDS, NAME).ok().flatten();
    of_coords.or_else(|| root.positive_number(NAME).ok().flatten())
}

/// The first two columns, whole numbers however they are stored.
fn level0_coords(root: &Group<'_>) -> Result<Vec<[i64; 2]>> {
    let (is_integer, columns) = root.columns_of(COORDS)?;
    if columns == Some(ATLASPATCH_COLUMNS) {
        let rows = root.integer_rows::<{ ATLASPATCH_COLUMNS as usize }>(COORDS)?;
        return Ok(rows.into_iter().map(|[x, y, ..]| [x, y]).collect());
    }
    if is_integer {
        return root.integer_rows(COORDS);
    }
    whole(&root.number_rows(COORDS)?).map_err(|error| error.at_place(COORDS))
}
