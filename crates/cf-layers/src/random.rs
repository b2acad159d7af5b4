//! Named random streams: every draw in the workspace comes from one of these.
//!
//! A stream is fixed by a seed and a label that says what it is for, such as `init/cls_token` or
//! `dropout/fold 2/epoch 7/draw 31/TCGA-2F-A9KO`. Nothing depends on the order in which streams are made, on
//! the number of threads or on what was drawn elsewhere, so a run can be repeated, resumed or split.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A 64-bit key for the stream that `seed` and `label` name.
///
/// FNV-1a over the label's bytes, mixed with the seed by the SplitMix64 finaliser.
pub fn stream_key(seed: u64, label: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in label.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    split_mix(hash ^ split_mix(seed))
}

/// The generator of the stream that `seed` and `label` name.
///
/// ```
/// use rand::RngCore;
///
/// let mut a = cf_layers::random::stream(7, "order/fold 0/epoch 1");
/// let mut b = cf_layers::random::stream(7, "order/fold 0/epoch 1");
/// let mut other = cf_layers::random::stream(7, "order/fold 0/epoch 2");
/// let first = a.next_u64();
/// assert_eq!(first, b.next_u64());
/// assert_ne!(first, other.next_u64());
/// ```
pub fn stream(seed: u64, label: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(stream_key(seed, label))
}

/// The SplitMix64 output function (Steele, Lea and Flood, 2014): a bijection of `u64` with good avalanche.
#[inline(always)]
pub(crate) fn split_mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_pinned_so_that_old_runs_can_be_repeated() {
        // A change here changes every trained model; it has to be deliberate.
        assert_eq!(split_mix(0), 0xe220_a839_7b1d_cdaf);
        assert_ne!(stream_key(7, "a"), stream_key(8, "a"));
        assert_ne!(stream_key(7, "a"), stream_key(7, "b"));
    }
}
