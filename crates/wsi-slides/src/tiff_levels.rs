//! Which pages of a TIFF file are the levels of its slide.
//!
//! A file may hold other images beside it: a label, a macro image, a second scene of the mount, masks, heat maps. Read as a level, one of
//! them would give features of something else.

use std::cmp::Reverse;

use crate::error::{ErrorKind, Result};
use crate::reader::Level;
use crate::tiff_form::TiffForm;
use crate::tiff_page::Page;
use crate::tiff_samples;

/// How far the axes of a level may disagree about its downsample, as a share.
const ASPECT_TOLERANCE: f64 = 0.1;
/// A page that does not say that it is a reduction may be one from this downsample on: scenes of one mount are of about one size.
const LEAST_UNSAID_DOWNSAMPLE: f64 = 1.5;
/// Pages that a warning names.
const MOST_NAMED: usize = 3;

/// The levels, from the largest to the smallest, and the pages like them that were left out, in words.
pub(crate) struct LevelPages {
    pub(crate) pages: Vec<Page>,
    pub(crate) left_out: Option<String>,
}

/// The place of the page that shows the slide at its largest.
///
/// # Errors
/// [`ErrorKind::Structure`] for a file without pages; [`ErrorKind::Unsupported`] where an image in strips is larger than all in tiles and these are
/// no reductions of it, so that either may be the slide.
pub(crate) fn largest(pages: &[Page], form: TiffForm) -> Result<usize> {
    let largest_of = |is_among: &dyn Fn(&Page) -> bool| {
        let among = pages.iter().enumerate().filter(|(_, page)| is_among(page));
        among.min_by_key(|(_, page)| Reverse(area(page)))
    };
    let in_tiles = largest_of(&|page| page.is_tiled && is_image(page, form));
    // Beside tiles, what says that it is a reduction is a thumbnail, and Aperio's pages in strips are pictures of the whole glass, which
    // may be larger than a cut-out slide.
    let may_be_slide = |page: &Page| {
        in_tiles.is_none()
            || form != TiffForm::Aperio && !page.is_reduced && tiff_samples::check(page).is_ok()
    };
    let in_strips = largest_of(&|page| !page.is_tiled && is_image(page, form) && may_be_slide(page));
    match (in_tiles, in_strips) {
        (Some((_, tiled)), Some((place, page))) if area(page) > area(tiled) => {
            let is_overview = |other: &Page| other.is_tiled && is_reduction(other, page);
            if pages.iter().any(is_overview) {
                return Ok(place);
            }
            let found = format!(
                "an image of {} in strips beside a smaller one of {} in tiles",
                shown(page),
                shown(tiled)
            );
            let wanted = "files whose largest image is the slide (`tiffcp` copies chosen pages into a file of their own)";
            Err(ErrorKind::Unsupported { found, wanted }.into())
        }
        (Some((place, _)), _) | (None, Some((place, _))) => Ok(place),
        (None, None) => match pages {
            // Its one page may say anything of itself.
            [_, ..] => Ok(0),
            [] => {
                let (place, fault) = ("the file".to_owned(), "it has no directory".to_owned());
                Err(ErrorKind::Structure { place, fault, source: None }.into())
            }
        },
    }
}

