//! Reading the group of one magnification.

use crate::error::{Error, ErrorKind, Result};
use crate::hdf5::{Group, Reader};
use crate::magnification::Magnification;
use crate::patch_set::{PatchGeometry, PatchSet, RowOrder, first_out_of_order};

use super::{COORDS, FEATURES, PARENT, TISSUE};

/// Reads the features of `encoder` at one magnification, and all that belongs to them.
pub(super) fn read_set(reader: &Reader, encoder: &str, magnification: Magnification) -> Result<PatchSet> {
    let label = magnification.label();
    let Some(group) = reader.group(label)? else {
        let present = present_groups(reader)?;
        return Err(ErrorKind::MissingMagnification { wanted: magnification, present }.into());
    };
    let encoders = group_encoders(reader, magnification)?;
    if !encoders.iter().any(|found| found == encoder) {
        return Err(Error::from(ErrorKind::MissingEncoder { encoder: encoder.to_owned(), found: encoders })
            .at_place(label));
    }
    let features =
        reader.group(&format!("{label}/{FEATURES}"))?.ok_or(ErrorKind::EmptyBag)?.features(encoder)?;
    let at_label = |error: Error| error.at_place(label);
    let coords = group.integer_rows(COORDS)?;
    check_row_order(&group, &coords)?;
    let mut set = PatchSet::new(features).with_coords(coords).map_err(at_label)?;
    let datasets = group.datasets()?;
    if datasets.iter().any(|name| name == PARENT) {
        set = set.with_parents(parents(&group)?).map_err(at_label)?;
    }
    if datasets.iter().any(|name| name == TISSUE) {
        set = set.with_tissue(tissue(&group)?).map_err(at_label)?;
    }
    if let Some(geometry) = geometry(&group)? {
        set = set.with_geometry(geometry).map_err(at_label)?;
    }
    Ok(set)
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

fn parents(group: &Group<'_>) -> Result<Vec<Option<u32>>> {
    let stored = group.integer_list(PARENT)?.into_iter().enumerate();
    stored
        .map(|(patch_idx, parent)| match parent {
            -1 => Ok(None),
            _ => u32::try_from(parent).map(Some).map_err(|_| {
                let coarser = "an index is -1 or fits 32 bits".to_owned();
                ErrorKind::Parent { patch_idx, parent, coarser }.into()
            }),
        })
        .collect()
}

fn tissue(group: &Group<'_>) -> Result<Vec<u8>> {
    let stored = group.integer_list(TISSUE)?.into_iter();
    stored
        .map(|class| {
            u8::try_from(class).map_err(|_| {
                let what = "tissue class";
                ErrorKind::Limit { what, found: class.unsigned_abs(), limit: u8::MAX.into() }.into()
            })
        })
        .collect()
}

fn geometry(group: &Group<'_>) -> Result<Option<PatchGeometry>> {
    const SIZE: &str = "patch_size_level0";
    const MPP: &str = "mpp";
    let absent = |name| Err(group.wrong_attribute(name, "absent".to_owned(), "given, as the other one is"));
    match (group.positive_integer(SIZE)?, group.positive_number(MPP)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => absent(SIZE),
        (Some(_), None) => absent(MPP),
        (Some(size), Some(mpp)) => match u32::try_from(size) {
            Ok(patch_size_level0) => Ok(Some(PatchGeometry { patch_size_level0, mpp })),
            Err(_) => Err(group.wrong_attribute(SIZE, size.to_string(), "a size that fits 32 bits")),
        },
    }
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
    let groups = reader.groups()?;
    Ok(Magnification::ALL
        .into_iter()
        .filter(|label| groups.iter().any(|group| group == label.label()))
        .collect())
}
