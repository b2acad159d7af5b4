//! What is known of a slide's patches beside their features, and what follows from it: neighbours, parents, clusters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Tensor};
use wsi_bags::{Bag, Magnification, Squares};

use crate::error::{Error, Result};
use crate::families::PatchIndices;
use crate::needs::Need;
use crate::substitutes::{Substitute, SubstituteCount};

/// The patches of one slide, apart from their features.
#[derive(Debug, Clone, Default)]
pub struct Patches {
    /// The slide, for errors and for draws that must be the same at every visit.
    pub slide_id: String,
    /// At 5x.
    pub x5: PatchFacts,
    /// At 10x.
    pub x10: PatchFacts,
    /// At 20x.
    pub x20: PatchFacts,
    /// What was computed from them before.
    pub derived: DerivedCache,
}

/// What a bag says of the patches of one magnification; each part has one entry per patch.
#[derive(Debug, Clone, Default)]
pub struct PatchFacts {
    /// `[x, y]` of the top left corner in level-0 pixels.
    pub coords: Option<Vec<[i64; 2]>>,
    /// Side in level-0 pixels.
    pub side: Option<u32>,
    /// Index of the patch that holds this one in the next coarser magnification.
    pub parents: Option<Vec<Option<u32>>>,
    /// Tissue class.
    pub tissue: Option<Vec<u8>>,
}

/// A list of indices that follows from a bag alone, so that it need be computed only once per slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Derived {
    /// The `k` nearest patches at 20x by coordinates, row-major `[n, k]`.
    NearestPlaces {
        /// Neighbours per patch.
        k: usize,
    },
    /// The `k` nearest patches at 20x by features, row-major `[n, k]`.
    NearestFeatures {
        /// Neighbours per patch.
        k: usize,
    },
    /// For each patch of `fine` the patch of `coarse` that holds it.
    Parents {
        /// The magnification of the patches.
        fine: Magnification,
        /// The magnification of the parents.
        coarse: Magnification,
    },
    /// For each 5x patch those of `fine` in its places: row-major `[n, 4]` at 10x, `[n, 16]` at 20x.
    Places {
        /// The magnification of the patches.
        fine: Magnification,
    },
    /// The family of each patch that is not of the coarsest magnification, from coarse to fine: see [`Patches::draw_families`].
    Families,
    /// Cluster of each patch at 20x by features.
    Clusters {
        /// Clusters asked for.
        n_clusters: usize,
    },
}

/// What an evaluation draws of a slide's 20x patches, the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Draw {
    /// CSMIL's bags.
    Bags {
        /// How many.
        n: usize,
    },
    /// The nodes of a graph.
    Nodes {
        /// How many at most.
        at_most: usize,
    },
}

/// Lists of patches, which may repeat.
pub(crate) type Drawn = Arc<Vec<Vec<u32>>>;

/// Lists that were derived before, what was drawn, and what stood in for what the bag lacks; clones share it. One slide's cache
/// must not be used for another.
#[derive(Debug, Clone, Default)]
pub struct DerivedCache {
    lists: Arc<Mutex<BTreeMap<Derived, Arc<Vec<u32>>>>>,
    drawn: Arc<Mutex<BTreeMap<Draw, Drawn>>>,
    substitutes: Arc<Mutex<BTreeMap<Substitute, SubstituteCount>>>,
}

/// What is there by this name, else what `make` makes.
fn known<K: Ord, V>(
    all: &Mutex<BTreeMap<K, Arc<V>>>,
    name: K,
    make: impl FnOnce() -> Result<V>,
) -> Result<Arc<V>> {
    let lock = || all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = lock().get(&name) {
        return Ok(Arc::clone(value));
    }
    let value = Arc::new(make()?);
    lock().insert(name, Arc::clone(&value));
    Ok(value)
}

