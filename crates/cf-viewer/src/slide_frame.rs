//! The size and resolution of a slide, and whether features belong to it.

use std::path::Path;

use wsi_bags::SlideInfo;
use wsi_slides::{Preference, ResolutionOverride, SlideReader, resolve};

use crate::error::{Error, Result};
use crate::patch_boxes::PatchBoxes;

/// Resolutions that differ by this share are the same: files state them with three or four digits.
const MPP_TOLERANCE: f64 = 0.01;

/// What maps are drawn on: level 0 of a slide, or of the empty canvas that stands for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlideFrame {
    /// Width and height in level-0 pixels.
    pub size: [u32; 2],
    /// Micrometres per level-0 pixel, where known.
    pub mpp: Option<f64>,
}

impl SlideFrame {
    /// The frame of a slide file, if features with these boxes were cut from it.
    ///
    /// - `info`: what the features state of their slide. What they do not state is not compared; where the slide states
    ///   no resolution, theirs holds.
    /// - `given_mpp`: micrometres per level-0 pixel that the user knows better than the file.
    ///
    /// # Errors
    /// [`Error::SlideSize`], [`Error::SlideMpp`] if they differ by more than 1 %, [`Error::OutsideSlide`] for a patch
    /// that has no pixel of the slide, [`Error::Setting`] for an impossible resolution.
    pub fn of_slide<'a>(
        path: &Path,
        slide: &dyn SlideReader,
        given_mpp: Option<f64>,
        info: &SlideInfo,
        boxes: impl IntoIterator<Item = &'a PatchBoxes>,
    ) -> Result<Self> {
        let size = slide.levels().first().map_or([0; 2], |level| [level.width, level.height]);
        let found = size.map(u64::from);
        let wanted = [info.width.unwrap_or(found[0]), info.height.unwrap_or(found[1])];
        if found != wanted {
            return Err(Error::SlideSize { path: path.to_owned(), found, wanted });
        }
        let given = check_mpp(given_mpp)?;
        // A slide that states nothing, or only a power, is measured by what the features know.
        let stated = resolve(slide.stated_resolution(), ResolutionOverride::default(), Preference::Mpp);
        let found = given.or_else(|| stated.ok().and_then(|resolution| resolution.mpp));
        if let (Some(found), Some(wanted)) = (found, info.mpp)
            && (found - wanted).abs() > MPP_TOLERANCE * wanted
        {
            return Err(Error::SlideMpp { path: path.to_owned(), found, wanted });
        }
        boxes.into_iter().try_for_each(|boxes| boxes.check_within(size))?;
        Ok(Self { size, mpp: found.or(info.mpp) })
    }

    /// The frame of an empty canvas: the slide's size as far as the features state it, else the extent of the patches.
    ///
    /// # Errors
    /// [`Error::OutsideSlide`]; [`Error::Setting`] for coordinates that no slide has, or an impossible resolution.
    pub fn of_features<'a>(
        given_mpp: Option<f64>,
        info: &SlideInfo,
        boxes: impl IntoIterator<Item = &'a PatchBoxes> + Clone,
    ) -> Result<Self> {
        let mut extent = [1u64; 2];
        for boxes in boxes.clone() {
            for (held, found) in extent.iter_mut().zip(boxes.extent()) {
                *held = (*held).max(found);
            }
        }
        let wanted = [info.width.unwrap_or(extent[0]), info.height.unwrap_or(extent[1])];
        let mut size = [0; 2];
        for (size, wanted) in size.iter_mut().zip(wanted) {
            *size = u32::try_from(wanted).map_err(|_| Error::Setting {
                what: "the extent of the patches in level-0 pixels",
                found: wanted.to_string(),
                wanted: "less than 2^32",
            })?;
        }
        boxes.into_iter().try_for_each(|boxes| boxes.check_within(size))?;
        Ok(Self { size, mpp: check_mpp(given_mpp)?.or(info.mpp) })
    }

    /// Width and height of a picture of the whole whose longer side has `longest` pixels, none less than 1; never more
    /// than level 0 has.
    #[must_use]
    pub fn picture_size(&self, longest: u32) -> [u32; 2] {
        let most = f64::from(self.size[0].max(self.size[1]).max(1));
        let share = (f64::from(longest) / most).min(1.0);
        self.size.map(|length| ((f64::from(length) * share).round() as u32).max(1))
    }
}

fn check_mpp(given: Option<f64>) -> Result<Option<f64>> {
    match given {
        Some(mpp) if !(mpp.is_finite() && mpp > 0.0) => Err(Error::Setting {
            what: "the resolution in micrometres per pixel",
            found: mpp.to_string(),
            wanted: "a positive number",
        }),
        given => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsi_bags::Magnification;

    #[test]
    fn a_canvas_has_the_stated_size_or_holds_every_patch() {
        let boxes =
            PatchBoxes { magnification: Magnification::X5, side: 100, corners: vec![[0, 0], [300, 50]] };
        let stated = SlideInfo { width: Some(1000), height: Some(800), mpp: Some(0.25) };
        let frame = SlideFrame::of_features(None, &stated, [&boxes]).unwrap();
        assert_eq!(frame, SlideFrame { size: [1000, 800], mpp: Some(0.25) });
        let frame = SlideFrame::of_features(Some(0.5), &SlideInfo::default(), [&boxes]).unwrap();
        assert_eq!(frame, SlideFrame { size: [400, 150], mpp: Some(0.5) });
        let narrow = SlideInfo { width: Some(300), ..SlideInfo::default() };
        assert!(matches!(
            SlideFrame::of_features(None, &narrow, [&boxes]),
            Err(Error::OutsideSlide { patch_idx: 1, .. })
        ));
        assert!(SlideFrame::of_features(Some(f64::NAN), &stated, [&boxes]).is_err());
    }

    #[test]
    fn pictures_keep_the_proportions_and_do_not_blow_up() {
        let frame = SlideFrame { size: [100_000, 33_333], mpp: None };
        assert_eq!(frame.picture_size(1600), [1600, 533]);
        assert_eq!(SlideFrame { size: [10, 1], mpp: None }.picture_size(1600), [10, 1]);
        assert_eq!(SlideFrame { size: [100_000, 3], mpp: None }.picture_size(1600), [1600, 1]);
    }
}
