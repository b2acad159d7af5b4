//! `wsi-bags inspect`

use std::path::PathBuf;

use cf_cli::{Log, aligned, with_causes};
use serde::Serialize;
use wsi_bags::{BagStore, Magnification, PatchDescription};

use crate::args::InspectArguments;
use crate::error::CliError;
use crate::output::{percent, print, print_json, progress};
use crate::remarks::{
    Coords, DoubtfulCoords, Lacking, WidthOf, lacking, lacking_text, mixed_widths, presence, widths_text,
};

/// A store.
#[derive(Debug, Serialize)]
struct Listing {
    /// Null where each magnification has its own root.
    layout: Option<String>,
    backbone: String,
    slides: Vec<Slide>,
    /// Empty where all features are of one width.
    mixed_widths: Vec<WidthOf>,
    /// Slides without a magnification that others have.
    lacking: Vec<Lacking>,
    #[serde(flatten)]
    doubtful: DoubtfulCoords,
}

/// A slide with what can be used of it and what cannot.
#[derive(Debug, Serialize)]
struct Slide {
    slide: String,
    sets: Vec<Set>,
    faults: Vec<String>,
}

/// The patches of one magnification.
#[derive(Debug, Serialize)]
struct Set {
    magnification: String,
    path: PathBuf,
    n_patches: usize,
    dim: usize,
    element_type: &'static str,
    row_order: &'static str,
    has_coords: bool,
    patch_size_level0: Option<u32>,
    mpp: Option<f64>,
    parents: Option<ParentCounts>,
    tool: Option<String>,
    tool_version: Option<String>,
    encoder: Option<String>,
}

/// Parents that a file has, or that its coordinates tell.
#[derive(Debug, Serialize)]
struct ParentCounts {
    stored: bool,
    /// Null where a file has parents and does not say.
    n_fallbacks: Option<usize>,
}

/// Lists the slides.
pub(crate) fn run(arguments: &InspectArguments, log: Log) -> Result<(), CliError> {
    let store = arguments.source.open()?;
    let slides = arguments.source.slides(&store);
    let bar = progress(slides.len(), log);
    let (mut present, mut doubtful) = (Vec::new(), DoubtfulCoords::default());
    let slides: Vec<Slide> = slides
        .iter()
        .map(|slide| {
            bar.inc(1);
            present.extend(presence(&store, slide));
            inspect(&store, slide, &mut doubtful)
        })
        .collect();
    bar.finish_and_clear();
    let n_faults = slides.iter().filter(|slide| !slide.faults.is_empty()).count();
    let layout = store.layout().map(|layout| layout.to_string());
    let widths = slides.iter().flat_map(|slide| slide.sets.iter().map(|set| (slide.slide.as_str(), set.dim)));
    let mixed_widths = mixed_widths(widths);
    let listing = Listing {
        layout,
        backbone: store.backbone().to_owned(),
        slides,
        mixed_widths,
        lacking: lacking(&present),
        doubtful,
    };
    if arguments.json {
        print_json(&listing)?
    } else {
        print(&text(&listing))?
    }
    if n_faults > 0 { Err(CliError::Faults(n_faults)) } else { Ok(()) }
}

fn inspect(store: &BagStore, slide: &str, doubtful: &mut DoubtfulCoords) -> Slide {
    let mut found = Slide { slide: slide.to_owned(), sets: Vec::new(), faults: Vec::new() };
    let present: Vec<Magnification> = match store.presence(slide) {
        Ok(presence) => presence.magnifications().collect(),
        Err(error) => {
            found.faults.push(with_causes(&error));
            return found;
        }
    };
    if present.is_empty() {
        found.faults.push(with_causes(&store.why_absent(slide)));
    }
    for magnification in &present {
        let described = store.describe(slide, *magnification).and_then(|described| {
            let parents = parents(store, slide, *magnification, &present, &described)?;
            let coords = Coords {
                magnification: *magnification,
                n_patches: described.n_patches,
                n_fallbacks: parents.as_ref().and_then(|parents| parents.n_fallbacks),
                at_one_place: described.at_one_place,
            };
            doubtful.look_at(slide, &coords);
            Ok(set(*magnification, described, parents))
        });
        match described {
            Ok(set) => found.sets.push(set),
            Err(error) => found.faults.push(with_causes(&error)),
        }
    }
    if found.faults.is_empty() {
        found.faults.extend(store.check_together(slide, &present).err().map(|error| with_causes(&error)));
    }
    if let Some(pair) = found.sets.windows(2).find(|pair| pair[0].dim != pair[1].dim) {
        found.faults.push(format!(
            "features have {} columns at {}, but {} at {}",
            pair[0].dim, pair[0].magnification, pair[1].dim, pair[1].magnification
        ));
    }
    found
}

fn parents(
    store: &BagStore,
    slide: &str,
    magnification: Magnification,
    present: &[Magnification],
    described: &PatchDescription,
) -> wsi_bags::Result<Option<ParentCounts>> {
    if described.has_parents {
        return Ok(Some(ParentCounts { stored: true, n_fallbacks: described.parent_fallbacks }));
    }
    if !magnification.coarser().is_some_and(|coarser| present.contains(&coarser)) {
        return Ok(None);
    }
    let found = store.find_parents(slide, magnification)?;
    Ok(found.map(|found| ParentCounts { stored: false, n_fallbacks: Some(found.n_fallbacks) }))
}

fn set(magnification: Magnification, described: PatchDescription, parents: Option<ParentCounts>) -> Set {
    Set {
        magnification: magnification.to_string(),
        path: described.path,
        n_patches: described.n_patches,
        dim: described.dim,
        element_type: described.element_type,
        row_order: described.row_order.label(),
        has_coords: described.has_coords,
        patch_size_level0: described.geometry.patch_size_level0,
        mpp: described.geometry.mpp,
        parents,
        tool: described.provenance.tool,
        tool_version: described.provenance.tool_version,
        encoder: described.provenance.encoder,
    }
}

fn text(listing: &Listing) -> String {
    let layout = listing.layout.as_deref().unwrap_or("a root for each magnification");
    let mut text = format!("{layout}, {}: {} slides\n", listing.backbone, listing.slides.len());
    let header = ["slide", "scale", "patches", "width", "type", "rows", "side", "fallbacks", "made by"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for slide in &listing.slides {
        rows.extend(slide.sets.iter().map(|set| row(&slide.slide, set)));
    }
    text += &aligned(&rows);
    for slide in &listing.slides {
        for fault in &slide.faults {
            text += &format!("{}: {fault}\n", slide.slide);
        }
    }
    text + &widths_text(&listing.mixed_widths) + &lacking_text(&listing.lacking) + &listing.doubtful.text()
}

fn row(slide: &str, set: &Set) -> Vec<String> {
    let unknown = || "-".to_owned();
    let fallbacks = set.parents.as_ref().and_then(|parents| parents.n_fallbacks);
    let made_by: Vec<&str> =
        [&set.tool, &set.tool_version, &set.encoder].into_iter().filter_map(Option::as_deref).collect();
    vec![
        slide.to_owned(),
        set.magnification.clone(),
        set.n_patches.to_string(),
        set.dim.to_string(),
        set.element_type.to_owned(),
        if set.has_coords { set.row_order.to_owned() } else { "no coordinates".to_owned() },
        set.patch_size_level0.map_or_else(unknown, |side| side.to_string()),
        fallbacks.map_or_else(unknown, |n_fallbacks| percent(n_fallbacks, set.n_patches)),
        if made_by.is_empty() { unknown() } else { made_by.join(" ") },
    ]
}
