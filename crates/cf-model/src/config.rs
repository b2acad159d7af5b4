//! Which model, and of what size.

mod crossfusion;
mod ranges;

use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::amil::{Amil, AmilConfig};
use crate::crossfusion::{CrossFusion, Variant};
use crate::cs_mil::{CsMil, CsMilConfig};
use crate::deep_graph_surv::{DeepGraphSurv, DeepGraphSurvConfig, DeepGraphSurvForm};
use crate::dsmil::{self, Dsmil, DsmilConfig};
use crate::error::{Error, Result};
use crate::head::Head;
use crate::model::SurvivalModel;
use crate::model_name::ModelName;
use crate::must_mil::{self, MustMil, MustMilConfig};
use crate::needs::Need;
use crate::parameter_counter::ParameterCounter;
use crate::patch_gcn::{self, PatchGcn, PatchGcnConfig};
use crate::proto_surv::{self, ProtoSurv, ProtoSurvConfig};
use crate::scmil::{Scmil, ScmilConfig};
use crate::spectral_graph_surv::SpectralGraphSurv;
use crate::transmil::{TransMil, TransMilConfig};
use crate::zoom_mil::{self, ZoomMil, ZoomMilConfig};

pub use crossfusion::{CrossFusionConfig, ResidualForm, SingleMagnification};
pub(crate) use ranges::{check_at_least_one, check_costly_count, check_probability, check_rising, reject};

/// A model and its own settings; in TOML a table with a `name` and that model's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// The paper's model.
    Crossfusion(CrossFusionConfig),
    /// Fusion by concatenation and projection instead of the Convolutional Processor (Table 1, w/o CP).
    CrossfusionWoCp(CrossFusionConfig),
    /// 20x patches only, no cross-attention (Table 1, w/o F&C).
    CrossfusionWoFc(CrossFusionConfig),
    /// Gated attention pooling.
    Amil(AmilConfig),
    /// Attention to critical patches.
    Dsmil(DsmilConfig),
    /// Nystrom attention in storage order.
    #[serde(rename = "transmil")]
    TransMil(TransMilConfig),
    /// Graph isomorphism layers, or spectral convolutions, on patches.
    #[serde(rename = "deepgraphsurv")]
    DeepGraphSurv(DeepGraphSurvConfig),
    /// Graph convolutions on neighbouring patches.
    #[serde(rename = "patchgcn")]
    PatchGcn(PatchGcnConfig),
    /// Sparse attention within clusters of patches.
    Scmil(ScmilConfig),
    /// Prototypes of tissue classes over a patch graph.
    #[serde(rename = "protosurv")]
    ProtoSurv(ProtoSurvConfig),
    /// Differentiable zooming from 5x to 20x.
    #[serde(rename = "zoommil")]
    ZoomMil(ZoomMilConfig),
    /// One attention per scale and one over all.
    #[serde(rename = "mustmil")]
    MustMil(MustMilConfig),
    /// Cross-scale attention on triples of patches.
    #[serde(rename = "csmil")]
    CsMil(CsMilConfig),
}

impl ModelConfig {
    /// The model of this name with the paper's settings.
    pub fn default_of(name: ModelName) -> Self {
        match name {
            ModelName::Crossfusion => Self::Crossfusion(CrossFusionConfig::default()),
            ModelName::CrossfusionWoCp => Self::CrossfusionWoCp(CrossFusionConfig::default()),
            ModelName::CrossfusionWoFc => Self::CrossfusionWoFc(CrossFusionConfig::default()),
            ModelName::Amil => Self::Amil(AmilConfig::default()),
            ModelName::Dsmil => Self::Dsmil(DsmilConfig::default()),
            ModelName::TransMil => Self::TransMil(TransMilConfig::default()),
            ModelName::DeepGraphSurv => Self::DeepGraphSurv(DeepGraphSurvConfig::default()),
            ModelName::PatchGcn => Self::PatchGcn(PatchGcnConfig::default()),
            ModelName::Scmil => Self::Scmil(ScmilConfig::default()),
            ModelName::ProtoSurv => Self::ProtoSurv(ProtoSurvConfig::default()),
            ModelName::ZoomMil => Self::ZoomMil(ZoomMilConfig::default()),
            ModelName::MustMil => Self::MustMil(MustMilConfig::default()),
            ModelName::CsMil => Self::CsMil(CsMilConfig::default()),
        }
    }

