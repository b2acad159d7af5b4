//! Patch-GCN: graph convolutions with softmax aggregation over neighbouring patches (Chen et al., 2021), on 20x patches.

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::kernels::{self, Activation};
use cf_layers::{ForwardCtx, GatedAttention, Graph, GraphConv, LayerNorm, Linear, attention_pool, dropout};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::config::{check_costly_count, check_probability};
use crate::deep_graph_surv::direction;
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

const NAME: &str = "patchgcn";
const NODE_WIDTH: usize = 128;
const N_LAYERS: usize = 3;
/// Channels of input and layers side by side.
const WIDTH: usize = NODE_WIDTH * (N_LAYERS + 1);
const DROPOUT: f64 = 0.25;

/// The norm of the first layer, which is built and never used.
pub(crate) const DEAD: [&str; 2] = ["layers.0.norm.bias", "layers.0.norm.weight"];

/// The settings of Patch-GCN. The defaults are what produced the published numbers, but for `final_dropout`, which is that of the
/// current source. New versions of the graph library changed `residual_dropout` and `mlp_bias`, the authors `final_dropout`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchGcnConfig {
    /// Neighbours per patch by coordinates, at least 1; fewer where the slide has fewer patches.
    pub num_neighbours: usize,
    /// A patch hears from its neighbours instead of from those that chose it.
    pub reverse_edges: bool,
    /// Dropout after the residual sums, in `[0, 1)`: 0 up to version 1.6.3 of the graph library, 0.1 from 1.7.0.
    pub residual_dropout: f64,
    /// Dropout before the head, in `[0, 1)`: 0.25 until January 2024, 0 since.
    pub final_dropout: f64,
    /// Biases inside graph layers: true up to version 2.1 of the graph library, false from 2.2.
    pub mlp_bias: bool,
}

impl Default for PatchGcnConfig {
    fn default() -> Self {
        Self {
            num_neighbours: 8,
            reverse_edges: false,
            residual_dropout: 0.0,
            final_dropout: 0.0,
            mlp_bias: true,
        }
    }
}

impl PatchGcnConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_costly_count("num_neighbours", self.num_neighbours)?;
        check_probability("residual_dropout", self.residual_dropout)?;
        check_probability("final_dropout", self.final_dropout)
    }
}

/// Projection, three graph layers whose outputs are all kept, gated attention, two linear layers.
#[derive(Debug, Clone)]
pub struct PatchGcn {
    project: Linear,
    layers: Vec<(GraphConv, LayerNorm)>,
    mix: Linear,
    attention: GatedAttention,
    hidden: Linear,
    head: Linear,
    config: PatchGcnConfig,
    backbone_dim: usize,
}

impl PatchGcn {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &PatchGcnConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let layer = |index: usize| -> Result<_> {
            let vb = vb.pp("layers").pp(index);
            let conv = GraphConv::new(NODE_WIDTH, config.mlp_bias, vb.pp("conv"))?;
            Ok((conv, LayerNorm::new(NODE_WIDTH, vb.pp("norm"))?))
        };
        Ok(Self {
            project: Linear::uniform(backbone_dim, NODE_WIDTH, vb.pp("fc.0"))?,
            layers: (0..N_LAYERS).map(layer).collect::<Result<_>>()?,
            mix: Linear::uniform(WIDTH, WIDTH, vb.pp("path_phi.0"))?,
            attention: GatedAttention::new(WIDTH, WIDTH, DROPOUT, vb.pp("path_attention_head"))?,
            hidden: Linear::uniform(WIDTH, WIDTH, vb.pp("path_rho.0"))?,
            head: Linear::uniform(WIDTH, N_BINS, vb.pp("classifier"))?,
            config: config.clone(),
            backbone_dim,
        })
    }

    /// Input and the output of every layer, `[n, WIDTH]`.
    fn node_features(&self, x: &Tensor, graph: &Arc<Graph>, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let mut x = dropout(&self.project.forward_with(x, Activation::Relu)?, "input", DROPOUT, ctx)?;
        ctx.tap("f0", &x);
        let mut kept = vec![x.clone()];
        for (index, (conv, norm)) in self.layers.iter().enumerate() {
            let convolved = conv.forward(&x, graph, &format!("agg{}", index + 1), ctx)?;
            x = match index {
                0 => convolved,
                _ => {
                    let sum = (x + kernels::relu(&norm.forward(&convolved)?)?)?;
                    dropout(&sum, "residual", self.config.residual_dropout, ctx)?
                }
            };
            ctx.tap(&format!("f{}", index + 1), &x);
            kept.push(x.clone());
        }
        Ok(Tensor::cat(&kept, 1)?)
    }
}

impl SurvivalModel for PatchGcn {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let neighbours = bag.patches.nearest_places(self.config.num_neighbours, NAME)?;
        let graph = Arc::new(Graph::new(&neighbours, x.dim(0)?, direction(self.config.reverse_edges))?);
        let features = self.node_features(x, &graph, ctx)?;
        let mixed = dropout(&self.mix.forward_with(&features, Activation::Relu)?, "mix", DROPOUT, ctx)?;
        let scores = self.attention.forward(&mixed, ctx)?;
        let (weights, pooled) = attention_pool(&scores, &mixed)?;
        for (name, value) in [("P", &mixed), ("score", &scores), ("alpha", &weights), ("pooled", &pooled)] {
            ctx.tap(name, value);
        }
        attribution::note(ctx, Module::Pooling, Magnification::X20, || Ok(weights.clone()))?;
        let hidden = dropout(
            &self.hidden.forward_with(&pooled, Activation::Relu)?,
            "hidden",
            self.config.final_dropout,
            ctx,
        )?;
        Ok(SurvivalOutput::new(self.head.forward(&hidden)?.squeeze(0)?))
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}
