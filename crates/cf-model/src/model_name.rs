//! The names of the models, as command lines and files write them.

use std::fmt;
use std::str::FromStr;

use crate::crossfusion::Variant;

/// The names that `--model` and `model.name` accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelName {
    /// `crossfusion`.
    Crossfusion,
    /// `crossfusion-wo-cp`.
    CrossfusionWoCp,
    /// `crossfusion-wo-fc`.
    CrossfusionWoFc,
    /// `amil`.
    Amil,
    /// `dsmil`.
    Dsmil,
    /// `transmil`.
    TransMil,
    /// `deepgraphsurv`.
    DeepGraphSurv,
    /// `patchgcn`.
    PatchGcn,
    /// `scmil`.
    Scmil,
    /// `protosurv`.
    ProtoSurv,
    /// `zoommil`.
    ZoomMil,
    /// `mustmil`.
    MustMil,
    /// `csmil`.
    CsMil,
}

impl ModelName {
    /// Every model, in the order of Table 1.
    pub const ALL: [Self; 13] = [
        Self::Crossfusion,
        Self::CrossfusionWoCp,
        Self::CrossfusionWoFc,
        Self::Amil,
        Self::Dsmil,
        Self::TransMil,
        Self::DeepGraphSurv,
        Self::PatchGcn,
        Self::Scmil,
        Self::ProtoSurv,
        Self::ZoomMil,
        Self::MustMil,
        Self::CsMil,
    ];

    /// The name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crossfusion => "crossfusion",
            Self::CrossfusionWoCp => "crossfusion-wo-cp",
            Self::CrossfusionWoFc => "crossfusion-wo-fc",
            Self::Amil => "amil",
            Self::Dsmil => "dsmil",
            Self::TransMil => "transmil",
            Self::DeepGraphSurv => "deepgraphsurv",
            Self::PatchGcn => "patchgcn",
            Self::Scmil => "scmil",
            Self::ProtoSurv => "protosurv",
            Self::ZoomMil => "zoommil",
            Self::MustMil => "mustmil",
            Self::CsMil => "csmil",
        }
    }

    /// Where the model is described.
    pub fn paper(self) -> &'static str {
        match self {
            Self::Crossfusion => "Soraki et al., arXiv 2503.02064",
            Self::CrossfusionWoCp => "Soraki et al., arXiv 2503.02064, Table 1, w/o CP",
            Self::CrossfusionWoFc => "Soraki et al., arXiv 2503.02064, Table 1, w/o F&C",
            Self::Amil => "Ilse et al., ICML 2018",
            Self::Dsmil => "Li et al., CVPR 2021",
            Self::TransMil => "Shao et al., NeurIPS 2021",
            Self::DeepGraphSurv => {
                "Li et al., MICCAI 2018; graph isomorphism form of Chen et al., MICCAI 2021"
            }
            Self::PatchGcn => "Chen et al., MICCAI 2021",
            Self::Scmil => "Yang et al., MICCAI 2024",
            Self::ProtoSurv => "Wu et al., NeurIPS 2024",
            Self::ZoomMil => "Thandiackal et al., ECCV 2022",
            Self::MustMil => "Marini et al., COMPAY 2021",
            Self::CsMil => "Deng et al., MMMI 2022",
        }
    }

    /// Which form of CrossFusion it is, if it is one.
    pub fn variant(self) -> Option<Variant> {
        match self {
            Self::Crossfusion => Some(Variant::Full),
            Self::CrossfusionWoCp => Some(Variant::Concat),
            Self::CrossfusionWoFc => Some(Variant::Single),
            Self::Amil
            | Self::Dsmil
            | Self::TransMil
            | Self::DeepGraphSurv
            | Self::PatchGcn
            | Self::Scmil
            | Self::ProtoSurv
            | Self::ZoomMil
            | Self::MustMil
            | Self::CsMil => None,
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|name| name.as_str()).collect();
            format!("unknown model `{text}` (known models: {})", known.join(", "))
        })
    }
}
