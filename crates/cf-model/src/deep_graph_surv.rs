//! DeepGraphSurv: its settings, and the form that later papers compare with: graph isomorphism layers (Xu et al., 2019) and gated
//! attention, on 20x patches. The form of 2018 is in `spectral_graph_surv.rs`.

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::kernels::Activation;
use cf_layers::{EdgeDirection, ForwardCtx, GatedAttention, Graph, Linear, attention_pool, dropout, kernels};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::config::{check_costly_count, check_probability, check_rising, reject};
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::head::RiskHead;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};
use crate::needs::Need;
use crate::spectral_graph_surv::GraphMetric;

const NAME: &str = "deepgraphsurv";
const WIDTH: usize = 256;
const ATTENTION_DROPOUT: f64 = 0.25;

/// The settings of DeepGraphSurv. Those of the form that is not asked for stay at their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeepGraphSurvConfig {
    /// Which of the two networks of this name.
    pub form: DeepGraphSurvForm,
    /// `gin`: what makes patches neighbours.
    pub edges: GraphEdges,
    /// `gin`: neighbours per patch, at least 1; fewer where the slide has fewer patches.
    pub num_neighbours: usize,
    /// `gin`: a patch hears from its neighbours instead of from those that chose it.
    pub reverse_edges: bool,
    /// `gin`: dropout of the input features in training, in `[0, 1)`: the published "resampling", which drops entries, not patches.
    pub resample: f64,
    /// `gin`: dropout before the head, in `[0, 1)`: 0.25 until January 2024, 0 since. Left out where it is 0, so that settings that
    /// were written before there was this one read and hash as they did.
    #[serde(skip_serializing_if = "is_none")]
    pub final_dropout: f64,
    /// `spectral`: patches of a slide that make its graph, at least 1, drawn at random where there are more. Memory and time grow
    /// with its square. The learnt Laplacian of `n` nodes starts with eigenvalues of about `n / 100`, which each of three layers
    /// squares: with the published 1000 the tanh before the head may be saturated from the start, so that no layer before it learns.
    /// With 100 to 300 it is not.
    pub max_nodes: usize,
    /// `spectral`: what the learnt part of the graph compares patches by.
    pub metric: GraphMetric,
    /// `spectral`: what the model ends with.
    pub head: RiskHead,
    /// The cumulative hazard of the baseline at the end of each time bin, for the survival curve of a log risk; training writes
    /// it into the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<[f64; N_BINS]>,
}

/// The networks that carry the name DeepGraphSurv.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeepGraphSurvForm {
    /// Graph isomorphism layers on all patches, as later papers compare with it: see [`DeepGraphSurv`].
    #[default]
    Gin,
    /// Spectral convolutions on some patches, as it was published: see [`crate::SpectralGraphSurv`].
    Spectral,
}

/// What makes two patches neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphEdges {
    /// Nearness of their features. (The published builder searched the features for coordinates by mistake.)
    Latent,
    /// Nearness on the slide.
    Spatial,
}

impl Default for DeepGraphSurvConfig {
    fn default() -> Self {
        Self {
            form: DeepGraphSurvForm::Gin,
            edges: GraphEdges::Latent,
            num_neighbours: 8,
            reverse_edges: false,
            resample: 0.0,
            final_dropout: 0.0,
            max_nodes: 1000,
            metric: GraphMetric::AsPublished,
            head: RiskHead::Hazards,
            baseline: None,
        }
    }
}

fn is_none(dropout: &f64) -> bool {
    *dropout == 0.0
}

impl DeepGraphSurvConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_costly_count("num_neighbours", self.num_neighbours)?;
        check_probability("resample", self.resample)?;
        check_probability("final_dropout", self.final_dropout)?;
        check_costly_count("max_nodes", self.max_nodes)?;
        check_rising("baseline", self.baseline)?;
        // A setting that nothing reads is a mistake: its run would be taken for what it is not.
        let plain = Self::default();
        let (gin, spectral) = ("left out with form = \"spectral\"", "left out with form = \"gin\"");
        match self.form {
            DeepGraphSurvForm::Spectral if self.edges != plain.edges => reject("edges", "spatial", gin),
            DeepGraphSurvForm::Spectral if self.num_neighbours != plain.num_neighbours => {
                reject("num_neighbours", self.num_neighbours, gin)
            }
            DeepGraphSurvForm::Spectral if self.reverse_edges => reject("reverse_edges", true, gin),
            DeepGraphSurvForm::Spectral if self.resample != 0.0 => reject("resample", self.resample, gin),
            DeepGraphSurvForm::Spectral if self.final_dropout != 0.0 => {
                reject("final_dropout", self.final_dropout, gin)
            }
            DeepGraphSurvForm::Gin if self.max_nodes != plain.max_nodes => {
                reject("max_nodes", self.max_nodes, spectral)
            }
            DeepGraphSurvForm::Gin if self.metric != plain.metric => {
                reject("metric", "mahalanobis", spectral)
            }
            DeepGraphSurvForm::Gin if self.head != plain.head => reject("head", "log-risk", spectral),
            DeepGraphSurvForm::Gin | DeepGraphSurvForm::Spectral => Ok(()),
        }
    }

    /// Whether the model finds each patch's nearest by their features, which takes long.
    pub fn finds_nearest_features(&self) -> bool {
        self.form == DeepGraphSurvForm::Gin && self.edges == GraphEdges::Latent
    }

    pub(crate) fn needs(&self) -> &'static [Need] {
        match self.edges {
            GraphEdges::Latent => &[],
            GraphEdges::Spatial => &[Need::Coordinates],
        }
    }
}

