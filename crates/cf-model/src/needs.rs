//! What a model needs of a bag beside features, the check that it is there, and what it does with the features.

use wsi_bags::{Bag, Magnification, PatchSet};

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Something that a bag may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Coordinates of the 20x patches.
    Coordinates,
    /// For every patch the coarser one that holds it: from coordinates and patch sizes, or as the bag states it.
    Parents,
    /// Coordinates and patch sizes at every magnification that the model reads.
    Squares,
    /// A tissue class for each 20x patch.
    TissueClasses,
}

impl Need {
    /// The need in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinates => "coordinates",
            Self::Parents => "parents",
            Self::Squares => "coordinates and patch sizes",
            Self::TissueClasses => "tissue classes",
        }
    }

    /// Refuses a bag without it.
    pub(crate) fn check(
        self,
        bag: &Bag,
        magnifications: &[Magnification],
        model: &'static str,
    ) -> Result<()> {
        let missing = |magnification, what| {
            Err(Error::MissingFact { slide_id: bag.slide_id().to_owned(), model, magnification, what })
        };
        let has_squares = |set: Option<&PatchSet>| {
            set.is_some_and(|set| set.coords().is_some() && set.geometry().patch_size_level0.is_some())
        };
        match self {
            Self::Coordinates => match bag.get(Magnification::X20).and_then(PatchSet::coords) {
                Some(_) => Ok(()),
                None => missing(Magnification::X20, "coordinates"),
            },
            Self::TissueClasses => match bag.get(Magnification::X20).and_then(PatchSet::tissue) {
                Some(_) => Ok(()),
                None => missing(Magnification::X20, "tissue classes"),
            },
            Self::Squares => match magnifications.iter().copied().find(|&at| !has_squares(bag.get(at))) {
                None => Ok(()),
                Some(at) => missing(at, "coordinates with a patch size"),
            },
            Self::Parents => {
                if magnifications.iter().all(|&at| has_squares(bag.get(at))) {
                    return Ok(());
                }
                let is_stated = |set: &PatchSet| set.parents().is_some_and(|p| p.iter().all(Option::is_some));
                let coarsest = magnifications.iter().min();
                let fine = magnifications.iter().filter(|at| Some(*at) != coarsest);
                match fine.copied().find(|&at| !bag.get(at).is_some_and(is_stated)) {
                    None => Ok(()),
                    Some(at) => missing(at, "coordinates with a patch size, or a parent for each patch,"),
                }
            }
        }
    }
}

impl ModelConfig {
    /// Whether features of `backbone_dim` columns are known to go into linear layers and nowhere else, so that they may be rounded as
    /// the operands of these are.
    pub fn only_projects_features(&self, backbone_dim: usize) -> bool {
        self.as_crossfusion().is_some_and(|(_, settings)| settings.embed_dim != backbone_dim)
    }
}
