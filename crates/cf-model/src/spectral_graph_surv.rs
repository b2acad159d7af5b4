//! DeepGraphSurv as it was published: spectral graph convolutions whose graph is partly learnt (Li et al., 2018), on 20x patches.

use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use cf_layers::kernels::Activation;
use cf_layers::{DistanceGraph, ForwardCtx, Linear, Mode, attention_pool, dropout, random};
use rand::Rng;
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module, scatter};
use crate::deep_graph_surv::DeepGraphSurvConfig;
use crate::discrete_time::N_BINS;
use crate::error::{Error, Result};
use crate::head::{Head, RiskHead};
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};
use crate::patches::{Draw, Patches};

/// Output channels of the three layers before pooling.
const WIDTHS: [usize; 3] = [256, 256, 128];
const ATTENTION_WIDTH: usize = 32;
const HIDDEN: usize = 64;
/// Dropout after each layer: the published code keeps 0.8, in evaluation, too; here evaluation keeps all.
const DROPOUT: f64 = 0.2;
/// What scores are divided by before their sigmoid, as published: attention is almost uniform at first.
const SCORE_DIVISOR: f64 = 1000.0;
const INITIAL_ALPHA: f64 = 0.01;
/// The least that a column's squares are taken to add up to when its norm divides it.
const COLUMN_EPS: f64 = 1e-5;
const SEED: u64 = 1;

/// What the learnt part of the graph compares two patches by, of their features `z = x W`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GraphMetric {
    /// `|z_i|^2 + |z_j|^2 + z_i z_j`, as the published code has it: the larger, the more alike.
    #[default]
    AsPublished,
    /// `|z_i - z_j|^2`, the squared distance that the publication describes.
    Mahalanobis,
}

/// The model. Parameters `backbone.{0,1,2}` and `attention.{0,1}`, each of `metric.weight`, `alpha` and `chebyshev`; `hidden`, `head`.
#[derive(Debug, Clone)]
pub struct SpectralGraphSurv {
    backbone: [MetricConv; 3],
    attention: [MetricConv; 2],
    hidden: Linear,
    last: Linear,
    head: Head,
    max_nodes: usize,
    backbone_dim: usize,
}

/// A Chebyshev convolution of order 3 over the Laplacian `L + Lres`, the latter learnt:
/// `T0 = x`, `T1 = (L + Lres) x`, `T2 = 2 (L + Lres) T1 - T0`, side by side per feature, then a linear layer.
#[derive(Debug, Clone)]
struct MetricConv {
    /// `[d, d]`, without a bias.
    projection: Linear,
    /// `[1]`.
    alpha: Tensor,
    /// From `3 d` inputs, those of feature `f` at `3 f .. 3 f + 3`.
    chebyshev: Linear,
    metric: GraphMetric,
}

