//! Chunks that were never written, whose values `rust-hdf5` makes up.

use rust_hdf5::H5Dataset;

use crate::error::Result;

use super::super::lacks_chunk;

/// Refuses values of a matrix or list, in whole chunks from row `start` on, if one of the chunks was never written.
///
/// The library fills such a chunk with one value. So only chunks of one value are looked up, of which features and
/// coordinates have hardly any: it goes through the whole index each time. `bits` tells values apart.
///
/// # Errors
/// [`ErrorKind::Content`](crate::ErrorKind::Content) if a chunk was never written.
pub(super) fn check_written<T: Copy>(
    dataset: &H5Dataset,
    start: usize,
    values: &[T],
    bits: impl Fn(T) -> u64,
) -> Result<()> {
    let sides = dataset.chunk_dims().unwrap_or_default();
    let (rows, columns, n_columns) = match (&sides[..], &dataset.shape()[..]) {
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
            if is_one_value && dataset.read_chunk_raw_at(place).is_err() {
                return Err(lacks_chunk());
            }
        }
    }
    Ok(())
}