impl DerivedCache {
    /// The list of this name, computed if it is not there.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn get(&self, name: Derived, compute: impl FnOnce() -> Result<Vec<u32>>) -> Result<Arc<Vec<u32>>> {
        known(&self.lists, name, compute)
    }

    /// A cache for the 20x patches `kept` (in rising order) alone: what was drawn, less the patches that are gone, and nothing else.
    /// A draw of which nothing is left stays as an empty one: several models may have drawn.
    fn of_the_rest(&self, kept: &[u32]) -> Self {
        let renumbered = |patch: &u32| u32::try_from(kept.binary_search(patch).ok()?).ok();
        let less = |lists: &Drawn| {
            let lists = lists.iter().map(|list| list.iter().filter_map(renumbered).collect::<Vec<_>>());
            Arc::new(lists.filter(|list| !list.is_empty()).collect())
        };
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = drawn.iter().map(|(name, lists)| (*name, less(lists))).collect();
        Self { drawn: Arc::new(Mutex::new(drawn)), ..Self::default() }
    }

    /// Notes how many of the slide's patches or places have a substitute; the last count of each stays.
    pub(crate) fn note(&self, substitute: Substitute, n: usize, of: usize) {
        let mut substitutes = self.substitutes.lock().unwrap_or_else(PoisonError::into_inner);
        substitutes.insert(substitute, SubstituteCount { n, of });
    }

    /// What stood in for what the bag lacks, in the passes so far.
    pub fn substitutes(&self) -> BTreeMap<Substitute, SubstituteCount> {
        self.substitutes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every list, by name.
    pub fn lists(&self) -> Vec<(Derived, Arc<Vec<u32>>)> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.iter().map(|(name, list)| (*name, Arc::clone(list))).collect()
    }
}

fn rows<'a, T: Copy>(all: &'a [T], kept: &'a [u32]) -> impl Iterator<Item = T> + 'a {
    kept.iter().filter_map(|&index| all.get(index as usize).copied())
}

impl Patches {
    /// What `bag` says of its patches.
    pub fn of(bag: &Bag) -> Self {
        let facts = |magnification| {
            let Some(set) = bag.get(magnification) else { return PatchFacts::default() };
            PatchFacts {
                coords: set.coords().map(<[_]>::to_vec),
                side: set.geometry().patch_size_level0,
                parents: set.parents().map(<[_]>::to_vec),
                tissue: set.tissue().map(<[_]>::to_vec),
            }
        };
        Self {
            slide_id: bag.slide_id().to_owned(),
            x5: facts(Magnification::X5),
            x10: facts(Magnification::X10),
            x20: facts(Magnification::X20),
            derived: DerivedCache::default(),
        }
    }

    /// [`Self::part`] of a slide of which the rest was taken out: what was drawn of all patches stays drawn.
    pub(crate) fn select(&self, kept: &PatchIndices) -> Self {
        let derived = self.derived.of_the_rest(kept.get(&Magnification::X20).map_or(&[], Vec::as_slice));
        Self { derived, ..self.part(kept) }
    }

    /// The patches at the given indices of each magnification, in their (rising) order; parents that are not among them are lost, and so
    /// is what is not known of a magnification that is not there. Nothing that was derived of all patches holds for these.
    pub fn part(&self, kept: &PatchIndices) -> Self {
        let facts = |magnification: Magnification| {
            let Some(kept_here) = kept.get(&magnification) else { return PatchFacts::default() };
            let above = magnification.coarser().and_then(|coarser| kept.get(&coarser));
            let renumbered = |parent: Option<u32>| {
                let at = above?.binary_search(&parent?).ok()?;
                u32::try_from(at).ok()
            };
            let PatchFacts { coords, side, parents, tissue } = self.at(magnification);
            PatchFacts {
                coords: coords.as_ref().map(|all| rows(all, kept_here).collect()),
                side: *side,
                parents: parents.as_ref().map(|all| rows(all, kept_here).map(renumbered).collect()),
                tissue: tissue.as_ref().map(|all| rows(all, kept_here).collect()),
            }
        };
        Self {
            slide_id: self.slide_id.clone(),
            x5: facts(Magnification::X5),
            x10: facts(Magnification::X10),
            x20: facts(Magnification::X20),
            derived: DerivedCache::default(),
        }
    }

    /// What was drawn before, else what `draw` draws.
    ///
    /// # Errors
    /// Those of `draw`, and [`Error::NothingDrawn`] if these are some of a slide's patches and it drew only others.
    pub(crate) fn drawn(&self, name: Draw, draw: impl FnOnce() -> Result<Vec<Vec<u32>>>) -> Result<Drawn> {
        let drawn = known(&self.derived.drawn, name, draw)?;
        if drawn.is_empty() {
            return Err(Error::NothingDrawn { slide_id: self.slide_id.clone() });
        }
        Ok(drawn)
    }

    /// What is known at one magnification.
    pub fn at(&self, magnification: Magnification) -> &PatchFacts {
        match magnification {
            Magnification::X5 => &self.x5,
            Magnification::X10 => &self.x10,
            Magnification::X20 => &self.x20,
        }
    }

