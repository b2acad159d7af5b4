//! A bag: the patches of one slide at each magnification.

use crate::error::{Error, ErrorKind, Result};
use crate::magnification::Magnification;
use crate::patch_set::PatchSet;

/// All patches of one slide: one [`PatchSet`] per magnification, all with features of the same width.
///
/// A bag that exists is valid: see [`Bag::new`]. Code that takes one checks nothing twice.
///
/// ```
/// use wsi_bags::{Bag, ErrorKind, FeatureMatrix, Magnification, PatchSet};
///
/// let coarse = PatchSet::new(FeatureMatrix::new(vec![0.5; 2 * 4], 2, 4)?);
/// let fine = PatchSet::new(FeatureMatrix::new(vec![0.25; 8 * 4], 8, 4)?);
/// let bag = Bag::new("slide-1", [(Magnification::X20, fine), (Magnification::X5, coarse)])?;
///
/// assert_eq!(bag.at(Magnification::X20)?.n_patches(), 8);
/// let error = bag.at(Magnification::X10).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::MissingMagnification { wanted: Magnification::X10, .. }));
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Bag {
    slide_id: String,
    // Sorted from coarse to fine; never empty.
    sets: Vec<(Magnification, PatchSet)>,
}

impl Bag {
    /// Puts the sets of one slide together, in any order.
    ///
    /// # Errors
    /// [`ErrorKind::EmptyBag`] without any set, [`ErrorKind::DuplicateMagnification`], [`ErrorKind::FeatureDim`] if
    /// widths differ, and [`ErrorKind::Parent`] if a parent index lies outside the next coarser magnification (not
    /// checked where that magnification is absent) or if 5x patches state parents. The place in the error is the
    /// slide and magnification.
    pub fn new(
        slide_id: impl Into<String>,
        sets: impl IntoIterator<Item = (Magnification, PatchSet)>,
    ) -> Result<Self> {
        let mut bag = Self { slide_id: slide_id.into(), sets: sets.into_iter().collect() };
        bag.sets.sort_by_key(|(magnification, _)| *magnification);
        match bag.check() {
            Ok(()) => Ok(bag),
            Err((None, kind)) => Err(Error::from(kind).at_place(format_args!("slide {}", bag.slide_id))),
            Err((Some(magnification), kind)) => {
                Err(Error::from(kind).at_place(format_args!("slide {}, {magnification}", bag.slide_id)))
            }
        }
    }

    fn check(&self) -> Result<(), (Option<Magnification>, ErrorKind)> {
        let Some((_, first)) = self.sets.first() else {
            return Err((None, ErrorKind::EmptyBag));
        };
        if let Some(pair) = self.sets.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err((None, ErrorKind::DuplicateMagnification { magnification: pair[0].0 }));
        }
        let expected = first.features().dim();
        for (magnification, set) in &self.sets {
            let found = set.features().dim();
            if found != expected {
                return Err((Some(*magnification), ErrorKind::FeatureDim { expected, found }));
            }
            self.check_parents(*magnification, set).map_err(|kind| (Some(*magnification), kind))?;
        }
        Ok(())
    }

    fn check_parents(&self, magnification: Magnification, set: &PatchSet) -> Result<(), ErrorKind> {
        let Some(parents) = set.parents() else {
            return Ok(());
        };
        let n_coarser =
            magnification.coarser().and_then(|coarser| self.get(coarser)).map(PatchSet::n_patches);
        check_parents(magnification, parents, n_coarser)
    }

    /// The slide this bag was cut from.
    #[must_use]
    pub fn slide_id(&self) -> &str {
        &self.slide_id
    }

    /// The patches at `magnification`.
    ///
    /// # Errors
    /// [`ErrorKind::MissingMagnification`] with those that are present.
    pub fn at(&self, magnification: Magnification) -> Result<&PatchSet> {
        self.get(magnification).ok_or_else(|| {
            Error::from(ErrorKind::MissingMagnification {
                wanted: magnification,
                present: self.magnifications().collect(),
            })
            .at_place(format_args!("slide {}", self.slide_id))
        })
    }

    /// The patches at `magnification`, if there are any.
    #[must_use]
    pub fn get(&self, magnification: Magnification) -> Option<&PatchSet> {
        self.sets.iter().find(|(present, _)| *present == magnification).map(|(_, set)| set)
    }

    /// The magnifications that are present, coarse to fine.
    pub fn magnifications(&self) -> impl Iterator<Item = Magnification> + '_ {
        self.sets.iter().map(|(magnification, _)| *magnification)
    }

    /// The sets with their magnifications, coarse to fine.
    pub fn sets(&self) -> impl Iterator<Item = (Magnification, &PatchSet)> + '_ {
        self.sets.iter().map(|(magnification, set)| (*magnification, set))
    }

    /// The width of the features, the same at every magnification.
    #[must_use]
    pub fn feature_dim(&self) -> usize {
        // `new` refuses a bag without sets; 0 is never seen.
        self.sets.first().map_or(0, |(_, set)| set.features().dim())
    }
}

