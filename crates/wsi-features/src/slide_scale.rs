//! How large the patches of a slide are, in pixels and in micrometres, and what a person is told of it.

use wsi_bags::Magnification;
use wsi_slides::lattice::PatchSides;
use wsi_slides::{NOTEWORTHY_DIFFERENCE, Resolution};

/// Micrometres per pixel that 20x nominally has.
const NOMINAL_20X: f64 = 0.5;

/// A slide's resolution, and how large patches are by it.
#[derive(Debug, Clone, PartialEq)]
pub struct SlideScale {
    /// The resolution of level 0.
    pub resolution: Resolution,
    /// Sides of patches in level-0 pixels.
    pub sides: PatchSides,
    /// The finest magnification that patches are cut at.
    pub finest: Magnification,
}

impl SlideScale {
    /// Patches down to `finest`, by magnification or, with `target_mpp`, by the micrometres per pixel of 20x patches.
    ///
    /// # Errors
    /// Those of [`PatchSides::asked`].
    pub fn new(
        resolution: Resolution,
        target_mpp: Option<f64>,
        finest: Magnification,
    ) -> wsi_slides::Result<Self> {
        let sides = PatchSides::asked(&resolution, target_mpp, finest)?;
        Ok(Self { resolution, sides, finest })
    }

    /// Patches down to the finest magnification that the slide has.
    ///
    /// # Errors
    /// Those of [`PatchSides::asked`] at the coarsest.
    pub fn at_finest(resolution: &Resolution, target_mpp: Option<f64>) -> wsi_slides::Result<Self> {
        let at = |finest| Self::new(resolution.clone(), target_mpp, finest);
        at(Magnification::X20).or_else(|_| at(Magnification::X10)).or_else(|_| at(Magnification::X5))
    }

    /// Why there are no patches at the finest magnification that the slide has by name: micrometres per pixel were asked for that are finer
    /// than its pixels there. Work on that magnification is refused for the same.
    #[must_use]
    pub fn lacking(&self, target_mpp: Option<f64>) -> Option<wsi_slides::Error> {
        PatchSides::asked(&self.resolution, target_mpp, self.resolution.finest()).err()
    }

    /// The magnifications down to the finest, coarse to fine.
    pub fn magnifications(&self) -> impl Iterator<Item = Magnification> + use<> {
        let finest = self.finest;
        Magnification::ALL.into_iter().filter(move |magnification| *magnification <= finest)
    }

    /// Side of a patch in micrometres; `None` where micrometres per pixel are not known.
    #[must_use]
    pub fn span(&self, magnification: Magnification) -> Option<f64> {
        self.resolution.mpp.map(|mpp| mpp * f64::from(self.sides.at(magnification)))
    }
}

/// What a person should look at in the resolution of a slide whose patches are cut by magnification or, with `target_mpp`, by micrometres.
#[must_use]
pub fn resolution_remarks(resolution: &Resolution, target_mpp: Option<f64>) -> Vec<String> {
    let mut remarks: Vec<String> = resolution.warnings.iter().map(ToString::to_string).collect();
    if let (None, Some(warning), Some(mpp)) = (target_mpp, resolution.off_nominal(), resolution.mpp) {
        let finest = resolution.finest().power();
        let target = target_for(mpp * f64::from(finest) / 20.0);
        remarks.push(format!(
            "{warning}; --target-mpp {target} cuts patches at {finest}x of one size from all slides that are no coarser"
        ));
    }
    remarks
}

