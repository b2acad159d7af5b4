//! The ops that Candle lacks, cuts the graph on, or runs as hundreds of launches.
//!
//! | function | inputs | backward to | reference | tolerance |
//! |---|---|---|---|---|
//! | [`attention`] | q `[n, d]`, keys beside values `[m, 2 d]` | both | [`reference::attention`] | 1e-5 in f32 |
//! | [`self_attention`] | q, k and v beside each other `[n, 3 d]` | all | [`reference::self_attention`] | 1e-5 in f32 |
//! | [`attention_received`] | q `[n, d]`, k `[m, d]` | none | [`reference::attention_received`] | 1e-6 in f32 |
//! | [`projected_self_attention`] | x `[n, d]`, its projections | all | [`reference::attention`] of [`reference::linear`] | 1e-5 in f32 |
//! | [`projected_attention`] | source `[n, d]`, context `[m, d]`, their projections | all | [`reference::attention`] of [`reference::linear`] | 1e-5 in f32 |
//! | [`feed_forward`] | base and x `[n, d]`, two linear layers | all | [`reference::feed_forward`] | 1e-5 in f32 |
//! | [`linear`] | x `[n, d_in]`, weight `[d_out, d_in]`, bias `[d_out]` | all three | [`reference::linear`] | 1e-5 in f32 |
//! | [`linear_with`] | the same, and an activation | all three | [`reference::linear_with`] | 1e-5 in f32 |
//! | [`gate`] | two branches beside each other `[n, 2 h]` | both | [`reference::gate`] | 1e-6 in f32 |
//! | [`weighted_sums`] | weights `[k, n]`, x `[n, d]` | both | [`reference::weighted_sums`] | 1e-5 in f32 |
//! | [`grouped_conv2d`] | x `[h, w, c_in]`, weight `[c_out, c_in / c_out, k, k]` | x, weight | [`reference::grouped_conv2d`] | 1e-5 in f32 |
//! | [`PackedConv2d`] | maps `[n, side, side, c_in]` of f32, packed weights | none | [`reference::conv2d`] | 1e-5 |
//! | [`layer_norm`] | x `[n, d]`, gain and shift `[d]` | all three | [`reference::layer_norm`] | 1e-5 in f32 |
//! | [`add_layer_norm`] | the same and a second summand | all four | [`reference::layer_norm`] of the sum | 1e-5 in f32 |
//! | [`transformer_layer`] | x `[n, d]`, the parameters of a layer | all | composed of the others | that of its parts |
//! | [`cross_attention_layer`] | source `[n, d]`, context `[m, d]`, an embedding, the parameters | all | composed | that of its parts |
//! | [`linear_norm`] | x `[n, d_in]`, the parameters of a layer and its norm | all | composed | that of its parts |
//! | [`merged_conv2d`] | tokens `[n, c_in]` of a map, kernels of several sizes | all | composed | that of its parts |
//! | [`repeat_first`], [`mix`] | tokens `[n, d]`; maps and their weights | all | plain ops | exact |
//! | [`relu`] | x | x | [`reference::relu`] | exact |
//! | [`gelu`] | x, and the dropout after it | x | [`reference::gelu`] | 1e-6 in f32 |
//! | [`dropout`] | x | x | [`reference::dropout`] | exact |
//! | [`add_dropped`] | base and x | both | [`reference::dropout`] and a sum | exact |
//! | [`token_conv`] | x `[n, d]`, weight `[n_heads, taps]` | both | [`reference::token_conv`] | 1e-5 in f32 |
//! | [`pseudo_inverse`] | a and z `[heads, m, m]` | both | [`reference::pseudo_inverse`] | 1e-4 in f32 |
//! | [`neighbour_sum`] | x `[n, d]` on a graph | x | [`reference::neighbour_sum`] | 1e-5 in f32 |
//! | [`neighbour_softmax`] | x `[n, d]` on a graph, inverse temperature | both | [`reference::neighbour_softmax`] | 1e-5 in f32 |
//! | [`adam_step`] | parameters, their gradients and moments | none: in place | PyTorch's Adam, by the oracle's trace | 1e-6 in f32 |
//!
//! Each is one public function (or type, of what is packed once) that checks its shapes, is the custom op and defines its backward; the
//! loops lie under `cpu`. With the feature `cuda`, ops on tensors of an NVIDIA GPU are those under `cuda`, or the references where there is
//! none, and gradients come from [`backward()`]. All but `PackedConv2d` (f32) work in f32 and f64 (the latter for gradient checks). Results do not depend on the number of
//! threads: work is split along outputs, and sums that cross a split are added in a fixed order.

mod adam;
mod allocator;
mod attention;
mod attention_received;
#[cfg(any(test, feature = "cuda"))]
mod attention_shares;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
mod dropout;
mod feed_forward;
mod gate;
mod gelu;
mod gradients;
mod grouped_conv2d;
mod layer_norm;
mod linear;
mod linear_norm;
mod merged_conv2d;
mod neighbour_softmax;
mod neighbour_sum;
mod packed_conv2d;
mod projected_attention;
mod pseudo_inverse;
pub mod reference;
mod relu;
mod token_conv;
mod token_map;
mod transformer_layer;
mod weighted_sums;

