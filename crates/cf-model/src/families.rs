//! Some of a slide's patches for a visit in training: whole families, drawn at random.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::seq::SliceRandom;
use wsi_bags::Magnification;

use crate::error::Result;
use crate::patches::{Derived, Patches};

/// Indices of patches by magnification, rising.
pub type PatchIndices = BTreeMap<Magnification, Vec<u32>>;

/// The family of each patch, a list for each magnification from coarse to fine, and how many there are.
struct Families {
    of: Vec<Vec<u32>>,
    n: usize,
}

impl Patches {
    /// Draws whole families, at most `at_most` (at least 1) patches of any magnification; `None` where the slide has no more than these.
    /// `n_patches` says how many it has.
    ///
    /// A family is a patch of the coarsest magnification with the finer patches that it holds, or to which it is the nearest of its
    /// magnification if none holds them (see [`wsi_bags::parents`]). A patch whose family neither coordinates nor the bag tell is one by
    /// itself. Families are taken in random order until the next would make too many. What is drawn has patches of every magnification:
    /// the first families that have some are taken before all others, and if they alone have too many, chance decides which stay.
    ///
    /// # Errors
    /// If coordinates are such as no slide has.
    pub fn draw_families(
        &self,
        n_patches: &BTreeMap<Magnification, usize>,
        at_most: usize,
        rng: &mut impl Rng,
    ) -> Result<Option<PatchIndices>> {
        if n_patches.values().all(|&n| n <= at_most) {
            return Ok(None);
        }
        let families = self.families(n_patches)?;
        let is_taken = families.draw(at_most, rng);
        let taken = |of: &Vec<u32>| -> Vec<u32> {
            (0..).zip(of).filter(|(_, family)| is_taken[**family as usize]).map(|(index, _)| index).collect()
        };
        let indices = families.of.iter().map(taken);
        let mut drawn: PatchIndices = n_patches.keys().copied().zip(indices).collect();
        if drawn.values().any(|indices| indices.len() > at_most) {
            self.cut(&mut drawn, at_most, rng);
        }
        Ok(Some(drawn))
    }

    fn families(&self, n_patches: &BTreeMap<Magnification, usize>) -> Result<Families> {
        let mut sizes = n_patches.iter();
        let Some((&coarsest, &n_coarsest)) = sizes.next() else {
            return Ok(Families { of: Vec::new(), n: 0 });
        };
        let finer = self.derived.get(Derived::Families, || {
            let mut orphans = n_coarsest as u32..;
            let mut of_finer = Vec::with_capacity(sizes.clone().map(|(_, n)| n).sum());
            for (&at, &n) in sizes.clone() {
                let parents = self.known_parents(at, coarsest)?.unwrap_or_else(|| vec![None; n]);
                of_finer.extend(parents.into_iter().filter_map(|parent| parent.or_else(|| orphans.next())));
            }
            Ok(of_finer)
        })?;
        let mut of: Vec<Vec<u32>> = vec![(0..n_coarsest as u32).collect()];
        let mut rest = finer.as_slice();
        for &n in n_patches.values().skip(1) {
            let (of_next, after) = rest.split_at(n.min(rest.len()));
            of.push(of_next.to_vec());
            rest = after;
        }
        let n = of.iter().flatten().max().map_or(0, |&last| last as usize + 1);
        Ok(Families { of, n })
    }

    /// Leaves at most so many patches of each magnification, at random, but first those that the bag states as parents of finer ones that
    /// stay: such a parent is known in no other way.
    fn cut(&self, drawn: &mut PatchIndices, at_most: usize, rng: &mut impl Rng) {
        let mut parents: (Option<Magnification>, BTreeSet<u32>) = (None, BTreeSet::new());
        for (&at, indices) in drawn.iter_mut().rev() {
            if indices.len() > at_most {
                let is_parent = |index: &u32| parents.0 == Some(at) && parents.1.contains(index);
                let (mut staying, mut others): (Vec<u32>, Vec<u32>) =
                    indices.iter().partition(|at| is_parent(at));
                others.shuffle(rng);
                staying.extend(others.into_iter().take(at_most.saturating_sub(staying.len())));
                staying.sort_unstable();
                *indices = staying;
            }
            let stated = self.at(at).parents.iter();
            let of_staying =
                stated.flat_map(|all| indices.iter().filter_map(|&index| *all.get(index as usize)?));
            parents = (at.coarser(), of_staying.collect());
        }
    }
}

