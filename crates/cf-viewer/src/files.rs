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
    replace(path, |out| {
        let encoder = PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Adaptive);
        encoder
            .write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
            .map_err(|source| Error::Picture { what: "the PNG file", source })
    })
}
