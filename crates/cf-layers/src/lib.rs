//! Differentiable, seeded layers of CrossFusion (Soraki et al., arXiv 2503.02064) and of the methods that its paper compares with,
//! on Candle.
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
//! | [`GatedAttention`], [`attention_pool()`] | attention pooling (Ilse et al., 2018) | `attention_pool.rs` |
//! | [`NystromAttention`] | Nystrom attention (Xiong et al., 2021) | `nystrom.rs` |
//! | [`GraphConv`], [`Graph`] | GENConv (Li et al., 2020) | `graph_conv.rs`, `graph.rs` |
//! | [`nearest_places()`], [`nearest_features()`] | exact nearest neighbours | a file each |
//! | [`DistanceGraph`] | graph and Laplacian of the nearest pairs (Li et al., 2018) | `distance_graph.rs` |
//! | [`WindowAttention`], [`k_means()`] | sparse self-attention of SCMIL (Yang et al., 2024) | a file each |
//! | [`perturbed_selection`] | perturbed top-k (Cordonnier et al., 2021) | `perturbed_top_k.rs` |
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

mod attention_pool;
mod conv_processor;
mod cross_attention;
mod distance_graph;
mod dropout;
mod feed_forward;
mod graph;
mod graph_conv;
pub mod init;
mod k_means;
pub mod kernels;
mod layer_norm;
mod linear;
mod merged_conv;
mod mode;
mod nearest_features;
mod nearest_places;
mod nystrom;
mod pad_transformer;
mod param_store;
mod perturbed_top_k;
mod ppeg;
pub mod random;
mod self_attention;
mod square_pad;
mod transformer_block;
mod window_attention;

pub use attention_pool::{GatedAttention, attention_pool, instance_weights};
pub use conv_processor::{ConvProcessor, ConvProcessorConfig};
pub use cross_attention::{CrossAttentionBlock, CrossAttentionConfig};
pub use distance_graph::DistanceGraph;
pub use dropout::{channel_dropout, dropout};
pub use feed_forward::FeedForward;
pub use graph::{EdgeDirection, Graph};
pub use graph_conv::GraphConv;
pub use k_means::{KMeansConfig, k_means};
pub use layer_norm::{LayerNorm, plain_layer_norm};
pub use linear::Linear;
pub use mode::{ForwardCtx, Mode, Record};
pub use nearest_features::nearest_features;
pub use nearest_places::nearest_places;
pub use nystrom::{NystromAttention, NystromConfig};
pub use pad_transformer::PadTransformer;
pub use param_store::ParamStore;
pub use perturbed_top_k::{hard_selection, perturbed_selection, top_k};
pub use ppeg::Ppeg;
pub use self_attention::{SelfAttention, SelfAttentionConfig};
pub use square_pad::{fold_square_pad, square_pad, square_side};
pub use transformer_block::{Residual, TransformerBlock, TransformerConfig};
pub use window_attention::{WindowAttention, cluster_windows};
