//! One slide to one bag.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use patch_encoders::RgbImage;
use rayon::prelude::*;
use wsi_bags::native::Origin;
use wsi_bags::{Bag, Magnification, PatchGeometry, PatchSet, Provenance, SlideInfo};
use wsi_slides::lattice::{NestedPatches, Patches};
use wsi_slides::tissue::{Ink, PenMarks, Preset, TissueParams};
use wsi_slides::{Preference, Resolution, ResolutionOverride, SlideWarning};

use crate::encoder::PatchEncoder;
use crate::error::{Error, Result};
use crate::feature_spool::FeatureSpool;
use crate::patch_reader::{PatchReader, PixelSource};
use crate::slide_lattice::{Laid, open_slide};
use crate::slide_scale::SlideScale;

/// Patches that are read, and wait for the encoder, at a time: about 25 MB of pixels.
const BATCH: usize = 128;

/// How patches are laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatticeKind {
    /// One lattice over the slide, in which each coarse patch holds its finer ones.
    #[default]
    Nested,
    /// CLAM's grid for each piece of tissue.
    Clam,
}

impl LatticeKind {
    /// As bags state it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Clam => "clam",
        }
    }
}

/// What a tile that does not decode does to its slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadTiles {
    /// The slide fails, with the position of the tile.
    #[default]
    FailSlide,
    /// Patches on such tiles are left out, and counted.
    SkipPatch,
}

/// How slides become bags.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtractOptions {
    /// What counts as tissue.
    pub tissue: TissueParams,
    /// How patches are laid.
    pub lattice: LatticeKind,
    /// Which magnifications, each at most once.
    pub magnifications: Vec<Magnification>,
    /// What decides where power and micrometres per pixel disagree.
    pub preference: Preference,
    /// Micrometres per pixel of 20x patches; nominal magnifications where `None`.
    pub target_mpp: Option<f64>,
    /// Which level patches are read from.
    pub pixels: PixelSource,
    /// What a tile that does not decode does.
    pub bad_tiles: BadTiles,
}

impl Default for ExtractOptions {
    /// Nested patches at 5x, 10x and 20x on tissue by the preset for biopsies, ink left out.
    fn default() -> Self {
        Self {
            tissue: TissueParams { pen_marks: PenMarks::Remove, ..Preset::BwhBiopsy.params() },
            lattice: LatticeKind::Nested,
            magnifications: Magnification::ALL.to_vec(),
            preference: Preference::Mpp,
            target_mpp: None,
            pixels: PixelSource::NearestLevel,
            bad_tiles: BadTiles::FailSlide,
        }
    }
}

/// A bag and what was found on the way.
#[derive(Debug)]
pub struct Extracted {
    /// The features.
    pub bag: Bag,
    /// Size and resolution of the slide.
    pub info: SlideInfo,
    /// How its magnification was found, and how large patches are by it.
    pub scale: SlideScale,
    /// Patches that were left out because a tile did not decode.
    pub n_unreadable: usize,
    /// What was taken for ink.
    pub ink: Ink,
    /// What a person should look at in the slide's file.
    pub warnings: Vec<SlideWarning>,
}

/// Where one row of features comes from and goes.
#[derive(Clone, Copy)]
struct Item {
    scale: usize,
    patch: usize,
    corner: [i64; 2],
}

/// Reads, encodes and gathers the patches of one slide; `on_patches` hears how many were encoded after each batch.
///
/// Patches of all magnifications are read place by place, so that tiles are decoded once. Memory is bounded by a constant:
/// features lie in files without a name on the disk of the directory `scratch`, and the bag maps them.
///
/// # Errors
/// [`Error::Slide`] for a slide that cannot be read or has no resolution, [`Error::NoTissue`],
/// [`Error::AllUnreadable`], [`Error::Encoder`], [`Error::Bag`]; [`Error::Io`] if `scratch` cannot be written to.
pub fn extract(
    path: &Path,
    given: ResolutionOverride,
    encoder: &dyn PatchEncoder,
    options: &ExtractOptions,
    scratch: &Path,
    on_patches: &dyn Fn(usize),
) -> Result<Extracted> {
    extract_of((path, given), encoder, options, scratch, Ok, (&AtomicBool::new(false), on_patches))
}

