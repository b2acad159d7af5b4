//! The built-in reader: SVS and other tiled TIFF or BigTIFF files, and plain TIFF images as slides of one level.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use crate::error::{Error, ErrorKind, Result};
use crate::reader::{Level, SlideReader, check_region};
use crate::resolution::StatedResolution;
use crate::tiff_form::TiffForm;
use crate::tiff_page::{Compression, Directories, Page, read_pages};
use crate::tile::{Tile, TileCache};
use crate::{region, tiff_lossless, tiff_samples, tile_codec};

/// Decoded tiles that are kept: those of two dozen 5x cells of a 40x slide's second level, or of ten at level 0.
const CACHE_BYTES: usize = 128 << 20;
/// A strip of a plain TIFF image is decoded whole, and must fit the cache.
const LARGEST_CHUNK: u64 = (CACHE_BYTES / 3) as u64;
/// How far the axes of a level may disagree about its downsample, as a share.
const ASPECT_TOLERANCE: f64 = 0.1;

/// Property of a TIFF file that has directories below its first which cannot be read: how many, and why. Levels may be missing.
pub const UNREAD_DIRECTORIES: &str = "tiff.UnreadDirectories";

/// An SVS or TIFF file.
pub struct TiffSlide {
    path: PathBuf,
    file: File,
    form: TiffForm,
    pages: Vec<Page>,
    levels: Vec<Level>,
    properties: BTreeMap<String, String>,
    stated: StatedResolution,
    cache: TileCache,
}

impl TiffSlide {
    /// Opens a file and checks that every tile lies within it. No pixel is decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Structure`] for directories that contradict themselves;
    /// [`ErrorKind::Truncated`]; [`ErrorKind::Unsupported`] for other scanners' forms, for samples that are not 8-bit
    /// grey, RGB or YCbCr, and for other compressions. A directory below the first that cannot be read is no error: it is left out
    /// and told by the property [`UNREAD_DIRECTORIES`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_unnamed(path).map_err(|error| error.in_file(path))
    }

    fn open_unnamed(path: &Path) -> Result<Self> {
        let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let Directories { pages, unread } = read_pages(&file, length)?;
        let form = TiffForm::of(&pages)?;
        let (mut properties, stated) = form.properties(&pages);
        properties.extend(told(&unread).map(|text| (UNREAD_DIRECTORIES.to_owned(), text)));
        let pages = level_pages(pages)?;
        for (level, page) in pages.iter().enumerate() {
            tiff_samples::check(page)?;
            check_chunk(page)?;
            check_extent(page, level, length)?;
        }
        let first = pages.first().map_or([1, 1], |page| [page.width, page.height]);
        let levels = pages.iter().map(|page| level(page, first)).collect();
        let cache = TileCache::new(CACHE_BYTES);
        Ok(Self { path: path.to_owned(), file, form, pages, levels, properties, stated, cache })
    }

    fn tile(&self, level: usize, column: u32, row: u32) -> Result<Option<Arc<Tile>>> {
        let Some(page) = self.pages.get(level) else { return Ok(None) };
        let number = u64::from(row) * page.chunks_across() + u64::from(column);
        if let Some(tile) = self.cache.get((level, number)) {
            return Ok(Some(tile));
        }
        let idx = usize::try_from(number).ok();
        let entry = idx.and_then(|idx| Some((*page.offsets.get(idx)?, *page.byte_counts.get(idx)?)));
        let Some((offset, n_bytes)) = entry.filter(|(_, n_bytes)| *n_bytes > 0) else { return Ok(None) };
        let needed = needed_size(page, column, row);
        let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(0)];
        let decoded = match read_at(&self.file, &mut bytes, offset) {
            Ok(()) => decode(page, &bytes, needed),
            Err(source) => Err(fault_of(source).map_err(|source| {
                Error::from(ErrorKind::Io { action: "read a tile", source }).in_file(&self.path)
            })?),
        };
        let tile = decoded.map_err(|fault| {
            let [width, height] = page.chunk_size.map(u64::from);
            let (x, y) = (u64::from(column) * width, u64::from(row) * height);
            Error::from(ErrorKind::Tile { level, x, y, fault }).in_file(&self.path)
        })?;
        let tile = Arc::new(tile);
        self.cache.put((level, number), Arc::clone(&tile));
        Ok(Some(tile))
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
        let tile_size = self.pages.get(level).map_or([1, 1], |page| page.chunk_size);
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

fn check_chunk(page: &Page) -> Result<()> {
    let found = u64::from(page.chunk_size[0]) * u64::from(page.chunk_size[1]);
    if found > LARGEST_CHUNK {
        return Err(
            ErrorKind::Limit { what: "a tile or strip in pixels", found, limit: LARGEST_CHUNK }.into()
        );
    }
    Ok(())
}

/// How many directories were left out, and why the first was.
fn told(unread: &[Error]) -> Option<String> {
    let first = unread.first()?;
    let cause = first.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
    Some(match unread.len() {
        1 => format!("{first}{cause}"),
        n => format!("{n}, the first being {first}{cause}"),
    })
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

/// What a failed read says of a tile: nothing where the system reports it, as it may read the next time.
fn fault_of(source: std::io::Error) -> Result<tile_codec::Fault, std::io::Error> {
    match source.raw_os_error() {
        Some(_) => Err(source),
        None => Ok(source.to_string()),
    }
}

/// The tile of these bytes, of which so many (width, height) pixels are needed.
fn decode(page: &Page, bytes: &[u8], [width, height]: [u32; 2]) -> Result<Tile, tile_codec::Fault> {
    let (tables, largest) = (page.jpeg_tables.as_deref(), page.chunk_size);
    let tile = match page.compression {
        Compression::Lossless(scheme) => tiff_lossless::decode(bytes, scheme, page, height),
        Compression::Jpeg2000Rgb => tile_codec::decode_jpeg2000_rgb(bytes, largest),
        Compression::Jpeg2000YCbCr => tile_codec::decode_jpeg2000_ycbcr(bytes, largest),
        Compression::Jpeg => tile_codec::decode_jpeg(bytes, tables, page.photometric, largest),
        Compression::Other(number) => Err(format!("TIFF compression {number}")),
    }?;
    if tile.width < width || tile.height < height {
        return Err(format!("{} by {} pixels, expected {width} by {height}", tile.width, tile.height));
    }
    Ok(tile)
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
            assert!(fault_of(std::io::Error::from_raw_os_error(number)).is_err());
        }
        assert!(fault_of(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)).is_ok());
    }
}
