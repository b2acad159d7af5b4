//! Patches in safetensors files.
//!
//! ```text
//! xM/<slide>.safetensors, one magnification         <slide>.safetensors, all magnifications
//!   features   [n, d] F16, BF16, F32 or F64           x5/features   x10/features   x20/features
//!   coords     [n, 2] I32 or I64, optional            x5/coords     ...
//!   parent     [n] I32 or I64, optional               ...
//!   tissue     [n] U8, optional
//! ```
//!
//! `coords` are x and y of the top left corners in level-0 pixels, `parent` indexes the patches of the next coarser
//! magnification (-1: none). The metadata, all optional: `encoder`, `tool`, `tool_version`, `slide_width`,
//! `slide_height`, `mpp` of the slide, and `patch_size_level0`, `patch_mpp`, `parent_fallbacks` of the patches, these
//! three behind `x5/`, `x10/` or `x20/` where a file has all magnifications. [`write()`] makes files of one.

mod header;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::magnification::Magnification;
use crate::mmap::MappedFile;
use crate::patch_set::{PatchGeometry, PatchSet};
use crate::patch_source::PatchSource;
use crate::provenance::Provenance;
use crate::replace::replace_file;
use crate::slide_info::SlideInfo;

pub(crate) use header::TensorPlace;
use header::{Header, Numbers};

/// Values that are encoded at once.
const BLOCK: usize = 16 << 10;

const COORDS: &str = "coords";
const FEATURES: &str = "features";
const PARENT: &str = "parent";
const TISSUE: &str = "tissue";

/// What tells the magnification of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToldBy {
    /// Its folder: `features` are of that magnification.
    Folder,
    /// The names of its tensors alone, as in a file of all magnifications.
    Tensors,
}

/// The magnifications that a file of all magnifications holds.
///
/// # Errors
/// [`ErrorKind::Content`] if it has features that do not say of which magnification they are.
pub(crate) fn magnifications(path: &Path) -> Result<Vec<Magnification>> {
    let of_file = || {
        let header = Header::read(&MappedFile::open(path)?)?;
        let present = present(&header);
        if present.is_empty() { told_by_tensors(&header).map(|()| present) } else { Ok(present) }
    };
    of_file().map_err(|error: Error| error.in_file(path))
}

fn present(header: &Header) -> Vec<Magnification> {
    let present =
        |magnification: &Magnification| header.tensors.contains_key(&format!("{magnification}/{FEATURES}"));
    Magnification::ALL.into_iter().filter(present).collect()
}

/// Refuses features without a magnification, which would pass for those of each.
fn told_by_tensors(header: &Header) -> Result<()> {
    if !header.tensors.contains_key(FEATURES) {
        return Ok(());
    }
    let found = format!("`{FEATURES}` without a magnification");
    let wanted = "`xM/features`, or the file in the folder of its magnification, `<backbone>/xM/`";
    Err(ErrorKind::Content { found, wanted }.into())
}

/// What a file says of the patches of one magnification.
pub(crate) fn open(path: &Path, magnification: Magnification, told_by: ToldBy) -> Result<PatchSource> {
    open_file(path, magnification, told_by).map_err(|error| error.in_file(path))
}

fn open_file(path: &Path, magnification: Magnification, told_by: ToldBy) -> Result<PatchSource> {
    let file = Arc::new(MappedFile::open(path)?);
    let header = Header::read(&file)?;
    let scaled = format!("{magnification}/");
    let plain = told_by == ToldBy::Folder && header.tensors.contains_key(FEATURES);
    let prefix = if plain { "" } else { scaled.as_str() };
    let at = |name: &str| format!("{prefix}{name}");
    if !header.tensors.contains_key(&at(FEATURES)) {
        told_by_tensors(&header)?;
        let present = present(&header);
        if !present.is_empty() {
            return Err(ErrorKind::MissingMagnification { wanted: magnification, present }.into());
        }
    }
    let tensor = header.matrix(&at(FEATURES), Numbers::Floats)?;
    let mut source = PatchSource::safetensors(path, &file, tensor);
    if header.tensors.contains_key(&at(COORDS)) {
        let coords = header.matrix(&at(COORDS), Numbers::Integers)?;
        if coords.n_columns != 2 {
            let found = vec![coords.n_rows as u64, coords.n_columns as u64];
            let kind = ErrorKind::Shape { found, wanted: "[n_patches, 2]".to_owned() };
            return Err(Error::from(kind).at_place(at(COORDS)));
        }
        source.coords = Some(coords.integers(&file).as_chunks().0.to_vec());
    }
    if header.tensors.contains_key(&at(PARENT)) {
        let stored = header.list(&at(PARENT))?.integers(&file);
        source.parents = Some(crate::patch_set::parents_from_stored(stored)?);
    }
    if header.tensors.contains_key(&at(TISSUE)) {
        source.tissue =
            Some(crate::patch_set::tissue_from_stored(header.list(&at(TISSUE))?.integers(&file))?);
    }
    source.geometry = PatchGeometry {
        patch_size_level0: header.number(&at("patch_size_level0"), "patch_size_level0")?,
        mpp: header.number(&at("patch_mpp"), "patch_mpp")?,
    };
    source.parent_fallbacks = header.number(&at("parent_fallbacks"), "parent_fallbacks")?;
    source.provenance = Provenance {
        tool: header.text("tool"),
        tool_version: header.text("tool_version"),
        encoder: header.text("encoder"),
        weights_sha256: header.text("weights_sha256"),
        pixels: header.text("pixels"),
    };
    source.slide = SlideInfo {
        width: header.number("slide_width", "slide_width")?,
        height: header.number("slide_height", "slide_height")?,
        mpp: header.number("mpp", "mpp")?,
    };
    source.check(None)?;
    Ok(source)
}

