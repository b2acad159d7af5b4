//! Reading the group of one magnification.

use std::path::Path;
use std::rc::Rc;

use crate::error::{Error, ErrorKind, Result};
use crate::hdf5::{Group, Reader};
use crate::magnification::Magnification;
use crate::patch_set::{
    PatchGeometry, RowOrder, first_out_of_order, parents_from_stored, tissue_from_stored,
};
use crate::patch_source::PatchSource;
use crate::provenance::Provenance;
use crate::slide_info::SlideInfo;

use super::{
    COORDS, ENCODER, FEATURES, PARENT, PARENT_FALLBACKS, PIXELS, TISSUE, TOOL, TOOL_VERSION, WEIGHTS_SHA256,
};

/// What the file says of the features of `encoder` at one magnification, and all that belongs to them.
pub(super) fn open_set(
    path: &Path,
    reader: &Rc<Reader>,
    encoder: &str,
    magnification: Magnification,
) -> Result<PatchSource> {
    let label = magnification.label();
    let Some(group) = reader.group(label)? else {
        let present = present_groups(reader)?;
        return Err(ErrorKind::MissingMagnification { wanted: magnification, present }.into());
    };
    let features = group.group(FEATURES)?;
    let encoders = group_encoders(reader, magnification)?;
    let Some(features) = features.filter(|_| encoders.iter().any(|found| found == encoder)) else {
        return Err(Error::from(ErrorKind::MissingEncoder { encoder: encoder.to_owned(), found: encoders })
            .at_place(label));
    };
    let matrix = features.float_matrix(encoder)?;
    let mut source = PatchSource::hdf5(path, reader, features.path(), matrix);
    source.provenance = provenance(&features, encoder)?;
    let coords = group.integer_rows(COORDS)?;
    check_row_order(&group, &coords)?;
    source.coords = Some(coords);
    let datasets = group.datasets()?;
    if datasets.iter().any(|name| name == PARENT) {
        source.parents = Some(parents_from_stored(group.integer_list(PARENT)?)?);
        source.parent_fallbacks = parent_fallbacks(&group)?;
    }
    if datasets.iter().any(|name| name == TISSUE) {
        source.tissue = Some(tissue_from_stored(group.integer_list(TISSUE)?)?);
    }
    source.geometry = geometry(&group)?;
    source.slide = slide_info(&reader.root())?;
    source.check(None).map_err(|error| error.at_place(label))?;
    Ok(source)
}

/// What the dataset of an encoder says of the making of its features.
pub(super) fn provenance(features: &Group<'_>, encoder: &str) -> Result<Provenance> {
    let text = |name| features.text_of(encoder, name);
    Ok(Provenance {
        tool: text(TOOL)?,
        tool_version: text(TOOL_VERSION)?,
        encoder: text(ENCODER)?,
        weights_sha256: text(WEIGHTS_SHA256)?,
        pixels: text(PIXELS)?,
    })
}

/// What the root says of the slide.
pub(super) fn slide_info(root: &Group<'_>) -> Result<SlideInfo> {
    Ok(SlideInfo {
        width: root.positive_integer("slide_width")?,
        height: root.positive_integer("slide_height")?,
        mpp: root.positive_number("mpp")?,
    })
}

/// Refuses a file that calls its rows row-major when they are not: models fold rows into a grid.
fn check_row_order(group: &Group<'_>, coords: &[[i64; 2]]) -> Result<()> {
    const NAME: &str = "row_order";
    match group.text(NAME)? {
        None => Ok(()),
        Some(text) if text == RowOrder::File.label() => Ok(()),
        Some(text) if text == RowOrder::RowMajor.label() => match first_out_of_order(coords) {
            None => Ok(()),
            Some(patch_idx) => Err(Error::from(ErrorKind::RowOrder { patch_idx }).at_place(group.path())),
        },
        Some(text) => Err(group.wrong_attribute(NAME, format!("{text:?}"), "`row-major` or `file`")),
    }
}

fn parent_fallbacks(group: &Group<'_>) -> Result<Option<usize>> {
    let stated = group.whole_number_of("", PARENT_FALLBACKS)?;
    let fits = |stated: u64| {
        let wrong = || group.wrong_attribute(PARENT_FALLBACKS, stated.to_string(), "a number of patches");
        usize::try_from(stated).map_err(|_| wrong())
    };
    stated.map(fits).transpose()
}

pub(super) fn geometry(group: &Group<'_>) -> Result<PatchGeometry> {
    const SIZE: &str = "patch_size_level0";
    let fits = |size: u64| {
        let wrong = || group.wrong_attribute(SIZE, size.to_string(), "a size that fits 32 bits");
        u32::try_from(size).map_err(|_| wrong())
    };
    Ok(PatchGeometry {
        patch_size_level0: group.positive_integer(SIZE)?.map(fits).transpose()?,
        mpp: group.positive_number("mpp")?,
    })
}

/// The encoders whose features are there at one magnification, sorted.
pub(super) fn group_encoders(reader: &Reader, magnification: Magnification) -> Result<Vec<String>> {
    match reader.group(&format!("{magnification}/{FEATURES}"))? {
        Some(group) => group.datasets(),
        None => Ok(Vec::new()),
    }
}

/// The magnifications that have a group, coarse to fine.
pub(super) fn present_groups(reader: &Reader) -> Result<Vec<Magnification>> {
    let groups = reader.root().groups()?;
    Ok(Magnification::ALL
        .into_iter()
        .filter(|label| groups.iter().any(|group| group == label.label()))
        .collect())
}
