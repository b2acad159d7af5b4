//! The directories of a TIFF file: what a reader must know of each page.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::sync::Arc;

use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, Limits};
use tiff::tags::{IfdPointer, Tag};
use tiff::{Directory, TiffError};

use crate::error::{Error, ErrorKind, Result};
use crate::tiff_entries::{self, MOST_PAGES};

/// Offsets and lengths of every tile of the largest slides fit well within.
const LARGEST_VALUE: u64 = 256 << 20;
/// What the values of a directory of a small file may take, since some are held in more bytes than the file has.
const SMALLEST_LIMIT: u64 = 1 << 20;
/// Tag by which Hamamatsu's files are known.
const NDPI_FORMAT: Tag = Tag::Unknown(65420);
const XMP: Tag = Tag::Unknown(700);
const YCBCR_COEFFICIENTS: Tag = Tag::Unknown(529);
const REFERENCE_BLACK_WHITE: Tag = Tag::Unknown(532);

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
    sub_pages: Vec<IfdPointer>,
}

impl Page {
    /// Chunks in a row of the image, rounded up.
    pub(crate) fn chunks_across(&self) -> u64 {
        u64::from(self.width.div_ceil(self.chunk_size[0]))
    }

    /// What the values that are kept take in the file, at least.
    fn stored_bytes(&self) -> u64 {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = text(&self.description) + text(&self.software) + text(&self.xmp);
        let tables = self.jpeg_tables.as_ref().map_or(0, |tables| tables.len());
        let lists = 4 * self.offsets.len() + 2 * self.byte_counts.len() + 2 * self.bits.len();
        (texts + tables + lists) as u64
    }

    /// Rows of chunks, rounded up.
    pub(crate) fn chunks_down(&self) -> u64 {
        u64::from(self.height.div_ceil(self.chunk_size[1]))
    }
}

/// What the directories of a file say.
#[derive(Debug)]
pub(crate) struct Directories {
    /// The chain, then those below the first page.
    pub(crate) pages: Vec<Page>,
    /// Why others below the first page were left out.
    pub(crate) unread: Vec<Error>,
}

/// Reads every directory of a file of `length` bytes.
///
/// Those of the chain must be whole. One below the first page that is not is left out: viewers fill that tag with anything, and a
/// file is a slide without it.
pub(crate) fn read_pages(file: &File, length: u64) -> Result<Directories> {
    tiff_entries::check(file, length)?;
    let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
    let mut handle = file.try_clone().map_err(failed)?;
    handle.rewind().map_err(failed)?;
    let decoder = Decoder::new(BufReader::new(handle)).map_err(|source| structure("directory 0", source))?;
    let mut limits = Limits::default();
    let largest_value = length.clamp(SMALLEST_LIMIT, LARGEST_VALUE);
    limits.decoding_buffer_size = usize::try_from(largest_value).unwrap_or(usize::MAX);
    let mut decoder = decoder.with_limits(limits);
    let mut pages: Vec<Page> = Vec::new();
    let mut stored = 0;
    // Directories may point to the same values over and over; of an honest file, most bytes are pixels.
    let mut count = |page: &Page, place: &str| {
        stored += page.stored_bytes();
        if stored > length {
            return Err(fault_at(place, "its values are larger than the file".to_owned()));
        }
        Ok(())
    };
    let mut next = decoder.ifd_pointer();
    while let Some(pointer) = next {
        let place = format!("directory {}", pages.len());
        let directory = decoder.read_directory(pointer).map_err(|source| structure(&place, source))?;
        let page = read_page(&mut decoder, &directory, &place)?;
        count(&page, &place)?;
        pages.push(page);
        next = directory.next();
    }
    let below = pages.first().map(|page| page.sub_pages.clone()).unwrap_or_default();
    let mut unread = Vec::new();
    for (number, pointer) in below.into_iter().take(MOST_PAGES).enumerate() {
        let place = format!("directory {number} below directory 0");
        match read_below(&mut decoder, pointer, length, &place) {
            Ok(page) => {
                count(&page, &place)?;
                pages.push(page);
            }
            // What the system refuses may be there the next time.
            Err(error) if is_of_the_system(&error) => return Err(error),
            Err(error) => unread.push(error),
        }
    }
    Ok(Directories { pages, unread })
}

fn read_below(
    decoder: &mut Decoder<BufReader<File>>,
    pointer: IfdPointer,
    length: u64,
    place: &str,
) -> Result<Page> {
    if pointer.0 >= length {
        return Err(fault_at(place, format!("it lies at byte {}, but the file has {length}", pointer.0)));
    }
    let directory = decoder.read_directory(pointer).map_err(|source| structure(place, source))?;
    read_page(decoder, &directory, place)
}

