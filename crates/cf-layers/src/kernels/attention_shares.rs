//! How the blocks of an attention are launched on a GPU, so that the last of them keep all multiprocessors busy.

/// Parts that the tiles of a block are split into at most.
const MOST_SPLITS: usize = 8;
/// Tiles of a block from which a second launch costs little beside them.
const LONG: usize = 64;
/// What of a round of blocks the last of them may take in a second launch: all of one it is without.
const MOST_OF_A_ROUND: f64 = 0.85;

/// Blocks of one launch, the same of each head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    /// The first of them.
    pub(super) first: usize,
    pub(super) n_blocks: usize,
    /// Parts that the tiles of each are worked on in, by a block each.
    pub(super) n_splits: usize,
    /// Tiles of a part.
    pub(super) tiles: usize,
}

impl Share {
    /// The first row and the number of rows of blocks of `block` rows each, `n` in all.
    #[cfg(feature = "cuda")]
    pub(super) fn rows(&self, block: usize, n: usize) -> (usize, usize) {
        let first = self.first * block;
        (first, (self.n_blocks * block).min(n - first))
    }

    /// Blocks with their tiles in about `n_splits` parts.
    fn new(first: usize, n_blocks: usize, n_tiles: usize, n_splits: usize) -> Self {
        let tiles = n_tiles.div_ceil(n_splits.clamp(1, n_tiles.div_ceil(2).max(1)));
        Self { first, n_blocks, n_splits: n_tiles.div_ceil(tiles.max(1)), tiles }
    }
}

/// All `n_blocks` of each of `n_heads` heads in one launch, over `n_tiles` tiles each. Where they are fewer than the `slots` that run at
/// once, tiles are split.
pub(super) fn together(n_blocks: usize, n_heads: usize, n_tiles: usize, slots: usize) -> Share {
    let n_splits = (slots / (n_blocks * n_heads).max(1)).clamp(1, MOST_SPLITS);
    Share::new(0, n_blocks, n_tiles, n_splits)
}

/// [`together`], or, where blocks are long, as many as fill all slots some times over, and then the rest with their tiles split:
/// a round of blocks takes as long as one of them, however few they are.
pub(super) fn shares(n_blocks: usize, n_heads: usize, n_tiles: usize, slots: usize) -> Vec<Share> {
    let all = together(n_blocks, n_heads, n_tiles, slots);
    let (n_heads, slots) = (n_heads.max(1), slots.max(1));
    let rounds = n_blocks * n_heads / slots;
    let full = rounds * slots / n_heads;
    let rest = n_blocks - full;
    if n_tiles < LONG || full == 0 || rest == 0 {
        return vec![all];
    }
    // In rounds; parts are to hold no more numbers than the whole output.
    let time = |n_splits: usize| (rest * n_heads * n_splits).div_ceil(slots) as f64 / n_splits as f64;
    let shorter = |a: &usize, b: &usize| time(*a).total_cmp(&time(*b));
    match (2..=MOST_SPLITS).filter(|n_splits| n_splits * rest <= n_blocks).min_by(shorter) {
        Some(n_splits) if time(n_splits) <= MOST_OF_A_ROUND => {
            vec![Share::new(0, full, n_tiles, 1), Share::new(full, rest, n_tiles, n_splits)]
        }
        _ => vec![all],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks and tiles are all there, once.
    fn assert_whole(shares: &[Share], n_blocks: usize, n_tiles: usize) {
        let mut next = 0;
        for share in shares {
            assert_eq!(share.first, next);
            next += share.n_blocks;
            assert!(share.n_splits * share.tiles >= n_tiles, "{share:?}");
            assert!((share.n_splits - 1) * share.tiles < n_tiles, "an empty part: {share:?}");
        }
        assert_eq!(next, n_blocks);
    }

    #[test]
    fn every_tile_of_every_block_is_in_one_part() {
        for n_blocks in [1, 2, 7, 33, 106, 185, 277, 1079] {
            for n_heads in [1, 2, 3, 4, 66] {
                for n_tiles in [1, 2, 3, 63, 64, 65, 277, 553] {
                    for slots in [1, 2, 4, 132, 264] {
                        assert_whole(&shares(n_blocks, n_heads, n_tiles, slots), n_blocks, n_tiles);
                        assert_whole(&[together(n_blocks, n_heads, n_tiles, slots)], n_blocks, n_tiles);
                    }
                }
            }
        }
    }

    #[test]
    fn few_blocks_are_split_until_all_slots_have_one() {
        assert_eq!(together(28, 1, 55, 132), Share { first: 0, n_blocks: 28, n_splits: 4, tiles: 14 });
        assert_eq!(together(200, 4, 55, 132).n_splits, 1);
        assert_eq!(together(1, 1, 3, 132).n_splits, 2);
    }

    #[test]
    fn the_last_round_of_long_blocks_is_split() {
        // Gradients of the keys of a Pad-Transformer of the largest bag: eight rounds and 52 blocks.
        let [full, rest] = &shares(277, 4, 553, 132)[..] else { panic!("two launches") };
        assert_eq!((full.n_blocks * 4, full.n_splits), (8 * 132, 1));
        assert_eq!((rest.first, rest.n_blocks, rest.n_splits), (264, 13, 5));
        // Blocks that end after a few tiles are not worth a launch, nor is a last round that is nearly full.
        assert_eq!(shares(277, 4, 20, 132).len(), 1);
        assert_eq!(shares(263, 4, 553, 132).len(), 1);
        // Six parts of a third of all blocks would take too much memory.
        assert_eq!(shares(185, 2, 277, 132).len(), 1);
    }
}
