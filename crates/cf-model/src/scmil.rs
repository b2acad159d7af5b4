//! SCMIL: a soft filter, self-attention among clusters of the patches that pass it, gated attention over all (Yang et al.,
//! 2024), on 20x patches.

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use cf_layers::{
    ForwardCtx, GatedAttention, KMeansConfig, Linear, WindowAttention, attention_pool, cluster_windows,
    k_means, kernels, random,
};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module, scatter};
use crate::config::{check_at_least_one, check_costly_count, check_rising, reject};
use crate::discrete_time::N_BINS;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};
use crate::time_mixture::MixtureHead;

const NAME: &str = "scmil";
const FILTER_WIDTH: usize = 256;
const ATTENTION_WIDTH: usize = 256;
const DROPOUT: f64 = 0.25;
/// Patches per cluster and window that are aimed at.
const WINDOW: usize = 64;
/// Share of features in the distance between patches; coordinates get the rest.
const FEATURE_SHARE: f64 = 0.8;
const SEED: u64 = 1;

/// What SCMIL ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScmilHead {
    /// Four hazards, as every model of the comparison.
    #[default]
    Hazards,
    /// The authors' own: a mixture of times. Trains with `loss = "likelihood"`.
    Mixture,
}

/// The settings of SCMIL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScmilConfig {
    /// Channels to project the features to before anything else, at most 10000; 0 keeps the backbone's width, as published (there
    /// a projection is built and never used).
    pub project_to: usize,
    /// Heads of the attention within windows, at least 1; they divide the width.
    pub num_heads: usize,
    /// What the model ends with.
    pub head: ScmilHead,
    /// The end of each time bin for a mixture's survival curve; training writes it into the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_ends_months: Option<[f64; N_BINS]>,
}

impl Default for ScmilConfig {
    fn default() -> Self {
        Self { project_to: 0, num_heads: 8, head: ScmilHead::Hazards, bin_ends_months: None }
    }
}

impl ScmilConfig {
    pub(crate) fn head(&self) -> Head {
        match self.head {
            ScmilHead::Hazards => Head::Hazards,
            ScmilHead::Mixture => Head::TimeMixture { bin_ends_months: self.bin_ends_months },
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_at_least_one("num_heads", self.num_heads)?;
        if self.project_to > 0 {
            check_costly_count("project_to", self.project_to)?;
        }
        check_rising("bin_ends_months", self.bin_ends_months)
    }
}

/// The last layers.
#[derive(Debug, Clone)]
enum LastLayers {
    Hazards(Linear),
    Mixture(MixtureHead),
}

/// The model. Parameters `soft_filter.{0,2}`, `attention`, `pool`, `head`, and `project` where there is one.
#[derive(Debug, Clone)]
pub struct Scmil {
    project: Option<Linear>,
    filter_in: Linear,
    filter_out: Linear,
    attention: WindowAttention,
    pool: GatedAttention,
    last: LastLayers,
    head: Head,
    backbone_dim: usize,
}

impl Scmil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If the width is no multiple of the heads, or a parameter is missing from `vb` or has another shape.
    pub fn new(config: &ScmilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let d = if config.project_to > 0 { config.project_to } else { backbone_dim };
        if !d.is_multiple_of(config.num_heads) {
            return reject("num_heads", config.num_heads, "a divisor of the width of the tokens");
        }
        let project = (config.project_to > 0).then(|| Linear::uniform(backbone_dim, d, vb.pp("project")));
        Ok(Self {
            project: project.transpose()?,
            filter_in: Linear::uniform(d, FILTER_WIDTH, vb.pp("soft_filter.0"))?,
            filter_out: Linear::uniform(FILTER_WIDTH, 1, vb.pp("soft_filter.2"))?,
            attention: WindowAttention::new(d, config.num_heads, DROPOUT, vb.pp("attention"))?,
            pool: GatedAttention::new(d, ATTENTION_WIDTH, DROPOUT, vb.pp("pool"))?,
            last: match config.head {
                ScmilHead::Hazards => LastLayers::Hazards(Linear::uniform(d, N_BINS, vb.pp("head"))?),
                ScmilHead::Mixture => LastLayers::Mixture(MixtureHead::new(d, vb.pp("head"))?),
            },
            head: config.head(),
            backbone_dim,
        })
    }