pub use adam::{AdamParameter, AdamStep, adam_step, add_all_in_place, add_in_place};
pub use allocator::TensorAllocator;
pub use attention::{AttentionDropout, attention, self_attention};
pub use attention_received::attention_received;
pub use dropout::{DropoutMask, add_dropped, dropout};
pub use feed_forward::{FeedForwardOptions, FeedForwardWeights, feed_forward};
pub use gate::gate;
pub use gelu::gelu;
pub use gradients::backward;
pub use grouped_conv2d::grouped_conv2d;
pub use layer_norm::{add_layer_norm, layer_norm};
pub use linear::{Activation, linear, linear_with};
pub use linear_norm::{LinearNormOptions, NormedFor, linear_norm};
pub use merged_conv2d::{ConvBranch, TokenGrid, centre_padded, merged_conv2d};
pub use neighbour_softmax::neighbour_softmax;
pub use neighbour_sum::neighbour_sum;
pub use packed_conv2d::{AfterConv, PackedConv2d, PackedConvShape, SquareMaps, Workers};
pub use projected_attention::{
    AttentionProjections, ProjectedAttentionOptions, projected_attention, projected_self_attention,
};
pub use pseudo_inverse::pseudo_inverse;
pub use relu::relu;
pub use token_conv::token_conv;
pub use token_map::{mix, repeat_first};
pub use transformer_layer::{
    AfterAttentionWeights, CrossAttentionWeights, NormWeights, TransformerLayerOptions,
    cross_attention_layer, cross_attention_layer_of_rows, transformer_layer,
};
pub use weighted_sums::weighted_sums;

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{CpuStorage, DType, Device, Error, Layout, Result, Storage, Tensor, WithDType};

/// What matrix products, attention's included, are computed in. Sums, softmax and norms are always in the type of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compute {
    /// The type of the tensors.
    #[default]
    AsStored,
    /// Operands rounded to bf16, products summed in f32; for f32 tensors. By instructions on pairs (AVX512-BF16) where these are
    /// faster, else by f32 arithmetic on the rounded operands.
    Bf16,
}

impl From<DType> for Compute {
    /// What layers compute in whose parameter builder ([`candle_nn::VarBuilder`]) is of this type.
    fn from(dtype: DType) -> Self {
        if dtype == DType::BF16 { Self::Bf16 } else { Self::AsStored }
    }
}

/// What an op leaves for its backward pass beside its inputs and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retention {
    /// What is costly to make again.
    Keep,
    /// As little as possible: it is made again from the inputs, to the same bytes.
    #[default]
    Recompute,
}

impl Retention {
    /// What is costly to make again, if it is kept; its memory is free from here on if not.
    #[cfg(feature = "cuda")]
    fn kept<T>(self, costly: T) -> Option<T> {
        (self == Self::Keep).then_some(costly)
    }
}

static DETERMINISTIC: AtomicBool = AtomicBool::new(false);

/// Whether kernels on a GPU add in a fixed order wherever the faster form would not, so that two runs give the same bytes: off
/// unless it is asked for. Only gradients of attention's queries differ; on the CPU every sum has a fixed order.
pub fn set_deterministic(deterministic: bool) {
    DETERMINISTIC.store(deterministic, Ordering::Relaxed);
}

/// What [`set_deterministic`] was last told.
pub fn deterministic() -> bool {
    DETERMINISTIC.load(Ordering::Relaxed)
}

/// Calls `$self.$method::<U>(..)` with the unit of products for tensors of a type that are multiplied in `$compute`.
macro_rules! by_unit {
    ($op:literal, $dtype:expr, $compute:expr, $self:ident.$method:ident($($argument:expr),* $(,)?)) => {
        match ($dtype, $compute) {
            (DType::F32, Compute::AsStored) => $self.$method::<f32>($($argument),*),
            (DType::F32, Compute::Bf16) if cpu::unit::pairs_are_fast() => {
                $self.$method::<cpu::unit::Bf16Pair>($($argument),*)
            }
            (DType::F32, Compute::Bf16) => $self.$method::<cpu::unit::Rounded>($($argument),*),
            (DType::F64, Compute::AsStored) => $self.$method::<f64>($($argument),*),
            (dtype, _) => Err(unsupported_dtype($op, dtype)),
        }
    };
}
use by_unit;

/// The values of a contiguous CPU tensor.
fn contiguous_slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let values = T::cpu_storage_as_slice(storage)?;
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("kernel input is not contiguous in memory".to_owned()))?;
    values.get(start..end).ok_or_else(|| Error::Msg("kernel input ends before its layout does".to_owned()))
}

/// A copy of a tensor's values in row-major order.
fn to_vec<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(contiguous_slice::<T>(storage, layout)?.to_vec()),
        Storage::Cuda(_) | Storage::Metal(_) => {
            Err(Error::Msg("this kernel's backward runs on the CPU only".to_owned()))
        }
    }
}

fn unsupported_dtype(op: &'static str, dtype: DType) -> Error {
    Error::UnsupportedDTypeForOp(dtype, op).bt()
}
