//! Kernels on NVIDIA GPUs: launches of what `*.cu` beside this hold, and matrix products by cuBLAS.
//!
//! An op here takes the same tensors as its CPU form and gives the same numbers up to rounding; dropout masks are equal bit for
//! bit. Tensors are f32. Where products are in bf16 ([`super::Compute::Bf16`]), what lies between two products of one op is
//! bf16, and so is the output of an attention, which the next layer multiplies; sums, norms and softmax are f32.
//!
//! Ops with more parameters than Candle's three inputs leave the gradients of these with [`super::gradients`].

pub(super) mod after_attention;
pub(super) mod attention;
pub(super) mod cross_attention_layer;
pub(super) mod feed_forward;
mod gpu;
pub(super) mod grouped_conv2d;
pub(super) mod inference;
pub(super) mod layer_norm;
mod layer_weights;
mod left;
pub(super) mod linear;
pub(super) mod linear_norm;
pub(super) mod merged_conv2d;
pub(super) mod neighbours;
pub(super) mod optimiser;
mod product;
pub(super) mod projected_attention;
pub(super) mod relu;
pub(super) mod rows;
pub(super) mod token_map;
pub(super) mod transformer_layer;
pub(super) mod upload;

use gpu::{Arg, Array, Gpu, Input, View};

use candle_core::{CpuStorage, DType, Error, Layout, Result, Shape, Tensor};

use super::Compute;
use super::dropout::DropoutMask;

/// Whether an op on this tensor has a form here.
pub(super) fn serves(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// [`serves`], and the tensor is f32.
pub(super) fn serves_f32(x: &Tensor) -> bool {
    serves(x) && x.dtype() == DType::F32
}

/// The tensor in one piece that begins at a multiple of 16 bytes, for kernels that take four numbers at once: a view may begin anywhere.
fn placed(x: &Tensor) -> Result<Tensor> {
    let start = x.layout().start_offset() * x.dtype().size_in_bytes();
    if start.is_multiple_of(16) { x.contiguous() } else { x.force_contiguous() }
}

/// The type of operands of products.
fn operand_type(compute: Compute) -> DType {
    match compute {
        Compute::AsStored => DType::F32,
        Compute::Bf16 => DType::BF16,
    }
}

/// A mask as kernels take it: key, limit below which a hash drops its element, factor on the others.
fn mask_args(mask: Option<DropoutMask>) -> [Arg; 3] {
    match mask {
        None => [Arg::U64(0), Arg::U64(0), Arg::F32(1.0)],
        Some(mask) => {
            let drops = mask.drops::<f32>();
            [Arg::U64(mask.key), Arg::U64(drops.limit()), Arg::F32(drops.kept)]
        }
    }
}

/// Candle wants a CPU form of every op; these are made for tensors on a GPU only.
fn not_on_the_cpu(op: &'static str) -> Result<(CpuStorage, Shape)> {
    Err(Error::Msg(format!("{op} was made for a GPU and got a tensor on the CPU")))
}
