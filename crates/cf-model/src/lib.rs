//! Survival models on bags of patch features: CrossFusion (Soraki et al., arXiv 2503.02064) and its ablations.
//!
//! | model | file | magnifications |
//! |---|---|---|
//! | `crossfusion` | `crossfusion.rs` | 5x, 10x, 20x |
//! | `crossfusion-wo-cp` | `crossfusion.rs`, fusion by concatenation | 5x, 10x, 20x |
//! | `crossfusion-wo-fc` | `crossfusion.rs`, one scale | 20x |
//!
//! A model is built from a [`ModelConfig`] and a parameter store, maps the tensors of one slide to four logits, and
//! knows nothing of files of patients, training or metrics.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use cf_model::{BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ParamStore};
//!
//! let config = ModelConfig::Crossfusion(CrossFusionConfig { embed_dim: 32, ..CrossFusionConfig::default() });
//! let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
//! let model = config.build(48, store.builder())?;
//! let patches = |n: usize| Tensor::ones((n, 48), DType::F32, &Device::Cpu);
//! let bag = BagTensors { x5: Some(patches(2)?), x10: Some(patches(7)?), x20: Some(patches(28)?) };
//! let output = model.forward(&bag, &mut ForwardCtx::eval())?;
//! let survival = output.survival()?;
//! assert!(survival[0] > survival[3]);
//! assert!((output.risk()? + survival.iter().sum::<f64>()).abs() < 1e-12);
//! # Ok::<(), cf_model::Error>(())
//! ```

mod config;
mod crossfusion;
mod discrete_time;
mod error;
mod input;
mod model;
pub mod weights;

pub use cf_layers::{ForwardCtx, Mode, ParamStore, Residual, kernels, random};
pub use config::{CrossFusionConfig, ModelConfig, ModelName};
pub use crossfusion::{CrossFusion, Variant};
pub use discrete_time::{DiscreteSurvival, N_BINS};
pub use error::{Error, Result};
pub use input::BagTensors;
pub use model::{SurvivalModel, SurvivalOutput};