    /// CrossFusion in one of its forms.
    pub fn crossfusion(variant: Variant, settings: CrossFusionConfig) -> Self {
        match variant {
            Variant::Full => Self::Crossfusion(settings),
            Variant::Concat => Self::CrossfusionWoCp(settings),
            Variant::Single => Self::CrossfusionWoFc(settings),
        }
    }

    /// Form and settings, if this is a CrossFusion.
    pub fn as_crossfusion(&self) -> Option<(Variant, &CrossFusionConfig)> {
        match self {
            Self::Crossfusion(settings)
            | Self::CrossfusionWoCp(settings)
            | Self::CrossfusionWoFc(settings) => self.name().variant().map(|variant| (variant, settings)),
            Self::Amil(_)
            | Self::Dsmil(_)
            | Self::TransMil(_)
            | Self::DeepGraphSurv(_)
            | Self::PatchGcn(_)
            | Self::Scmil(_)
            | Self::ProtoSurv(_)
            | Self::ZoomMil(_)
            | Self::MustMil(_)
            | Self::CsMil(_) => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> ModelName {
        match self {
            Self::Crossfusion(_) => ModelName::Crossfusion,
            Self::CrossfusionWoCp(_) => ModelName::CrossfusionWoCp,
            Self::CrossfusionWoFc(_) => ModelName::CrossfusionWoFc,
            Self::Amil(_) => ModelName::Amil,
            Self::Dsmil(_) => ModelName::Dsmil,
            Self::TransMil(_) => ModelName::TransMil,
            Self::DeepGraphSurv(_) => ModelName::DeepGraphSurv,
            Self::PatchGcn(_) => ModelName::PatchGcn,
            Self::Scmil(_) => ModelName::Scmil,
            Self::ProtoSurv(_) => ModelName::ProtoSurv,
            Self::ZoomMil(_) => ModelName::ZoomMil,
            Self::MustMil(_) => ModelName::MustMil,
            Self::CsMil(_) => ModelName::CsMil,
        }
    }

    /// Tests every setting without building anything.
    ///
    /// # Errors
    /// If a setting is out of its range; the error names it.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::CrossfusionWoFc(settings) => settings.check(),
            Self::Crossfusion(settings) | Self::CrossfusionWoCp(settings) => {
                if settings.single_magnification != SingleMagnification::X20 {
                    let expected = "nothing: this form reads all three magnifications";
                    return reject("single_magnification", "x10", expected);
                }
                settings.check()
            }
            Self::Amil(_) => Ok(()),
            Self::Dsmil(settings) => settings.check(),
            Self::TransMil(settings) => settings.check(),
            Self::DeepGraphSurv(settings) => settings.check(),
            Self::PatchGcn(settings) => settings.check(),
            Self::Scmil(settings) => settings.check(),
            Self::ProtoSurv(settings) => settings.check(),
            Self::ZoomMil(settings) => settings.check(),
            Self::MustMil(settings) => settings.check(),
            Self::CsMil(settings) => settings.check(),
        }
    }

    /// Whether evaluation draws from a random stream (see [`CrossFusionConfig::attention_dropout_at_eval`]).
    pub fn random_at_eval(&self) -> bool {
        self.as_crossfusion().is_some_and(|(_, settings)| {
            settings.attention_dropout_at_eval && settings.attention_dropout > 0.0
        })
    }

