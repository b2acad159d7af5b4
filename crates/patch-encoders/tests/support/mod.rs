//! Where the larger test data is, and how its pictures are read.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use patch_encoders::RgbImage;

/// The folder of values by other tools, or why there is none.
pub(crate) fn golden() -> Option<PathBuf> {
    match std::env::var_os("CF_TEST_DATA") {
        Some(data) => Some(Path::new(&data).join("wsi/golden")),
        None => {
            eprintln!("skipped: CF_TEST_DATA is not set");
            None
        }
    }
}

/// An 8-bit RGB picture.
pub(crate) fn read_png(path: &Path) -> RgbImage {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    pixels.truncate(info.buffer_size());
    RgbImage::new(info.width as usize, info.height as usize, pixels).unwrap()
}
