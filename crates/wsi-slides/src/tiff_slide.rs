//! The built-in reader: SVS and other tiled TIFF or BigTIFF files, and plain TIFF images as slides of one level.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;
use tiff::decoder::{Decoder, DecodingResult};

use crate::error::{Error, ErrorKind, Result};
use crate::reader::{Level, SlideReader, check_region};
use crate::resolution::StatedResolution;
use crate::tiff_form::TiffForm;
use crate::tiff_from_directory::FromDirectory;
use crate::tiff_page::{Compression, Page, read_pages};
use crate::tile::{Tile, TileCache};
use crate::{region, tile_codec};

/// Decoded tiles that are kept: those of two dozen 5x cells of a 40x slide's second level, or of ten at level 0.
const CACHE_BYTES: usize = 128 << 20;
/// A strip of a plain TIFF image is decoded whole, and must fit the cache.
const LARGEST_CHUNK: u64 = (CACHE_BYTES / 3) as u64;
/// How far the axes of a level may disagree about its downsample, as a share.
const ASPECT_TOLERANCE: f64 = 0.1;

/// An SVS or TIFF file.
pub struct TiffSlide {
    path: PathBuf,
    file: File,
    form: TiffForm,
    pages: Vec<LevelPage>,
    levels: Vec<Level>,
    properties: BTreeMap<String, String>,
    stated: StatedResolution,
    cache: TileCache,
}

/// The page of one level, with decoders for compressions that need one each.
struct LevelPage {
    page: Page,
    idle_decoders: Mutex<Vec<Decoder<FromDirectory>>>,
}

impl TiffSlide {
    /// Opens a file and checks that every tile lies within it. No pixel is decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Structure`] for directories that contradict themselves;
    /// [`ErrorKind::Truncated`]; [`ErrorKind::Unsupported`] for other scanners' forms, for samples that are not 8-bit
    /// grey, RGB or YCbCr, and for other compressions.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_unnamed(path).map_err(|error| error.in_file(path))
    }

    fn open_unnamed(path: &Path) -> Result<Self> {
        let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let pages = read_pages(&file, length)?;
        let form = TiffForm::of(&pages)?;
        let (properties, stated) = form.properties(&pages);
        let pages = level_pages(pages)?;
        for (level, page) in pages.iter().enumerate() {
            check_samples(page)?;
            check_extent(page, level, length)?;
        }
        let first = pages.first().map_or([1, 1], |page| [page.width, page.height]);
        let levels = pages.iter().map(|page| level(page, first)).collect();
        let pages =
            pages.into_iter().map(|page| LevelPage { page, idle_decoders: Mutex::default() }).collect();
        let cache = TileCache::new(CACHE_BYTES);
        Ok(Self { path: path.to_owned(), file, form, pages, levels, properties, stated, cache })
    }

    fn tile(&self, level: usize, column: u32, row: u32) -> Result<Option<Arc<Tile>>> {
        let Some(held) = self.pages.get(level) else { return Ok(None) };
        let number = u64::from(row) * held.page.chunks_across() + u64::from(column);
        if let Some(tile) = self.cache.get((level, number)) {
            return Ok(Some(tile));
        }
        let idx = usize::try_from(number).ok();
        let entry =
            idx.and_then(|idx| Some((*held.page.offsets.get(idx)?, *held.page.byte_counts.get(idx)?)));
        let Some((offset, n_bytes)) = entry.filter(|(_, n_bytes)| *n_bytes > 0) else { return Ok(None) };
        let [x, y] = [u64::from(column), u64::from(row)];
        let at_place = |fault: String| {
            let [width, height] = held.page.chunk_size.map(u64::from);
            Error::from(ErrorKind::Tile { level, x: x * width, y: y * height, fault }).in_file(&self.path)
        };
        let unreadable = |fault| match fault {
            Fault::Unread(source) => {
                Error::from(ErrorKind::Io { action: "read a tile", source }).in_file(&self.path)
            }
            Fault::Broken(fault) => at_place(fault),
        };
        let tile = match held.page.compression {
            Compression::Lossless => self.lossless(held, number, n_bytes).map_err(unreadable)?,
            compression => {
                let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(0)];
                read_at(&self.file, &mut bytes, offset).map_err(|error| unreadable(error.into()))?;
                let (tables, largest) = (held.page.jpeg_tables.as_deref(), held.page.chunk_size);
                let decoded = match compression {
                    Compression::Jpeg2000Rgb => tile_codec::decode_jpeg2000_rgb(&bytes, largest),
                    Compression::Jpeg2000YCbCr => tile_codec::decode_jpeg2000_ycbcr(&bytes, largest),
                    _ => tile_codec::decode_jpeg(&bytes, tables, held.page.photometric, largest),
                };
                decoded.map_err(at_place)?
            }
        };
        let [width, height] = needed_size(&held.page, column, row);
        if tile.width < width || tile.height < height {
            let fault = format!("{} by {} pixels, expected {width} by {height}", tile.width, tile.height);
            return Err(at_place(fault));
        }
        let tile = Arc::new(tile);
        self.cache.put((level, number), Arc::clone(&tile));
        Ok(Some(tile))
    }

    /// A tile or strip through a decoder of the `tiff` crate, which one thread uses at a time.
    fn lossless(&self, held: &LevelPage, number: u64, n_bytes: u64) -> Result<Tile, Fault> {
        let idle = || held.idle_decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut decoder = match taken {
            Some(decoder) => decoder,
            None => {
                let file = File::open(&self.path).map_err(Fault::Unread)?;
                Decoder::new(FromDirectory::new(file, held.page.directory)?)?
            }
        };
        let number = u32::try_from(number).map_err(|error| Fault::Broken(error.to_string()))?;
        let (width, height) = decoder.chunk_data_dimensions(number);
        tile_codec::check_compression(n_bytes, width, height).map_err(Fault::Broken)?;
        let DecodingResult::U8(samples) = decoder.read_chunk(number)? else {
            return Err(Fault::Broken("samples that are not 8-bit".to_owned()));
        };
        idle().push(decoder);
        tile_codec::tile(width, height, held.page.samples.into(), samples).map_err(Fault::Broken)
    }
}

