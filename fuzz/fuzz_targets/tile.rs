//! Compressed tiles, in a TIFF file that is otherwise sound: JPEG, JPEG 2000, Deflate, LZW and PackBits.

#![no_main]

use fuzz::{bounded, scratch};
use libfuzzer_sys::fuzz_target;
use wsi_slides::open;

/// The side of the one tile.
const SIDE: u32 = 64;
const COMPRESSIONS: [u16; 8] = [7, 7, 7, 33_003, 33_005, 8, 5, 32_773];

fuzz_target!(|input: &[u8]| {
    let Some((form, tile)) = input.split_first() else { return };
    let compression = COMPRESSIONS[usize::from(form % 8)];
    let photometric = if form & 8 == 0 { 6 } else { 2 };
    let file = tiff(tile, compression, photometric);
    scratch(|folder| {
        let path = folder.write("slide.tif", &file);
        bounded(file.len(), || {
            if let Ok(slide) = open(&path) {
                let _ = slide.read_region(0, [0, 0], [SIDE, SIDE]);
            }
        });
    });
});

/// A little-endian TIFF file of one tile.
fn tiff(tile: &[u8], compression: u16, photometric: u16) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    // Numbers of 16 bits stand in the first half of their field.
    let entries: [(u16, u16, u32, u32); 11] = [
        (256, 4, 1, SIDE),
        (257, 4, 1, SIDE),
        (258, 3, 3, 8 + 2 + 11 * 12 + 4),
        (259, 3, 1, compression.into()),
        (262, 3, 1, photometric.into()),
        (277, 3, 1, 3),
        (284, 3, 1, 1),
        (322, 4, 1, SIDE),
        (323, 4, 1, SIDE),
        (324, 4, 1, 8 + 2 + 11 * 12 + 4 + 6),
        (325, 4, 1, tile.len() as u32),
    ];
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, n, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(n.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    for bits in [8u16; 3] {
        file.extend(bits.to_le_bytes());
    }
    file.extend(tile);
    file
}