    /// [`SurvivalModel::forward`] with the clusters of the patches that pass the filter, in their order, given by `cluster`
    /// from their features, coordinates and the number of clusters.
    ///
    /// # Errors
    /// As [`SurvivalModel::forward`], and those of `cluster`.
    pub fn forward_with_clusters(
        &self,
        bag: &BagTensors,
        ctx: &mut ForwardCtx,
        cluster: impl FnOnce(&Tensor, &[[i64; 2]], usize) -> Result<Vec<u32>>,
    ) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let coords = bag.patches.coords(Magnification::X20, NAME)?;
        let n = x.dim(0)?;
        if coords.len() != n {
            let reason = format!("{} coordinates for {n} x20 patches", coords.len());
            return Err(Error::Bag { slide_id: bag.patches.slide_id.clone(), reason });
        }
        let projected = self.project.as_ref().map(|project| project.forward(x)).transpose()?;
        let x = projected.as_ref().unwrap_or(x);
        let hidden = kernels::gelu(&self.filter_in.forward(x)?, None)?;
        let filter = candle_nn::ops::sigmoid(&self.filter_out.forward(&hidden)?)?;
        ctx.tap("w", &filter);
        let y = x.broadcast_mul(&filter)?;

        // The cut itself has no gradient; it reaches the filter through y.
        let passes: Vec<f64> = filter.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let (passed, rest): (Vec<u32>, Vec<u32>) =
            (0..n as u32).partition(|&index| passes[index as usize] > 0.5);
        let select =
            |rows: &[u32]| -> Result<Tensor> { Ok(y.index_select(&Tensor::new(rows, y.device())?, 0)?) };
        let mut parts = Vec::new();
        // The patch behind each row of z.
        let mut rows: Vec<u32> = Vec::new();
        if passed.len() > 1 {
            let n_clusters = (passed.len() / WINDOW).max(1);
            let places: Vec<[i64; 2]> = passed.iter().map(|&index| coords[index as usize]).collect();
            let labels = cluster(&select(&passed)?, &places, n_clusters)?;
            let windows = cluster_windows(&labels, n_clusters, WINDOW);
            let mut order: Vec<usize> = (0..passed.len()).collect();
            order.sort_by_key(|&index| labels[index]);
            rows = order.into_iter().map(|index| passed[index]).collect();
            let sorted = select(&rows)?;
            ctx.tap("sorted", &sorted);
            parts.push((&sorted + self.attention.forward(&sorted, &windows, ctx)?)?);
        } else if !passed.is_empty() {
            parts.push(select(&passed)?);
            rows.clone_from(&passed);
        }
        let skipped = passed.len() <= 1;
        if !rest.is_empty() {
            parts.push(select(&rest)?);
        }
        rows.extend(&rest);
        let z = Tensor::cat(&parts, 0)?;
        let scores = self.pool.forward(&z, ctx)?;
        let (weights, pooled) = attention_pool(&scores, &z)?;
        for (name, value) in [("Z", &z), ("score", &scores), ("alpha", &weights), ("pooled", &pooled)] {
            ctx.tap(name, value);
        }
        attribution::note(ctx, Module::Pooling, Magnification::X20, || scatter(&weights, &rows, n))?;
        let mut values = match &self.last {
            LastLayers::Hazards(last) => last.forward(&pooled)?.squeeze(0)?,
            LastLayers::Mixture(last) => last.forward(&pooled, ctx)?,
        };
        if skipped {
            values = values.broadcast_add(&self.attention.zero()?)?;
        }
        Ok(SurvivalOutput::of(self.head, values))
    }
}

/// Clusters by features and, with little weight, by place. Each is standardised by one mean and one deviation over all its
/// entries.
fn clusters(features: &Tensor, places: &[[i64; 2]], n_clusters: usize) -> Result<Vec<u32>> {
    let places: Vec<f32> = places.iter().flatten().map(|&at| at as f32).collect();
    let places = Tensor::from_vec(places, (features.dim(0)?, 2), features.device())?;
    let standardised = |x: &Tensor, share: f64| -> Result<Tensor> {
        let x = x.detach().to_dtype(DType::F64)?;
        let centred = x.broadcast_sub(&x.mean_all()?)?;
        let n = x.elem_count();
        let deviation = (centred.sqr()?.sum_all()?.to_scalar::<f64>()? / (n - 1) as f64).sqrt();
        // Where all entries are equal there is nothing to scale.
        let factor = if deviation > 0.0 { share / deviation } else { share };
        Ok((centred * factor)?.to_dtype(DType::F32)?)
    };
    let vectors = [standardised(features, FEATURE_SHARE)?, standardised(&places, 1.0 - FEATURE_SHARE)?];
    let config = KMeansConfig { n_clusters, max_iterations: 5, tolerance: 1e-4 };
    Ok(k_means(&Tensor::cat(&vectors, 1)?, config, &mut random::stream(SEED, "scmil clusters"))?)
}

impl SurvivalModel for Scmil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        self.forward_with_clusters(bag, ctx, clusters)
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}
