//! What a batch would do with each slide, told before hours of encoding. Nothing is written.

use std::path::Path;

use wsi_bags::native::{self, Lattice};
use wsi_bags::{Magnification, SlideNames};
use wsi_slides::Resolution;

use crate::bag_lattice::{check_features, check_settings, has_all, lacking};
use crate::batch::{BatchOptions, Event, bag_names, bag_of, whole_text};
use crate::encoder::PatchEncoder;
use crate::error::Result;
use crate::slide_lattice::{Laid, open_slide};
use crate::slide_list::{SlideEntry, SlideList};
use crate::slide_scale::{SlideScale, resolution_remarks};
use crate::status::{check_table, place};
use crate::tissue_remarks::ink_warning;

/// What would become of a slide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// Its bag would be made.
    New,
    /// Its bag is there, and features would join it.
    Joins,
    /// Its bag is there, with all that is asked for.
    Present,
    /// It would give no bag, for this reason.
    Failed(String),
}

impl Prospect {
    /// `new`, `joins`, `present` or `failed`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Joins => "joins",
            Self::Present => "present",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a batch would do with a slide, as far as can be told without encoding: tiles that do not decode are not looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The slide's name.
    pub slide: String,
    /// What would become of it.
    pub prospect: Prospect,
    /// Its resolution, where it has one.
    pub resolution: Option<Resolution>,
    /// How large its patches are.
    pub scale: Option<SlideScale>,
    /// Pieces of tissue that are large enough, and the share of the slide that is tissue before pieces are dropped by size; `None` where
    /// tissue need not be looked for, or is not found.
    pub tissue: Option<(usize, f64)>,
    /// Patches at 5x, 10x and 20x that would be encoded, or, of a slide whose features are there, those of its bag.
    pub n_patches: Option<[usize; 3]>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

/// Says for all slides of a shard what [`run`](crate::run) would do, and writes nothing. Tissue of slides whose features are there is not
/// looked for.
///
/// # Errors
/// Those of [`run`](crate::run) that are not of writing.
pub fn preview(
    slides: &SlideList,
    encoder: &dyn PatchEncoder,
    options: &BatchOptions,
    on_event: &dyn Fn(Event<'_>),
) -> Result<Vec<Preview>> {
    let out = &options.out;
    check_table(&out.join(options.shard.table()))?;
    for warning in encoder.warnings() {
        on_event(Event::Warning(warning));
    }
    let bags = if out.is_dir() { bag_names(out)? } else { SlideNames::new(Vec::new()) };
    let entries = options.shard.of(slides);
    let mut previews = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        on_event(Event::Begun(&entry.id, number + 1, entries.len()));
        let mut found = Preview {
            slide: entry.id.clone(),
            prospect: Prospect::New,
            resolution: None,
            scale: None,
            tissue: None,
            n_patches: None,
            warnings: Vec::new(),
        };
        match look(entry, &bag_of(entry, out, &bags), encoder, options, &mut found) {
            Ok(prospect) => found.prospect = prospect,
            Err(error) if error.is_temporary() => return Err(error),
            Err(error) => found.prospect = Prospect::Failed(whole_text(&error)),
        }
        for warning in &found.warnings {
            on_event(Event::Warning(&format!("{}: {warning}", found.slide)));
        }
        previews.push(found);
    }
    Ok(previews)
}

/// Goes the way of `run` up to the first patch. What was found stays in `found` where the way ends early.
fn look(
    entry: &SlideEntry,
    bag: &Path,
    encoder: &dyn PatchEncoder,
    options: &BatchOptions,
    found: &mut Preview,
) -> Result<Prospect> {
    let (extract, encoded) = (&options.extract, encoder.name());
    entry.check_name()?;
    let is_there = bag.exists();
    if is_there {
        found.scale = check_settings(entry, bag, extract)?;
        found.resolution = found.scale.as_ref().map(|scale| scale.resolution.clone());
        check_features(bag, encoder, extract.pixels)?;
        if has_all(bag, encoded, &extract.magnifications)? {
            let asked = |lattice: &Lattice| extract.magnifications.contains(&lattice.magnification);
            let there = native::lattices(bag)?.into_iter().filter(asked);
            found.n_patches =
                Some(counts(there.map(|lattice| (lattice.magnification, lattice.coords.len()))));
            return Ok(Prospect::Present);
        }
    }
    let slide = open_slide(&entry.path, entry.given, extract)?;
    found.resolution = Some(slide.resolution.clone());
    found.warnings = resolution_remarks(&slide.resolution, extract.target_mpp);
    found.warnings.extend(slide.reader.warnings().iter().map(ToString::to_string));
    found.scale = Some(slide.scale(extract)?);
    let Laid { mut scales, n_pieces, tissue_share, ink, .. } = slide.lay(extract)?;
    found.tissue = Some((n_pieces, tissue_share));
    found.warnings.extend(ink_warning(ink));
    if is_there {
        scales = lacking(bag, encoded, scales, &mut found.warnings)?;
    }
    let laid = scales.iter().map(|scale| (scale.magnification, scale.patches.corners.len()));
    found.n_patches = Some(counts(laid));
    Ok(if is_there { Prospect::Joins } else { Prospect::New })
}

fn counts(scales: impl Iterator<Item = (Magnification, usize)>) -> [usize; 3] {
    let mut n_patches = [0; 3];
    for (magnification, n) in scales {
        n_patches[place(magnification)] = n;
    }
    n_patches
}
