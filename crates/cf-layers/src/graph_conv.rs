//! Generalised graph convolution with softmax aggregation (GENConv; Li et al., DeeperGCN, 2020).

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::graph::Graph;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::mode::ForwardCtx;
use crate::{init, kernels};

/// `MLP(x_v + agg_v)`: `agg_v` is the softmax-weighted mean of incoming messages, per channel, with a learnt inverse
/// temperature `t`; the MLP doubles the channels, with layer norm and ReLU inside. Parameters `t`, `mlp.0`, `mlp.1`, `mlp.4`.
#[derive(Debug, Clone)]
pub struct GraphConv {
    inverse_temperature: Tensor,
    widen: Linear,
    norm: LayerNorm,
    narrow: Linear,
}

impl GraphConv {
    /// A layer of `d` channels; `bias` decides whether its linear layers have one.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Self> {
        let linear = if bias { Linear::uniform } else { Linear::uniform_without_bias };
        Ok(Self {
            inverse_temperature: vb.get_with_hints(1, "t", init::ONE)?,
            widen: linear(d, 2 * d, vb.pp("mlp.0"))?,
            norm: LayerNorm::new(2 * d, vb.pp("mlp.1"))?,
            narrow: linear(2 * d, d, vb.pp("mlp.4"))?,
        })
    }

    /// `[n, d]`, a row per node, to `[n, d]`. A recording pass notes what came from neighbours as `name`.
    ///
    /// # Errors
    /// If `x` is of another width than this layer, or has another number of rows than the graph has nodes.
    pub fn forward(
        &self,
        x: &Tensor,
        graph: &Arc<Graph>,
        name: &str,
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        let aggregated = kernels::neighbour_softmax(x, &self.inverse_temperature, graph)?;
        ctx.tap(name, &aggregated);
        let hidden = kernels::relu(&self.norm.forward(&self.widen.forward(&(x + aggregated)?)?)?)?;
        self.narrow.forward(&hidden)
    }
}
