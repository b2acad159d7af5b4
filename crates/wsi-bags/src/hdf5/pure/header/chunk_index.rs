//! Where the chunks of a dataset lie, by the index that HDF5 libraries write unless they are asked for a newer format: a
//! B-tree of version 1. One walk lists them all, where the library goes through the whole tree for each.

use rust_hdf5::format::btree_v1::ChunkBTreeV1Node;
use rust_hdf5::format::messages::data_layout::DataLayoutMessage;
use rust_hdf5::format::messages::{MSG_DATA_LAYOUT, MSG_FILTER_PIPELINE};

use super::{CONTEXT, Header, MAX_NODES, WORD};

/// Where a chunk lies, as the index states; not compared with the length of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hdf5::pure) struct ChunkPlace {
    pub(in crate::hdf5::pure) offset: u64,
    /// Bytes as stored, at least 1.
    pub(in crate::hdf5::pure) len: u64,
    /// A bit for each filter that was left out.
    pub(in crate::hdf5::pure) filter_mask: u32,
}

impl ChunkPlace {
    /// Its bytes as stored; none where it lies beyond the file.
    pub(in crate::hdf5::pure) fn bytes<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        let start = usize::try_from(self.offset).ok();
        let len = usize::try_from(self.len).ok();
        let range = start.zip(len).and_then(|(start, len)| Some(start..start.checked_add(len)?));
        range.and_then(|range| file.get(range)).unwrap_or_default()
    }
}

/// The chunks of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hdf5::pure) enum ChunkList {
    /// All of them, in the order of their places: the last axis runs fastest.
    Whole(Vec<ChunkPlace>),
    /// To one or more nothing was written.
    Incomplete,
}

impl Header<'_> {
    /// The chunks of a dataset of this index; `None` for every other dataset, and where the index can't be followed.
    pub(in crate::hdf5::pure) fn chunks(
        &self,
        base: u64,
        shape: &[usize],
        element_size: usize,
    ) -> Option<ChunkList> {
        let (sides, root) = self.chunk_tree(shape, element_size)?;
        let counts = shape.iter().zip(&sides).map(|(size, side)| (*size as u64).div_ceil(*side));
        let counts: Vec<u64> = counts.collect();
        // Its entry in the tree: size, filters, a number for each axis and one more, and an address.
        let entry_bytes = WORD * (3 + shape.len());
        let n_chunks = counts.iter().try_fold(1u64, |product, count| product.checked_mul(*count));
        let most = self.image.len() / entry_bytes;
        let Some(n_chunks) = n_chunks.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= most) else {
            return Some(ChunkList::Incomplete);
        };
        let mut places = vec![None; n_chunks];
        let mut nodes = vec![root];
        let mut n_visited = 0;
        while let Some(address) = nodes.pop() {
            n_visited += 1;
            if n_visited.max(nodes.len()) > n_chunks + MAX_NODES {
                return None;
            }
            let at = self.image.get(usize::try_from(address).ok()?..)?;
            let node = ChunkBTreeV1Node::decode(at, WORD, shape.len(), u16::MAX).ok()?;
            if node.level > 0 {
                nodes.extend(node.children);
                continue;
            }
            for (key, address) in node.keys.iter().zip(node.children) {
                // Chunks beyond the matrix are left over from a larger one.
                let Some(index) = place_in_grid(&key.offsets, &sides, &counts)? else { continue };
                let len = u64::from(key.chunk_size);
                let place =
                    ChunkPlace { offset: address.checked_add(base)?, len, filter_mask: key.filter_mask };
                *places.get_mut(index)? = (len > 0).then_some(place);
            }
        }
        let whole = places.into_iter().collect::<Option<_>>();
        Some(whole.map_or(ChunkList::Incomplete, ChunkList::Whole))
    }

    /// Rows to a chunk, and where each chunk starts, of an unfiltered matrix in chunks as wide as itself, each of which is
    /// there; `None` for everything else.
    pub(in crate::hdf5::pure) fn row_chunks(
        &self,
        base: u64,
        shape: &[usize],
        element_size: usize,
    ) -> Option<(u64, Vec<u64>)> {
        let &[n_rows, dim] = shape else { return None };
        let (sides, _) = self.chunk_tree(shape, element_size)?;
        let &[rows, columns] = sides.as_slice() else { return None };
        let is_filtered = self.messages.iter().any(|message| message.msg_type == MSG_FILTER_PIPELINE);
        if n_rows == 0 || columns != dim as u64 || is_filtered {
            return None;
        }
        let ChunkList::Whole(chunks) = self.chunks(base, shape, element_size)? else { return None };
        let len = rows.checked_mul(columns)?.checked_mul(element_size as u64)?;
        let plain = chunks.iter().all(|chunk| chunk.filter_mask == 0 && chunk.len == len);
        plain.then(|| (rows, chunks.iter().map(|chunk| chunk.offset).collect()))
    }

    /// Elements of a chunk along each axis, none of them 0, and the root of the tree.
    fn chunk_tree(&self, shape: &[usize], element_size: usize) -> Option<(Vec<u64>, u64)> {
        let layout = DataLayoutMessage::decode(self.of_type(MSG_DATA_LAYOUT).next()?, &CONTEXT).ok()?.0;
        let DataLayoutMessage::ChunkedV3 { mut chunk_dims, b_tree_address } = layout else { return None };
        let size = chunk_dims.pop()?;
        let fits = size == element_size as u64 && chunk_dims.len() == shape.len() && !chunk_dims.contains(&0);
        fits.then_some((chunk_dims, b_tree_address))
    }
}

/// The number of the chunk that starts at `offsets`, or nothing where it lies beyond the grid; `None` if none can start there.
fn place_in_grid(offsets: &[u64], sides: &[u64], counts: &[u64]) -> Option<Option<usize>> {
    let (last, offsets) = offsets.split_last()?;
    if *last != 0 || offsets.len() != sides.len() {
        return None;
    }
    let mut index = 0u64;
    let mut is_within = true;
    for ((offset, side), count) in offsets.iter().zip(sides).zip(counts) {
        if offset % side != 0 {
            return None;
        }
        is_within &= offset / side < *count;
        if is_within {
            // Below the number of chunks, which fits.
            index = index * count + offset / side;
        }
    }
    Some(if is_within { Some(usize::try_from(index).ok()?) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_numbered_along_the_last_axis_first() {
        let (sides, counts) = ([2, 3], [4, 5]);
        let place = |offsets: &[u64]| place_in_grid(offsets, &sides, &counts);
        assert_eq!(place(&[0, 0, 0]), Some(Some(0)));
        assert_eq!(place(&[2, 6, 0]), Some(Some(7)));
        assert_eq!(place(&[6, 12, 0]), Some(Some(19)));
        assert_eq!(place(&[8, 0, 0]), Some(None));
        assert_eq!(place(&[0, 15, 0]), Some(None));
        assert_eq!(place(&[1, 0, 0]), None);
        assert_eq!(place(&[0, 0, 4]), None);
        assert_eq!(place(&[0, 0]), None);
    }
}