/// The direction that a `reverse_edges` setting means.
pub(crate) fn direction(reverse_edges: bool) -> EdgeDirection {
    if reverse_edges { EdgeDirection::FromNeighbours } else { EdgeDirection::ToNeighbours }
}

/// Three graph isomorphism layers, gated attention, two linear layers.
#[derive(Debug, Clone)]
pub struct DeepGraphSurv {
    layers: [GraphIsomorphism; 3],
    attention: GatedAttention,
    hidden: Linear,
    head: Linear,
    config: DeepGraphSurvConfig,
    backbone_dim: usize,
}

/// `MLP(x_v + sum of x_j over edges (j -> v))`, epsilon fixed at 0.
#[derive(Debug, Clone)]
struct GraphIsomorphism {
    first: Linear,
    second: Linear,
}

impl GraphIsomorphism {
    fn new(d_in: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            first: Linear::uniform(d_in, WIDTH, vb.pp("nn.0"))?,
            second: Linear::uniform(WIDTH, WIDTH, vb.pp("nn.2"))?,
        })
    }

    fn forward(&self, x: &Tensor, graph: &Arc<Graph>, name: &str, ctx: &mut ForwardCtx) -> Result<Tensor> {
        // The first layer is linear, so it commutes with the sum and narrows what is summed.
        let narrow = self.first.forward_without_bias(x)?;
        let summed = (&narrow + kernels::neighbour_sum(&narrow, graph)?)?;
        ctx.tap(name, &summed);
        let hidden = kernels::relu(&summed.broadcast_add(self.first.bias())?)?;
        Ok(self.second.forward_with(&hidden, Activation::Relu)?)
    }
}

impl DeepGraphSurv {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &DeepGraphSurvConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            layers: [
                GraphIsomorphism::new(backbone_dim, vb.pp("conv1"))?,
                GraphIsomorphism::new(WIDTH, vb.pp("conv2"))?,
                GraphIsomorphism::new(WIDTH, vb.pp("conv3"))?,
            ],
            attention: GatedAttention::new(WIDTH, WIDTH, ATTENTION_DROPOUT, vb.pp("path_attention_head"))?,
            hidden: Linear::uniform(WIDTH, WIDTH, vb.pp("path_rho.0"))?,
            head: Linear::uniform(WIDTH, N_BINS, vb.pp("classifier"))?,
            config: config.clone(),
            backbone_dim,
        })
    }

    fn graph(&self, bag: &BagTensors, x: &Tensor) -> Result<Arc<Graph>> {
        let k = self.config.num_neighbours;
        let neighbours = match self.config.edges {
            GraphEdges::Latent => bag.patches.nearest_features(x, k)?,
            GraphEdges::Spatial => bag.patches.nearest_places(k, NAME)?,
        };
        let graph = Graph::new(&neighbours, x.dim(0)?, direction(self.config.reverse_edges))?;
        // Sums are not divided by the number of neighbours: a hub of a latent graph can blow up.
        tracing::debug!(slide = bag.patches.slide_id, largest_in_degree = graph.largest_in_degree());
        Ok(Arc::new(graph))
    }
}

impl SurvivalModel for DeepGraphSurv {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let graph = self.graph(bag, x)?;
        let mut x = dropout(x, "features", self.config.resample, ctx)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &graph, &format!("Wu{}", index + 1), ctx)?;
            ctx.tap(&format!("layer{}", index + 1), &x);
        }
        let scores = self.attention.forward(&x, ctx)?;
        let (weights, pooled) = attention_pool(&scores, &x)?;
        for (name, value) in [("score", &scores), ("alpha", &weights), ("pooled", &pooled)] {
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