impl Families {
    /// Whether each family is drawn.
    fn draw(&self, at_most: usize, rng: &mut impl Rng) -> Vec<bool> {
        let mut counts = vec![vec![0; self.n]; self.of.len()];
        for (counts, of) in counts.iter_mut().zip(&self.of) {
            of.iter().for_each(|&family| counts[family as usize] += 1);
        }
        let mut order: Vec<usize> = (0..self.n).collect();
        order.shuffle(rng);
        let mut is_drawn = vec![false; self.n];
        let mut totals = vec![0; self.of.len()];
        let mut take = |family: usize, totals: &mut [usize]| {
            is_drawn[family] = true;
            totals.iter_mut().zip(&counts).for_each(|(total, counts)| *total += counts[family]);
        };
        let mut taken_first = BTreeSet::new();
        for at in (0..totals.len()).rev().filter(|&at| !self.of[at].is_empty()) {
            if totals[at] == 0
                && let Some(&family) = order.iter().find(|&&family| counts[at][family] > 0)
            {
                take(family, &mut totals);
                taken_first.insert(family);
            }
        }
        for family in order.into_iter().filter(|family| !taken_first.contains(family)) {
            if totals.iter().zip(&counts).any(|(total, counts)| total + counts[family] > at_most) {
                break;
            }
            take(family, &mut totals);
        }
        is_drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patches::PatchFacts;
    use cf_layers::random::stream;

    const X5: Magnification = Magnification::X5;
    const X10: Magnification = Magnification::X10;
    const X20: Magnification = Magnification::X20;

    fn facts(coords: Vec<[i64; 2]>, side: u32) -> PatchFacts {
        PatchFacts { coords: Some(coords), side: Some(side), ..PatchFacts::default() }
    }

    fn sizes(patches: &Patches) -> BTreeMap<Magnification, usize> {
        let n = |at| {
            let facts = patches.at(at);
            facts.coords.as_ref().map(Vec::len).or(facts.parents.as_ref().map(Vec::len))
        };
        Magnification::ALL.into_iter().filter_map(|at| Some((at, n(at)?))).collect()
    }

    /// 6 x 4 cells of 64 pixels in row-major order, without the finer patches whose number is a multiple of 7: families differ in size.
    fn lattices() -> Patches {
        let lattice = |side: i64| -> Vec<[i64; 2]> {
            let all =
                (0..256 / side).flat_map(|y| (0..384 / side).map(move |x| [1000 + x * side, 40 + y * side]));
            (0..).zip(all).filter(|(at, _)| side == 64 || at % 7 != 0).map(|(_, corner)| corner).collect()
        };
        Patches {
            x5: facts(lattice(64), 64),
            x10: facts(lattice(32), 32),
            x20: facts(lattice(16), 16),
            ..Patches::default()
        }
    }

    /// The 5x cell that a corner of `lattices` is in, by its place.
    fn cell([x, y]: [i64; 2]) -> usize {
        ((y - 40) / 64 * 6 + (x - 1000) / 64) as usize
    }

    #[test]
    fn families_are_whole_rising_within_the_limit_and_all_drawn_alike() {
        let patches = lattices();
        let n_patches = sizes(&patches);
        let limit = 100;
        let rounds = 600;
        let mut n_drawn = [0; 24];
        let mut n_families = 0;
        for epoch in 0..rounds {
            let rng = &mut stream(7, &format!("patches/epoch {epoch}"));
            let drawn = patches.draw_families(&n_patches, limit, rng).unwrap().unwrap();
            assert!(
                drawn.values().all(|indices| indices.is_sorted_by(|a, b| a < b) && indices.len() <= limit)
            );
            let cells: Vec<usize> = drawn[&X5].iter().map(|&index| index as usize).collect();
            for at in [X10, X20] {
                let coords = patches.at(at).coords.as_ref().unwrap();
                let expected = (0..).zip(coords).filter(|(_, corner)| cells.contains(&cell(**corner)));
                assert_eq!(drawn[&at], expected.map(|(index, _)| index).collect::<Vec<u32>>());
            }
            // Of families of 13 to 15 patches at 20x seven fit, or one less; one more would not have.
            assert!(
                (6..=7).contains(&cells.len()) && drawn[&X20].len() > limit - 15,
                "{}",
                drawn[&X20].len()
            );
            cells.iter().for_each(|&cell| n_drawn[cell] += 1);
            n_families += cells.len();
        }
        let expected = n_families as f64 / 24.0;
        let deviation = (expected * (1.0 - expected / f64::from(rounds))).sqrt();
        assert!(n_drawn.iter().all(|&n| (f64::from(n) - expected).abs() < 4.5 * deviation), "{n_drawn:?}");
    }

    #[test]
    fn a_draw_is_that_of_its_stream_and_of_few_patches_there_is_none() {
        let patches = lattices();
        let n_patches = sizes(&patches);
        let draw = |label: &str, at_most: usize| {
            patches.draw_families(&n_patches, at_most, &mut stream(7, label)).unwrap()
        };
        assert_eq!(draw("a", 40), draw("a", 40));
        assert_ne!(draw("a", 40), draw("b", 40));
        assert_eq!(draw("a", n_patches[&X20]), None);
        assert!(draw("a", n_patches[&X20] - 1).is_some());
    }

    #[test]
    fn patches_of_one_magnification_are_drawn_without_replacement_all_alike() {
        let patches = Patches::default();
        let n_patches = BTreeMap::from([(X20, 40)]);
        let mut n_drawn = [0; 40];
        for epoch in 0..1000 {
            let rng = &mut stream(7, &format!("patches/epoch {epoch}"));
            let drawn = patches.draw_families(&n_patches, 10, rng).unwrap().unwrap();
            assert!(drawn[&X20].len() == 10 && drawn[&X20].is_sorted_by(|a, b| a < b));
            drawn[&X20].iter().for_each(|&index| n_drawn[index as usize] += 1);
        }
        // Of 1,000 draws at probability 1/4 the deviation is 13.7.
        assert!(n_drawn.iter().all(|&n| (n - 250_i32).abs() < 62), "{n_drawn:?}");
    }

    #[test]
    fn where_nothing_says_whose_patches_are_each_magnification_is_thinned_alike() {
        let patches = Patches::default();
        let n_patches = BTreeMap::from([(X5, 100), (X10, 400), (X20, 1600)]);
        let rng = &mut stream(7, "a");
        let drawn = patches.draw_families(&n_patches, 160, rng).unwrap().unwrap();
        assert_eq!(drawn[&X20].len(), 160);
        // A tenth of each, within four deviations of 3 and 6.
        assert!((drawn[&X5].len() as i32 - 10).abs() < 12 && (drawn[&X10].len() as i32 - 40).abs() < 24);
        // Of few, every magnification has one all the same.
        let n_patches = BTreeMap::from([(X5, 2), (X10, 8), (X20, 500)]);
        for epoch in 0..50 {
            let rng = &mut stream(7, &format!("{epoch}"));
            let drawn = patches.draw_families(&n_patches, 3, rng).unwrap().unwrap();
            assert!(drawn.values().all(|indices| (1..=3).contains(&indices.len())), "{drawn:?}");
        }
    }

    #[test]
    fn stated_parents_make_families_and_patches_without_one_stand_alone() {
        let parents =
            |parents: &[Option<u32>]| PatchFacts { parents: Some(parents.to_vec()), ..PatchFacts::default() };
        let patches = Patches {
            x5: PatchFacts { coords: Some(vec![[0, 0]; 2]), ..PatchFacts::default() },
            x10: parents(&[Some(1), Some(0), None]),
            x20: parents(&[Some(0), Some(0), Some(1), Some(2), None]),
            ..Patches::default()
        };
        let families = patches.families(&sizes(&patches)).unwrap();
        // The 10x patch without parent and, of those at 20x, its child and the last are by themselves.
        assert_eq!(families.of, [vec![0, 1], vec![1, 0, 2], vec![1, 1, 0, 3, 4]]);
        assert_eq!(families.n, 5);
    }

    #[test]
    fn a_family_that_alone_is_too_large_keeps_some_patches_with_their_parents() {
        let parents = |of: Vec<u32>| PatchFacts {
            parents: Some(of.into_iter().map(Some).collect()),
            ..PatchFacts::default()
        };
        let patches = Patches {
            x10: parents(vec![0; 30]),
            x20: parents((0..90).map(|at| at % 30).collect()),
            ..Patches::default()
        };
        let n_patches = BTreeMap::from([(X5, 1), (X10, 30), (X20, 90)]);
        let mut seen = BTreeSet::new();
        for epoch in 0..100 {
            let rng = &mut stream(7, &format!("{epoch}"));
            let drawn = patches.draw_families(&n_patches, 8, rng).unwrap().unwrap();
            assert_eq!(drawn.values().map(Vec::len).collect::<Vec<_>>(), [1, 8, 8]);
            assert!(drawn[&X20].iter().all(|&index| drawn[&X10].contains(&(index % 30))));
            seen.extend(drawn[&X20].iter().copied());
        }
        assert_eq!(seen.len(), 90);
    }
}
