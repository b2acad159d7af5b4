//! Baseline JPEG as libjpeg decodes it, sample for sample.
//!
//! Slides are segmented by thresholds a few grey levels above glass, and encoders were trained on libjpeg's pixels.
//! Decoders in Rust round the inverse transform and the colours elsewhere: on tiles with halved chroma they are up to
//! three levels off, enough to move contours. This follows the arithmetic of libjpeg's accurate integer transform, its
//! triangle filter for chroma and its colour tables. Progressive and other rare streams are left to another decoder.

mod entropy;
mod header;
mod inverse_dct;
mod upsample;

use crate::tile::Tile;
use entropy::BitReader;
use header::{Frame, Header};

/// Why a stream is not decoded here.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    /// A form that this decoder leaves to another.
    OtherForm,
    /// Damage.
    Broken(String),
}

fn broken(text: impl Into<String>) -> Fault {
    Fault::Broken(text.into())
}

/// How three components are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// As they are.
    Rgb,
    /// Luma and two chroma components.
    YCbCr,
    /// As the stream says, by the rules of libjpeg.
    Stated,
}

/// Decodes a stream of at most `largest` (width, height) pixels; `tables` are quantisation and Huffman tables that stand
/// elsewhere.
pub(crate) fn decode(
    stream: &[u8],
    tables: Option<&[u8]>,
    colours: Colours,
    largest: [u32; 2],
) -> Result<Tile, Fault> {
    let mut header = Header::default();
    if let Some(tables) = tables {
        header.read(tables)?;
    }
    let start = header.read(stream)?.ok_or_else(|| broken("it has no scan"))?;
    let frame = header.frame.as_ref().ok_or_else(|| broken("it has no frame"))?;
    if frame.width > largest[0] || frame.height > largest[1] {
        let [width, height] = largest;
        let found = format!("{} by {} pixels", frame.width, frame.height);
        return Err(broken(format!("it has {found}, expected {width} by {height} at most")));
    }
    let planes = decode_scan(&header, frame, &stream[start..])?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let colours = if colours == Colours::Stated { header.stated_colours(frame) } else { colours };
    let rgb = upsample::to_rgb(frame, &planes, colours);
    debug_assert_eq!(rgb.len(), width * height * 3);
    Ok(Tile { width: frame.width, height: frame.height, rgb })
}

/// Whether a stream has the marker of its end, outside of its segments, as one that was cut short does not.
pub(crate) fn has_end(stream: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&[first, second]) = stream.get(at..).and_then(<[u8]>::first_chunk) {
        at += match [first, second] {
            [0xff, 0xd9] => return true,
            // Restarts, the start, and codes of a scan that look like a marker.
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8] => 2,
            [0xff, 0xff] => 1,
            [0xff, _] => {
                let length = stream.get(at + 2..).and_then(<[u8]>::first_chunk);
                2 + length.map_or(0, |bytes| usize::from(u16::from_be_bytes(*bytes)))
            }
            _ => 1,
        };
    }
    false
}

/// A block has at least one code for its first coefficient and one for the end of the others.
const SHORTEST_BLOCK_BITS: usize = 2;

/// The samples of one component, padded to whole blocks.
struct Plane {
    samples: Vec<u8>,
    stride: usize,
}

