//! The built-in reader: SVS and other tiled TIFF or BigTIFF files, and plain TIFF images as slides of one level.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use crate::error::{Error, ErrorKind, Result};
use crate::reader::{Level, SlideReader, SlideWarning, check_region};
use crate::resolution::StatedResolution;
use crate::tiff_directories::Directories;
use crate::tiff_form::TiffForm;
use crate::tiff_levels::{self, LevelPages};
use crate::tiff_page::{Compression, Page};
use crate::tile::{Tile, TileCache};
use crate::{region, tiff_lossless, tiff_samples, tile_codec};

/// Decoded tiles that are kept: those of two dozen 5x cells of a 40x slide's second level, or of ten at level 0.
const CACHE_BYTES: usize = 128 << 20;
/// A strip of a plain TIFF image is decoded whole, and must fit the cache.
const LARGEST_CHUNK: u64 = (CACHE_BYTES / 3) as u64;

/// Property of a TIFF file that has directories beside those of its levels which cannot be read: how many, and why. Levels may be missing.
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
    warnings: Vec<SlideWarning>,
    cache: TileCache,
}

impl TiffSlide {
    /// Opens a file and checks that every tile lies within it. No pixel is decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Structure`] for directories that contradict themselves;
    /// [`ErrorKind::Truncated`]; [`ErrorKind::Unsupported`] for other scanners' forms, for samples that are not 8-bit
    /// grey, RGB or YCbCr, and for other compressions. A directory beside those of levels that cannot be read is no error: it is left out
    /// and told by the property [`UNREAD_DIRECTORIES`] and a warning.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_unnamed(path).map_err(|error| error.in_file(path))
    }

    fn open_unnamed(path: &Path) -> Result<Self> {
        let failed = |source| Error::from(ErrorKind::Io { action: "open the file", source });
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut directories = Directories::open(&file, length)?;
        let chain = directories.chain()?;
        let form = TiffForm::of(&chain)?;
        let place = tiff_levels::largest(&chain, form)?;
        let below = chain.get(place).map(|page| directories.below(page)).transpose()?.unwrap_or_default();
        let head = chain.first().and_then(|page| page.description.clone());
        let LevelPages { mut pages, left_out } = tiff_levels::levels(chain, place, below, form);
        let mut statement =
            pages.first().map(|page| form.statement(page, head.as_deref().unwrap_or(""))).unwrap_or_default();
        let mut warnings: Vec<_> = statement.faults.into_iter().map(SlideWarning::Resolution).collect();
        warnings.extend(left_out.map(SlideWarning::Pages));
        if let Some(told) = directories.told() {
            let text = format!("directories were left out, levels may be missing: {told}");
            warnings.push(SlideWarning::Pages(text));
            statement.properties.insert(UNREAD_DIRECTORIES.to_owned(), told);
        }
        for (level, page) in pages.iter_mut().enumerate() {
            tiff_samples::check(page)?;
            check_extent(page, level, length)?;
            page.split_plain_strip();
            check_chunk(page)?;
            if form == TiffForm::Aperio {
                warnings.extend(absent_tiles(page, level));
            }
        }
        let first = pages.first().map_or([1, 1], |page| [page.width, page.height]);
        let levels = pages.iter().map(|page| tiff_levels::level(page, first)).collect();
        let (properties, stated) = (statement.properties, statement.resolution);
        let cache = TileCache::new(CACHE_BYTES);
        Ok(Self { path: path.to_owned(), file, form, pages, levels, properties, stated, warnings, cache })
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

    fn warnings(&self) -> &[SlideWarning] {
        &self.warnings
    }

    fn read_region(&self, level: usize, corner: [i64; 2], size: [u32; 2]) -> Result<RgbImage> {
        let found = check_region(&self.levels, level, size).map_err(|error| error.in_file(&self.path))?;
        let tile_size = self.pages.get(level).map_or([1, 1], |page| page.chunk_size);
        region::read(found, tile_size, corner, size, |column, row| self.tile(level, column, row))
    }
}

fn check_chunk(page: &Page) -> Result<()> {
    let found = u64::from(page.chunk_size[0]) * u64::from(page.chunk_size[1]);
    if found > LARGEST_CHUNK {
        let what = if page.is_tiled { "a tile in pixels" } else { "a strip in pixels" };
        return Err(ErrorKind::Limit { what, found, limit: LARGEST_CHUNK }.into());
    }
    Ok(())
}

/// Tells of tiles without bytes below level 0. OpenSlide draws those of Aperio's files from the level before.
fn absent_tiles(page: &Page, level: usize) -> Option<SlideWarning> {
    let n_absent = page.byte_counts.iter().filter(|n_bytes| **n_bytes == 0).count();
    let n_tiles = page.byte_counts.len();
    let text = || format!("{n_absent} of {n_tiles} tiles of level {level} are not in the file, and black");
    (level > 0 && n_absent > 0).then(|| SlideWarning::Pages(text()))
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