/// Why there is no tile: the system did not give its bytes, which says nothing of them, or they do not decode.
enum Fault {
    Unread(std::io::Error),
    Broken(String),
}

impl From<std::io::Error> for Fault {
    /// Decoders, too, say what they find as errors of this type; those of the system have its number.
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(_) => Self::Unread(error),
            None => Self::Broken(error.to_string()),
        }
    }
}

impl From<tiff::TiffError> for Fault {
    fn from(error: tiff::TiffError) -> Self {
        match error {
            tiff::TiffError::IoError(error) => error.into(),
            error => Self::Broken(error.to_string()),
        }
    }
}

impl SlideReader for TiffSlide {
    fn format(&self) -> &str {
        self.form.label()
    }

    fn levels(&self) -> &[Level] {
        &self.levels
    }

    fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    fn stated_resolution(&self) -> StatedResolution {
        self.stated
    }

    fn read_region(&self, level: usize, corner: [i64; 2], size: [u32; 2]) -> Result<RgbImage> {
        let found = check_region(&self.levels, level, size).map_err(|error| error.in_file(&self.path))?;
        let tile_size = self.pages.get(level).map_or([1, 1], |held| held.page.chunk_size);
        region::read(found, tile_size, corner, size, |column, row| self.tile(level, column, row))
    }
}

