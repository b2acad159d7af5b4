//! Sums over ranks that grow as subjects come in: a Fenwick tree (Fenwick 1994).

use std::ops::AddAssign;

/// What has been inserted at each rank: counts (`u64`) or weights (`f64`).
pub(crate) struct RankPool<T> {
    /// `tree[i]` is the sum over ranks `i + 1 - lowbit(i + 1) .. i + 1`.
    tree: Vec<T>,
    pub(crate) total: T,
}

impl<T: Copy + Default + AddAssign> RankPool<T> {
    pub(crate) fn new(n_ranks: usize) -> Self {
        Self { tree: vec![T::default(); n_ranks], total: T::default() }
    }

    pub(crate) fn insert(&mut self, rank: u32, weight: T) {
        self.total += weight;
        let mut node = rank as usize + 1;
        while let Some(sum) = self.tree.get_mut(node - 1) {
            *sum += weight;
            node += node & node.wrapping_neg();
        }
    }

    /// Sum of the weights with a rank below `rank`.
    pub(crate) fn below(&self, rank: u32) -> T {
        let mut node = rank as usize;
        let mut sum = T::default();
        while node > 0 {
            if let Some(&part) = self.tree.get(node - 1) {
                sum += part;
            }
            node &= node - 1;
        }
        sum
    }
}
