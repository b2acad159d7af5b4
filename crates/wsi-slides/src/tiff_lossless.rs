//! Tiles and strips without losses, through the `tiff` crate.
//!
//! The crate reads tiles of files. It leaves out samples before it undoes a prediction that counts them, does not end an LZW tile of
//! which it needs a part, and refuses or forgets what some kinds of colour are. So it is given each tile as a file of its own: an image
//! of one strip whose samples mean nothing, all of which it then gives.

use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult};

use crate::tiff_page::Page;
use crate::tiff_samples::{WHITE_IS_ZERO, YCBCR};
use crate::tile::Tile;
use crate::tile_codec::{self, Fault};

/// `PhotometricInterpretation` of samples that are passed on as they are.
const BLACK_IS_ZERO: u16 = 1;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// Decodes `bytes`, stored with a lossless `scheme` as the page says, into the first `height` rows of a tile or strip.
pub(crate) fn decode(bytes: &[u8], scheme: u16, page: &Page, height: u32) -> Result<Tile, Fault> {
    let width = page.chunk_size[0];
    tile_codec::check_compression(bytes.len() as u64, width, height)?;
    let file = image_of_one_strip(bytes, scheme, page, height)?;
    let mut decoder = Decoder::new(Cursor::new(file)).map_err(|error| error.to_string())?;
    let DecodingResult::U8(samples) = decoder.read_chunk(0).map_err(|error| error.to_string())? else {
        return Err("samples that are not 8-bit".to_owned());
    };
    let mut tile = tile_codec::tile(width, height, page.samples.into(), samples)?;
    match page.photometric {
        WHITE_IS_ZERO => tile.invert(),
        YCBCR => tile_codec::ycbcr_to_rgb(&mut tile),
        _ => {}
    }
    Ok(tile)
}

/// A little-endian TIFF file of that strip.
fn image_of_one_strip(bytes: &[u8], scheme: u16, page: &Page, height: u32) -> Result<Vec<u8>, Fault> {
    const N_TAGS: u32 = 10;
    const DATA_AT: u32 = 8 + 2 + 12 * N_TAGS + 4;
    let n_bytes = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
    let tags: [(u16, u16, u32); N_TAGS as usize] = [
        (256, LONG, page.chunk_size[0]),
        (257, LONG, height),
        (258, SHORT, 8),
        (259, SHORT, scheme.into()),
        (262, SHORT, BLACK_IS_ZERO.into()),
        (273, LONG, DATA_AT),
        (277, SHORT, page.samples.into()),
        (278, LONG, height),
        (279, LONG, n_bytes),
        (317, SHORT, page.predictor.into()),
    ];
    let mut file = Vec::with_capacity(DATA_AT as usize + bytes.len());
    file.extend(b"II*\0\x08\0\0\0");
    file.extend((N_TAGS as u16).to_le_bytes());
    for (number, kind, value) in tags {
        file.extend(number.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file.extend(bytes);
    Ok(file)
}
