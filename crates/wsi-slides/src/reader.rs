//! What every slide reader offers, and which one opens a file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use image::RgbImage;

use crate::error::{Error, ErrorKind, Result};
use crate::image_slide::ImageSlide;
use crate::resolution::StatedResolution;
use crate::tiff_slide::TiffSlide;

/// One level of a pyramid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Width in pixels of this level.
    pub width: u32,
    /// Height in pixels of this level.
    pub height: u32,
    /// How many level-0 pixels one pixel spans: the mean of both axes, as OpenSlide has it.
    pub downsample: f64,
}

impl Level {
    /// Level-0 pixels per pixel of this level, along x and y. They differ where a side was not divisible.
    #[must_use]
    pub fn scale(&self, level0: &Self) -> [f64; 2] {
        [f64::from(level0.width) / f64::from(self.width), f64::from(level0.height) / f64::from(self.height)]
    }
}

/// Something about a file that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlideWarning {
    /// What the file states of its resolution, and cannot be understood: field, found and wanted.
    Resolution(String),
    /// Pages or tiles that were left out, and why.
    Pages(String),
}

impl fmt::Display for SlideWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolution(text) => write!(f, "{text}, and was left out of account"),
            Self::Pages(text) => f.write_str(text),
        }
    }
}

/// An open slide. Readers are shared between threads.
pub trait SlideReader: Send + Sync {
    /// The format, such as `aperio` or `generic-tiff`.
    fn format(&self) -> &str;

    /// The levels, from the largest to the smallest; never empty.
    fn levels(&self) -> &[Level];

    /// What the file states about itself, as text.
    fn properties(&self) -> &BTreeMap<String, String>;

    /// Objective power and micrometres per pixel as far as the file states them.
    fn stated_resolution(&self) -> StatedResolution;

    /// What a person should look at; nothing where the reader tells none.
    fn warnings(&self) -> &[SlideWarning] {
        &[]
    }

    /// Reads `size` (width, height) pixels of `level` whose top left corner lies at `corner`, in level-0 pixels.
    ///
    /// What lies outside the slide, or is left out by a sparse file, is black. A corner that falls between pixels of
    /// the level is interpolated, as OpenSlide does.
    ///
    /// # Errors
    /// [`ErrorKind::NoLevel`], [`ErrorKind::Limit`] for a region of more than 2^28 pixels, [`ErrorKind::Tile`] with the
    /// position of a tile that does not decode, [`ErrorKind::Io`].
    fn read_region(&self, level: usize, corner: [i64; 2], size: [u32; 2]) -> Result<RgbImage>;
}

/// The largest region that is read at once, in pixels.
pub const LARGEST_REGION: u64 = 1 << 28;

/// Opens a slide with the built-in reader, or with OpenSlide where that feature is on and the built-in one does not
/// read the form.
///
/// # Errors
/// [`ErrorKind::Io`]; [`ErrorKind::FileKind`] for something that is no slide; [`ErrorKind::Unsupported`] for a form
/// that is not read; [`ErrorKind::Truncated`] and [`ErrorKind::Structure`] for a damaged one; with the feature `openslide`,
/// OpenSlide's own reason for a form that only it reads.
pub fn open(path: &Path) -> Result<Box<dyn SlideReader>> {
    let opened = open_built_in(path);
    #[cfg(feature = "openslide")]
    let opened = opened.or_else(|error| through_openslide(path, error));
    opened
}

/// What OpenSlide makes of a file that the built-in reader does not read, and the reason of the one that knows the file better.
#[cfg(feature = "openslide")]
fn through_openslide(path: &Path, error: Error) -> Result<Box<dyn SlideReader>> {
    let (is_other_form, form) = match error.kind() {
        // These forms are known well enough to be left to OpenSlide, whose word on one is the last.
        ErrorKind::Unsupported { found, wanted } if wanted.contains("OpenSlide") => (true, found.clone()),
        ErrorKind::Unsupported { .. } | ErrorKind::FileKind { .. } => (false, String::new()),
        _ => return Err(error),
    };
    match crate::openslide::OpenSlideReader::open(path) {
        Ok(slide) => Ok(Box::new(slide)),
        Err(refused) if is_other_form => Err(match refused.kind() {
            ErrorKind::OpenSlide { fault } => {
                let fault = format!("{fault} (the file is taken for {form})");
                Error::from(ErrorKind::OpenSlide { fault }).in_file(path)
            }
            _ => refused,
        }),
        Err(_) => Err(error),
    }
}

