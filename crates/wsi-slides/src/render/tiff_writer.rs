//! Writes a pyramid as a tiled TIFF file in Aperio's form.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::render::Base;

/// Side of a tile in pixels.
pub(super) const TILE: u32 = 256;

/// Types of TIFF values: their number and their size in bytes.
const ASCII: (u16, usize) = (2, 1);
const SHORT: (u16, usize) = (3, 2);
const LONG: (u16, usize) = (4, 4);
const RATIONAL: (u16, usize) = (5, 8);

/// A pyramid being written: level after level, tile after tile, row by row.
pub(super) struct PyramidWriter {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    position: u64,
    levels: Vec<WrittenLevel>,
}

struct WrittenLevel {
    width: u32,
    height: u32,
    offsets: Vec<u32>,
    byte_counts: Vec<u32>,
}

impl PyramidWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(|source| io("create the file", source))?;
        let mut writer = Self {
            path: path.to_owned(),
            beside,
            file: BufWriter::new(file),
            position: 0,
            levels: Vec::new(),
        };
        // Little-endian TIFF; the place of the first directory is filled in at the end.
        writer.write(b"II*\0\0\0\0\0")?;
        Ok(writer)
    }

    /// Starts the next level. Its tiles follow.
    pub(super) fn begin_level(&mut self, width: u32, height: u32) -> Result<()> {
        self.levels.push(WrittenLevel { width, height, offsets: Vec::new(), byte_counts: Vec::new() });
        Ok(())
    }

    /// Writes one JPEG stream.
    pub(super) fn tile(&mut self, jpeg: &[u8]) -> Result<()> {
        let offset = self.offset()?;
        let byte_count = u32::try_from(jpeg.len()).map_err(|_| too_large(jpeg.len() as u64))?;
        self.write(jpeg)?;
        if let Some(level) = self.levels.last_mut() {
            level.offsets.push(offset);
            level.byte_counts.push(byte_count);
        }
        Ok(())
    }

    /// Writes the directories and gives the file its name.
    pub(super) fn finish(mut self, base: Base) -> Result<()> {
        let levels = std::mem::take(&mut self.levels);
        let first = levels.first().map_or([0, 0], |level| [level.width, level.height]);
        let mut links = vec![(4u64, self.position)];
        for (number, level) in levels.iter().enumerate() {
            self.pad()?;
            if let Some(link) = links.last_mut() {
                link.1 = self.position;
            }
            let link = self.directory(level, &description(level, number, first, base), number > 0, base)?;
            links.push((link, 0));
        }
        self.file.flush().map_err(|source| io("write the file", source))?;
        let mut file = self.file.get_ref();
        for (place, target) in links {
            let target = u32::try_from(target).map_err(|_| too_large(target))?;
            use std::io::{Seek, SeekFrom};
            file.seek(SeekFrom::Start(place)).map_err(|source| io("write the file", source))?;
            file.write_all(&target.to_le_bytes()).map_err(|source| io("write the file", source))?;
        }
        file.sync_all().map_err(|source| io("flush the file to disk", source))?;
        fs::rename(&self.beside, &self.path).map_err(|source| io("rename the finished file", source))
    }

    /// Writes one directory after its values, and returns where its link to the next one stands.
    fn directory(&mut self, level: &WrittenLevel, text: &str, is_reduced: bool, base: Base) -> Result<u64> {
        let shorts =
            |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let longs = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let text = [text.as_bytes(), b"\0"].concat();
        // Pixels per centimetre of level 0: 0.5 or 0.25 micrometres each.
        let resolution = longs(&[20_000 * base.scale(), 1]);
        let tags = [
            (254, LONG, longs(&[u32::from(is_reduced)])),
            (256, LONG, longs(&[level.width])),
            (257, LONG, longs(&[level.height])),
            (258, SHORT, shorts(&[8, 8, 8])),
            (259, SHORT, shorts(&[7])),
            (262, SHORT, shorts(&[6])),
            (270, ASCII, text),
            (277, SHORT, shorts(&[3])),
            (282, RATIONAL, resolution.clone()),
            (283, RATIONAL, resolution),
            (284, SHORT, shorts(&[1])),
            (296, SHORT, shorts(&[3])),
            (322, SHORT, shorts(&[TILE as u16])),
            (323, SHORT, shorts(&[TILE as u16])),
            (324, LONG, longs(&level.offsets)),
            (325, LONG, longs(&level.byte_counts)),
            (530, SHORT, shorts(&[1, 1])),
        ];
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

    fn offset(&self) -> Result<u32> {
        u32::try_from(self.position).map_err(|_| too_large(self.position))
    }

    fn pad(&mut self) -> Result<()> {
        if self.position % 2 == 1 { self.write(&[0]) } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| io("write the file", source))?;
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

/// What Aperio writes, so that readers take the levels and the magnification for a scanner's.
fn description(level: &WrittenLevel, number: usize, [width, height]: [u32; 2], base: Base) -> String {
    let (power, mpp) = match base {
        Base::X20 => (20, "0.5000"),
        Base::X40 => (40, "0.2500"),
    };
    let size = format!("{width}x{height} [0,0 {width}x{height}] ({TILE}x{TILE})");
    let reduced = if number == 0 { String::new() } else { format!(" -> {}x{}", level.width, level.height) };
    format!(
        "Aperio Image Library (rendered)\r\n{size}{reduced} JPEG/RGB Q=85|AppMag = {power}|MPP = {mpp}|\
         Note = rendered by wsi-slides"
    )
}

fn io(action: &'static str, source: std::io::Error) -> Error {
    ErrorKind::Io { action, source }.into()
}

fn too_large(found: u64) -> Error {
    ErrorKind::Limit { what: "the size of the file in bytes", found, limit: u32::MAX.into() }.into()
}
