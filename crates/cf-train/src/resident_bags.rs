//! Bags that stay on the device from one use to the next.

use std::collections::HashMap;

use cf_model::BagTensors;

/// Places for the tensors of chosen bags: filled when a bag is first read, and kept as long as the run.
///
/// On a GPU a step takes less time than its bag takes to get there, so as much of a cohort stays as fits. No result depends on it.
#[derive(Debug, Default)]
pub(crate) struct ResidentBags {
    places: HashMap<String, Option<BagTensors>>,
    total_bytes: u64,
}

impl ResidentBags {
    /// Places for as many bags, in the given order, as so many bytes hold. `bags`: slides and the bytes of their tensors.
    pub(crate) fn within(budget_bytes: u64, bags: impl IntoIterator<Item = (String, u64)>) -> Self {
        let mut chosen = Self::default();
        for (slide_id, bytes) in bags {
            let total = chosen.total_bytes.saturating_add(bytes);
            if total <= budget_bytes && chosen.places.insert(slide_id, None).is_none() {
                chosen.total_bytes = total;
            }
        }
        chosen
    }

    /// Bags that have a place.
    pub(crate) fn n_bags(&self) -> usize {
        self.places.len()
    }

    /// What they take when all are read.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Whether a bag has a place.
    pub(crate) fn has_place(&self, slide_id: &str) -> bool {
        self.places.contains_key(slide_id)
    }

    /// A bag that has a place and was read before.
    pub(crate) fn get(&self, slide_id: &str) -> Option<BagTensors> {
        self.places.get(slide_id).cloned().flatten()
    }

    /// Keeps a bag that was read, if it has a place.
    pub(crate) fn keep(&mut self, slide_id: &str, bag: &BagTensors) {
        if let Some(place) = self.places.get_mut(slide_id) {
            *place = Some(bag.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_while_they_fit_and_once_a_slide() {
        let bags = [("a", 4), ("large", 7), ("a", 4), ("b", 5), ("c", 1), ("d", 1)];
        let bags = bags.map(|(slide, bytes)| (slide.to_owned(), bytes));
        let mut chosen = ResidentBags::within(10, bags.clone());
        assert_eq!((chosen.n_bags(), chosen.total_bytes()), (3, 10));
        for slide in ["a", "large", "b", "c", "d"] {
            assert!(chosen.get(slide).is_none());
            chosen.keep(slide, &BagTensors::default());
            assert_eq!(chosen.get(slide).is_some(), ["a", "b", "c"].contains(&slide), "{slide}");
        }
        assert_eq!(ResidentBags::within(0, bags).n_bags(), 0);
    }
}