fn open_built_in(path: &Path) -> Result<Box<dyn SlideReader>> {
    let head = first_bytes(path).map_err(|error| error.in_file(path))?;
    if let Some(form) = foreign(path).filter(|_| !head.is_empty()) {
        let wanted =
            "SVS, tiled TIFF, PNG and JPEG (OpenSlide, through the feature `openslide`, reads this one)";
        return Err(Error::from(ErrorKind::Unsupported { found: form.to_owned(), wanted }).in_file(path));
    }
    match Form::of(&head) {
        Form::Tiff => Ok(Box::new(TiffSlide::open(path)?)),
        Form::Image => Ok(Box::new(ImageSlide::open(path)?)),
        Form::Other(found) => Err(Error::from(ErrorKind::FileKind { found }).in_file(path)),
        Form::Dicom => {
            let kind = ErrorKind::Unsupported {
                found: "DICOM".to_owned(),
                wanted: "SVS, tiled TIFF, PNG and JPEG (OpenSlide 4, through the feature `openslide`, reads DICOM)",
            };
            Err(Error::from(kind).in_file(path))
        }
    }
}

/// Forms that are known by their extension: that of MIRAX is a preview beside the folder of its slide, large NDPI files have offsets of their
/// own, and others begin as files of any kind do.
fn foreign(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?;
    const FORMS: [(&str, &str); 6] = [
        ("mrxs", "MIRAX"),
        ("ndpi", "Hamamatsu NDPI"),
        ("vms", "Hamamatsu VMS"),
        ("vmu", "Hamamatsu VMU"),
        ("svslide", "Sakura SVSLIDE"),
        ("czi", "Zeiss CZI"),
    ];
    FORMS.into_iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)).map(|(_, form)| form)
}

fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
    let mut head = Vec::with_capacity(256);
    let file = wsi_bags::regular_file::open(path, "a slide file").map_err(failed)?;
    file.take(256).read_to_end(&mut head).map_err(failed)?;
    Ok(head)
}

/// What the first bytes say.
#[derive(Debug, PartialEq)]
enum Form {
    Tiff,
    Image,
    Dicom,
    Other(String),
}

impl Form {
    fn of(head: &[u8]) -> Self {
        let known: [(&[u8], &str); 6] = [
            (b"%PDF", "a PDF"),
            (b"PK\x03\x04", "a zip archive"),
            (b"\x89HDF", "an HDF5 file"),
            (b"\x1f\x8b", "a gzip archive"),
            (b"<", "a text file"),
            (b"{", "a text file"),
        ];
        match head {
            [] => Self::Other("an empty file".to_owned()),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Self::Tiff,
            [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => Self::Image,
            _ if head.get(128..132) == Some(b"DICM") => Self::Dicom,
            _ => {
                let found = known.iter().find(|(magic, _)| head.starts_with(magic));
                Self::Other(found.map_or("a file of unknown kind", |(_, name)| name).to_owned())
            }
        }
    }
}

/// Refuses a region that would not fit.
pub(crate) fn check_region(levels: &[Level], level: usize, size: [u32; 2]) -> Result<Level> {
    let found = u64::from(size[0]) * u64::from(size[1]);
    if found > LARGEST_REGION {
        return Err(ErrorKind::Limit { what: "a region in pixels", found, limit: LARGEST_REGION }.into());
    }
    let n_levels = levels.len();
    levels.get(level).copied().ok_or_else(|| ErrorKind::NoLevel { level, n_levels }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_first_bytes() {
        assert_eq!(Form::of(b"II*\0rest"), Form::Tiff);
        assert_eq!(Form::of(b"MM\0+rest"), Form::Tiff);
        assert_eq!(Form::of(b"%PDF-1.7"), Form::Other("a PDF".to_owned()));
        assert_eq!(Form::of(b""), Form::Other("an empty file".to_owned()));
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        assert_eq!(Form::of(&dicom), Form::Dicom);
    }
}