    /// The magnifications that the model reads.
    pub fn magnifications(&self) -> &'static [Magnification] {
        match self {
            Self::Crossfusion(settings) => settings.magnifications(Variant::Full),
            Self::CrossfusionWoCp(settings) => settings.magnifications(Variant::Concat),
            Self::CrossfusionWoFc(settings) => settings.magnifications(Variant::Single),
            Self::Amil(_)
            | Self::Dsmil(_)
            | Self::TransMil(_)
            | Self::DeepGraphSurv(_)
            | Self::PatchGcn(_)
            | Self::Scmil(_)
            | Self::ProtoSurv(_) => &[Magnification::X20],
            Self::MustMil(settings) => settings.magnifications(),
            Self::ZoomMil(_) | Self::CsMil(_) => &Magnification::ALL,
        }
    }

    /// What the model needs of a bag beside the features.
    pub fn needs(&self) -> &'static [Need] {
        match self {
            Self::Crossfusion(_)
            | Self::CrossfusionWoCp(_)
            | Self::CrossfusionWoFc(_)
            | Self::Amil(_)
            | Self::Dsmil(_)
            | Self::TransMil(_) => &[],
            Self::DeepGraphSurv(settings) => settings.needs(),
            Self::PatchGcn(_) | Self::Scmil(_) => &[Need::Coordinates],
            Self::ProtoSurv(settings) => settings.needs(),
            Self::ZoomMil(_) => &[Need::Squares],
            Self::MustMil(_) | Self::CsMil(_) => &[Need::Parents],
        }
    }

    /// What the model ends with.
    pub fn head(&self) -> Head {
        match self {
            Self::Scmil(settings) => settings.head(),
            Self::ProtoSurv(settings) => settings.head.with(settings.baseline),
            Self::DeepGraphSurv(settings) => settings.head.with(settings.baseline),
            Self::Crossfusion(_)
            | Self::CrossfusionWoCp(_)
            | Self::CrossfusionWoFc(_)
            | Self::Amil(_)
            | Self::Dsmil(_)
            | Self::TransMil(_)
            | Self::PatchGcn(_)
            | Self::ZoomMil(_)
            | Self::MustMil(_)
            | Self::CsMil(_) => Head::Hazards,
        }
    }

    /// The same model that knows what `head`, of its kind, knows of time.
    #[must_use]
    pub fn with_head(mut self, head: Head) -> Self {
        match (&mut self, head) {
            (Self::Scmil(settings), Head::TimeMixture { bin_ends_months }) => {
                settings.bin_ends_months = bin_ends_months;
            }
            (Self::ProtoSurv(settings), Head::LogRisk { baseline }) => settings.baseline = baseline,
            (Self::DeepGraphSurv(settings), Head::LogRisk { baseline }) => settings.baseline = baseline,
            _ => {}
        }
        self
    }

    /// Whether the training loss counts other logits beside the model's output.
    pub fn has_auxiliary_outputs(&self) -> bool {
        match self {
            Self::Dsmil(settings) => settings.instance_loss_weight > 0.0,
            Self::MustMil(settings) => settings.scale_loss_weight > 0.0,
            Self::Crossfusion(_)
            | Self::CrossfusionWoCp(_)
            | Self::CrossfusionWoFc(_)
            | Self::Amil(_)
            | Self::TransMil(_)
            | Self::DeepGraphSurv(_)
            | Self::PatchGcn(_)
            | Self::Scmil(_)
            | Self::ProtoSurv(_)
            | Self::ZoomMil(_)
            | Self::CsMil(_) => false,
        }
    }

    /// Whether a parameter stays as it was drawn, because no gradient of this configuration's loss reaches it.
    pub fn is_dead(&self, parameter: &str) -> bool {
        match self {
            Self::Dsmil(settings) => {
                settings.instance_loss_weight == 0.0 && dsmil::INSTANCE_STREAM.contains(&parameter)
            }
            Self::PatchGcn(_) => patch_gcn::DEAD.contains(&parameter),
            Self::ProtoSurv(_) => proto_surv::DEAD.contains(&parameter),
            Self::MustMil(settings) => {
                settings.scale_loss_weight == 0.0 && must_mil::is_of_scale_output(parameter)
            }
            Self::Crossfusion(_)
            | Self::CrossfusionWoCp(_)
            | Self::CrossfusionWoFc(_)
            | Self::Amil(_)
            | Self::TransMil(_)
            | Self::DeepGraphSurv(_)
            | Self::Scmil(_)
            | Self::ZoomMil(_)
            | Self::CsMil(_) => false,
        }
    }

    /// Whether a parameter gets no gradient in evaluation mode: it is dead, or steers a choice that only training relaxes.
    pub fn is_without_gradient_at_eval(&self, parameter: &str) -> bool {
        self.is_dead(parameter)
            || matches!(self, Self::ZoomMil(_))
                && zoom_mil::ZOOM_HEADS.iter().any(|head| parameter.starts_with(head))
    }

    /// Builds the model for features of `backbone_dim` columns with the parameters of `vb`.
    ///
    /// # Errors
    /// If a setting is out of its range, or a parameter is missing or has another shape.
    pub fn build(&self, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Box<dyn SurvivalModel>> {
        self.check()?;
        if backbone_dim == 0 {
            return Err(Error::Config { field: "backbone_dim", found: "0".into(), expected: "at least 1" });
        }
        let dim = backbone_dim;
        Ok(match self {
            Self::Crossfusion(settings) => Box::new(CrossFusion::new(Variant::Full, settings, dim, vb)?),
            Self::CrossfusionWoCp(settings) => {
                Box::new(CrossFusion::new(Variant::Concat, settings, dim, vb)?)
            }
            Self::CrossfusionWoFc(settings) => {
                Box::new(CrossFusion::new(Variant::Single, settings, dim, vb)?)
            }
            Self::Amil(settings) => Box::new(Amil::new(settings, dim, vb)?),
            Self::Dsmil(settings) => Box::new(Dsmil::new(settings, dim, vb)?),
            Self::TransMil(settings) => Box::new(TransMil::new(settings, dim, vb)?),
            Self::DeepGraphSurv(settings) => match settings.form {
                DeepGraphSurvForm::Gin => Box::new(DeepGraphSurv::new(settings, dim, vb)?),
                DeepGraphSurvForm::Spectral => Box::new(SpectralGraphSurv::new(settings, dim, vb)?),
            },
            Self::PatchGcn(settings) => Box::new(PatchGcn::new(settings, dim, vb)?),
            Self::Scmil(settings) => Box::new(Scmil::new(settings, dim, vb)?),
            Self::ProtoSurv(settings) => Box::new(ProtoSurv::new(settings, dim, vb)?),
            Self::ZoomMil(settings) => Box::new(ZoomMil::new(settings, dim, vb)?),
            Self::MustMil(settings) => Box::new(MustMil::new(settings, dim, vb)?),
            Self::CsMil(settings) => Box::new(CsMil::new(settings, dim, vb)?),
        })
    }

    /// The number of trainable scalars, without allocating them.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn n_parameters(&self, backbone_dim: usize) -> Result<usize> {
        let counter = ParameterCounter::default();
        self.build(backbone_dim, counter.builder())?;
        Ok(counter.n_parameters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_the_published_ones() {
        let count = |name, dim| ModelConfig::default_of(name).n_parameters(dim).unwrap();
        assert_eq!(count(ModelName::Crossfusion, 2048), 24_536_584);
        assert_eq!(count(ModelName::CrossfusionWoCp, 2048), 25_147_908);
        assert_eq!(count(ModelName::CrossfusionWoFc, 2048), 9_730_564);
        assert_eq!(count(ModelName::Crossfusion, 1024), 22_963_720);
        assert_eq!(count(ModelName::CrossfusionWoCp, 1024), 23_575_044);
        assert_eq!(count(ModelName::CrossfusionWoFc, 1024), 9_206_276);
    }

    #[test]
    fn each_setting_out_of_range_is_named() {
        let bad = [
            ("embed_dim", CrossFusionConfig { embed_dim: 30, ..Default::default() }),
            ("embed_dim", CrossFusionConfig { embed_dim: 15, num_heads: 3, ..Default::default() }),
            ("embed_dim", CrossFusionConfig { embed_dim: 0, ..Default::default() }),
            ("num_heads", CrossFusionConfig { num_heads: 0, ..Default::default() }),
            ("num_layers", CrossFusionConfig { num_layers: 0, ..Default::default() }),
            ("mlp_ratio", CrossFusionConfig { mlp_ratio: f64::NAN, ..Default::default() }),
            ("mlp_ratio", CrossFusionConfig { mlp_ratio: -2.0, ..Default::default() }),
            ("dropout", CrossFusionConfig { dropout: 1.0, ..Default::default() }),
            ("attention_dropout", CrossFusionConfig { attention_dropout: -0.1, ..Default::default() }),
        ];
        for (field, settings) in bad {
            let text = ModelConfig::Crossfusion(settings).check().unwrap_err().to_string();
            assert!(text.contains(&format!("model.{field} is")), "{text}");
        }
    }

    #[test]
    fn numbers_beyond_all_measure_are_refused() {
        let models = [
            r#"{"name":"crossfusion","num_heads":18446744073709551615}"#,
            r#"{"name":"csmil","num_eval_bags":18446744073709551615}"#,
            r#"{"name":"zoommil","num_noise_samples":18446744073709551615}"#,
            r#"{"name":"patchgcn","num_neighbours":18446744073709551615}"#,
            r#"{"name":"scmil","project_to":18446744073709551615}"#,
            r#"{"name":"crossfusion","num_layers":1000000000}"#,
            r#"{"name":"crossfusion","embed_dim":18446744073709551612}"#,
            r#"{"name":"crossfusion","mlp_ratio":1e300}"#,
        ];
        for model in models {
            let config: ModelConfig = serde_json::from_str(model).unwrap();
            assert!(matches!(config.check(), Err(Error::Config { .. })), "{model}");
        }
    }
}
