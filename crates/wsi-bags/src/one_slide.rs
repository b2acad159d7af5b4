//! Whether files of different magnifications are of the same slide, by what they state of it.

use std::path::PathBuf;

use crate::bag::check_parents;
use crate::error::{Error, ErrorKind, Result};
use crate::magnification::Magnification;
use crate::patch_source::PatchSource;
use crate::slide_info::SlideInfo;

impl ErrorKind {
    /// What [`ErrorKind::Disagreement`] is about where files of one slide state different slides.
    pub const SLIDE: &'static str = "the slide";
}

/// What the file of one magnification states of its slide.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StatedSlide {
    path: PathBuf,
    magnification: Magnification,
    info: SlideInfo,
    /// Magnification of level 0.
    power: Option<f64>,
}

impl StatedSlide {
    pub(crate) fn of(magnification: Magnification, source: &PatchSource) -> Self {
        Self {
            path: source.path.clone(),
            magnification,
            info: source.slide,
            power: source.level0_magnification,
        }
    }
}

/// Refuses what files say of magnifications of one slide that do not fit together. Features need not have been read.
///
/// # Errors
/// Those of [`check_same_slide`], and [`ErrorKind::Parent`] if a parent index lies outside the next coarser magnification.
pub(crate) fn check_together(sources: &[(Magnification, PatchSource)]) -> Result<()> {
    let stated: Vec<_> = sources.iter().map(|(at, source)| StatedSlide::of(*at, source)).collect();
    check_same_slide(&stated)?;
    let n_patches = |wanted: Magnification| {
        sources.iter().find(|(at, _)| *at == wanted).map(|(_, source)| source.n_patches)
    };
    sources.iter().try_for_each(|(magnification, source)| {
        let parents = source.parents.as_deref().unwrap_or_default();
        check_parents(*magnification, parents, magnification.coarser().and_then(n_patches))
            .map_err(|kind| Error::from(kind).in_file(&source.path).at_place(magnification))
    })
}

/// Refuses magnifications of which two state different slides: patches of a scan of 40x and of one of 20x have coordinates
/// that say nothing of each other. What one of them does not state is not compared.
///
/// # Errors
/// [`ErrorKind::Disagreement`] with what the two state.
pub(crate) fn check_same_slide(stated: &[StatedSlide]) -> Result<()> {
    for (index, fine) in stated.iter().enumerate() {
        for coarse in stated.iter().take(index) {
            let differing = differences(fine, coarse);
            if differing.is_empty() {
                continue;
            }
            let told = |of: fn(&(String, String)) -> &str, at: Magnification| {
                let facts: Vec<&str> = differing.iter().map(of).collect();
                format!("{} ({at} patches)", facts.join(", "))
            };
            return Err(ErrorKind::Disagreement {
                what: ErrorKind::SLIDE,
                path: fine.path.clone(),
                found: told(|pair| &pair.0, fine.magnification),
                other: coarse.path.clone(),
                expected: told(|pair| &pair.1, coarse.magnification),
            }
            .into());
        }
    }
    Ok(())
}

/// A number that a file may state, the words behind it, and the share by which two may differ.
type Fact = (fn(&StatedSlide) -> Option<f64>, &'static str, f64);

/// What both state and is not the same, in words.
fn differences(a: &StatedSlide, b: &StatedSlide) -> Vec<(String, String)> {
    // The two sizes of one slide by one tool are the same to the pixel. Micrometres per pixel and powers are rounded.
    let facts: [Fact; 4] = [
        (|slide| slide.info.width.map(|width| width as f64), " pixels wide at level 0", 0.0),
        (|slide| slide.info.height.map(|height| height as f64), " pixels high at level 0", 0.0),
        (|slide| slide.power, "x at level 0", SlideInfo::MPP_TOLERANCE),
        (|slide| slide.info.mpp, " micrometres per pixel", SlideInfo::MPP_TOLERANCE),
    ];
    let differing = |(of, unit, tolerance): &Fact| {
        let (a, b) = (of(a)?, of(b)?);
        ((a - b).abs() > tolerance * b.abs()).then(|| (format!("{a}{unit}"), format!("{b}{unit}")))
    };
    facts.iter().filter_map(differing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Magnification::{X5, X10, X20};

    fn stated(magnification: Magnification, width: Option<u64>, mpp: Option<f64>) -> StatedSlide {
        let path = PathBuf::from(format!("{magnification}.h5"));
        StatedSlide { path, magnification, info: SlideInfo { width, height: None, mpp }, power: None }
    }

    #[test]
    fn what_one_file_does_not_state_contradicts_nothing() {
        let files =
            [stated(X5, Some(6144), None), stated(X10, None, Some(0.25)), stated(X20, Some(6144), None)];
        assert!(check_same_slide(&files).is_ok());
        assert!(check_same_slide(&[]).is_ok());
    }

    #[test]
    fn rounded_resolutions_are_the_same_and_those_of_another_scan_are_not() {
        let pair = |mpp| [stated(X10, None, Some(0.2520)), stated(X20, None, Some(mpp))];
        assert!(check_same_slide(&pair(0.2525)).is_ok());
        assert!(check_same_slide(&pair(0.5)).is_err());
    }

    #[test]
    fn files_that_are_not_neighbours_are_compared() {
        let files =
            [stated(X5, Some(6144), None), stated(X10, None, None), stated(X20, Some(3072), Some(0.5))];
        assert_eq!(
            check_same_slide(&files).unwrap_err().to_string(),
            "the slide of x20.h5 is 3072 pixels wide at level 0 (x20 patches), but 6144 pixels wide at level 0 (x5 \
             patches) in x5.h5"
        );
    }
}
