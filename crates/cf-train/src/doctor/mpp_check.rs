//! Resolutions: of patches against their magnification, against the slide they were cut from, and slide against slide.

use std::path::PathBuf;

use wsi_bags::{BagStore, Magnification, PatchDescription};

use super::fault::Fault;
use super::finding::{Finding, Severity, listed, place};

/// Micrometres per pixel times magnification: 0.5 at 20x.
const MPP_TIMES_POWER: f64 = 10.0;

/// Scanners differ by a tenth or two, neighbouring magnifications by two.
const OF_A_MAGNIFICATION: f64 = 1.4;

/// Slides of one scanner differ less.
const OF_A_COHORT: f64 = 1.15;

/// What a rounded size in pixels may make of a ratio.
const OF_A_SLIDE: f64 = 1.05;

/// The resolution of a slide's patches at one magnification, as far as the bag says.
struct Resolution {
    slide_id: String,
    path: PathBuf,
    magnification: Magnification,
    mpp: f64,
    /// Side of a patch in pixels of its own resolution, from its side at level 0 and the slide's resolution.
    side_px: Option<f64>,
}

/// Compares the resolutions that the bags state; bags that state none are not told of.
pub(super) fn examine(
    store: &BagStore,
    slide_ids: &[String],
    magnifications: &[Magnification],
    findings: &mut Vec<Finding>,
) {
    let slides = slide_ids.iter().flat_map(|slide| magnifications.iter().map(move |&at| (slide, at)));
    // What can't be described was told of when it was read.
    let stated: Vec<Resolution> =
        slides.filter_map(|(slide, at)| resolution(slide, at, store.describe(slide, at).ok()?)).collect();
    for found in &stated {
        let nominal = MPP_TIMES_POWER / f64::from(found.magnification.power());
        if differs(found.mpp, nominal, OF_A_MAGNIFICATION) {
            let about = MPP_TIMES_POWER / found.mpp;
            findings.push(found.clash(format!(
                "its patches at {} have {:.3} micrometres per pixel, which is about {about:.1}x; {nominal} were expected",
                found.magnification, found.mpp
            )));
        }
    }
    for &at in magnifications {
        let of_magnification = || stated.iter().filter(move |found| found.magnification == at);
        if let Some(usual) = median(of_magnification().map(|found| found.mpp)) {
            let others: Vec<String> = of_magnification()
                .filter(|found| differs(found.mpp, usual, OF_A_COHORT))
                .map(|found| format!("{} ({:.3})", found.slide_id, found.mpp))
                .collect();
            if !others.is_empty() {
                let found = format!(
                    "half of the slides have {usual:.3} micrometres per pixel or more at {at}, and {} differ: {}",
                    others.len(),
                    listed(&others)
                );
                let place = format!("{at}, {} slides", of_magnification().count());
                findings.push(Finding::new(Severity::Warning, Fault::MppClash, place, found));
            }
        }
    }
    let Some(usual) = median(stated.iter().filter_map(|found| found.side_px)) else { return };
    for found in &stated {
        if let Some(side) = found.side_px.filter(|side| differs(*side, usual, OF_A_SLIDE)) {
            findings.push(found.clash(format!(
                "by its own resolution and side its patches at {} would be {side:.0} pixels wide, most are {usual:.0}: the \
                 resolution of the slide and that of its features do not fit together",
                found.magnification
            )));
        }
    }
}

impl Resolution {
    fn clash(&self, found: String) -> Finding {
        let place = place(&self.path, &format!("slide {}", self.slide_id));
        Finding::new(Severity::Warning, Fault::MppClash, place, found)
    }
}

fn resolution(slide_id: &str, magnification: Magnification, patches: PatchDescription) -> Option<Resolution> {
    let mpp = patches.geometry.mpp?;
    let level0 = patches.slide.mpp.zip(patches.geometry.patch_size_level0);
    let side_px = level0.map(|(slide_mpp, side)| slide_mpp * f64::from(side) / mpp);
    Some(Resolution { slide_id: slide_id.to_owned(), path: patches.path, magnification, mpp, side_px })
}

fn differs(a: f64, b: f64, factor: f64) -> bool {
    a > b * factor || b > a * factor
}

/// The upper median.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
