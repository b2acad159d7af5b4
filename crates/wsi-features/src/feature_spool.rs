//! Features of one magnification on their way into the bag.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use wsi_bags::FeatureMatrix;

use crate::error::{Error, Result};

/// A row for each patch, filled in any order. They lie in a file without a name, since those of a large slide are larger than
/// some machines' memory; nobody else can open it, and it is gone when the process is.
pub(crate) struct FeatureSpool {
    file: File,
    /// Where the file lies.
    directory: PathBuf,
    dim: usize,
    /// Which rows were filled.
    filled: Vec<bool>,
}

impl FeatureSpool {
    /// Room for `n_rows` rows of `dim` features, on the disk of `directory`.
    pub(crate) fn new(directory: &Path, n_rows: usize, dim: usize) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(|source| failed(directory, source))?;
        Ok(Self { file, directory: directory.to_owned(), dim, filled: vec![false; n_rows] })
    }

    /// Fills a row.
    pub(crate) fn put(&mut self, row: usize, features: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = features.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write(row, &bytes)?;
        if let Some(filled) = self.filled.get_mut(row) {
            *filled = true;
        }
        Ok(())
    }

    /// Which rows were filled.
    pub(crate) fn filled(&self) -> &[bool] {
        &self.filled
    }

    /// The filled rows, in order; `None` without any.
    pub(crate) fn into_features(mut self) -> Result<Option<FeatureMatrix>> {
        let n_filled = self.filled.iter().filter(|filled| **filled).count();
        if n_filled == 0 {
            return Ok(None);
        }
        if n_filled < self.filled.len() {
            self.close_gaps()?;
        }
        Ok(Some(FeatureMatrix::in_file(self.file, n_filled, self.dim)?))
    }

    /// Moves each filled row to the first free place.
    fn close_gaps(&mut self) -> Result<()> {
        let mut bytes = vec![0; self.n_bytes()];
        let filled: Vec<usize> = (0..self.filled.len()).filter(|row| self.filled[*row]).collect();
        for (to, from) in filled.into_iter().enumerate().filter(|(to, from)| to != from) {
            self.seek(from)?;
            self.file.read_exact(&mut bytes).map_err(|source| failed(&self.directory, source))?;
            self.write(to, &bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, row: usize, bytes: &[u8]) -> Result<()> {
        self.seek(row)?;
        self.file.write_all(bytes).map_err(|source| failed(&self.directory, source))
    }

    fn seek(&mut self, row: usize) -> Result<()> {
        let offset = row as u64 * self.n_bytes() as u64;
        self.file.seek(SeekFrom::Start(offset)).map_err(|source| failed(&self.directory, source))?;
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.dim * size_of::<f32>()
    }
}

fn failed(directory: &Path, source: std::io::Error) -> Error {
    let action = "keep features in a temporary file of this directory";
    Error::Io { path: directory.to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_rows_come_back_in_order_and_others_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = FeatureSpool::new(directory.path(), 6, 2).unwrap();
        for row in [5, 1, 2] {
            spool.put(row, &[row as f32, -0.5]).unwrap();
        }
        assert_eq!(spool.filled(), [false, true, true, false, false, true]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
        let features = spool.into_features().unwrap().unwrap();
        assert_eq!((features.n_patches(), features.dim()), (3, 2));
        assert_eq!(features.as_slice(), [1.0, -0.5, 2.0, -0.5, 5.0, -0.5]);
    }

    #[test]
    fn without_any_row_there_are_no_features() {
        let directory = tempfile::tempdir().unwrap();
        assert!(FeatureSpool::new(directory.path(), 3, 2).unwrap().into_features().unwrap().is_none());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = FeatureSpool::new(Path::new("no/such/place"), 1, 1).err().unwrap();
        assert!(error.to_string().starts_with("no/such/place: cannot keep features"), "{error}");
    }
}
