//! What a model needs of a bag beside features, the check that it is there, and what it does with the features.

use candle_core::{DType, Device};
use cf_layers::kernels::device;
use wsi_bags::{Bag, Magnification, PatchSet};

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Something that a bag may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// What must be known of patches, as errors say it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Coordinates => "coordinates",
            Self::Parents => "coordinates with a patch size, or a parent for each patch,",
            Self::Squares => "coordinates with a patch size",
            Self::TissueClasses => "tissue classes",
        }
    }

    /// Refuses the bag of `slide_id`, of whose patches `known` tells what is known, without it.
    fn check(
        self,
        slide_id: &str,
        known: &dyn Fn(Magnification) -> KnownFacts,
        (model, magnifications): (&'static str, &[Magnification]),
    ) -> Result<()> {
        let needed_at = |magnification: Magnification, is_there: bool| match is_there {
            true => Ok(()),
            false => {
                Err(Error::MissingFact { slide_id: slide_id.to_owned(), model, magnification, need: self })
            }
        };
        let at_20x = known(Magnification::X20);
        match self {
            Self::Coordinates => needed_at(Magnification::X20, at_20x.coords),
            Self::TissueClasses => needed_at(Magnification::X20, at_20x.tissue),
            Self::Squares => magnifications.iter().try_for_each(|&at| needed_at(at, known(at).is_square())),
            Self::Parents if magnifications.iter().all(|&at| known(at).is_square()) => Ok(()),
            Self::Parents => {
                let coarsest = magnifications.iter().min();
                let mut fine = magnifications.iter().filter(|at| Some(*at) != coarsest);
                fine.try_for_each(|&at| needed_at(at, known(at).parents))
            }
        }
    }
}

/// What is known of the patches of one magnification beside their features; nothing where a bag has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownFacts {
    /// Coordinates.
    pub coords: bool,
    /// The side of a patch in level-0 pixels.
    pub side: bool,
    /// The coarser patch that holds each.
    pub parents: bool,
    /// Tissue classes.
    pub tissue: bool,
}

impl KnownFacts {
    fn is_square(self) -> bool {
        self.coords && self.side
    }
}

impl From<&PatchSet> for KnownFacts {
    fn from(set: &PatchSet) -> Self {
        Self {
            coords: set.coords().is_some(),
            side: set.geometry().patch_size_level0.is_some(),
            parents: set.parents().is_some_and(|parents| parents.iter().all(Option::is_some)),
            tissue: set.tissue().is_some(),
        }
    }
}

impl ModelConfig {
    /// Refuses a bag that lacks something that the model needs.
    ///
    /// # Errors
    /// If it does; the error names the slide, the model and what is missing.
    pub fn check_bag(&self, bag: &Bag) -> Result<()> {
        self.check_known(bag.slide_id(), |at| bag.get(at).map_or_else(KnownFacts::default, KnownFacts::from))
    }

    /// [`Self::check_bag`] of a bag of which no more is known than what it has.
    ///
    /// # Errors
    /// As [`Self::check_bag`].
    pub fn check_known(&self, slide_id: &str, known: impl Fn(Magnification) -> KnownFacts) -> Result<()> {
        let model = (self.name().as_str(), self.magnifications());
        self.needs().iter().try_for_each(|need| need.check(slide_id, &known, model))
    }

    /// Whether features of `backbone_dim` columns are known to go into linear layers and nowhere else, so that they may be rounded as
    /// the operands of these are.
    pub fn only_projects_features(&self, backbone_dim: usize) -> bool {
        self.as_crossfusion().is_some_and(|(_, settings)| settings.embed_dim != backbone_dim)
    }

    /// The type in which a model that computes in `compute` takes features of `backbone_dim` columns on `device`: that of operands where it
    /// makes no difference, which on a GPU is half the memory, else that of all else.
    pub fn feature_type(&self, backbone_dim: usize, device: &Device, compute: DType) -> DType {
        let stored = device::stored_type(compute);
        match self.only_projects_features(backbone_dim) {
            true => device::operand_type(device, stored, compute.into()),
            false => stored,
        }
    }
}