impl MetricConv {
    fn new(d_in: usize, d_out: usize, metric: GraphMetric, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            projection: Linear::uniform_without_bias(d_in, d_in, vb.pp("metric"))?,
            alpha: vb.get_with_hints(1, "alpha", Init::Const(INITIAL_ALPHA))?,
            chebyshev: Linear::uniform(3 * d_in, d_out, vb.pp("chebyshev"))?,
            metric,
        })
    }

    /// `[n, n]`: `alpha exp(-S)`, `S` the comparisons of all pairs with columns of norm 1. Not symmetric.
    fn learnt_graph(&self, x: &Tensor) -> Result<Tensor> {
        let projected = self.projection.forward_without_bias(x)?;
        let z = match self.metric {
            GraphMetric::AsPublished => projected,
            // Distances do not change, and rounding is relative to the norms.
            GraphMetric::Mahalanobis => projected.broadcast_sub(&projected.mean_keepdim(0)?)?,
        };
        let products = z.matmul(&z.t()?)?;
        let squares = z.sqr()?.sum_keepdim(1)?;
        let products = match self.metric {
            GraphMetric::AsPublished => products,
            GraphMetric::Mahalanobis => (products * -2.0)?,
        };
        let compared = products.broadcast_add(&squares)?.broadcast_add(&squares.t()?)?;
        // The bound is under the root: its derivative is finite where all patches are alike.
        let norms = compared.sqr()?.sum_keepdim(0)?.maximum(COLUMN_EPS)?.sqrt()?;
        Ok(compared.broadcast_div(&norms)?.neg()?.exp()?.broadcast_mul(&self.alpha)?)
    }

    /// `x` `[n, d_in]` over the Laplacian `[n, n]` to `[n, d_out]`; notes its values under names that start with `name`.
    fn forward(
        &self,
        x: &Tensor,
        laplacian: &Tensor,
        activation: Activation,
        name: &str,
        ctx: &mut ForwardCtx,
    ) -> Result<Tensor> {
        let graph = self.learnt_graph(x)?;
        // `L + Lres` is `L - G` and a diagonal, which scales rows.
        let diagonal = graph.sum_keepdim(0)?.t()?;
        let rest = (laplacian - &graph)?;
        let by_laplacian = |t: &Tensor| rest.matmul(t)? + t.broadcast_mul(&diagonal)?;
        let t1 = by_laplacian(x)?;
        let t2 = ((by_laplacian(&t1)? * 2.0)? - x)?;
        for (part, value) in [("G", &graph), ("T0", x), ("T1", &t1), ("T2", &t2)] {
            ctx.tap(&format!("{name}_{part}"), value);
        }
        let (n, d) = x.dims2()?;
        let side_by_side = Tensor::stack(&[x, &t1, &t2], 2)?.reshape((n, 3 * d))?;
        let out = self.chebyshev.forward_with(&side_by_side, activation)?;
        ctx.tap(name, &out);
        Ok(out)
    }
}

impl SpectralGraphSurv {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &DeepGraphSurvConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let layer = |d_in, d_out, vb| MetricConv::new(d_in, d_out, config.metric, vb);
        let [first, second, third] = WIDTHS;
        Ok(Self {
            backbone: [
                layer(backbone_dim, first, vb.pp("backbone.0"))?,
                layer(first, second, vb.pp("backbone.1"))?,
                layer(second, third, vb.pp("backbone.2"))?,
            ],
            attention: [
                layer(backbone_dim, ATTENTION_WIDTH, vb.pp("attention.0"))?,
                layer(ATTENTION_WIDTH, 1, vb.pp("attention.1"))?,
            ],
            hidden: Linear::uniform(third, HIDDEN, vb.pp("hidden"))?,
            last: match config.head {
                RiskHead::Hazards => Linear::uniform(HIDDEN, N_BINS, vb.pp("head"))?,
                RiskHead::LogRisk => Linear::uniform(HIDDEN, 1, vb.pp("head"))?,
            },
            head: config.head.with(config.baseline),
            max_nodes: config.max_nodes,
            backbone_dim,
        })
    }

    /// [`SurvivalModel::forward`] on the 20x patches `nodes` alone, whose order does not matter.
    ///
    /// # Errors
    /// As [`SurvivalModel::forward`]; and if `nodes` is empty or names a patch that is not there.
    pub fn forward_on(
        &self,
        bag: &BagTensors,
        nodes: &[u32],
        ctx: &mut ForwardCtx,
    ) -> Result<SurvivalOutput> {
        let all = bag.features(Magnification::X20, self.backbone_dim)?;
        let n_patches = all.dim(0)?;
        if nodes.is_empty() || nodes.iter().any(|&node| node as usize >= n_patches) {
            let slide_id = bag.patches.slide_id.clone();
            let reason = format!("a graph of {} of {n_patches} patches", nodes.len());
            return Err(Error::Bag { slide_id, reason });
        }
        let rows = Tensor::new(nodes, all.device())?;
        ctx.tap("nodes", &rows);
        let x = all.index_select(&rows, 0)?;
        let output = self.forward_graph(&x, ctx)?;
        attribution::note(ctx, Module::Pooling, Magnification::X20, || {
            scatter(&output.weights, nodes, n_patches)
        })?;
        Ok(output.survival)
    }

    fn forward_graph(&self, x: &Tensor, ctx: &mut ForwardCtx) -> Result<Pooled> {
        let laplacian = laplacian(x, ctx)?;
        let mut h = x.clone();
        for (layer, name) in self.backbone.iter().zip(["layer1", "layer2", "layer3"]) {
            h = layer.forward(&h, &laplacian, Activation::Relu, name, ctx)?;
            h = dropout(&h, "layer", DROPOUT, ctx)?;
        }
        let mut scores = x.clone();
        for (layer, name) in self.attention.iter().zip(["attention1", "attention2"]) {
            scores = layer.forward(&scores, &laplacian, Activation::Identity, name, ctx)?;
        }
        let scores = candle_nn::ops::sigmoid(&(scores / SCORE_DIVISOR)?)?;
        let (weights, pooled) = attention_pool(&scores, &h)?;
        for (name, value) in [("score", &scores), ("alpha", &weights), ("pooled", &pooled)] {
            ctx.tap(name, value);
        }
        let hidden = self.hidden.forward_with(&pooled, Activation::Tanh)?;
        ctx.tap("hidden", &hidden);
        let activation = match self.head {
            // As published: a log risk between -1 and 1.
            Head::LogRisk { .. } => Activation::Tanh,
            Head::Hazards | Head::TimeMixture { .. } => Activation::Identity,
        };
        let values = self.last.forward_with(&hidden, activation)?.squeeze(0)?;
        Ok(Pooled { survival: SurvivalOutput::of(self.head, values), weights })
    }

    /// The patches that make the graph, in rising order, where these are not all: drawn anew at each visit in training, and the same
    /// for a slide at each evaluation.
    fn sample(&self, n_patches: usize, patches: &Patches, ctx: &mut ForwardCtx) -> Result<Option<Vec<u32>>> {
        let at_most = self.max_nodes;
        let nodes = match ctx.mode() {
            Mode::Train if n_patches > at_most => draw(n_patches, at_most, &mut ctx.next_stream()),
            Mode::Train => return Ok(None),
            // Of a slide without a part, too, which may have fewer patches: only the part is to be lost.
            Mode::Eval => {
                let nodes = || {
                    let label = format!("deepgraphsurv nodes/{}", patches.slide_id);
                    Ok(vec![draw(n_patches, at_most, &mut random::stream(SEED, &label))])
                };
                patches.drawn(Draw::Nodes { at_most }, nodes)?.concat()
            }
        };
        Ok((nodes.len() < n_patches).then_some(nodes))
    }
}

