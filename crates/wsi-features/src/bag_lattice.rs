//! Features of another encoder for a bag that is there, at the patches that it has.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use wsi_bags::native::{self, Lattice, Origin, OriginDifference};
use wsi_bags::{Bag, Magnification, PatchSet, Provenance, SlideInfo};
use wsi_slides::lattice::{NestedPatches, Patches};
use wsi_slides::{ErrorKind, SlideReader, open, resolve_slide};

use crate::encoder::PatchEncoder;
use crate::error::{Error, Result};
use crate::extract::{BadTiles, ExtractOptions, encode, origin, provenance};
use crate::patch_reader::{PatchReader, PixelSource};
use crate::slide_lattice::OpenSlide;
use crate::slide_list::SlideEntry;
use crate::slide_scale::SlideScale;
use crate::status::{Encoded, Outcome, place};

/// Encodes the patches of the bag and adds their features to it; `on_patches` hears how many after each batch.
///
/// # Errors
/// [`Error::NoBag`], [`Error::NoPatches`], [`Error::NoPatchSize`], [`Error::OtherSlide`] and [`Error::OtherFeatures`] for a bag that
/// cannot serve, [`Error::Slide`], [`Error::Encoder`], [`Error::Bag`].
pub(crate) fn features_at(
    path: &Path,
    bag_path: &Path,
    encoder: &dyn PatchEncoder,
    pixels: PixelSource,
    (stop, on_patches): (&AtomicBool, &dyn Fn(usize)),
) -> Result<Outcome> {
    let begun = Instant::now();
    if !bag_path.is_file() {
        return Err(Error::NoBag { bag: bag_path.to_owned() });
    }
    let mut wanted = native::lattices(bag_path)?;
    if wanted.is_empty() {
        return Err(Error::NoPatches { bag: bag_path.to_owned() });
    }
    check_features(bag_path, encoder, pixels)?;
    let done = native::magnifications(bag_path, encoder.name())?;
    wanted.retain(|lattice| !done.contains(&lattice.magnification));
    if wanted.is_empty() {
        return Ok(Outcome::Present);
    }
    let file = Origin { lattice: None, tissue: None, ..origin(path, &ExtractOptions::default()) };
    let other_file = native::origin(bag_path)?.difference(&file).map(|of| {
        format!("the bag is of the slide file {}, its features at these patches now of {}", of.here, of.there)
    });
    let slide = open(path)?;
    check_size(path, slide.as_ref(), &native::slide_info(bag_path)?)?;
    let geometries: Vec<_> = wanted.iter().map(|lattice| lattice.geometry).collect();
    let scales = wanted
        .into_iter()
        .map(|lattice| to_encode(bag_path, lattice))
        .collect::<Result<Vec<NestedPatches>>>()?;
    let readers: Vec<PatchReader<'_>> = scales
        .iter()
        .map(|scale| PatchReader::new(path, slide.as_ref(), scale.patches.side, encoder.patch_side(), pixels))
        .collect();
    let scratch = bag_path.parent().unwrap_or(Path::new("."));
    let spools = encode(path, scratch, &scales, &readers, encoder, BadTiles::FailSlide, (stop, on_patches))?;
    let mut n_patches = [0; 3];
    let mut sets = Vec::with_capacity(scales.len());
    for ((scale, geometry), spool) in scales.into_iter().zip(geometries).zip(spools) {
        let magnification = scale.magnification;
        let none = || Error::AllUnreadable { slide: path.to_owned(), magnification };
        let features = spool.into_features()?.ok_or_else(none)?;
        n_patches[place(magnification)] = features.n_patches();
        let set = PatchSet::new(features).with_coords(scale.patches.corners)?.with_geometry(geometry)?;
        sets.push((magnification, set.with_provenance(provenance(encoder, pixels))));
    }
    let slide_id = bag_path.file_stem().unwrap_or_default().to_string_lossy();
    native::add_lacking_features(bag_path, &Bag::new(slide_id, sets)?, encoder.name())?;
    Ok(Outcome::Done(Encoded {
        n_patches,
        n_unreadable: 0,
        joined: true,
        base: None,
        rule: "patches of the bag".to_owned(),
        // A copy in another format has the same pixels, as its size has said.
        warnings: other_file.into_iter().chain(slide.warnings().iter().map(ToString::to_string)).collect(),
        seconds: begun.elapsed().as_secs_f64(),
    }))
}

/// Whether a bag has features of the encoder at all of these magnifications.
pub(crate) fn has_all(bag: &Path, encoder: &str, wanted: &[Magnification]) -> Result<bool> {
    let present = native::magnifications(bag, encoder)?;
    Ok(wanted.iter().all(|magnification| present.contains(magnification)))
}

/// Refuses features of the encoder that were made with other weights, or of other pixels, than this run has. What the bag does not
/// state is not compared.
///
/// # Errors
/// [`Error::OtherFeatures`], [`Error::Bag`].
pub(crate) fn check_features(bag: &Path, encoder: &dyn PatchEncoder, pixels: PixelSource) -> Result<()> {
    let given = provenance(encoder, pixels);
    let differ =
        |there: &Option<String>, given: &Option<String>| there.is_some() && given.is_some() && there != given;
    for (magnification, there) in native::provenances(bag, encoder.name())? {
        let told: fn(&Provenance) -> Option<String> = if differ(&there.weights_sha256, &given.weights_sha256)
        {
            Provenance::weights_in_words
        } else if differ(&there.pixels, &given.pixels) {
            |made| made.pixels.as_ref().map(|pixels| format!("--pixels {pixels}"))
        } else {
            continue;
        };
        if let (Some(there), Some(given)) = (told(&there), told(&given)) {
            let (bag, encoder) = (bag.to_owned(), encoder.name().to_owned());
            return Err(Error::OtherFeatures { bag, magnification, encoder, there, given });
        }
    }
    Ok(())
}

