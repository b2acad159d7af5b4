//! How many patches a bag has.

use candle_core::Tensor;
use cf_model::BagTensors;
use serde::Serialize;
use wsi_bags::{Bag, Magnification};

/// Patches of a bag by magnification; 0 where the model does not read one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BagSize {
    /// At 5x.
    pub x5: usize,
    /// At 10x.
    pub x10: usize,
    /// At 20x.
    pub x20: usize,
}

impl BagSize {
    /// Pairs of neighbouring magnifications that are both there: coarse and fine, each with its name.
    pub(crate) fn neighbours(self) -> impl Iterator<Item = (&'static str, usize, &'static str, usize)> {
        [("x5", self.x5, "x10", self.x10), ("x10", self.x10, "x20", self.x20)]
            .into_iter()
            .filter(|(_, coarse, _, fine)| *coarse > 0 && *fine > 0)
    }

    pub(crate) fn at(self, magnification: Magnification) -> usize {
        match magnification {
            Magnification::X5 => self.x5,
            Magnification::X10 => self.x10,
            Magnification::X20 => self.x20,
        }
    }

    /// The patches of a bag in memory.
    pub(crate) fn of_bag(bag: &Bag) -> Self {
        let n = |magnification| bag.get(magnification).map_or(0, |set| set.features().n_patches());
        Self { x5: n(Magnification::X5), x10: n(Magnification::X10), x20: n(Magnification::X20) }
    }

    /// The patches of a bag's tensors.
    pub(crate) fn of(bag: &BagTensors) -> Self {
        let n = |tensor: &Option<Tensor>| {
            tensor.as_ref().and_then(|tensor| tensor.dims().first().copied()).unwrap_or(0)
        };
        Self { x5: n(&bag.x5), x10: n(&bag.x10), x20: n(&bag.x20) }
    }

    pub(crate) fn total(self) -> usize {
        self.x5 + self.x10 + self.x20
    }

    /// The most patches of any magnification.
    pub(crate) fn most(self) -> usize {
        self.x5.max(self.x10).max(self.x20)
    }

    /// About what a visit in training sees where `training.max_patches` is so many: the same share of every magnification.
    pub(crate) fn at_most(self, max_patches: Option<usize>) -> Self {
        let most = self.most();
        let Some(max_patches) = max_patches.filter(|&max_patches| max_patches < most) else { return self };
        let share = |n: usize| (n as u128 * max_patches as u128).div_ceil(most as u128) as usize;
        Self { x5: share(self.x5), x10: share(self.x10), x20: share(self.x20) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_thins_every_magnification_and_leaves_small_bags_whole() {
        let bag = BagSize { x5: 895, x10: 3_449, x20: 13_496 };
        assert_eq!(bag.at_most(Some(1_000)), BagSize { x5: 67, x10: 256, x20: 1_000 });
        for whole in [None, Some(13_496), Some(usize::MAX)] {
            assert_eq!(bag.at_most(whole), bag);
        }
        assert_eq!(BagSize { x20: 0, ..bag }.at_most(Some(1)), BagSize { x5: 1, x10: 1, x20: 0 });
    }
}
