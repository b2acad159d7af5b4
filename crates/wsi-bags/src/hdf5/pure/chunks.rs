//! Chunks that were never written, whose values `rust-hdf5` makes up.

use rust_hdf5::H5Dataset;

use crate::error::Result;

use super::super::lacks_chunk;

/// Refuses values of a matrix, in whole chunks from row `start` on, if one of the chunks was never written.
///
/// The library fills such a chunk with one value. So only chunks of one value are looked up, of which features have hardly
/// any: it goes through the whole index each time.
///
/// # Errors
/// [`ErrorKind::Content`](crate::ErrorKind::Content) if a chunk was never written.
pub(super) fn check_written(
    dataset: &H5Dataset,
    start: usize,
    values: &[f32],
    n_columns: usize,
) -> Result<()> {
    let Some(&[rows, columns]) = dataset.chunk_dims().as_deref().and_then(<[usize]>::as_array) else {
        return Ok(());
    };
    let (rows, columns, width) = (rows.max(1), columns.max(1), n_columns.max(1));
    for (index, values) in values.chunks(rows.saturating_mul(width)).enumerate() {
        for column in (0..n_columns).step_by(columns) {
            let end = n_columns.min(column.saturating_add(columns));
            let in_chunk = values.chunks(width).flat_map(|row| row.get(column..end).unwrap_or_default());
            let mut bits = in_chunk.map(|value| value.to_bits());
            let first = bits.next();
            let is_one_value = bits.all(|value| Some(value) == first);
            // A chunk that is there has just been decoded, so that an error can only say that it is not.
            if is_one_value && dataset.read_chunk_raw_at(&[start / rows + index, column / columns]).is_err() {
                return Err(lacks_chunk());
            }
        }
    }
    Ok(())
}