/// Writes the patches of one magnification, whose features come from `encoder`.
///
/// The file is written beside its name and renamed, so it is never seen half done. Equal patches give equal bytes.
///
/// # Errors
/// [`ErrorKind::Io`] with the path if it cannot be written.
pub fn write(path: &Path, patches: &PatchSet, encoder: &str, slide: &SlideInfo) -> Result<()> {
    write_as(path, patches, encoder, slide, FeatureType::F32)
}

/// As [`write()`], with features of the given type, rounded to nearest.
///
/// # Errors
/// As [`write()`], and [`ErrorKind::BeyondHalf`] for a feature that the type cannot hold.
pub fn write_as(
    path: &Path,
    patches: &PatchSet,
    encoder: &str,
    slide: &SlideInfo,
    feature_type: FeatureType,
) -> Result<()> {
    replace_file(path, |beside| write_file(beside, patches, encoder, slide, feature_type))
}

fn write_file(
    path: &Path,
    patches: &PatchSet,
    encoder: &str,
    slide: &SlideInfo,
    feature_type: FeatureType,
) -> Result<()> {
    feature_type.check(patches.features())?;
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), metadata(patches, encoder, slide));
    let n = patches.n_patches();
    let mut start = 0;
    let mut place = |name: &str, element: &str, shape: &[usize], size: usize| {
        let end = start + shape.iter().product::<usize>() * size;
        let entry = json!({ "dtype": element, "shape": shape, "data_offsets": [start, end] });
        header.insert(name.to_owned(), entry);
        start = end;
    };
    // Values of eight bytes first, so that all start at a multiple of their size and can be read in place.
    if patches.coords().is_some() {
        place(COORDS, "I64", &[n, 2], size_of::<i64>());
    }
    if patches.parents().is_some() {
        place(PARENT, "I64", &[n], size_of::<i64>());
    }
    let element = match feature_type {
        FeatureType::F16 => "F16",
        FeatureType::F32 => "F32",
    };
    place(FEATURES, element, &[n, patches.features().dim()], feature_type.size());
    if patches.tissue().is_some() {
        place(TISSUE, "U8", &[n], 1);
    }
    let mut text = Value::Object(header).to_string();
    // The values then start at a multiple of eight bytes.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));

    let failed = |source| Error::from(ErrorKind::Io { action: "write the file", source });
    let file = File::create(path).map_err(|source| ErrorKind::Io { action: "create the file", source })?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut write = || {
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(text.as_bytes())?;
        for corner in patches.coords().unwrap_or_default().as_flattened() {
            out.write_all(&corner.to_le_bytes())?;
        }
        for parent in patches.parents().unwrap_or_default() {
            out.write_all(&parent.map_or(-1, i64::from).to_le_bytes())?;
        }
        let mut bytes = Vec::new();
        for block in patches.features().as_slice().chunks(BLOCK) {
            bytes.clear();
            feature_type.encode(block, &mut bytes);
            out.write_all(&bytes)?;
        }
        out.write_all(patches.tissue().unwrap_or_default())?;
        out.flush()
    };
    write().map_err(failed)
}

fn metadata(patches: &PatchSet, encoder: &str, slide: &SlideInfo) -> Value {
    let provenance = patches.provenance();
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let entries = [
        ("encoder", Some(provenance.encoder.clone().unwrap_or_else(|| encoder.to_owned()))),
        ("mpp", slide.mpp.map(|mpp| mpp.to_string())),
        ("parent_fallbacks", number(patches.parent_fallbacks().map(|n| n as u64))),
        ("patch_mpp", patches.geometry().mpp.map(|mpp| mpp.to_string())),
        ("patch_size_level0", number(patches.geometry().patch_size_level0.map(u64::from))),
        ("pixels", provenance.pixels.clone()),
        ("row_order", Some(patches.row_order().label().to_owned())),
        ("slide_height", number(slide.height)),
        ("slide_width", number(slide.width)),
        ("tool", provenance.tool.clone()),
        ("tool_version", provenance.tool_version.clone()),
        ("weights_sha256", provenance.weights_sha256.clone()),
    ];
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect()
}
