//! The ops that Candle lacks, cuts the graph on, or runs as hundreds of launches.
//!
//! | function | inputs | backward to | reference | tolerance |
//! |---|---|---|---|---|
//! | [`attention`] | q `[n, d]`, keys beside values `[m, 2 d]` | both | [`reference::attention`] | 1e-5 in f32 |
//! | [`self_attention`] | q, k and v beside each other `[n, 3 d]` | all | [`reference::self_attention`] | 1e-5 in f32 |
//! | [`linear`] | x `[n, d_in]`, weight `[d_out, d_in]`, bias `[d_out]` | all three | [`reference::linear`] | 1e-5 in f32 |
//! | [`grouped_conv2d`] | x `[h, w, c_in]`, weight `[c_out, c_in / c_out, k, k]` | x, weight | [`reference::grouped_conv2d`] | 1e-5 in f32 |
//! | [`layer_norm`] | x `[n, d]`, gain and shift `[d]` | all three | [`reference::layer_norm`] | 1e-5 in f32 |
//! | [`add_layer_norm`] | the same and a second summand | all four | [`reference::layer_norm`] of the sum | 1e-5 in f32 |
//! | [`gelu`] | x, and the dropout after it | x | [`reference::gelu`] | 1e-6 in f32 |
//! | [`dropout`] | x | x | [`reference::dropout`] | exact |
//! | [`add_dropped`] | base and x | both | [`reference::dropout`] and a sum | exact |
//! | [`token_conv`] | x `[n, d]`, weight `[n_heads, taps]` | both | [`reference::token_conv`] | 1e-5 in f32 |
//! | [`neighbour_sum`] | x `[n, d]` on a graph | x | [`reference::neighbour_sum`] | 1e-5 in f32 |
//! | [`neighbour_softmax`] | x `[n, d]` on a graph, inverse temperature | both | [`reference::neighbour_softmax`] | 1e-5 in f32 |
//! | [`adam_step`] | a parameter, its gradient and moments | none: in place | PyTorch's Adam, by the oracle's trace | 1e-6 in f32 |
//!
//! Each is one public function that checks its shapes, is the custom op and defines its backward; the loops lie
//! under `cpu`. All work in f32 and f64 (the latter for gradient checks). Results do not depend on the number of
//! threads: work is split along outputs, and sums that cross a split are added in a fixed order.

mod adam;
mod attention;
mod cpu;
mod dropout;
mod gelu;
mod grouped_conv2d;
mod layer_norm;
mod linear;
mod neighbour_softmax;
mod neighbour_sum;
pub mod reference;
mod token_conv;

pub use adam::{AdamStep, adam_step, add_in_place};
pub use attention::{AttentionDropout, attention, self_attention};
pub use dropout::{DropoutMask, add_dropped, dropout};
pub use gelu::gelu;
pub use grouped_conv2d::grouped_conv2d;
pub use layer_norm::{add_layer_norm, layer_norm};
pub use linear::linear;
pub use neighbour_softmax::neighbour_softmax;
pub use neighbour_sum::neighbour_sum;
pub use token_conv::token_conv;

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor, WithDType};

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
    let tensor = tensor.contiguous()?;
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