/// Refuses another slide of the bag's name, and settings by which its patches would be others: by the slide's resolution, by their size in
/// level-0 pixels, by the kind of lattice, by what counts as tissue. What the bag does not state is not compared, nor is anything where
/// no resolution of the slide is known, which gives `None`.
///
/// # Errors
/// [`Error::OtherFile`], [`Error::OtherSettings`], [`Error::OtherSlide`], [`Error::Slide`], [`Error::Bag`].
pub(crate) fn check_settings(
    entry: &SlideEntry,
    bag: &Path,
    options: &ExtractOptions,
) -> Result<Option<SlideScale>> {
    let other = |there, given| Err(Error::OtherSettings { bag: bag.to_owned(), there, given });
    let path = entry.path.as_path();
    let (there, given) = (native::origin(bag)?, origin(path, options));
    if let Some(OriginDifference { what, here, there }) = there.difference(&given) {
        return match what {
            "slide_file" => Err(Error::OtherFile { bag: bag.to_owned(), there: here, given: there }),
            "tissue" => other(format!("on tissue by {here}"), there),
            _ => other(format!("as a `{here}` {what}"), format!("a `{there}` one")),
        };
    }
    let reader = open(path)?;
    let stated = native::slide_info(bag)?;
    check_size(path, reader.as_ref(), &stated)?;
    let resolution = match resolve_slide(reader.as_ref(), entry.given, options.preference) {
        Err(error) if matches!(error.kind(), ErrorKind::NoResolution { .. }) => return Ok(None),
        resolution => resolution.map_err(|error| error.in_file(path))?,
    };
    let mpp = resolution.mpp;
    let has_other_mpp = match (mpp, stated.mpp) {
        (Some(given), Some(there)) => (given - there).abs() > SlideInfo::MPP_TOLERANCE * there,
        _ => false,
    };
    let scale = OpenSlide { path, reader, resolution }.scale(options);
    let wanted = native::lattices(bag)?.into_iter().filter_map(|lattice| {
        let is_wanted = options.magnifications.contains(&lattice.magnification);
        let side = lattice.geometry.patch_size_level0.filter(|_| is_wanted)?;
        Some((lattice.magnification, side))
    });
    for (magnification, side) in wanted {
        let given = scale.as_ref().ok().map(|scale| scale.sides.at(magnification));
        if has_other_mpp || given.is_some_and(|given| given != side) {
            let told = |mpp: Option<f64>, side: Option<u32>| {
                let mpp = mpp.map(|mpp| format!("{mpp} um/px"));
                let side = side.map(|side| format!("{magnification} patches of {side} px"));
                mpp.into_iter().chain(side).collect::<Vec<_>>().join(" with ")
            };
            return other(format!("at {}", told(stated.mpp, Some(side))), told(mpp, given));
        }
    }
    scale.map(Some)
}

/// What is left of laid patches where a bag is there: those of magnifications at which it has no features of the encoder. Patches that the
/// bag lacks, as it does those on tiles that did not decode, are left out, and a warning says how many.
///
/// # Errors
/// [`Error::OtherPatches`] if the bag has none there or others, and [`Error::Bag`].
pub(crate) fn lacking(
    bag: &Path,
    encoder: &str,
    laid: Vec<NestedPatches>,
    warnings: &mut Vec<String>,
) -> Result<Vec<NestedPatches>> {
    let done = native::magnifications(bag, encoder)?;
    let mut there = native::lattices(bag)?;
    let mut wanted = Vec::new();
    for scale in laid.into_iter().filter(|scale| !done.contains(&scale.magnification)) {
        let magnification = scale.magnification;
        let other = |fault| Error::OtherPatches { bag: bag.to_owned(), magnification, fault };
        let place = there.iter().position(|lattice| lattice.magnification == magnification);
        let found = to_encode(bag, there.swap_remove(place.ok_or_else(|| other("it has none"))?))?;
        let mut rest = scale.patches.corners.iter();
        let are_among = found.patches.corners.iter().all(|corner| rest.any(|laid| laid == corner));
        if found.patches.side != scale.patches.side || !are_among {
            return Err(other("it has others than these settings lay"));
        }
        let (n_there, n_laid) = (found.patches.corners.len(), scale.patches.corners.len());
        if n_there < n_laid {
            warnings.push(format!(
                "{magnification}: the bag has {n_there} of the {n_laid} patches that these settings lay; the others get no features"
            ));
        }
        wanted.push(found);
    }
    Ok(wanted)
}

/// Patches of a bag, to be read again.
fn to_encode(bag: &Path, lattice: Lattice) -> Result<NestedPatches> {
    let Lattice { magnification, coords: corners, geometry } = lattice;
    let missing = || Error::NoPatchSize { bag: bag.to_owned(), magnification };
    let side = geometry.patch_size_level0.ok_or_else(missing)?;
    Ok(NestedPatches { magnification, patches: Patches { side, corners }, parents: None })
}

fn check_size(path: &Path, slide: &dyn SlideReader, stated: &SlideInfo) -> Result<()> {
    let (Some(width), Some(height)) = (stated.width, stated.height) else { return Ok(()) };
    let found = slide.levels().first().map_or([0, 0], |level| [level.width, level.height].map(u64::from));
    if found == [width, height] {
        return Ok(());
    }
    let text = |[width, height]: [u64; 2]| format!("{width} x {height}");
    Err(Error::OtherSlide { slide: path.to_owned(), found: text(found), wanted: text([width, height]) })
}
