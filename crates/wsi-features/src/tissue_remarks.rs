//! What a person is told of the tissue of a slide: ink that may be none, and why there is nothing to cut.

use wsi_slides::lattice::Patches;
use wsi_slides::tissue::{Ink, Preset, Tissue, TissueParams};

/// Specks in the colours of ink take less of a slide without any: under 3 % of those that the tests of segmentation look at.
const NOTEWORTHY_INK: f64 = 0.05;

/// A warning where more than 5 % of what would be tissue was taken for ink.
#[must_use]
pub fn ink_warning(ink: Ink) -> Option<String> {
    (ink.tissue_share > NOTEWORTHY_INK).then(|| {
        format!(
            "{:.0} % of what would be tissue was taken for ink of pens and left out; --pen-marks keep leaves it in, should it be stain or blood",
            100.0 * ink.tissue_share
        )
    })
}

/// Why a slide has no contours, and the way out.
#[must_use]
pub fn no_tissue(found: &Tissue, params: &TissueParams) -> String {
    let ink = ink_warning(found.ink);
    let has_any = found.mask.iter().any(|value| *value != 0);
    let mut reasons = Vec::new();
    if has_any {
        reasons.push("no piece is large enough for the preset".to_owned());
    } else if ink.is_none() {
        reasons.push("nothing is coloured as tissue is".to_owned());
    }
    if has_any && params.min_area > Preset::BwhBiopsy.params().min_area {
        reasons.push(
            "--preset bwh_biopsy takes pieces above 512 x 512 level-0 pixels (cut all slides of a cohort alike)"
                .to_owned(),
        );
    }
    reasons.extend(ink);
    reasons.join("; ")
}

/// Why no patch lies on the tissue that was found, and the way out: the pieces are small beside the patches.
#[must_use]
pub fn no_patches(found: &Tissue, patches: &Patches) -> String {
    let pieces = match found.contours.len() {
        1 => "the one piece of tissue that was found".to_owned(),
        n => format!("any of the {n} pieces of tissue that were found"),
    };
    let fault = format!("no patch of {} level-0 pixels lies on {pieces}, smaller ones may", patches.side);
    std::iter::once(fault).chain(ink_warning(found.ink)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;

    fn found(value: u8, tissue_share: f64) -> Tissue {
        let mask = GrayImage::from_pixel(8, 8, Luma([value]));
        Tissue { level: 0, mask, contours: Vec::new(), ink: Ink { n_pixels: 9, tissue_share } }
    }

    #[test]
    fn ink_is_told_above_a_twentieth_of_the_tissue() {
        let warning = |tissue_share| ink_warning(Ink { n_pixels: 9, tissue_share });
        assert_eq!((warning(0.0), warning(0.05)), (None, None));
        assert!(warning(0.0501).is_some_and(|told| told.starts_with("5 % of what would be tissue")));
    }

    #[test]
    fn what_left_no_tissue_is_named_with_what_helps() {
        let told = |value, share, preset: Preset| no_tissue(&found(value, share), &preset.params());
        let small = "no piece is large enough for the preset";
        let preset = "; --preset bwh_biopsy takes pieces above 512 x 512 level-0 pixels (cut all slides of a cohort alike)";
        assert_eq!(told(0, 0.0, Preset::Tcga), "nothing is coloured as tissue is");
        assert_eq!(told(255, 0.0, Preset::BwhBiopsy), small);
        assert_eq!(told(255, 0.0, Preset::Tcga), format!("{small}{preset}"));
        let both = told(255, 0.4, Preset::Tcga);
        assert!(both.starts_with(&format!("{small}{preset}; 40 % of")) && both.contains("--pen-marks keep"));
        assert!(told(0, 1.0, Preset::Tcga).starts_with("100 % of what would be tissue"));
    }
}