/// The levels among the pages of the chain, of which that at `place` is the largest, and those below it.
///
/// Whatever else they say, they have one shape. In Aperio's form, all in tiles are levels but a label or macro image. In others, those are that
/// lie below the largest or say that they are reductions and follow it; of pages that say nothing, as those of some programs, exact reductions.
pub(crate) fn levels(mut chain: Vec<Page>, place: usize, below: Vec<Page>, form: TiffForm) -> LevelPages {
    let first = chain.remove(place);
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    let is_alike = |page: &Page| page.is_tiled && !page.is_mask && has_shape_of(page, &first);
    let has_levels_below = below.iter().any(is_alike);
    // Whether reductions are of the slide, and not of another image before them.
    let mut are_of_slide = false;
    for (number, page) in chain.into_iter().enumerate() {
        are_of_slide |= number == place;
        if !is_alike(&page) || form == TiffForm::Aperio && is_label_or_macro(&page) {
            continue;
        }
        let is_level = match form {
            TiffForm::Aperio => true,
            // The images of an OME file keep their levels below them.
            TiffForm::Ome if has_levels_below => false,
            _ if page.is_reduced => are_of_slide && page.samples == first.samples,
            _ => is_exact_reduction(&page, &first),
        };
        // Reductions follow all focal planes.
        let is_plane =
            [page.width, page.height] == [first.width, first.height] && page.samples == first.samples;
        are_of_slide &= is_level || is_plane || page.is_reduced;
        if is_level { found.push(page) } else { left_out.push(shown(&page)) }
    }
    found.extend(below.into_iter().filter(is_alike));
    found.retain(|page| match tiff_samples::check(page) {
        Ok(()) => true,
        Err(error) => {
            left_out.push(match error.kind() {
                ErrorKind::Unsupported { found, .. } => format!("{} ({found})", shown(page)),
                other => format!("{} ({other})", shown(page)),
            });
            false
        }
    });
    // Of one size, as focal planes are, the first in the file stays.
    let mut pages = vec![first];
    pages.extend(found);
    pages.sort_by_key(|page| Reverse(area(page)));
    pages.dedup_by_key(|page| [page.width, page.height]);
    LevelPages { pages, left_out: told(&left_out) }
}

/// A level of these pixels, of a slide whose largest has the size given.
pub(crate) fn level(page: &Page, [width0, height0]: [u32; 2]) -> Level {
    let x = f64::from(width0) / f64::from(page.width);
    let y = f64::from(height0) / f64::from(page.height);
    Level { width: page.width, height: page.height, downsample: (x + y) / 2.0 }
}

/// Whether a page may be the slide at its largest.
fn is_image(page: &Page, form: TiffForm) -> bool {
    !(page.is_mask || form == TiffForm::Aperio && is_label_or_macro(page))
}

/// Aperio's labels and macro images say what they are in the second line.
fn is_label_or_macro(page: &Page) -> bool {
    let line = page.description.as_deref().and_then(|text| text.lines().nth(1)).unwrap_or("").trim_start();
    line.starts_with("label") || line.starts_with("macro")
}

fn area(page: &Page) -> u64 {
    u64::from(page.width) * u64::from(page.height)
}

/// Level-0 pixels per pixel along x and y.
fn downsamples(page: &Page, first: &Page) -> [f64; 2] {
    [f64::from(first.width) / f64::from(page.width), f64::from(first.height) / f64::from(page.height)]
}

fn has_shape_of(page: &Page, first: &Page) -> bool {
    let [x, y] = downsamples(page, first);
    (x - y).abs() <= ASPECT_TOLERANCE * x.max(y)
}

/// Whether a page is a smaller version of the first by what it says or by its size.
fn is_reduction(page: &Page, first: &Page) -> bool {
    if page.is_reduced { has_shape_of(page, first) } else { is_exact_reduction(page, first) }
}

/// Whether one factor gives both sides of a page of the same samples, each rounded to a pixel.
fn is_exact_reduction(page: &Page, first: &Page) -> bool {
    let factors = |whole: u32, part: u32| {
        let (whole, part) = (f64::from(whole), f64::from(part));
        [whole / (part + 1.0), whole / (part - 1.0)]
    };
    let (x, y) = (factors(first.width, page.width), factors(first.height, page.height));
    let [across, down] = downsamples(page, first);
    page.samples == first.samples
        && across.min(down) >= LEAST_UNSAID_DOWNSAMPLE
        && x[0].max(y[0]) <= x[1].min(y[1])
}

fn shown(page: &Page) -> String {
    format!("{} by {} pixels", page.width, page.height)
}

fn told(left_out: &[String]) -> Option<String> {
    let named = left_out.get(..MOST_NAMED).unwrap_or(left_out).join(", ");
    let more = match left_out.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    (!left_out.is_empty()).then(|| {
        format!(
            "images of the slide's shape that are not known to be its levels were left out: {named}{more}"
        )
    })
}