/// Refuses parents that lie outside the next coarser magnification, which has `n_coarser` patches where it is present.
pub(crate) fn check_parents(
    magnification: Magnification,
    parents: &[Option<u32>],
    n_coarser: Option<usize>,
) -> Result<(), ErrorKind> {
    let (limit, coarser) = match (magnification.coarser(), n_coarser) {
        (None, _) => (0, "there is no coarser magnification".to_owned()),
        (Some(_), None) => return Ok(()),
        (Some(coarser), Some(n_patches)) => (n_patches, format!("{coarser} has {n_patches} patches")),
    };
    // Written so that a `u32` index is compared without narrowing the count.
    let outside = |parent: u32| usize::try_from(parent).map_or(true, |parent| parent >= limit);
    let mut stated = parents.iter().enumerate().filter_map(|(idx, parent)| Some((idx, (*parent)?)));
    match stated.find(|(_, parent)| outside(*parent)) {
        None => Ok(()),
        Some((patch_idx, parent)) => Err(ErrorKind::Parent { patch_idx, parent: i64::from(parent), coarser }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FeatureMatrix;
    use Magnification::{X5, X10, X20};

    fn patches(n_patches: usize, dim: usize) -> PatchSet {
        PatchSet::new(FeatureMatrix::new(vec![1.0; n_patches * dim], n_patches, dim).unwrap())
    }

    #[test]
    fn sets_are_kept_from_coarse_to_fine() {
        let bag = Bag::new("s", [(X20, patches(4, 2)), (X5, patches(1, 2)), (X10, patches(2, 2))]).unwrap();
        assert_eq!(bag.magnifications().collect::<Vec<_>>(), Magnification::ALL);
        assert_eq!(bag.sets().map(|(_, set)| set.n_patches()).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(bag.feature_dim(), 2);
    }

    #[test]
    fn a_bag_without_sets_is_empty() {
        let error = Bag::new("s", []).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::EmptyBag));
        assert_eq!(error.place(), Some("slide s"));
    }

    #[test]
    fn a_magnification_given_twice_is_refused() {
        let error = Bag::new("s", [(X5, patches(1, 2)), (X5, patches(1, 2))]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::DuplicateMagnification { magnification: X5 }));
    }

    #[test]
    fn differing_widths_name_the_magnification() {
        let error = Bag::new("s", [(X5, patches(1, 2)), (X20, patches(4, 3))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "slide s, x20: features have 3 columns, expected 2 as in the other magnifications"
        );
    }

    #[test]
    fn a_missing_magnification_names_those_present() {
        let bag = Bag::new("s", [(X5, patches(1, 2)), (X20, patches(4, 2))]).unwrap();
        assert_eq!(bag.at(X10).unwrap_err().to_string(), "slide s: no x10 patches; present: x5, x20");
        assert!(bag.get(X10).is_none());
    }

    #[test]
    fn a_parent_outside_the_coarser_set_is_refused() {
        let child = |parent| patches(2, 1).with_parents(vec![None, Some(parent)]).unwrap();
        assert!(Bag::new("s", [(X10, patches(3, 1)), (X20, child(2))]).is_ok());
        let error = Bag::new("s", [(X10, patches(3, 1)), (X20, child(3))]).unwrap_err();
        assert_eq!(error.to_string(), "slide s, x20: patch 1 has parent 3, but x10 has 3 patches");
        assert!(
            Bag::new("s", [(X5, patches(1, 1)), (X20, child(3))]).is_ok(),
            "10x is not there to check against"
        );
    }

    #[test]
    fn the_coarsest_patches_have_no_parents() {
        let error = Bag::new("s", [(X5, patches(1, 1).with_parents(vec![Some(0)]).unwrap())]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Parent { patch_idx: 0, parent: 0, .. }));
    }
}
