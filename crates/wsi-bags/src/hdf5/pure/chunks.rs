//! Chunks that were never written, whose values `rust-hdf5` makes up.

use rust_hdf5::H5Dataset;

use crate::error::Result;

use super::super::lacks_chunk;

/// A dataset about to be read.
pub(super) struct Found {
    pub(super) dataset: H5Dataset,
    /// Whether the index lists each of its chunks; where none could be listed, the values must tell.
    pub(super) has_every_chunk: bool,
}

impl Found {
    /// Refuses values of a matrix or list, in whole chunks from row `start` on, if one of the chunks was never written.
    ///
    /// The library fills such a chunk with one value. So only chunks of one value are looked up, of which features and
    /// coordinates have hardly any: it goes through the whole index each time. `bits` tells values apart.
    ///
    /// # Errors
    /// [`ErrorKind::Content`](crate::ErrorKind::Content) if a chunk was never written.
    pub(super) fn check_written<T: Copy>(
        &self,
        start: usize,
        values: &[T],
        bits: impl Fn(T) -> u64,
    ) -> Result<()> {
        if self.has_every_chunk {
            return Ok(());
        }
        let sides = self.dataset.chunk_dims().unwrap_or_default();
        let (rows, columns, n_columns) = match (&sides[..], &self.dataset.shape()[..]) {
            ([rows, columns], [_, n_columns]) => (*rows, *columns, *n_columns),
            ([rows], [_]) => (*rows, 1, 1),
            _ => return Ok(()),
        };
        let (rows, columns, width) = (rows.max(1), columns.max(1), n_columns.max(1));
        for (index, values) in values.chunks(rows.saturating_mul(width)).enumerate() {
            for column in (0..n_columns).step_by(columns) {
                let end = n_columns.min(column.saturating_add(columns));
                let in_chunk = values.chunks(width).flat_map(|row| row.get(column..end).unwrap_or_default());
                let mut bits = in_chunk.map(|value| bits(*value));
                let first = bits.next();
                let is_one_value = bits.all(|value| Some(value) == first);
                let place = [start / rows + index, column / columns];
                let place = place.get(..sides.len()).unwrap_or(&place);
                // A chunk that is there has just been decoded, so that an error can only say that it is not.
                if is_one_value
                    && self.dataset.read_chunk_raw_at(place).map_or(true, |(raw, _)| raw.is_empty())
                {
                    return Err(lacks_chunk());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rust_hdf5::H5File;

    use super::super::super::Backend;
    use super::super::super::backend::SourceFile;
    use super::super::super::reader::Reader;
    use super::super::Source;
    use super::super::checksum::place;
    use crate::error::Result;
    use crate::features::FeatureMatrix;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/hdf5_matrix").join(name)
    }

    #[test]
    fn chunks_that_are_listed_at_once_are_those_that_the_library_finds_one_by_one() {
        let mut n_listed = 0;
        for file in ["v0.h5", "user_block.h5"] {
            let path = fixture(file);
            let bytes = std::fs::read(&path).unwrap();
            let source = Source::open(&path).unwrap();
            for name in source.members("").unwrap().unwrap().datasets {
                let Ok(Some(dataset)) = source.find(&name) else { continue };
                let Some(sides) = dataset.chunk_dims().filter(|_| dataset.total_elements() > 0) else {
                    continue;
                };
                let chunks = source.chunks(&name, &dataset).unwrap().expect("an index of version 1");
                let counts: Vec<usize> =
                    dataset.shape().iter().zip(&sides).map(|(size, side)| size.div_ceil(*side)).collect();
                assert_eq!(chunks.len(), counts.iter().product::<usize>(), "{file} {name}");
                for (index, chunk) in chunks.iter().enumerate() {
                    let (raw, mask) = dataset.read_chunk_raw_at(&place(index, &counts)).unwrap();
                    assert_eq!((chunk.bytes(&bytes), chunk.filter_mask), (&raw[..], mask), "{file} {name}");
                    n_listed += 1;
                }
            }
        }
        assert!(n_listed > 120, "{n_listed}");
    }

    /// What is read of the dataset `lzf`, 40 rows in two chunks, when the entry of its first chunk is changed.
    fn read_changed(change: impl Fn(&mut [u8])) -> Result<FeatureMatrix> {
        let mut bytes = std::fs::read(fixture("v0.h5")).unwrap();
        let dataset = H5File::open(fixture("v0.h5")).unwrap().dataset("lzf").unwrap();
        let (raw, mask) = dataset.read_chunk_raw_at(&[0, 0]).unwrap();
        // Size and filters, then a place for each axis and one more.
        let key = [(raw.len() as u32).to_le_bytes(), mask.to_le_bytes(), [0; 4], [0; 4]].concat();
        let key = [key, vec![0; 16]].concat();
        let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
        change(&mut bytes[at..at + key.len() + 8]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("changed.h5");
        std::fs::write(&path, bytes).unwrap();
        let reader = Reader::open_with(Backend::Pure, &path)?;
        let root = reader.root();
        root.features(&root.float_matrix("lzf")?)
    }

    #[test]
    fn a_chunk_of_no_bytes_or_beyond_the_file_is_not_zeros() {
        assert_eq!(read_changed(|_| {}).unwrap().n_patches(), 40);
        let text = |change: fn(&mut [u8])| read_changed(change).unwrap_err().to_string();
        let empty = text(|entry| entry[..4].fill(0));
        assert!(empty.contains("a chunk to which nothing was written"), "{empty}");
        let beyond = text(|entry| entry[32..].copy_from_slice(&(1u64 << 40).to_le_bytes()));
        assert!(beyond.contains("but what it holds lies up to byte 10995116"), "{beyond}");
    }
}