/// What a graph's nodes say together.
struct Pooled {
    survival: SurvivalOutput,
    /// `[1, n]`.
    weights: Tensor,
}

/// `amount` of `n` indices without replacement, in rising order.
fn draw(n: usize, amount: usize, rng: &mut impl Rng) -> Vec<u32> {
    let drawn = rand::seq::index::sample(rng, n, amount.min(n));
    let mut drawn: Vec<u32> = drawn.into_iter().map(|index| index as u32).collect();
    drawn.sort_unstable();
    drawn
}

/// The Laplacian `[n, n]` of the graph of near patches; no gradient passes through it.
fn laplacian(x: &Tensor, ctx: &mut ForwardCtx) -> Result<Tensor> {
    let (n, d) = x.dims2()?;
    let features: Vec<f64> = x.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let graph = DistanceGraph::new(&features, n, d)?;
    let laplacian = Tensor::from_vec(graph.laplacian(), (n, n), x.device())?.to_dtype(x.dtype())?;
    if ctx.is_recording() {
        ctx.tap("threshold", &Tensor::new(&[graph.threshold()], x.device())?);
        ctx.tap("n_edges", &Tensor::new(&[graph.n_edges() as i64], x.device())?);
        ctx.tap("L", &laplacian);
    }
    Ok(laplacian)
}

impl SurvivalModel for SpectralGraphSurv {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        if let Some(nodes) = self.sample(x.dim(0)?, &bag.patches, ctx)? {
            return self.forward_on(bag, &nodes, ctx);
        }
        let Pooled { survival, weights } = self.forward_graph(x, ctx)?;
        attribution::note(ctx, Module::Pooling, Magnification::X20, || Ok(weights))?;
        Ok(survival)
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}