/// The pages that are levels, from the largest to the smallest: the tiled ones of one shape, or a plain image alone.
fn level_pages(pages: Vec<Page>) -> Result<Vec<Page>> {
    let has_tiles = pages.iter().any(|page| page.is_tiled);
    let mut found: Vec<Page> = if has_tiles {
        pages.into_iter().filter(|page| page.is_tiled).collect()
    } else {
        pages.into_iter().take(1).collect()
    };
    found.sort_by_key(|page| std::cmp::Reverse(u64::from(page.width) * u64::from(page.height)));
    let Some(first) = found.first().map(|page| [page.width, page.height]) else {
        let (place, fault) = ("the file".to_owned(), "it has no directory".to_owned());
        return Err(ErrorKind::Structure { place, fault, source: None }.into());
    };
    // Labels and macro images have another shape; focal planes repeat a size.
    found.retain(|page| {
        let [x, y] = level(page, first).scale(&Level { width: first[0], height: first[1], downsample: 1.0 });
        (x - y).abs() <= ASPECT_TOLERANCE * x.max(y)
    });
    found.dedup_by_key(|page| [page.width, page.height]);
    Ok(found)
}

fn level(page: &Page, [width0, height0]: [u32; 2]) -> Level {
    let x = f64::from(width0) / f64::from(page.width);
    let y = f64::from(height0) / f64::from(page.height);
    Level { width: page.width, height: page.height, downsample: (x + y) / 2.0 }
}

fn check_samples(page: &Page) -> Result<()> {
    let unsupported = |found: String, wanted| Err(ErrorKind::Unsupported { found, wanted }.into());
    let colours = "8-bit grey, RGB and YCbCr";
    if let Compression::Other(number) = page.compression {
        let wanted = "JPEG, JPEG 2000, LZW, Deflate, PackBits and uncompressed tiles";
        return unsupported(format!("TIFF compression {number}"), wanted);
    }
    match page.photometric {
        0 | 1 | 2 | 6 => {}
        3 => return unsupported("palette colours".to_owned(), colours),
        5 => return unsupported("CMYK samples".to_owned(), colours),
        other => return unsupported(format!("photometric interpretation {other}"), colours),
    }
    if let Some(bits) = page.bits.iter().find(|bits| **bits != 8) {
        return unsupported(format!("{bits}-bit samples"), colours);
    }
    if !matches!(page.samples, 1 | 3 | 4) {
        return unsupported(format!("{} samples per pixel", page.samples), colours);
    }
    if page.is_planar {
        return unsupported("colours in separate planes".to_owned(), "interleaved samples");
    }
    let found = u64::from(page.chunk_size[0]) * u64::from(page.chunk_size[1]);
    if found > LARGEST_CHUNK {
        return Err(
            ErrorKind::Limit { what: "a tile or strip in pixels", found, limit: LARGEST_CHUNK }.into()
        );
    }
    Ok(())
}

/// Refuses tiles that end beyond the file: a download that broke off is found before an hour of work.
fn check_extent(page: &Page, level: usize, length: u64) -> Result<()> {
    for (number, (offset, n_bytes)) in (0u64..).zip(page.offsets.iter().zip(&page.byte_counts)) {
        let end = offset.saturating_add(*n_bytes);
        if *n_bytes > 0 && end > length {
            let [width, height] = page.chunk_size.map(u64::from);
            let (x, y) = (number % page.chunks_across() * width, number / page.chunks_across() * height);
            return Err(ErrorKind::Truncated { level, x, y, end, length }.into());
        }
    }
    Ok(())
}

/// The part of a tile that lies inside its level.
fn needed_size(page: &Page, column: u32, row: u32) -> [u32; 2] {
    let [width, height] = page.chunk_size;
    [
        width.min(page.width.saturating_sub(column.saturating_mul(width))),
        height.min(page.height.saturating_sub(row.saturating_mul(height))),
    ]
}

/// Reads at a position without moving a cursor that threads would share.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Reads at a position without moving a cursor that threads would share.
#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_no_fault_of_a_tile() {
        // A stale handle of a network file system, a disk that cannot be read.
        for number in [116, 5] {
            assert!(matches!(std::io::Error::from_raw_os_error(number).into(), Fault::Unread(_)));
        }
        let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert!(matches!(short().into(), Fault::Broken(_)));
        assert!(matches!(tiff::TiffError::IoError(short()).into(), Fault::Broken(_)));
    }
}
