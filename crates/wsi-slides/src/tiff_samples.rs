//! Which samples of a TIFF page are read, and what of them is colour.
//!
//! What a page states is checked before any pixel is read: a slide none of whose tiles can be shown is refused when it is opened, and
//! one whose tiles would be shown in wrong colours, too.

use crate::error::{ErrorKind, Result};
use crate::tiff_page::{Compression, Page};

/// `PhotometricInterpretation`: grey, 0 being white.
pub(crate) const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
/// `PhotometricInterpretation`: red, green and blue.
pub(crate) const RGB: u16 = 2;
/// `PhotometricInterpretation`: luma and two chroma samples.
pub(crate) const YCBCR: u16 = 6;

/// `SampleFormat`: whole numbers from 0.
const UNSIGNED: u64 = 1;
const COLOURS: &str = "8-bit grey, RGB and YCbCr";
/// `YCbCrCoefficients` of BT.601, which are those of JPEG and the ones that stand for none.
const BT601: [f64; 3] = [0.299, 0.587, 0.114];
/// `ReferenceBlackWhite` of samples that use all of a byte: that of JPEG, and the one that stands for none.
const FULL_RANGE: [f64; 6] = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];

/// # Errors
/// [`ErrorKind::Unsupported`] with what is not read.
pub(crate) fn check(page: &Page) -> Result<()> {
    if let Compression::Other(number) = page.compression {
        let wanted = "JPEG, JPEG 2000 (33003, 33005), LZW, Deflate, PackBits and uncompressed tiles";
        return unsupported(format!("TIFF compression {number}"), wanted);
    }
    let n_colours = match page.photometric {
        WHITE_IS_ZERO | BLACK_IS_ZERO => 1,
        RGB | YCBCR => 3,
        3 => return unsupported("palette colours".to_owned(), COLOURS),
        5 => return unsupported("CMYK samples".to_owned(), COLOURS),
        other => return unsupported(format!("photometric interpretation {other}"), COLOURS),
    };
    if let Some(bits) = page.bits.iter().find(|bits| **bits != 8) {
        return unsupported(format!("{bits}-bit samples"), COLOURS);
    }
    if !matches!(page.samples, 1 | 3 | 4) {
        return unsupported(format!("{} samples per pixel", page.samples), COLOURS);
    }
    if page.is_planar {
        return unsupported("colours in separate planes".to_owned(), "interleaved samples");
    }
    match page.compression {
        Compression::Lossless(_) => check_lossless(page, n_colours),
        Compression::Jpeg if page.samples == 4 => {
            unsupported("JPEG of 4 samples per pixel".to_owned(), "JPEG of grey, RGB and YCbCr")
        }
        _ => Ok(()),
    }
}

/// Decoders of JPEG and JPEG 2000 go by what the streams say; here only the tags do.
fn check_lossless(page: &Page, n_colours: u16) -> Result<()> {
    if page.is_bit_reversed {
        return unsupported("bytes whose bits stand in reverse order".to_owned(), COLOURS);
    }
    if page.sample_formats.iter().any(|format| *format != UNSIGNED) {
        return unsupported("samples that are not unsigned".to_owned(), COLOURS);
    }
    // Beside three colours there may be one more sample.
    if page.samples != n_colours && (page.samples, n_colours) != (4, 3) {
        let found = format!("{} samples per pixel, {n_colours} of them colours", page.samples);
        return unsupported(found, COLOURS);
    }
    let n_extra = page.extra_samples.len();
    if n_extra > 0 && usize::from(page.samples) != usize::from(n_colours) + n_extra {
        let found = format!("{} samples per pixel, {n_extra} of them beside its colours", page.samples);
        return unsupported(found, COLOURS);
    }
    if !matches!(page.predictor, 1 | 2) {
        return unsupported(format!("predictor {}", page.predictor), "samples as they are, and predictor 2");
    }
    if page.photometric == YCBCR {
        check_ycbcr(page)?;
    }
    Ok(())
}

fn check_ycbcr(page: &Page) -> Result<()> {
    let wanted = "such tiles with a chroma sample per pixel, in the colours and range of JPEG";
    if page.chroma_subsampling != [1, 1] {
        // Where the tag is absent, both sides are halved.
        let found = "lossless YCbCr tiles with fewer chroma samples than pixels".to_owned();
        return unsupported(found, wanted);
    }
    let differ = |found: &[f64], default: &[f64]| {
        !found.is_empty()
            && (found.len() != default.len()
                || found.iter().zip(default).any(|(found, default)| (found - default).abs() > 1e-3))
    };
    if differ(&page.ycbcr_coefficients, &BT601) || differ(&page.reference_black_white, &FULL_RANGE) {
        let found = "lossless YCbCr tiles of other colours or another range than JPEG's".to_owned();
        return unsupported(found, wanted);
    }
    Ok(())
}

fn unsupported(found: String, wanted: &'static str) -> Result<()> {
    Err(ErrorKind::Unsupported { found, wanted }.into())
}
