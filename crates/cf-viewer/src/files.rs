//! Files that appear whole or not at all, and pictures as PNG.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use crate::error::{Error, Result};

/// Lets `write` fill a file beside `path`, and renames it. A failure leaves nothing behind.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let failed = |action| move |source| Error::io(path, action, source);
    let unnamed = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let beside = wsi_bags::name_beside(path).map_err(unnamed).map_err(failed("create the file"))?;
    let written = File::create(&beside).map_err(failed("create the file")).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush().map_err(failed("write the file"))?;
        out.get_ref().sync_all().map_err(failed("flush the file to disk"))?;
        fs::rename(&beside, path).map_err(failed("rename the finished file"))
    });
    if written.is_err() {
        // It may not exist yet; the first error is the one worth telling.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Writes a picture as PNG.
pub(crate) fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    replace(path, |out| encode_png(path, picture, out))
}

fn encode_png(path: &Path, picture: &RgbImage, mut out: impl Write) -> Result<()> {
    // In memory: the encoder hides what the system says of a file, such as that the disk is full.
    let mut encoded = Vec::new();
    PngEncoder::new_with_quality(&mut encoded, CompressionType::Fast, FilterType::Adaptive)
        .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(|source| Error::Picture { what: "the PNG file", source })?;
    out.write_all(&encoded).map_err(|source| Error::io(path, "write the file", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux has a file that is always full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_names_the_file_and_shows_as_one() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        // Noise, which takes more room than any buffer.
        let picture = RgbImage::from_fn(400, 400, |x, y| {
            let noise = (x + 400 * y).wrapping_mul(2_654_435_761).to_be_bytes();
            image::Rgb([noise[0], noise[1], noise[2]])
        });
        let path = Path::new("maps/slide/figure.png");
        match encode_png(path, &picture, BufWriter::new(full)).unwrap_err() {
            Error::Io { path: named, action, source } => {
                assert_eq!((&*named, action), (path, "write the file"));
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            }
            other => panic!("{other:?}"),
        }
    }
}