/// Whether a fault is one that the system reports, which says nothing of the file.
fn is_of_the_system(error: &Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| StdError::source(*cause));
    causes.any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.raw_os_error().is_some())
    })
}

fn read_page(decoder: &mut Decoder<BufReader<File>>, directory: &Directory, place: &str) -> Result<Page> {
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
    let page = Page {
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
        description: tags.text(Tag::ImageDescription)?,
        software: tags.text(Tag::Software)?,
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

/// The tags of one directory, each with its form checked.
struct Tags<'a> {
    decoder: &'a mut Decoder<BufReader<File>>,
    directory: &'a Directory,
    place: &'a str,
}

impl Tags<'_> {
    fn value(&mut self, tag: Tag) -> Result<Option<Value>> {
        let read = self.decoder.read_directory_tags(self.directory).find_tag(tag);
        read.map_err(|source| structure(&format!("{}, {tag:?}", self.place), source))
    }

    fn converted<T>(
        &mut self,
        tag: Tag,
        convert: impl FnOnce(Value) -> Result<T, TiffError>,
    ) -> Result<Option<T>> {
        let place = format!("{}, {tag:?}", self.place);
        self.value(tag)?.map(|value| convert(value).map_err(|source| structure(&place, source))).transpose()
    }

    fn whole(&mut self, tag: Tag) -> Result<Option<u64>> {
        self.converted(tag, Value::into_u64)
    }

    fn short(&mut self, tag: Tag) -> Result<Option<u16>> {
        self.converted(tag, Value::into_u16)
    }

    fn list(&mut self, tag: Tag) -> Result<Vec<u64>> {
        Ok(self.converted(tag, Value::into_u64_vec)?.unwrap_or_default())
    }

    fn bytes(&mut self, tag: Tag) -> Result<Option<Vec<u8>>> {
        self.converted(tag, Value::into_u8_vec)
    }

    /// Numbers that only some pages must have right; a tag that holds others counts as absent.
    fn numbers(&mut self, tag: Tag) -> Vec<u64> {
        self.list(tag).unwrap_or_default()
    }

    /// Fractions; a tag that holds anything else counts as absent.
    fn ratios(&mut self, tag: Tag) -> Vec<f64> {
        let Some(Value::List(values)) = self.value(tag).ok().flatten() else { return Vec::new() };
        values.iter().filter_map(ratio).collect()
    }

    fn pointers(&mut self, tag: Tag) -> Result<Vec<IfdPointer>> {
        let Some(value) = self.value(tag)? else { return Ok(Vec::new()) };
        if let Ok(pointers) = value.clone().into_ifd_vec() {
            return Ok(pointers);
        }
        // Some write plain numbers, of any width.
        let numbers = value.into_u64_vec().unwrap_or_default();
        Ok(numbers.into_iter().map(IfdPointer).collect())
    }

    /// Text in whatever encoding; a tag that is no text counts as absent.
    fn text(&mut self, tag: Tag) -> Result<Option<String>> {
        let value = self.value(tag).ok().flatten();
        Ok(value.and_then(|value| value.into_string().ok()).map(|text| text.trim_matches('\0').to_owned()))
    }

    fn resolution(&mut self) -> Result<Option<([f64; 2], u16)>> {
        let x = self.value(Tag::XResolution)?.as_ref().and_then(ratio);
        let y = self.value(Tag::YResolution)?.as_ref().and_then(ratio);
        let unit = self.short(Tag::ResolutionUnit)?.unwrap_or(2);
        Ok(x.zip(y).map(|(x, y)| ([x, y], unit)))
    }

    fn positive(&self, name: &str, found: u64) -> Result<u32> {
        match u32::try_from(found) {
            Ok(found) if found > 0 => Ok(found),
            _ => Err(fault_at(self.place, format!("{name} is {found}, expected 1 to {}", u32::MAX))),
        }
    }
}

fn ratio(value: &Value) -> Option<f64> {
    match value {
        Value::Rational(above, below) if *below != 0 => Some(f64::from(*above) / f64::from(*below)),
        _ => None,
    }
}

fn fault_at(place: &str, fault: String) -> Error {
    ErrorKind::Structure { place: place.to_owned(), fault, source: None }.into()
}

fn structure(place: &str, source: TiffError) -> Error {
    let fault = "it cannot be read".to_owned();
    ErrorKind::Structure { place: place.to_owned(), fault, source: Some(Box::new(source)) }.into()
}
