//! The CPU loops behind the kernels: plain slices in, plain vectors out, rayon across outputs.

pub(super) mod attention;
pub(super) mod grouped_conv2d;
pub(super) mod layer_norm;
mod matmul;
