//! One directory of a TIFF file: what a reader must know of a page.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use tiff::Directory;
use tiff::decoder::Decoder;
use tiff::tags::{IfdPointer, Tag};

use crate::error::Result;
use crate::tiff_tags::{Tags, fault_at};

/// Tag by which Hamamatsu's files are known.
const NDPI_FORMAT: Tag = Tag::Unknown(65420);
const XMP: Tag = Tag::Unknown(700);
const YCBCR_COEFFICIENTS: Tag = Tag::Unknown(529);
const REFERENCE_BLACK_WHITE: Tag = Tag::Unknown(532);

/// Bytes of an uncompressed strip that are read at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// How the samples of a page are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Baseline JPEG, with or without shared tables.
    Jpeg,
    /// JPEG 2000 codestreams of RGB samples (Aperio 33005).
    Jpeg2000Rgb,
    /// JPEG 2000 codestreams of YCbCr samples (Aperio 33003).
    Jpeg2000YCbCr,
    /// None, LZW, Deflate or PackBits, by its number.
    Lossless(u16),
    /// Another, by its number.
    Other(u16),
}

/// One directory.
#[derive(Debug)]
pub(crate) struct Page {
    /// What errors call it, such as `directory 2`.
    pub(crate) place: String,
    /// It says that it is a smaller version of another page.
    pub(crate) is_reduced: bool,
    /// It says that it is a mask of another page.
    pub(crate) is_mask: bool,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_tiled: bool,
    /// Width and height of a tile, or of a strip.
    pub(crate) chunk_size: [u32; 2],
    pub(crate) offsets: Vec<u64>,
    pub(crate) byte_counts: Vec<u64>,
    pub(crate) compression: Compression,
    pub(crate) photometric: u16,
    pub(crate) samples: u16,
    pub(crate) bits: Vec<u64>,
    /// Kinds of samples by number, 1 being unsigned; empty where it is not stated.
    pub(crate) sample_formats: Vec<u64>,
    /// Kinds of the samples beside colour, by number; empty where none are stated.
    pub(crate) extra_samples: Vec<u64>,
    /// How samples are foretold by their neighbours: 1 for not at all, 2 by the pixel before.
    pub(crate) predictor: u16,
    /// The first pixel of a byte is its lowest bit.
    pub(crate) is_bit_reversed: bool,
    /// Pixels per chroma sample along x and y; empty where it is not stated.
    pub(crate) chroma_subsampling: Vec<u64>,
    /// Shares of red, green and blue in luma; empty where they are not stated.
    pub(crate) ycbcr_coefficients: Vec<f64>,
    /// The samples that stand for black and white, of each colour; empty where they are not stated.
    pub(crate) reference_black_white: Vec<f64>,
    pub(crate) is_planar: bool,
    pub(crate) jpeg_tables: Option<Arc<[u8]>>,
    pub(crate) description: Option<String>,
    pub(crate) software: Option<String>,
    /// Pixels per unit along x and y, and the unit: 2 inch, 3 centimetre.
    pub(crate) resolution: Option<([f64; 2], u16)>,
    pub(crate) is_ndpi: bool,
    pub(crate) xmp: Option<String>,
    pub(crate) sub_pages: Vec<IfdPointer>,
}

impl Page {
    /// Chunks in a row of the image, rounded up.
    pub(crate) fn chunks_across(&self) -> u64 {
        u64::from(self.width.div_ceil(self.chunk_size[0]))
    }

    /// What the values that are kept take in the file, at least.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = text(&self.description) + text(&self.software) + text(&self.xmp);
        let tables = self.jpeg_tables.as_ref().map_or(0, |tables| tables.len());
        let lists = 4 * self.offsets.len() + 2 * self.byte_counts.len() + 2 * self.bits.len();
        (texts + tables + lists) as u64
    }

    /// Takes a single uncompressed strip for many of a few rows each, so that no more is read of a large image than is wanted. The strip must
    /// lie within its file.
    pub(crate) fn split_plain_strip(&mut self) {
        let row_bytes = u64::from(self.width) * u64::from(self.samples);
        let rows = u32::try_from((PIECE_BYTES / row_bytes.max(1)).max(1)).unwrap_or(u32::MAX);
        let is_plain = self.compression == Compression::Lossless(1)
            && !self.is_tiled
            && !self.is_planar
            && self.bits.iter().all(|bits| *bits == 8);
        let ([offset], [n_bytes]) = (self.offsets.as_slice(), self.byte_counts.as_slice()) else { return };
        if !is_plain || rows >= self.height || *n_bytes < row_bytes.saturating_mul(self.height.into()) {
            return;
        }
        let tops = || (0..self.height).step_by(rows as usize);
        let offsets = tops().map(|top| offset + u64::from(top) * row_bytes).collect();
        let n_rows = |top| u64::from(rows.min(self.height - top));
        self.byte_counts = tops().map(|top| n_rows(top) * row_bytes).collect();
        self.offsets = offsets;
        self.chunk_size = [self.width, rows];
    }

    /// Rows of chunks, rounded up.
    pub(crate) fn chunks_down(&self) -> u64 {
        u64::from(self.height.div_ceil(self.chunk_size[1]))
    }
}

