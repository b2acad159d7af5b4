//! What stands out among slides that can be used.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use wsi_bags::{BagStore, Magnification, Presence};

use crate::output::percent;

/// How many slides a text names; JSON names all.
const N_NAMED: usize = 5;

/// Parents that are the nearest coarse patch for want of one that holds the patch: up to this share at the edge of tissue.
const USUAL_FALLBACKS: f64 = 0.1;

/// Slides whose coordinates are hardly what they seem.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DoubtfulCoords {
    /// Many patches lie in none of the coarser ones.
    far_parents: Vec<FarParents>,
    /// All patches lie at the same place.
    one_place: Vec<OnePlace>,
}

/// A slide of which more parents than usual are the nearest coarse patch.
#[derive(Debug, Serialize)]
struct FarParents {
    slide: String,
    #[serde(serialize_with = "label")]
    magnification: Magnification,
    n_patches: usize,
    n_fallbacks: usize,
    /// Of the patches, in [0, 1].
    share: f64,
}

/// A slide whose patches lie at one place.
#[derive(Debug, Serialize)]
struct OnePlace {
    slide: String,
    #[serde(serialize_with = "label")]
    magnification: Magnification,
    n_patches: usize,
}

/// What is known of the coordinates of a slide at one magnification.
pub(crate) struct Coords {
    pub(crate) magnification: Magnification,
    pub(crate) n_patches: usize,
    pub(crate) n_fallbacks: Option<usize>,
    pub(crate) at_one_place: bool,
}

impl DoubtfulCoords {
    /// Keeps a slide in mind if there is a doubt.
    pub(crate) fn look_at(&mut self, slide: &str, coords: &Coords) {
        let Coords { magnification, n_patches, .. } = *coords;
        let n_fallbacks = coords.n_fallbacks.unwrap_or(0);
        let share = n_fallbacks as f64 / n_patches.max(1) as f64;
        let slide = slide.to_owned();
        if coords.at_one_place {
            self.one_place.push(OnePlace { slide: slide.clone(), magnification, n_patches });
        }
        if share > USUAL_FALLBACKS {
            self.far_parents.push(FarParents { slide, magnification, n_patches, n_fallbacks, share });
        }
    }

    /// A line for each doubt and magnification.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for magnification in Magnification::ALL {
            let far = self.far_parents.iter().filter(|of| of.magnification == magnification);
            let far: Vec<String> =
                far.map(|of| format!("{} {}", of.slide, percent(of.n_fallbacks, of.n_patches))).collect();
            if let (Some(coarser), false) = (magnification.coarser(), far.is_empty()) {
                text += &format!(
                    "{magnification}: more than 10% of the patches lie in no {coarser} patch in {}: coordinates of another \
                     scan, or in another unit? Extract the magnifications of a slide from one file\n",
                    named(&far)
                );
            }
            let here = self.one_place.iter().filter(|of| of.magnification == magnification);
            let here: Vec<String> = here.map(|of| of.slide.clone()).collect();
            if !here.is_empty() {
                text += &format!(
                    "{magnification}: all patches lie at the same place in {}: extract them again with their coordinates\n",
                    named(&here)
                );
            }
        }
        text
    }
}

/// Slides without a magnification that others have.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Lacking {
    #[serde(serialize_with = "label")]
    magnification: Magnification,
    slides: Vec<String>,
}

/// The magnifications of a slide, if it has any.
pub(crate) fn presence(store: &BagStore, slide: &str) -> Option<(String, Presence)> {
    let presence = store.presence(slide).ok()?;
    presence.magnifications().next().map(|_| (slide.to_owned(), presence))
}

/// By magnification, the slides that lack it where others have it. Slides without any have a fault of their own.
pub(crate) fn lacking(present: &[(String, Presence)]) -> Vec<Lacking> {
    let of = |magnification: Magnification| {
        let without = present.iter().filter(|(_, at)| !at.at(magnification));
        let slides: Vec<String> = without.map(|(slide, _)| slide.clone()).collect();
        let is_some = !slides.is_empty() && slides.len() < present.len();
        is_some.then_some(Lacking { magnification, slides })
    };
    Magnification::ALL.into_iter().filter_map(of).collect()
}

/// A line for each magnification that slides lack.
pub(crate) fn lacking_text(lacking: &[Lacking]) -> String {
    let line = |of: &Lacking| {
        let (magnification, slides) = (of.magnification, named(&of.slides));
        format!(
            "{magnification} is missing in {slides}; where magnifications have files of their own, those of one slide are called alike\n"
        )
    };
    lacking.iter().map(line).collect()
}

/// Slides whose features are of one width, where others have another.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct WidthOf {
    dim: usize,
    slides: Vec<String>,
}

/// Slides by the width of their features; none where all have the same.
pub(crate) fn mixed_widths<'a>(widths: impl Iterator<Item = (&'a str, usize)>) -> Vec<WidthOf> {
    let mut by_width: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (slide, dim) in widths {
        let slides = by_width.entry(dim).or_default();
        if slides.last().is_none_or(|last| last != slide) {
            slides.push(slide.to_owned());
        }
    }
    if by_width.len() < 2 {
        return Vec::new();
    }
    by_width.into_iter().map(|(dim, slides)| WidthOf { dim, slides }).collect()
}

/// A line that names slides of different widths; empty where there are none.
pub(crate) fn widths_text(mixed: &[WidthOf]) -> String {
    if mixed.is_empty() {
        return String::new();
    }
    let told: Vec<String> =
        mixed.iter().map(|of| format!("{} columns in {}", of.dim, named(&of.slides))).collect();
    format!(
        "features of different widths, of which one encoder has one: {}; give each encoder a directory of its own\n",
        told.join("; ")
    )
}

fn label<S: Serializer>(magnification: &Magnification, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(magnification.label())
}

/// The number of slides and the first of their names.
fn named(slides: &[String]) -> String {
    let first = slides.iter().take(N_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let count = if slides.len() == 1 { "one slide".to_owned() } else { format!("{} slides", slides.len()) };
    match slides.len().saturating_sub(N_NAMED) {
        0 => format!("{count} ({first})"),
        more => format!("{count} ({first} and {more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_are_named_up_to_a_few() {
        let slides: Vec<String> = (0..7).map(|i| format!("s{i}")).collect();
        assert_eq!(named(&slides[..1]), "one slide (s0)");
        assert_eq!(named(&slides[..5]), "5 slides (s0, s1, s2, s3, s4)");
        assert_eq!(named(&slides), "7 slides (s0, s1, s2, s3, s4 and 2 more)");
    }

    #[test]
    fn one_width_is_no_remark() {
        assert!(mixed_widths([("a", 4), ("a", 4), ("b", 4)].into_iter()).is_empty());
        assert_eq!(widths_text(&[]), "");
    }
}