/// What a person should know of slides whose patches span sizes that differ by more than [`NOTEWORTHY_DIFFERENCE`] of the smallest.
#[must_use]
pub fn differing_spans<'a>(slides: impl IntoIterator<Item = (&'a str, &'a SlideScale)>) -> Option<String> {
    let known: Vec<(&str, &SlideScale, f64)> = slides
        .into_iter()
        .filter_map(|(name, scale)| Some((name, scale, scale.span(Magnification::X20)?)))
        .collect();
    let by_span = |a: &&(&str, &SlideScale, f64), b: &&(&str, &SlideScale, f64)| a.2.total_cmp(&b.2);
    let (least, most) = (known.iter().min_by(by_span)?, known.iter().max_by(by_span)?);
    if most.2 <= least.2 * (1.0 + NOTEWORTHY_DIFFERENCE) {
        return None;
    }
    let finest = known.iter().map(|(_, scale, _)| scale.finest).min()?;
    let span = |of: &(&str, &SlideScale, f64)| of.1.span(finest).unwrap_or(of.2);
    let told = |of: &(&str, &SlideScale, f64)| {
        let mpp = of.1.resolution.mpp.map_or_else(String::new, |mpp| rounded(mpp).to_string());
        format!("{} has {mpp} µm/px ({}x)", of.0, of.1.resolution.base)
    };
    let coarsest = known.iter().filter_map(|(_, scale, _)| scale.resolution.mpp).fold(0.0, f64::max);
    Some(format!(
        "patches at {}x span {:.0} to {:.0} µm in these {} slides: {}, {}; --target-mpp {} cuts patches of one size from all",
        finest.power(),
        span(least),
        span(most),
        known.len(),
        told(least),
        told(most),
        target_for(coarsest * f64::from(finest.power()) / 20.0)
    ))
}

/// Micrometres per pixel for 20x patches, by what a slide would have at 20x: nominal ones, or its own, which it gives without being magnified.
fn target_for(mpp: f64) -> f64 {
    NOMINAL_20X.max((mpp * 100.0).round() / 100.0)
}

