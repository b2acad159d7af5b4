//! Initial values of parameters (paper's released form): which distribution, and its spread.

use candle_nn::Init;

/// Linear weights: normal(0, 0.02). The released truncation at +-2 never bites.
pub const LINEAR_WEIGHT: Init = Init::Randn { mean: 0.0, stdev: 0.02 };

/// Scale embeddings of the cross-attention blocks: normal(0, 0.02).
pub const SCALE_EMBEDDING: Init = Init::Randn { mean: 0.0, stdev: 0.02 };

/// The class token: normal(0, 1e-6).
pub const CLASS_TOKEN: Init = Init::Randn { mean: 0.0, stdev: 1e-6 };

/// Biases, and the shift of a layer norm.
pub const ZERO: Init = Init::Const(0.0);

/// The gain of a layer norm.
pub const ONE: Init = Init::Const(1.0);

/// Convolution weights `[c_out, c_in / groups, k, k]`: Kaiming normal with fan-out and ReLU gain, where fan-out is
/// `c_out * k * k` *regardless of the groups*, as PyTorch computes it.
pub fn conv_weight(c_out: usize, kernel_area: usize) -> Init {
    Init::Randn { mean: 0.0, stdev: (2.0 / (c_out * kernel_area) as f64).sqrt() }
}

/// Weights and biases of a layer whose outputs each sum over `fan_in` inputs: uniform within `1 / sqrt(fan_in)`, PyTorch's
/// default for linear layers and convolutions.
pub fn fan_in(fan_in: usize) -> Init {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}
