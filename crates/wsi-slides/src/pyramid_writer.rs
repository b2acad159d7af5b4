//! Writes a pyramid as a tiled TIFF file: rendered slides, and maps that lie on slides.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Types of TIFF values: their number and their size in bytes.
const ASCII: (u16, usize) = (2, 1);
const SHORT: (u16, usize) = (3, 2);
const LONG: (u16, usize) = (4, 4);
const RATIONAL: (u16, usize) = (5, 8);

/// What the bytes of a tile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileCompression {
    /// A JPEG stream of YCbCr samples without subsampling.
    Jpeg,
    /// A zlib stream of interleaved RGB samples, row by row.
    Deflate,
}

/// What the directory of a level says beside its size.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LevelTags {
    /// The image description. One that begins with `Aperio` makes readers take the file for a scanner's.
    pub description: String,
    /// Micrometres per pixel of this level, where known.
    pub mpp: Option<f64>,
}

/// Where a tile was written, so that equal ones need not be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TilePlace {
    offset: u32,
    byte_count: u32,
}

/// A tiled TIFF file being written, beside its name until it is finished: level after level from the largest, tile
/// after tile, row by row.
///
/// ```
/// use wsi_slides::{LevelTags, PyramidWriter, SlideReader, TileCompression, TiffSlide};
///
/// # let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("white.tiff");
/// // 256 x 256 samples of 255 as a zlib stream.
/// let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
/// std::io::Write::write_all(&mut encoder, &[255; 3 * 256 * 256]).unwrap();
/// let white = encoder.finish().unwrap();
///
/// let mut writer = PyramidWriter::create(&path, TileCompression::Deflate)?;
/// writer.begin_level(500, 200);
/// let place = writer.tile(&white)?;
/// writer.same_tile(place);
/// writer.finish(|_, _| LevelTags { mpp: Some(0.5), ..LevelTags::default() })?;
///
/// let slide = TiffSlide::open(&path)?;
/// assert_eq!(slide.stated_resolution().mpp, Some([0.5, 0.5]));
/// assert_eq!(slide.read_region(0, [490, 190], [1, 1])?.get_pixel(0, 0).0, [255; 3]);
/// # Ok::<(), wsi_slides::Error>(())
/// ```
#[derive(Debug)]
pub struct PyramidWriter {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    compression: TileCompression,
    position: u64,
    levels: Vec<WrittenLevel>,
}

#[derive(Debug)]
struct WrittenLevel {
    width: u32,
    height: u32,
    tiles: Vec<TilePlace>,
}

impl PyramidWriter {
    /// Side of every tile in pixels.
    pub const TILE: u32 = 256;

