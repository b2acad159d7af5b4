//! Survival models on bags of patch features: CrossFusion (Soraki et al., arXiv 2503.02064), its ablations, and the ten methods
//! that its paper compares with.
//!
//! | model | file | magnifications |
//! |---|---|---|
//! | `crossfusion` | `crossfusion.rs` | 5x, 10x, 20x |
//! | `crossfusion-wo-cp` | `crossfusion.rs`, fusion by concatenation | 5x, 10x, 20x |
//! | `crossfusion-wo-fc` | `crossfusion.rs`, one scale | 20x |
//! | `amil` | `amil.rs` | 20x |
//! | `dsmil` | `dsmil.rs` | 20x |
//! | `transmil` | `transmil.rs` | 20x |
//! | `deepgraphsurv` | `deep_graph_surv.rs`; `spectral_graph_surv.rs`, its form of 2018 | 20x |
//! | `patchgcn` | `patch_gcn.rs` | 20x and coordinates |
//! | `scmil` | `scmil.rs` | 20x and coordinates |
//! | `protosurv` | `proto_surv.rs` | 20x, coordinates, tissue classes |
//! | `zoommil` | `zoom_mil.rs` | 5x, 10x, 20x, coordinates, patch sizes |
//! | `mustmil` | `must_mil.rs` | 5x, 10x, 20x, parents |
//! | `csmil` | `cs_mil.rs` | 5x, 10x, 20x, parents |
//!
//! A model is built from a [`ModelConfig`] and a parameter store, maps the tensors of one slide to the numbers of its
//! head (four logits of hazards, if nothing else is asked for), and knows nothing of files of patients, training or metrics.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use cf_model::{BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ParamStore};
//!
//! let config = ModelConfig::Crossfusion(CrossFusionConfig { embed_dim: 32, ..CrossFusionConfig::default() });
//! let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
//! let model = config.build(48, store.builder())?;
//! let patches = |n: usize| Tensor::ones((n, 48), DType::F32, &Device::Cpu);
//! let bag = BagTensors { x5: Some(patches(2)?), x10: Some(patches(7)?), x20: Some(patches(28)?), ..BagTensors::default() };
//! let output = model.forward(&bag, &mut ForwardCtx::eval())?;
//! let survival = output.survival()?;
//! assert!(survival[0] > survival[3]);
//! assert!((output.risk()? + survival.iter().sum::<f64>()).abs() < 1e-12);
//! # Ok::<(), cf_model::Error>(())
//! ```

mod amil;
mod attribution;
mod augmentation;
mod config;
mod crossfusion;
mod cs_mil;
mod deep_graph_surv;
mod discrete_time;
mod dsmil;
mod error;
mod families;
mod head;
mod input;
mod model;
mod model_name;
mod must_mil;
mod needs;
mod occlusion;
mod parameter_counter;
mod patch_gcn;
mod patches;
mod proto_surv;
mod prototype_attention;
mod prototype_losses;
mod quadtree;
mod scmil;
mod spectral_graph_surv;
mod substitutes;
mod time_mixture;
mod transmil;
pub mod weights;
mod zoom_mil;

pub use amil::{Amil, AmilConfig, AmilForm};
pub use attribution::{Attribution, AttributionLayer, Module, attribute};
pub use cf_layers::{ForwardCtx, Mode, ParamStore, Record, Residual, kernels, random};
pub use config::{CrossFusionConfig, ModelConfig, ResidualForm, SingleMagnification};
pub use crossfusion::{CrossFusion, Variant};
pub use cs_mil::{CrossScaleNorm, CsMil, CsMilConfig, TripleSampling};
pub use deep_graph_surv::{DeepGraphSurv, DeepGraphSurvConfig, DeepGraphSurvForm, GraphEdges};
pub use discrete_time::{DiscreteSurvival, N_BINS};
pub use dsmil::{Dsmil, DsmilConfig};
pub use error::{Error, Result};
pub use families::PatchIndices;
pub use head::{Head, HeadOutput, RiskHead};
pub use input::BagTensors;
pub use model::{SurvivalModel, SurvivalOutput};
pub use model_name::ModelName;
pub use must_mil::{MustMil, MustMilConfig};
pub use needs::{KnownFacts, Need};
pub use occlusion::occlude;
pub use patch_gcn::{PatchGcn, PatchGcnConfig};
pub use patches::{Derived, DerivedCache, PatchFacts, Patches};
pub use proto_surv::{ProtoSurv, ProtoSurvConfig, TissuePrior};
pub use scmil::{Scmil, ScmilConfig, ScmilHead};
pub use spectral_graph_surv::{GraphMetric, SpectralGraphSurv};
pub use substitutes::{Substitute, SubstituteCount};
pub use time_mixture::{MixtureLoss, TimeMixture};
pub use transmil::{TransMil, TransMilConfig};
pub use zoom_mil::{ZoomMil, ZoomMilConfig};
