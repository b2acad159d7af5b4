//! The losses that ProtoSurv puts on its prototypes: near the patches of their class, and not all alike.

use candle_core::{D, Tensor};
use candle_nn::VarBuilder;
use cf_layers::kernels::{self, Compute};
use cf_layers::{ForwardCtx, LayerNorm, Linear};

use crate::error::Result;
use crate::proto_surv::N_CLASSES;

const COMPATIBILITY_WEIGHT: f64 = 0.01;
const ORTHOGONALITY_WEIGHT: f64 = 0.1;

/// A perceptron from prototypes back to features, and the losses on what comes out.
#[derive(Debug, Clone)]
pub(crate) struct PrototypeHead {
    expand: Linear,
    norm: LayerNorm,
    out: Linear,
}

impl PrototypeHead {
    pub(crate) fn new(width: usize, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            expand: Linear::uniform_without_bias(width, backbone_dim, vb.pp("0"))?,
            norm: LayerNorm::new(backbone_dim, vb.pp("1"))?,
            out: Linear::uniform_without_bias(backbone_dim, backbone_dim, vb.pp("3"))?,
        })
    }

    /// Both losses with their weights; `prototypes` `[classes * k, width]`, `x` `[n, d]`.
    pub(crate) fn losses(
        &self,
        prototypes: &Tensor,
        x: &Tensor,
        classes: &[u8],
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        let hidden = self.norm.forward(&self.expand.forward(prototypes)?)?;
        let prototypes = self.out.forward(&kernels::gelu(&hidden, None)?)?;
        let compatibility = compatibility(&prototypes, x, classes)?;
        let orthogonality = orthogonality(&prototypes)?;
        ctx.tap("compatibility", &compatibility);
        ctx.tap("orthogonality", &orthogonality);
        Ok(((compatibility * COMPATIBILITY_WEIGHT)? + (orthogonality * ORTHOGONALITY_WEIGHT)?)?)
    }
}

/// With `d[n, c]` the mean distance of patch n from the prototypes of class c:
/// `(sum_n d[n, own class] + logsumexp over all other (n, c) of -d[n, c]) / (n classes)`.
fn compatibility(prototypes: &Tensor, x: &Tensor, classes: &[u8]) -> Result<Tensor> {
    let (n, (n_prototypes, _)) = (x.dim(0)?, prototypes.dims2()?);
    let x_squares = x.sqr()?.sum_keepdim(D::Minus1)?;
    let p_squares = prototypes.sqr()?.sum(D::Minus1)?.unsqueeze(0)?;
    // No gradient by the features, which are large and given.
    let no_bias = Tensor::zeros(n_prototypes, x.dtype(), x.device())?;
    let products = kernels::linear(x, prototypes, &no_bias, Compute::AsStored)?;
    let squares = x_squares.broadcast_add(&p_squares)?.sub(&(products * 2.0)?)?;
    // Rounding may leave a tiny negative square where a patch is its prototype.
    let distances = squares.maximum(1e-12)?.sqrt()?;
    let distances = distances.reshape((n, N_CLASSES, n_prototypes / N_CLASSES))?.mean(D::Minus1)?;
    let mut own = vec![0.0_f64; n * N_CLASSES];
    classes.iter().enumerate().for_each(|(patch, &class)| own[patch * N_CLASSES + usize::from(class)] = 1.0);
    let own = Tensor::from_vec(own, (n, N_CLASSES), x.device())?.to_dtype(x.dtype())?;
    let attraction = (&distances * &own)?.sum_all()?;
    // The own class is taken out of the sum by a score that underflows to zero.
    let scores = (distances.neg()? - (own * 1e30)?)?.flatten_all()?;
    let largest = scores.detach().max(0)?;
    let repulsion = (scores.broadcast_sub(&largest)?.exp()?.sum_all()?.log()? + largest)?;
    Ok(((attraction + repulsion)? / (n * N_CLASSES) as f64)?)
}

/// Frobenius distance of the normalised Gram matrix of features, `P^T P`, from the normalised identity.
///
/// Expanded, `sqrt(2 - 2 tr(G) / (|G| sqrt(d)))` with `|P^T P| = |P P^T|`: no `[d, d]` matrix is needed. Bounds are under the roots,
/// whose derivatives are infinite at 0: features of one column are always the identity, and their prototypes may all be 0.
fn orthogonality(prototypes: &Tensor) -> Result<Tensor> {
    let d = prototypes.dim(1)?;
    let trace = prototypes.sqr()?.sum_all()?;
    let norm = prototypes.matmul(&prototypes.t()?)?.sqr()?.sum_all()?.maximum(1e-24)?.sqrt()?;
    let cosine = (trace / norm)?.affine(1.0 / (d as f64).sqrt(), 0.0)?;
    Ok(cosine.affine(-2.0, 2.0)?.maximum(1e-12)?.sqrt()?)
}