    /// Starts a file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn create(path: &Path, compression: TileCompression) -> Result<Self> {
        let beside = name_beside(path);
        let file = File::create_new(&beside).map_err(|source| io("create the file", source).in_file(path))?;
        let mut writer = Self {
            path: path.to_owned(),
            beside,
            file: BufWriter::new(file),
            compression,
            position: 0,
            levels: Vec::new(),
        };
        // Little-endian TIFF; the place of the first directory is filled in at the end.
        writer.write(b"II*\0\0\0\0\0")?;
        Ok(writer)
    }

    /// Starts the next level, of so many pixels. Its tiles follow.
    pub fn begin_level(&mut self, width: u32, height: u32) {
        self.levels.push(WrittenLevel { width, height, tiles: Vec::new() });
    }

    /// Writes the next tile of the level.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where the file would grow beyond 4 GiB; [`ErrorKind::Io`].
    pub fn tile(&mut self, bytes: &[u8]) -> Result<TilePlace> {
        let offset = u32::try_from(self.position).map_err(|_| too_large(self.position))?;
        let byte_count = u32::try_from(bytes.len()).map_err(|_| too_large(bytes.len() as u64))?;
        self.write(bytes)?;
        let place = TilePlace { offset, byte_count };
        self.same_tile(place);
        Ok(place)
    }

    /// Makes the next tile of the level one that was written before, of this level or another.
    pub fn same_tile(&mut self, place: TilePlace) {
        if let Some(level) = self.levels.last_mut() {
            level.tiles.push(place);
        }
    }

    /// Writes the directories, `tags` being asked for the number of each level from 0 and its width and height, and
    /// gives the file its name.
    ///
    /// # Errors
    /// [`ErrorKind::Structure`] if a level has another number of tiles than its size wants; [`ErrorKind::Limit`];
    /// [`ErrorKind::Io`].
    pub fn finish(self, tags: impl Fn(usize, [u32; 2]) -> LevelTags) -> Result<()> {
        let path = self.path.clone();
        self.write_directories(tags).map_err(|error| error.in_file(&path))
    }

    fn write_directories(mut self, tags: impl Fn(usize, [u32; 2]) -> LevelTags) -> Result<()> {
        let levels = std::mem::take(&mut self.levels);
        let mut links = vec![(4u64, self.position)];
        for (number, level) in levels.iter().enumerate() {
            check_tiles(number, level)?;
            self.pad()?;
            if let Some(link) = links.last_mut() {
                link.1 = self.position;
            }
            let link = self.directory(level, &tags(number, [level.width, level.height]), number > 0)?;
            links.push((link, 0));
        }
        self.file.flush().map_err(|source| io("write the file", source))?;
        let mut file = self.file.get_ref();
        for (place, target) in links {
            let target = u32::try_from(target).map_err(|_| too_large(target))?;
            file.seek(SeekFrom::Start(place)).map_err(|source| io("write the file", source))?;
            file.write_all(&target.to_le_bytes()).map_err(|source| io("write the file", source))?;
        }
        file.sync_all().map_err(|source| io("flush the file to disk", source))?;
        fs::rename(&self.beside, &self.path).map_err(|source| io("rename the finished file", source))
    }

    /// Writes one directory after its values, and returns where its link to the next one stands.
    fn directory(&mut self, level: &WrittenLevel, said: &LevelTags, is_reduced: bool) -> Result<u64> {
        let shorts =
            |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let longs = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let of_tiles = |number: fn(&TilePlace) -> u32| level.tiles.iter().map(number).collect::<Vec<u32>>();
        let (scheme, photometric) = match self.compression {
            TileCompression::Jpeg => (7, 6),
            TileCompression::Deflate => (8, 2),
        };
        let mut tags = vec![
            (254, LONG, longs(&[u32::from(is_reduced)])),
            (256, LONG, longs(&[level.width])),
            (257, LONG, longs(&[level.height])),
            (258, SHORT, shorts(&[8, 8, 8])),
            (259, SHORT, shorts(&[scheme])),
            (262, SHORT, shorts(&[photometric])),
            (270, ASCII, [said.description.as_bytes(), b"\0"].concat()),
            (277, SHORT, shorts(&[3])),
        ];
        let resolution = said.mpp.and_then(pixels_per_centimetre);
        if let Some(fraction) = resolution {
            tags.extend([(282, RATIONAL, longs(&fraction)), (283, RATIONAL, longs(&fraction))]);
        }
        tags.push((284, SHORT, shorts(&[1])));
        if resolution.is_some() {
            tags.push((296, SHORT, shorts(&[3])));
        }
        tags.extend([
            (322, SHORT, shorts(&[Self::TILE as u16])),
            (323, SHORT, shorts(&[Self::TILE as u16])),
            (324, LONG, longs(&of_tiles(|tile| tile.offset))),
            (325, LONG, longs(&of_tiles(|tile| tile.byte_count))),
        ]);
        if self.compression == TileCompression::Jpeg {
            tags.push((530, SHORT, shorts(&[1, 1])));
        }
        let n_tags = tags.len();
        // The values that do not fit their tag stand behind the directory.
        let mut behind: Vec<u8> = Vec::new();
        let behind_at = self.position + 2 + 12 * n_tags as u64 + 4;
        let mut directory = (n_tags as u16).to_le_bytes().to_vec();
        for (number, (kind, size), value) in tags {
            let n_values = (value.len() / size) as u32;
            directory.extend(u16::to_le_bytes(number));
            directory.extend(kind.to_le_bytes());
            directory.extend(n_values.to_le_bytes());
            if value.len() <= 4 {
                directory.extend(&value);
                directory.extend(std::iter::repeat_n(0, 4 - value.len()));
            } else {
                let at = behind_at + behind.len() as u64;
                directory.extend(u32::try_from(at).map_err(|_| too_large(at))?.to_le_bytes());
                behind.extend(&value);
                behind.extend(std::iter::repeat_n(0, value.len() % 2));
            }
        }
        let link = self.position + directory.len() as u64;
        directory.extend([0; 4]);
        self.write(&directory)?;
        self.write(&behind)?;
        Ok(link)
    }

    fn pad(&mut self) -> Result<()> {
        if self.position % 2 == 1 { self.write(&[0]) } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| io("write the file", source).in_file(&self.path))?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for PyramidWriter {
    /// Removes what was not finished; a finished file has its own name by then.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// A hidden name that no other writer has: containers number their processes alike, and may share a directory.
///
/// That of `wsi-bags` is part of its files of PyTorch, which this crate is built without.
fn name_beside(path: &Path) -> PathBuf {
    let drawn = RandomState::new().hash_one(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{drawn:016x}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn check_tiles(number: usize, level: &WrittenLevel) -> Result<()> {
    let along = |length: u32| length.div_ceil(PyramidWriter::TILE) as usize;
    let (wanted, found) = (along(level.width) * along(level.height), level.tiles.len());
    if wanted == found {
        return Ok(());
    }
    let fault = format!("{found} tiles were written, its size wants {wanted}");
    Err(ErrorKind::Structure { place: format!("level {number}"), fault, source: None }.into())
}

/// Pixels per centimetre as a fraction of 32-bit numbers: whole, or in steps of 1/1024.
fn pixels_per_centimetre(mpp: f64) -> Option<[u32; 2]> {
    let pixels = 10_000.0 / mpp;
    let denominator = if pixels.fract() == 0.0 { 1.0 } else { 1024.0 };
    let numerator = (pixels * denominator).round();
    (numerator >= 1.0 && numerator <= f64::from(u32::MAX)).then_some([numerator as u32, denominator as u32])
}

fn io(action: &'static str, source: std::io::Error) -> Error {
    ErrorKind::Io { action, source }.into()
}

fn too_large(found: u64) -> Error {
    ErrorKind::Limit { what: "the size of the file in bytes", found, limit: u32::MAX.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_all_its_tiles_and_nothing_is_left_without_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.tiff");
        let mut writer = PyramidWriter::create(&path, TileCompression::Deflate).unwrap();
        writer.begin_level(257, 10);
        writer.tile(b"some bytes").unwrap();
        let error = writer.finish(|_, _| LevelTags::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{}: level 0: 1 tiles were written, its size wants 2", path.display())
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn writers_of_one_name_do_not_meet() {
        // Both have this process's number, as two containers may have.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.tiff");
        let [mut first, mut second] =
            [(); 2].map(|()| PyramidWriter::create(&path, TileCompression::Deflate).unwrap());
        first.begin_level(10, 10);
        first.tile(b"first").unwrap();
        second.begin_level(10, 10);
        second.tile(b"the second").unwrap();
        first.finish(|_, _| LevelTags::default()).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(&bytes[8..13], b"first");
        drop(second);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn resolutions_are_fractions() {
        assert_eq!(pixels_per_centimetre(0.25), Some([40_000, 1]));
        let [numerator, denominator] = pixels_per_centimetre(0.2527).unwrap().map(f64::from);
        assert!((10_000.0 * denominator / numerator - 0.2527).abs() < 1e-8);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(pixels_per_centimetre(bad), None, "{bad}");
        }
    }
}
