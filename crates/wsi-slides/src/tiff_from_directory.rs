//! A TIFF file that seems to begin with another directory than its first: how the `tiff` crate, which follows the chain from the
//! first, decodes a directory below another.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// Bytes before any directory: of BigTIFF all, of TIFF the first eight.
const HEADER: usize = 16;

/// The file with the pointer of its header changed.
pub(crate) struct FromDirectory {
    file: BufReader<File>,
    header: [u8; HEADER],
    position: u64,
}

impl FromDirectory {
    /// `directory` lies at that byte of the file.
    ///
    /// # Errors
    /// If the file cannot be read, or is not that large.
    pub(crate) fn new(file: File, directory: u64) -> io::Result<Self> {
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER];
        file.rewind()?;
        file.read_exact(&mut header)?;
        let is_little_endian = header[0] == b'I';
        let is_big = header[if is_little_endian { 2 } else { 3 }] == 43;
        let ordered = |big_endian: &mut [u8]| {
            if is_little_endian {
                big_endian.reverse();
            }
        };
        let mut pointer = directory.to_be_bytes();
        if is_big {
            ordered(&mut pointer);
            header[8..].copy_from_slice(&pointer);
        } else {
            let narrow = u32::try_from(directory).map_err(io::Error::other)?;
            let mut pointer = narrow.to_be_bytes();
            ordered(&mut pointer);
            header[4..8].copy_from_slice(&pointer);
        }
        file.rewind()?;
        Ok(Self { file, header, position: 0 })
    }
}

impl Read for FromDirectory {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let of_header = usize::try_from(self.position).ok().and_then(|at| self.header.get(at..));
        let n_read = match of_header.filter(|rest| !rest.is_empty()) {
            Some(mut rest) => {
                let n_read = rest.read(to)?;
                self.file.seek_relative(n_read as i64)?;
                n_read
            }
            None => self.file.read(to)?,
        };
        self.position += n_read as u64;
        Ok(n_read)
    }
}

impl Seek for FromDirectory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}
