//! Features of another encoder for a bag that is there, at the patches that it has.

use std::path::Path;
use std::time::Instant;

use wsi_bags::{Bag, Magnification, PatchSet, SlideInfo, native};
use wsi_slides::lattice::{NestedPatches, Patches};
use wsi_slides::{SlideReader, open};

use crate::encoder::PatchEncoder;
use crate::error::{Error, Result};
use crate::extract::{BadTiles, encode, provenance};
use crate::folder_lock::FolderLock;
use crate::patch_reader::{PatchReader, PixelSource};
use crate::status::{Encoded, Outcome, place};

/// Encodes the patches of the bag and adds their features to it; `on_patches` hears how many after each batch.
///
/// # Errors
/// [`Error::NoBag`], [`Error::NoPatchSize`] and [`Error::OtherSlide`] for a bag that cannot serve, [`Error::Slide`],
/// [`Error::Encoder`], [`Error::Bag`].
pub(crate) fn features_at(
    path: &Path,
    bag_path: &Path,
    encoder: &dyn PatchEncoder,
    pixels: PixelSource,
    on_patches: &dyn Fn(usize),
) -> Result<Outcome> {
    let begun = Instant::now();
    if !bag_path.is_file() {
        return Err(Error::NoBag { bag: bag_path.to_owned() });
    }
    let there = sets(bag_path)?;
    let done = native::magnifications(bag_path, encoder.name())?;
    let wanted: Vec<(Magnification, &PatchSet)> =
        there.iter().flat_map(Bag::sets).filter(|(magnification, _)| !done.contains(magnification)).collect();
    if wanted.is_empty() {
        return Ok(Outcome::Present);
    }
    let slide = open(path)?;
    check_size(path, slide.as_ref(), &native::slide_info(bag_path)?)?;
    let scales = wanted
        .iter()
        .map(|(magnification, set)| lattice(bag_path, *magnification, set))
        .collect::<Result<Vec<NestedPatches>>>()?;
    let readers: Vec<PatchReader<'_>> = scales
        .iter()
        .map(|scale| PatchReader::new(path, slide.as_ref(), scale.patches.side, encoder.patch_side(), pixels))
        .collect();
    let scratch = bag_path.parent().unwrap_or(Path::new("."));
    let spools = encode(path, scratch, &scales, &readers, encoder, BadTiles::FailSlide, on_patches)?;
    let mut n_patches = [0; 3];
    let mut sets = Vec::with_capacity(scales.len());
    for (((magnification, set), scale), spool) in wanted.into_iter().zip(scales).zip(spools) {
        let none = || Error::AllUnreadable { slide: path.to_owned(), magnification };
        let features = spool.into_features()?.ok_or_else(none)?;
        n_patches[place(magnification)] = set.n_patches();
        let set = PatchSet::new(features).with_coords(scale.patches.corners)?;
        sets.push((magnification, set.with_provenance(provenance(encoder))));
    }
    let slide_id = there.first().map_or("", Bag::slide_id);
    let bag = Bag::new(slide_id, sets)?;
    let alone = FolderLock::of(scratch)?;
    add(bag_path, &bag, encoder.name(), &alone)?;
    drop(alone);
    Ok(Outcome::Done(Encoded {
        n_patches,
        n_unreadable: 0,
        base: None,
        rule: "patches of the bag".to_owned(),
        warnings: Vec::new(),
        seconds: begun.elapsed().as_secs_f64(),
    }))
}

/// Whether a bag has features of the encoder at all of these magnifications.
pub(crate) fn has_all(bag: &Path, encoder: &str, wanted: &[Magnification]) -> Result<bool> {
    let present = native::magnifications(bag, encoder)?;
    Ok(wanted.iter().all(|magnification| present.contains(magnification)))
}

/// Adds features to a bag's file, in this process's turn, unless another has done so meanwhile.
pub(crate) fn add(path: &Path, bag: &Bag, encoder: &str, _alone: &FolderLock) -> Result<()> {
    if !has_all(path, encoder, &bag.magnifications().collect::<Vec<_>>())? {
        native::add_features(path, bag, encoder)?;
    }
    Ok(())
}

/// What is left of laid patches where a bag is there: those of magnifications at which it has no features of the encoder. Patches that the
/// bag lacks, on tiles that did not decode, are left out.
///
/// # Errors
/// [`Error::OtherPatches`] if the bag has none there or others, and [`Error::Bag`].
pub(crate) fn lacking(bag: &Path, encoder: &str, laid: Vec<NestedPatches>) -> Result<Vec<NestedPatches>> {
    let done = native::magnifications(bag, encoder)?;
    let there = sets(bag)?;
    let mut wanted = Vec::new();
    for scale in laid.into_iter().filter(|scale| !done.contains(&scale.magnification)) {
        let magnification = scale.magnification;
        let other = |fault| Error::OtherPatches { bag: bag.to_owned(), magnification, fault };
        let set = there.iter().find_map(|there| there.get(magnification));
        let found = lattice(bag, magnification, set.ok_or_else(|| other("it has none"))?)?;
        let mut rest = scale.patches.corners.iter();
        let are_among = found.patches.corners.iter().all(|corner| rest.any(|laid| laid == corner));
        if found.patches.side != scale.patches.side || !are_among {
            return Err(other("it has others than these settings lay"));
        }
        wanted.push(found);
    }
    Ok(wanted)
}

/// The patches of a bag at every magnification, whichever encoder saw them; features are mapped, not copied.
fn sets(path: &Path) -> Result<Vec<Bag>> {
    let mut bags: Vec<Bag> = Vec::new();
    for name in native::encoders(path)? {
        let mut more = native::magnifications(path, &name)?;
        more.retain(|magnification| bags.iter().all(|bag| bag.get(*magnification).is_none()));
        if !more.is_empty() {
            bags.push(native::read(path, &name, &more)?);
        }
    }
    Ok(bags)
}

fn lattice(bag: &Path, magnification: Magnification, set: &PatchSet) -> Result<NestedPatches> {
    let missing = || Error::NoPatchSize { bag: bag.to_owned(), magnification };
    let side = set.geometry().patch_size_level0.ok_or_else(missing)?;
    let corners = set.coords().unwrap_or_default().to_vec();
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