    /// The coordinates at one magnification.
    ///
    /// # Errors
    /// If the bag has none; the error names `model`.
    pub fn coords(&self, magnification: Magnification, model: &'static str) -> Result<&[[i64; 2]]> {
        self.at(magnification)
            .coords
            .as_deref()
            .ok_or_else(|| self.missing(model, magnification, Need::Coordinates))
    }

    /// Row-major `[n, min(k, n - 1)]`: the nearest 20x patches of each by coordinates.
    ///
    /// # Errors
    /// If there are no coordinates; the error names `model`.
    pub fn nearest_places(&self, k: usize, model: &'static str) -> Result<Arc<Vec<u32>>> {
        self.derived.get(Derived::NearestPlaces { k }, || {
            Ok(cf_layers::nearest_places(self.coords(Magnification::X20, model)?, k))
        })
    }

    /// Row-major `[n, min(k, n - 1)]`: the nearest 20x patches of each by their `features`, `[n, d]`.
    ///
    /// # Errors
    /// If `features` is no matrix.
    pub fn nearest_features(&self, features: &Tensor, k: usize) -> Result<Arc<Vec<u32>>> {
        self.derived.get(Derived::NearestFeatures { k }, || {
            let (n, d) = features.dims2()?;
            let values: Vec<f32> = features.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            Ok(cf_layers::nearest_features(&values, n, d, k)?)
        })
    }

    /// For each patch of `fine` the patch of `coarse` whose square holds its centre, else the nearest (see
    /// [`wsi_bags::parents`]).
    ///
    /// Coordinates decide where they are known; else the parents that the bag states, which must then be complete.
    ///
    /// # Errors
    /// If neither is there; the error names `model`.
    pub fn parents(
        &self,
        fine: Magnification,
        coarse: Magnification,
        model: &'static str,
    ) -> Result<Arc<Vec<u32>>> {
        self.derived.get(Derived::Parents { fine, coarse }, || {
            if let (Some(of_fine), Some(of_coarse)) = (self.squares(fine), self.squares(coarse)) {
                let parents = wsi_bags::parents(of_fine, of_coarse)?;
                let substitute = Substitute::NearestParent { fine, coarse };
                self.derived.note(substitute, parents.n_fallbacks, parents.index.len());
                return Ok(parents.index);
            }
            let stated = self.stated_parents(fine, coarse).and_then(|all| all.into_iter().collect());
            stated.ok_or_else(|| self.missing(model, fine, Need::Parents))
        })
    }

    /// [`Self::parents`] by coordinates alone, for who leaves out the patches that lie in no patch of `coarse`: no substitute is noted.
    ///
    /// # Errors
    /// If there are no coordinates or patch sizes; the error names `model`.
    pub(crate) fn holders(
        &self,
        fine: Magnification,
        coarse: Magnification,
        model: &'static str,
    ) -> Result<Vec<u32>> {
        let squares = |at| self.squares(at).ok_or_else(|| self.missing(model, at, Need::Squares));
        Ok(wsi_bags::parents(squares(fine)?, squares(coarse)?)?.index)
    }

    fn squares(&self, magnification: Magnification) -> Option<Squares<'_>> {
        let facts = self.at(magnification);
        Some(Squares { coords: facts.coords.as_deref()?, side: facts.side? })
    }

    /// [`Self::parents`] as far as they are known, and without a list that stays: no substitute is noted.
    ///
    /// # Errors
    /// If coordinates are such as no slide has.
    pub(crate) fn known_parents(
        &self,
        fine: Magnification,
        coarse: Magnification,
    ) -> Result<Option<Vec<Option<u32>>>> {
        if let (Some(of_fine), Some(of_coarse)) = (self.squares(fine), self.squares(coarse)) {
            return Ok(Some(wsi_bags::parents(of_fine, of_coarse)?.index.into_iter().map(Some).collect()));
        }
        Ok(self.stated_parents(fine, coarse))
    }

    /// Parents as far as the bag states them, over one or two steps.
    fn stated_parents(&self, fine: Magnification, coarse: Magnification) -> Option<Vec<Option<u32>>> {
        let parents = self.at(fine).parents.as_ref()?;
        let next = fine.coarser()?;
        if next == coarse {
            return Some(parents.clone());
        }
        let above = self.stated_parents(next, coarse)?;
        let over = |parent: &Option<u32>| *above.get((*parent)? as usize)?;
        Some(parents.iter().map(over).collect())
    }

    fn missing(&self, model: &'static str, magnification: Magnification, need: Need) -> Error {
        Error::MissingFact { slide_id: self.slide_id.clone(), model, magnification, need }
    }
}
