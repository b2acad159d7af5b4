//! Differentiable, seeded layers of CrossFusion (Soraki et al., arXiv 2503.02064) on Candle.
//!
//! A batch is one slide, so token tensors are `[n, d]` without a batch axis, and maps are channels-last `[h, w, d]`.
//! Parameter names are those of published checkpoints.
//!
//! | layer | paper | file |
//! |---|---|---|
//! | [`CrossAttentionBlock`] | eq. 3, Cross-Attention Block | `cross_attention.rs` |
//! | [`PadTransformer`], [`square_pad()`] | Pad-Transformer, square padding | `pad_transformer.rs`, `square_pad.rs` |
//! | [`TransformerBlock`], [`SelfAttention`], [`FeedForward`] | Transformer block | a file each |
//! | [`Ppeg`] | pyramid position encoding | `ppeg.rs` |
//! | [`ConvProcessor`] | Convolutional Processor | `conv_processor.rs` |
//!
//! Every op that training reaches has a backward: Candle's fused layer norm and softmax, which silently have none,
//! are banned by `clippy.toml`, and [`kernels`] holds what replaces them. All randomness comes from named streams
//! ([`random`], [`ForwardCtx`]), so a result does not depend on threads or on construction order.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use cf_layers::{ForwardCtx, LayerNorm, ParamStore};
//!
//! let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
//! let norm = LayerNorm::new(2, store.builder())?;
//! let y = norm.forward(&Tensor::new(&[[1f32, 3.0]], &Device::Cpu)?)?;
//! assert!((y.to_vec2::<f32>()?[0][1] - 1.0).abs() < 1e-4);
//! # let _ = ForwardCtx::eval();
//! # Ok::<(), candle_core::Error>(())
//! ```

mod conv_processor;
mod cross_attention;
mod dropout;
mod feed_forward;
pub mod init;
pub mod kernels;
mod layer_norm;
mod linear;
mod merged_conv;
mod mode;
mod pad_transformer;
mod param_store;
mod ppeg;
pub mod random;
mod self_attention;
mod square_pad;
mod transformer_block;

pub use conv_processor::{ConvProcessor, ConvProcessorConfig};
pub use cross_attention::{CrossAttentionBlock, CrossAttentionConfig};
pub use dropout::{channel_dropout, dropout};
pub use feed_forward::FeedForward;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use mode::{ForwardCtx, Mode};
pub use pad_transformer::PadTransformer;
pub use param_store::ParamStore;
pub use ppeg::Ppeg;
pub use self_attention::{SelfAttention, SelfAttentionConfig};
pub use square_pad::{square_pad, square_side};
pub use transformer_block::{Residual, TransformerBlock, TransformerConfig};