fn rounded(mpp: f64) -> f64 {
    (mpp * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use wsi_slides::{Preference, ResolutionOverride, StatedResolution, resolve};

    use super::*;

    fn resolution(mpp: f64, power: Option<f64>) -> Resolution {
        let stated = StatedResolution { mpp: Some([mpp; 2]), power };
        resolve(stated, ResolutionOverride::default(), Preference::Mpp).unwrap()
    }

    fn scale(mpp: f64, target_mpp: Option<f64>) -> SlideScale {
        SlideScale::at_finest(&resolution(mpp, None), target_mpp).unwrap()
    }

    #[test]
    fn the_finest_is_what_the_slide_has() {
        let finest = |mpp| scale(mpp, None).finest;
        assert_eq!([0.25, 0.7, 2.0].map(finest), [Magnification::X20, Magnification::X10, Magnification::X5]);
        assert_eq!(scale(0.31, None).magnifications().collect::<Vec<_>>(), Magnification::ALL);
        // 256 level-0 pixels of 0.31, and 512 of 0.26.
        assert!((scale(0.31, None).span(Magnification::X20).unwrap() - 79.36).abs() < 1e-9);
        assert!((scale(0.26, None).span(Magnification::X5).unwrap() - 4.0 * 133.12).abs() < 1e-9);
        assert!((scale(0.31, Some(0.5)).span(Magnification::X20).unwrap() - 413.0 * 0.31).abs() < 1e-9);
    }

    #[test]
    fn what_is_off_nominal_is_told_with_a_target_that_the_slide_can_give() {
        let told = |mpp, target| resolution_remarks(&resolution(mpp, Some(20.0)), target);
        let fine = told(0.31, None);
        assert_eq!(fine.len(), 1);
        let end = "; --target-mpp 0.5 cuts patches at 20x of one size from all slides that are no coarser";
        assert!(fine[0].ends_with(end), "{fine:?}");
        let coarse = told(0.59, None);
        assert!(coarse[0].contains("span 151 µm") && coarse[0].contains("--target-mpp 0.59"), "{coarse:?}");
        for target in [0.5, 0.59] {
            assert_eq!(told(0.31, Some(target)).len(), 0);
        }
        // That is refused for the coarse slide, and its own is not.
        assert!(SlideScale::new(resolution(0.59, None), Some(0.5), Magnification::X20).is_err());
        assert!(SlideScale::new(resolution(0.59, None), Some(0.59), Magnification::X20).is_ok());
        assert_eq!(told(0.499, None).len(), 0);
        assert_eq!(told(0.25, None).len(), 1, "power and micrometres disagree, which is told as before");
    }

    #[test]
    fn targets_of_coarse_slides_are_those_of_20x_patches() {
        // 20x patches of 0.5 and 0.6 are 10x patches of 1 and 5x patches of 2.4.
        let coarse = [(0.8, 0.5, Magnification::X10, 1.0), (2.39, 0.6, Magnification::X5, 2.4)];
        for (mpp, target, finest, finest_mpp) in coarse {
            let resolution = resolution(mpp, None);
            let told = resolution_remarks(&resolution, None);
            let power = finest.power();
            let end = format!(
                "; --target-mpp {target} cuts patches at {power}x of one size from all slides that are no coarser"
            );
            assert!(told[0].ends_with(&end), "{told:?}");
            let scale = SlideScale::at_finest(&resolution, Some(target)).unwrap();
            assert_eq!(scale.finest, finest);
            // To half a pixel of x20, which is more of coarser ones.
            let off = scale.span(finest).unwrap() - 256.0 * finest_mpp;
            assert!(off.abs() <= mpp * 0.5 * f64::from(20 / power), "{off}");
            assert!(scale.lacking(Some(target)).is_none());
        }
    }

    #[test]
    fn what_a_target_takes_from_a_slide_is_told() {
        let lacking = |mpp, target| {
            let scale = scale(mpp, target);
            (scale.finest, scale.lacking(target).map(|error| error.to_string()))
        };
        let refused = SlideScale::new(resolution(0.59, None), Some(0.5), Magnification::X20).unwrap_err();
        assert_eq!(lacking(0.59, Some(0.5)), (Magnification::X10, Some(refused.to_string())));
        assert_eq!(lacking(0.59, Some(0.59)), (Magnification::X20, None));
        assert_eq!(lacking(0.59, None), (Magnification::X20, None));
        // A slide of 10x has no 20x patches anyway.
        assert_eq!(lacking(1.0, Some(0.5)), (Magnification::X10, None));
        assert_eq!(lacking(1.0, Some(1.0)), (Magnification::X20, None));
    }

    #[test]
    fn slides_whose_patches_differ_are_told_of_by_the_ends() {
        let of = |slides: &[(&'static str, f64)], target| {
            let scales: Vec<_> = slides.iter().map(|(name, mpp)| (*name, scale(*mpp, target))).collect();
            differing_spans(scales.iter().map(|(name, scale)| (*name, scale)))
        };
        let three = [("a", 0.499), ("b", 0.31), ("c", 0.59)];
        let told = "patches at 20x span 79 to 151 µm in these 3 slides: b has 0.31 µm/px (20x), c has 0.59 µm/px (20x); \
                    --target-mpp 0.59 cuts patches of one size from all";
        assert_eq!(of(&three, None).as_deref(), Some(told));
        assert_eq!(of(&three, Some(0.59)), None);
        // Scanners of 20x and 40x in one cohort, the same field of view.
        assert_eq!(of(&[("a", 0.2456), ("b", 0.504), ("c", 0.25), ("d", 0.263)], None), None);
        assert_eq!(of(&[("a", 0.31)], None), None);
        assert_eq!(of(&[], None), None);
        // What is compared is what all of them have: 10x, of 0.31 * 512 and 1 * 256.
        let coarse = of(&[("a", 0.31), ("b", 1.0)], None).unwrap();
        assert!(coarse.starts_with("patches at 10x span 159 to 256 µm"), "{coarse}");
        assert!(coarse.contains("b has 1 µm/px (10x); --target-mpp 0.5 "), "{coarse}");
    }
}
