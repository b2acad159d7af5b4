//! From the bytes of a tile to its pixels.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::jpeg::{self, Colours};
use crate::tiff_samples::{RGB, WHITE_IS_ZERO};
use crate::tile::Tile;

/// Decoders of JPEG 2000 and of rare JPEG set aside several numbers per pixel, however short the stream: such tiles may have
/// this many pixels.
const LARGEST_COSTLY_TILE: u64 = 1 << 22;

/// A larger picture has a byte for every so many pixels: an empty one in baseline JPEG has that many, one of tissue far more.
const MOST_PIXELS_PER_BYTE: u64 = 64;

/// Why a tile does not decode, in words.
pub(crate) type Fault = String;

/// Decodes a JPEG stream of at most `largest` (width, height) pixels, completed by the tables that its page shares.
///
/// The page's photometric interpretation, not the stream, says whether three components are RGB or YCbCr: Aperio
/// writes RGB without the marker that would tell a JPEG reader. It also says whether grey counts from white, of which a
/// stream knows nothing; libtiff and OpenSlide go by it, too.
pub(crate) fn decode_jpeg(
    bytes: &[u8],
    tables: Option<&[u8]>,
    photometric: u16,
    largest: [u32; 2],
) -> Result<Tile, Fault> {
    let colours = if photometric == RGB { Colours::Rgb } else { Colours::YCbCr };
    let mut tile = match jpeg::decode(bytes, tables, colours, largest) {
        Ok(tile) => tile,
        Err(jpeg::Fault::Broken(fault)) => return Err(fault),
        Err(jpeg::Fault::OtherForm) => {
            decode_rare_jpeg(bytes, tables, colours, largest, LARGEST_COSTLY_TILE)?
        }
    };
    if photometric == WHITE_IS_ZERO {
        tile.invert();
    }
    Ok(tile)
}

/// Decodes a JPEG file of at most `most_pixels`, in whatever colours it says.
pub(crate) fn decode_jpeg_file(bytes: &[u8], most_pixels: u64) -> Result<Tile, Fault> {
    const ANY_SIDE: [u32; 2] = [u16::MAX as u32; 2];
    match jpeg::decode(bytes, None, Colours::Stated, ANY_SIDE) {
        Ok(tile) => Ok(tile),
        Err(jpeg::Fault::Broken(fault)) => Err(fault),
        // The other decoder takes the scans that are left for all there were.
        Err(jpeg::Fault::OtherForm) if !jpeg::has_end(bytes) => {
            Err("it ends before the marker of its end".to_owned())
        }
        Err(jpeg::Fault::OtherForm) => decode_rare_jpeg(bytes, None, Colours::Stated, ANY_SIDE, most_pixels),
    }
}

/// Progressive streams and others that slides rarely have.
fn decode_rare_jpeg(
    bytes: &[u8],
    tables: Option<&[u8]>,
    colours: Colours,
    largest: [u32; 2],
    most_pixels: u64,
) -> Result<Tile, Fault> {
    let joined;
    let stream = match tables {
        Some(tables) if bytes.starts_with(&[0xff, 0xd8]) => {
            let tables = tables.strip_suffix(&[0xff, 0xd9]).unwrap_or(tables);
            joined = [tables, &bytes[2..]].concat();
            joined.as_slice()
        }
        _ => bytes,
    };
    let [width, height] = largest.map(|side| side as usize);
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(width).set_max_height(height);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("the stream has no frame")?;
    check_costly(info.width.into(), info.height.into(), largest, most_pixels)?;
    let stored = decoder.input_colorspace().ok_or("the stream has no frame")?;
    let (out, n_channels) = match stored {
        ColorSpace::Luma => (ColorSpace::Luma, 1),
        // Asking for what is stored leaves the samples as they are.
        ColorSpace::YCbCr if colours == Colours::Rgb => (ColorSpace::YCbCr, 3),
        ColorSpace::YCbCr | ColorSpace::RGB => (ColorSpace::RGB, 3),
        ColorSpace::CMYK | ColorSpace::YCCK if colours == Colours::Stated => (ColorSpace::RGB, 3),
        other => return Err(format!("{other:?} samples, expected RGB, YCbCr or grey")),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let samples = decoder.decode().map_err(|error| error.to_string())?;
    tile(info.width.into(), info.height.into(), n_channels, samples)
}

/// Refuses a tile before memory is set aside for it.
fn check_costly(
    width: u32,
    height: u32,
    [most_across, most_down]: [u32; 2],
    most_pixels: u64,
) -> Result<(), Fault> {
    if width > most_across || height > most_down {
        return Err(format!("{width} by {height} pixels, expected {most_across} by {most_down} at most"));
    }
    if u64::from(width) * u64::from(height) > most_pixels {
        return Err(format!("{width} by {height} pixels, at most {most_pixels} pixels are taken"));
    }
    Ok(())
}

/// Refuses a large picture that so few bytes hold only if they were made to fill memory.
pub(crate) fn check_compression(n_bytes: u64, width: u32, height: u32) -> Result<(), Fault> {
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels > LARGEST_COSTLY_TILE.max(n_bytes.saturating_mul(MOST_PIXELS_PER_BYTE)) {
        return Err(format!(
            "{n_bytes} bytes for {width} by {height} pixels, more than {MOST_PIXELS_PER_BYTE} pixels a byte: so few are taken for \
             a file made to fill memory"
        ));
    }
    Ok(())
}

/// Decodes a JPEG 2000 codestream of at most `largest` (width, height) RGB pixels.
pub(crate) fn decode_jpeg2000_rgb(bytes: &[u8], largest: [u32; 2]) -> Result<Tile, Fault> {
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(bytes, &settings).map_err(|error| error.to_string())?;
    check_costly(image.width(), image.height(), largest, LARGEST_COSTLY_TILE)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|error| error.to_string())?;
    let n_channels = decoded.components().len();
    let samples = decoded.data_u8();
    tile(image.width(), image.height(), n_channels, samples)
}