fn decode_scan(header: &Header, frame: &Frame, data: &[u8]) -> Result<Vec<Plane>, Fault> {
    let [across, down] = frame.mcus();
    let blocks_per_mcu: usize = frame.components.iter().map(|component| component.h * component.v).sum();
    // Memory is set aside by what a header says: only where there are bits for that many blocks.
    if across * down * blocks_per_mcu > data.len() * (8 / SHORTEST_BLOCK_BITS) {
        return Err(broken("it ends before its last block"));
    }
    let mut planes: Vec<Plane> = frame
        .components
        .iter()
        .map(|component| {
            let stride = across * component.h * 8;
            Plane { samples: vec![0; stride * down * component.v * 8], stride }
        })
        .collect();
    let mut bits = BitReader::new(data);
    let mut predictions = [0i32; 4];
    let mut block = [0i32; 64];
    for mcu in 0..across * down {
        if header.restart_interval > 0 && mcu > 0 && mcu % header.restart_interval == 0 {
            bits.restart().map_err(broken)?;
            predictions = [0; 4];
        }
        let (mcu_x, mcu_y) = (mcu % across, mcu / across);
        for (number, component) in frame.components.iter().enumerate() {
            let missing =
                |what: &str| broken(format!("component {number} names a {what} table that is not there"));
            let dc = header.dc[component.dc].as_ref().ok_or_else(|| missing("Huffman"))?;
            let ac = header.ac[component.ac].as_ref().ok_or_else(|| missing("Huffman"))?;
            let quantiser =
                header.quantisers[component.quantiser].as_ref().ok_or_else(|| missing("quantisation"))?;
            let plane = &mut planes[number];
            for part in 0..component.h * component.v {
                let (x, y) =
                    (mcu_x * component.h + part % component.h, mcu_y * component.v + part / component.h);
                let last =
                    entropy::decode_block(&mut bits, dc, ac, quantiser, &mut predictions[number], &mut block)
                        .map_err(|fault| {
                            broken(format!("{fault} in block ({x}, {y}) of component {number}"))
                        })?;
                let at = y * 8 * plane.stride + x * 8;
                inverse_dct::inverse(&block, last, &mut plane.samples[at..], plane.stride);
            }
        }
    }
    Ok(planes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_end_is_that_of_the_stream_and_not_of_what_lies_in_or_behind_it() {
        // A segment with a whole thumbnail, and a scan with a code that looks like a marker, restarts and fill bytes.
        let head = b"\xff\xd8\xff\xe1\x00\x08\xff\xd8\xff\xd9ab\xff\xda\x00\x02".as_slice();
        let scan = b"\x12\xff\x00\xff\xd0\x34\xff".as_slice();
        let cut = [head, scan].concat();
        assert!(!has_end(head) && !has_end(&cut) && !has_end(&[]));
        for behind in [b"\xff\xd9".as_slice(), b"\xff\xd9 and \xff\xda more"] {
            assert!(has_end(&[cut.as_slice(), behind].concat()));
        }
    }

    #[test]
    fn every_sample_is_libjpegs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/libjpeg.json");
        let text = std::fs::read_to_string(path).unwrap();
        let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(cases.len(), 24);
        let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        for case in cases {
            let stream: Vec<u8> = case["stream"].as_str().unwrap().as_bytes().chunks(2).map(byte).collect();
            let tile = decode(&stream, None, Colours::YCbCr, [4096; 2]).unwrap();
            let found: String = Sha256::digest(&tile.rgb).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, case["rgb_sha256"].as_str().unwrap(), "{}", case["name"]);
            // Damage is found, wherever the samples end too soon.
            let cut = &stream[..stream.len() - 4];
            let decoded = decode(cut, None, Colours::YCbCr, [4096; 2]);
            assert!(matches!(decoded, Err(Fault::Broken(_))), "{}", case["name"]);
        }
    }

    #[test]
    fn what_is_no_baseline_stream_is_told_apart_from_damage() {
        let broken =
            |stream: &[u8]| matches!(decode(stream, None, Colours::Rgb, [64; 2]), Err(Fault::Broken(_)));
        assert!(broken(b"") && broken(b"\xff\xd8") && broken(b"\xff\xd8\xff\xc0\x00\x05"));
        let progressive = b"\xff\xd8\xff\xc2\x00\x02";
        assert_eq!(decode(progressive, None, Colours::Rgb, [64; 2]).unwrap_err(), Fault::OtherForm);
    }

    #[test]
    fn no_memory_is_set_aside_for_pixels_that_cannot_be_there() {
        // A frame of 8000 by 8000 pixels and a scan of four bytes.
        let frame = b"\xff\xd8\xff\xc0\x00\x0b\x08\x1f\x40\x1f\x40\x01\x01\x11\x00";
        let stream = [&frame[..], b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\0\0\0\0"].concat();
        let fault = |largest: [u32; 2]| match decode(&stream, None, Colours::Rgb, largest) {
            Err(Fault::Broken(text)) => text,
            _ => panic!("it decodes"),
        };
        assert_eq!(fault([256; 2]), "it has 8000 by 8000 pixels, expected 256 by 256 at most");
        assert_eq!(fault([8000; 2]), "it ends before its last block");
    }
}