/// [`extract`] of what `wanted` leaves of the patches that were laid.
pub(crate) fn extract_of(
    (path, given): (&Path, ResolutionOverride),
    encoder: &dyn PatchEncoder,
    options: &ExtractOptions,
    scratch: &Path,
    wanted: impl FnOnce(Vec<NestedPatches>) -> Result<Vec<NestedPatches>>,
    (stop, on_patches): (&AtomicBool, &dyn Fn(usize)),
) -> Result<Extracted> {
    let slide = open_slide(path, given, options)?;
    let Laid { scale, scales: laid, ink, .. } = slide.lay(options)?;
    let scales = wanted(laid)?;
    let readers: Vec<PatchReader<'_>> = scales
        .iter()
        .map(|scale| {
            let side = scale.patches.side;
            PatchReader::new(path, slide.reader.as_ref(), side, encoder.patch_side(), options.pixels)
        })
        .collect();
    let spools = encode(path, scratch, &scales, &readers, encoder, options.bad_tiles, (stop, on_patches))?;
    let [width, height] = slide.size().map(|pixels| Some(pixels.into()));
    let info = SlideInfo { width, height, mpp: scale.resolution.mpp };
    let n_unreadable = spools.iter().flat_map(FeatureSpool::filled).filter(|filled| !**filled).count();
    let bag = gather(path, scales, spools, (encoder, options.pixels), &scale.resolution)?;
    Ok(Extracted { bag, info, scale, n_unreadable, ink, warnings: slide.reader.warnings().to_vec() })
}