/// Decodes a JPEG 2000 codestream of at most `largest` (width, height) YCbCr pixels.
pub(crate) fn decode_jpeg2000_ycbcr(bytes: &[u8], largest: [u32; 2]) -> Result<Tile, Fault> {
    let mut tile = decode_jpeg2000_rgb(bytes, largest)?;
    // Of such streams the decoder knows by itself that the samples are no RGB, and gives RGB: other programs than Aperio's write this number for
    // any codestream, and most of those transform RGB themselves.
    if !has_subsampled_chroma(bytes) && !transforms_colours(bytes) {
        ycbcr_to_rgb(&mut tile);
    }
    Ok(tile)
}

/// Whether the second and third component of a codestream have fewer samples than its first: by its first marker segment, which states its
/// size (ISO/IEC 15444-1, A.5.1).
fn has_subsampled_chroma(codestream: &[u8]) -> bool {
    const N_COMPONENTS_AT: usize = 40;
    const FIRST_COMPONENT_AT: usize = 42;
    let is_of_three = codestream.get(N_COMPONENTS_AT..FIRST_COMPONENT_AT) == Some(&[0, 3]);
    // Of each component the depth, and how far its samples lie apart across and down.
    let mut components = codestream.get(FIRST_COMPONENT_AT..).unwrap_or_default().chunks_exact(3);
    let mut distances = || components.next().map_or([0; 2], |component| [component[1], component[2]]);
    let [luma, blue, red] = [distances(), distances(), distances()];
    is_of_three && blue == red && blue != luma && blue[0] >= luma[0] && blue[1] >= luma[1]
}

/// Whether a codestream states the colour transform of its own standard, which its decoder takes back: by the marker segment of its coding
/// style (ISO/IEC 15444-1, A.6.1), which stands in the main header.
fn transforms_colours(codestream: &[u8]) -> bool {
    const START_OF_CODESTREAM: usize = 2;
    const CODING_STYLE: [u8; 2] = [0xff, 0x52];
    const START_OF_TILE: [u8; 2] = [0xff, 0x90];
    // After the marker: the length (2), what is used (1), order (1), number of layers (2).
    const TRANSFORM_AT: usize = 8;
    let mut at = START_OF_CODESTREAM;
    while let Some(&[a, b, high, low]) = codestream.get(at..at + 4) {
        match [a, b] {
            CODING_STYLE => return codestream.get(at + TRANSFORM_AT) == Some(&1),
            START_OF_TILE => return false,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}

/// Turns the full range of BT.601, which is that of JPEG, into RGB.
pub(crate) fn ycbcr_to_rgb(tile: &mut Tile) {
    for pixel in tile.rgb.chunks_exact_mut(3) {
        let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
        pixel.copy_from_slice(&rgb.map(|value| value.round().clamp(0.0, 255.0) as u8));
    }
}

/// Checks the number of samples and widens grey to RGB.
pub(crate) fn tile(width: u32, height: u32, n_channels: usize, samples: Vec<u8>) -> Result<Tile, Fault> {
    let n_pixels = width as usize * height as usize;
    if samples.len() != n_pixels * n_channels {
        return Err(format!("{} samples, expected {n_pixels} times {n_channels}", samples.len()));
    }
    let rgb = match n_channels {
        3 => samples,
        1 => samples.into_iter().flat_map(|grey| [grey; 3]).collect(),
        4 => samples.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        other => return Err(format!("{other} samples per pixel, expected 1, 3 or 4")),
    };
    Ok(Tile { width, height, rgb })
}