/// Reads a directory, which errors call by its `place`.
pub(crate) fn read_page(
    decoder: &mut Decoder<BufReader<File>>,
    directory: &Directory,
    place: &str,
) -> Result<Page> {
    let mut tags = Tags { decoder, directory, place };
    let [width, height] = [tags.whole(Tag::ImageWidth)?, tags.whole(Tag::ImageLength)?];
    let [width, height] = [
        tags.positive("ImageWidth", width.unwrap_or(0))?,
        tags.positive("ImageLength", height.unwrap_or(0))?,
    ];
    let is_tiled = directory.contains(Tag::TileWidth);
    let (chunk_size, offsets, byte_counts) = if is_tiled {
        let tile_width = tags.whole(Tag::TileWidth)?.unwrap_or(0);
        let tile_height = tags.whole(Tag::TileLength)?.unwrap_or(0);
        let size = [tags.positive("TileWidth", tile_width)?, tags.positive("TileLength", tile_height)?];
        (size, tags.list(Tag::TileOffsets)?, tags.list(Tag::TileByteCounts)?)
    } else {
        let rows = tags.whole(Tag::RowsPerStrip)?.unwrap_or(u64::MAX).min(u64::from(height));
        let size = [width, tags.positive("RowsPerStrip", rows)?];
        (size, tags.list(Tag::StripOffsets)?, tags.list(Tag::StripByteCounts)?)
    };
    let bits = tags.list(Tag::BitsPerSample)?;
    let kind = tags.numbers(Tag::NewSubfileType).first().copied().unwrap_or(0);
    let page = Page {
        place: place.to_owned(),
        is_reduced: kind & 1 != 0,
        is_mask: kind & 4 != 0,
        width,
        height,
        is_tiled,
        chunk_size,
        offsets,
        byte_counts,
        compression: compression(tags.short(Tag::Compression)?.unwrap_or(1)),
        photometric: tags.short(Tag::PhotometricInterpretation)?.unwrap_or(0),
        samples: tags.short(Tag::SamplesPerPixel)?.unwrap_or(1),
        bits: if bits.is_empty() { vec![1] } else { bits },
        sample_formats: tags.numbers(Tag::SampleFormat),
        extra_samples: tags.numbers(Tag::ExtraSamples),
        predictor: tags.short(Tag::Predictor)?.unwrap_or(1),
        is_bit_reversed: tags.numbers(Tag::FillOrder) == [2],
        chroma_subsampling: tags.numbers(Tag::ChromaSubsampling),
        ycbcr_coefficients: tags.ratios(YCBCR_COEFFICIENTS),
        reference_black_white: tags.ratios(REFERENCE_BLACK_WHITE),
        is_planar: tags.short(Tag::PlanarConfiguration)? == Some(2),
        jpeg_tables: tags.bytes(Tag::JPEGTables)?.map(Arc::from),
        description: tags.text(Tag::ImageDescription),
        software: tags.text(Tag::Software),
        resolution: tags.resolution()?,
        is_ndpi: directory.contains(NDPI_FORMAT),
        xmp: tags.bytes(XMP)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        sub_pages: tags.pointers(Tag::SubIfd)?,
    };
    let wanted =
        page.chunks_across() * page.chunks_down() * if page.is_planar { page.samples.into() } else { 1 };
    let found = (page.offsets.len() as u64, page.byte_counts.len() as u64);
    if found != (wanted, wanted) {
        let fault = format!("{} offsets and {} lengths for {wanted} tiles or strips", found.0, found.1);
        return Err(fault_at(place, fault));
    }
    Ok(page)
}

fn compression(number: u16) -> Compression {
    match number {
        7 => Compression::Jpeg,
        33003 => Compression::Jpeg2000YCbCr,
        33005 => Compression::Jpeg2000Rgb,
        1 | 5 | 8 | 32773 | 32946 => Compression::Lossless(number),
        other => Compression::Other(other),
    }
}