/// Reads and encodes every patch: one batch is read while the one before is encoded. Features lie in files without a name in
/// the directory `scratch`, one for each magnification.
///
/// # Errors
/// As [`extract`], and [`Error::Interrupted`] if `stop` was set.
pub(crate) fn encode(
    path: &Path,
    scratch: &Path,
    scales: &[NestedPatches],
    readers: &[PatchReader<'_>],
    encoder: &dyn PatchEncoder,
    bad_tiles: BadTiles,
    (stop, on_patches): (&AtomicBool, &dyn Fn(usize)),
) -> Result<Vec<FeatureSpool>> {
    let dim = encoder.feature_dim();
    let n_rows = scales.iter().map(|scale| scale.patches.corners.len());
    let mut spools =
        n_rows.map(|n_rows| FeatureSpool::new(scratch, n_rows, dim)).collect::<Result<Vec<_>>>()?;
    let items = place_by_place(scales);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<(Item, Result<RgbImage>)>>(1);
        let items = &items;
        scope.spawn(move || {
            for batch in items.chunks(BATCH) {
                let read = batch.par_iter().map(|item| (*item, readers[item.scale].read(item.corner)));
                // The other side is gone where it met an error.
                if sender.send(read.collect()).is_err() {
                    return;
                }
            }
        });
        for batch in receiver {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let (mut places, mut patches) = (Vec::new(), Vec::new());
            for (item, read) in batch {
                match read {
                    Ok(patch) => {
                        places.push(item);
                        patches.push(patch);
                    }
                    Err(error) if bad_tiles == BadTiles::SkipPatch && is_bad_tile(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            let features = encoder
                .encode(&patches)
                .map_err(|source| Error::Encoder { slide: path.to_owned(), source })?;
            for (item, vector) in places.iter().zip(features.chunks_exact(dim.max(1))) {
                spools[item.scale].put(item.patch, vector)?;
            }
            on_patches(places.len());
        }
        Ok(spools)
    })
}

fn is_bad_tile(error: &Error) -> bool {
    matches!(error, Error::Slide(error) if matches!(error.kind(), wsi_slides::ErrorKind::Tile { .. }))
}

/// Every patch, those of one coarse place together.
fn place_by_place(scales: &[NestedPatches]) -> Vec<Item> {
    let coarse = scales.iter().map(|scale| i64::from(scale.patches.side)).max().unwrap_or(1);
    let mut items: Vec<Item> = Vec::new();
    for (scale, patches) in scales.iter().enumerate() {
        let corners = patches.patches.corners.iter().enumerate();
        items.extend(corners.map(|(patch, corner)| Item { scale, patch, corner: *corner }));
    }
    items.sort_by_key(|item| {
        let [x, y] = item.corner;
        (y.div_euclid(coarse), x.div_euclid(coarse), item.scale, y, x)
    });
    items
}

/// What is written of where patches come from.
pub(crate) fn origin(path: &Path, options: &ExtractOptions) -> Origin {
    Origin {
        lattice: Some(options.lattice.label().to_owned()),
        tissue: Some(options.tissue.to_string()),
        slide_file: path.file_name().map(|name| name.to_string_lossy().into_owned()),
        slide_bytes: std::fs::metadata(path).ok().map(|file| file.len()),
    }
}

/// What is written of where features come from.
pub(crate) fn provenance(encoder: &dyn PatchEncoder, pixels: PixelSource) -> Provenance {
    Provenance {
        tool: Some(env!("CARGO_PKG_NAME").to_owned()),
        tool_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        encoder: Some(encoder.name().to_owned()),
        weights_sha256: encoder.weights_sha256().map(str::to_owned),
        pixels: Some(pixels.label().to_owned()),
    }
}

/// Puts the bag together, rows that could not be read left out.
fn gather(
    path: &Path,
    scales: Vec<NestedPatches>,
    spools: Vec<FeatureSpool>,
    (encoder, pixels): (&dyn PatchEncoder, PixelSource),
    resolution: &Resolution,
) -> Result<Bag> {
    let provenance = provenance(encoder, pixels);
    let mut sets = Vec::new();
    // Where each row of the coarser magnification went.
    let mut moved: Vec<Option<u32>> = Vec::new();
    let mut coarse = Patches { side: 0, corners: Vec::new() };
    for (scale, spool) in scales.into_iter().zip(spools) {
        let kept = spool.filled().to_vec();
        let Some(features) = spool.into_features()? else {
            let magnification = scale.magnification;
            return Err(Error::AllUnreadable { slide: path.to_owned(), magnification });
        };
        let corners = scale.patches.corners.iter().zip(&kept);
        let coords = corners.filter(|(_, kept)| **kept).map(|(corner, _)| *corner).collect();
        let geometry = PatchGeometry {
            patch_size_level0: Some(scale.patches.side),
            mpp: resolution.mpp.map(|mpp| mpp * f64::from(scale.patches.side) / encoder.patch_side() as f64),
        };
        let mut set = PatchSet::new(features)
            .with_coords(coords)?
            .with_geometry(geometry)?
            .with_provenance(provenance.clone());
        if let Some(parents) = &scale.parents {
            let mut n_fallbacks = 0;
            let of_kept = parents.iter().zip(&scale.patches.corners).zip(&kept).filter(|(_, kept)| **kept);
            let rows = of_kept.map(|((parent_idx, corner), _)| {
                let parent_idx = *parent_idx as usize;
                let row = moved.get(parent_idx).copied().flatten()?;
                let parent = *coarse.corners.get(parent_idx)?;
                let is_held = holds_centre((parent, coarse.side), (*corner, scale.patches.side));
                n_fallbacks += usize::from(!is_held);
                Some(row)
            });
            let rows = rows.collect();
            set = set.with_parents(rows)?.with_parent_fallbacks(n_fallbacks)?;
        }
        coarse = scale.patches;
        let mut next = 0;
        moved = kept
            .into_iter()
            .map(|kept| {
                kept.then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        sets.push((scale.magnification, set));
    }
    let slide_id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Bag::new(slide_id, sets)?)
}

/// Whether the centre of a fine patch lies in a coarse one: corners and sides in level-0 pixels.
fn holds_centre((coarse, coarse_side): ([i64; 2], u32), (fine, fine_side): ([i64; 2], u32)) -> bool {
    (0..2).all(|axis| {
        let centre_twice = 2 * fine[axis] + i64::from(fine_side);
        (2 * coarse[axis]..2 * (coarse[axis] + i64::from(coarse_side))).contains(&centre_twice)
    })
}
