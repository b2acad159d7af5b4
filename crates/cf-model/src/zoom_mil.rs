//! ZoomMIL: attention at 5x chooses where to look at 10x, attention at 10x where to look at 20x (Thandiackal et al., 2022).

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::kernels::{Activation, weighted_sums};
use cf_layers::{
    ForwardCtx, GatedAttention, Linear, Mode, attention_pool, dropout, hard_selection, instance_weights,
    perturbed_selection,
};
use rand::Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module, scatter};
use crate::config::{check_at_least_one, check_costly_count, check_probability, reject};
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};
use crate::quadtree::{self, EMPTY, N_CHILDREN};

const NAME: &str = "zoommil";
const WIDTH: usize = 512;
const ATTENTION_WIDTH: usize = 256;

/// Parameters of the attention that chooses: evaluation makes hard choices, which have no gradient.
pub(crate) const ZOOM_HEADS: [&str; 2] = ["zoom1.", "zoom2."];

/// The settings of ZoomMIL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZoomMilConfig {
    /// Patches to zoom into at each scale, at least 1; fewer where there are fewer.
    pub num_zoomed: usize,
    /// Deviation of the noise that makes the choice differentiable, above 0.
    pub sigma: f64,
    /// Draws of the noise, at least 1.
    pub num_noise_samples: usize,
    /// Dropout of embeddings and attention, in `[0, 1)`.
    pub dropout: f64,
    /// Places without a patch get no attention. As published they take part as zeros.
    pub mask_empty: bool,
}

impl Default for ZoomMilConfig {
    fn default() -> Self {
        Self { num_zoomed: 12, sigma: 0.002, num_noise_samples: 100, dropout: 0.25, mask_empty: false }
    }
}

impl ZoomMilConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_at_least_one("num_zoomed", self.num_zoomed)?;
        check_costly_count("num_noise_samples", self.num_noise_samples)?;
        check_probability("dropout", self.dropout)?;
        if !self.sigma.is_finite() || self.sigma <= 0.0 {
            return reject("sigma", self.sigma, "a positive number");
        }
        Ok(())
    }
}

/// The model. Parameters per scale `x5`, `x10`, `x20`: `embed`, `attention`; `zoom1`, `zoom2`, `head`.
#[derive(Debug, Clone)]
pub struct ZoomMil {
    scales: [Scale; 3],
    zoom: [GatedAttention; 2],
    head: Linear,
    config: ZoomMilConfig,
    backbone_dim: usize,
}

#[derive(Debug, Clone)]
struct Scale {
    embed: Linear,
    attention: GatedAttention,
}

/// One scale of a bag.
struct Pooled {
    /// `[n, WIDTH]`.
    embedded: Tensor,
    /// `[1, n]`.
    weights: Tensor,
    /// `[1, WIDTH]`.
    mean: Tensor,
}

/// Features of the 5x patches, of their 4 places at 10x and their 16 at 20x: `[n, d]`, `[4 n, d]`, `[16 n, d]`.
struct Quadtree {
    x5: Tensor,
    x10: Tensor,
    x20: Tensor,
    /// The patches at the places at 10x, or [`EMPTY`].
    of_coarse: Arc<Vec<u32>>,
    /// The same at 20x.
    below: Arc<Vec<u32>>,
    /// With `mask_empty`, 1 where a place at 10x and at 20x has a patch, else 0: `[4 n, 1]`, `[16 n, 1]`.
    taken: Option<(Tensor, Tensor)>,
}

impl ZoomMil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &ZoomMilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let attention = |vb| GatedAttention::new(WIDTH, ATTENTION_WIDTH, config.dropout, vb);
        let scale = |at: Magnification| -> Result<Scale> {
            let vb = vb.pp(at.to_string());
            Ok(Scale {
                embed: Linear::uniform(backbone_dim, WIDTH, vb.pp("embed"))?,
                attention: attention(vb.pp("attention"))?,
            })
        };
        Ok(Self {
            scales: [scale(Magnification::X5)?, scale(Magnification::X10)?, scale(Magnification::X20)?],
            zoom: [attention(vb.pp("zoom1"))?, attention(vb.pp("zoom2"))?],
            head: Linear::uniform(WIDTH, N_BINS, vb.pp("head"))?,
            config: config.clone(),
            backbone_dim,
        })
    }

    /// [`SurvivalModel::forward`] with the choices made by `select` from the zoom weights `[n]` and the number to choose: a
    /// selection matrix `[k, n]` for each of the two steps.
    ///
    /// # Errors
    /// As [`SurvivalModel::forward`], and those of `select`.
    pub fn forward_selecting(
        &self,
        bag: &BagTensors,
        ctx: &mut ForwardCtx,
        mut select: impl FnMut(&Tensor, usize, &mut ForwardCtx) -> Result<Tensor>,
    ) -> Result<SurvivalOutput> {
        let Quadtree { x5, x10, x20, of_coarse, below, taken } = self.quadtree(bag)?;
        let (taken10, taken20) = taken.unzip();
        let [coarse, middle, fine] = &self.scales;
        let zoom =
            |index: usize, x: &Tensor, taken: Option<&Tensor>, ctx: &mut ForwardCtx| -> Result<Tensor> {
                let scores = among_taken(self.zoom[index].forward(x, ctx)?, taken)?;
                let weights = instance_weights(&scores)?.squeeze(0)?;
                ctx.tap(&format!("a{}", index + 1), &weights);
                Ok(weights)
            };

        let Pooled { embedded, weights, mean: mut sum } = self.pool(coarse, &x5, None, "M1", ctx)?;
        attribution::note(ctx, Module::Pooling, Magnification::X5, || Ok(weights))?;
        let weights = zoom(0, &embedded, None, ctx)?;
        attribution::note(ctx, Module::Zoom, Magnification::X5, || Ok(weights.clone()))?;
        let n_chosen = self.config.num_zoomed.min(x5.dim(0)?);
        let selection = select(&weights, n_chosen, ctx)?;
        ctx.tap("E1", &selection);
        // Features themselves are chosen, so that the gradient of the choice passes through what was seen.
        let x10 = zoom_in(&selection, &x10, N_CHILDREN)?;
        let x20 = zoom_in(&selection, &x20, N_CHILDREN * N_CHILDREN)?;
        // What a relaxed choice mixes is there if any part of it is.
        let taken10 = taken10.map(|taken| zoom_in(&selection.detach(), &taken, N_CHILDREN)).transpose()?;
        let taken20 =
            taken20.map(|taken| zoom_in(&selection.detach(), &taken, N_CHILDREN * N_CHILDREN)).transpose()?;
        ctx.tap("X10", &x10);
        let (of_coarse, below) = if ctx.notes_attention() {
            let chosen = chosen(&selection)?;
            (groups(&of_coarse, &chosen, N_CHILDREN), groups(&below, &chosen, N_CHILDREN * N_CHILDREN))
        } else {
            Default::default()
        };

        let Pooled { embedded, weights, mean } = self.pool(middle, &x10, taken10.as_ref(), "M2", ctx)?;
        sum = (sum + mean)?;
        let n = bag.at(Magnification::X10)?.dim(0)?;
        attribution::note(ctx, Module::Pooling, Magnification::X10, || scatter(&weights, &of_coarse, n))?;
        let weights = zoom(1, &embedded, taken10.as_ref(), ctx)?;
        attribution::note(ctx, Module::Zoom, Magnification::X10, || scatter(&weights, &of_coarse, n))?;
        let selection = select(&weights, self.config.num_zoomed.min(x10.dim(0)?), ctx)?;
        ctx.tap("E2", &selection);
        let x20 = zoom_in(&selection, &x20, N_CHILDREN)?;
        let taken20 = taken20.map(|taken| zoom_in(&selection.detach(), &taken, N_CHILDREN)).transpose()?;
        ctx.tap("X20", &x20);

        let Pooled { weights, mean, .. } = self.pool(fine, &x20, taken20.as_ref(), "M3", ctx)?;
        attribution::note(ctx, Module::Pooling, Magnification::X20, || {
            let below = groups(&below, &chosen(&selection)?, N_CHILDREN);
            scatter(&weights, &below, bag.at(Magnification::X20)?.dim(0)?)
        })?;
        Ok(SurvivalOutput::new(self.head.forward(&(sum + mean)?)?.squeeze(0)?))
    }

    fn pool(
        &self,
        scale: &Scale,
        x: &Tensor,
        taken: Option<&Tensor>,
        tap: &str,
        ctx: &mut ForwardCtx,
    ) -> Result<Pooled> {
        let embedded =
            dropout(&scale.embed.forward_with(x, Activation::Relu)?, "embedding", self.config.dropout, ctx)?;
        let scores = among_taken(scale.attention.forward(&embedded, ctx)?, taken)?;
        let (weights, mean) = attention_pool(&scores, &embedded)?;
        ctx.tap(tap, &mean);
        Ok(Pooled { embedded, weights, mean })
    }

    fn quadtree(&self, bag: &BagTensors) -> Result<Quadtree> {
        let x5 = bag.features(Magnification::X5, self.backbone_dim)?;
        let x10 = bag.features(Magnification::X10, self.backbone_dim)?;
        let x20 = bag.features(Magnification::X20, self.backbone_dim)?;
        let of_coarse = quadtree::places(&bag.patches, Magnification::X10, NAME)?;
        let below = quadtree::places(&bag.patches, Magnification::X20, NAME)?;
        let taken = |places: &[u32]| {
            let taken = places.iter().map(|&at| if at == EMPTY { 0.0 } else { 1.0 });
            Tensor::from_iter(taken, x5.device())?.to_dtype(x5.dtype())?.reshape((places.len(), 1))
        };
        let taken = if self.config.mask_empty { Some((taken(&of_coarse)?, taken(&below)?)) } else { None };
        let (x10, x20) = (gather(x10, &of_coarse)?, gather(x20, &below)?);
        Ok(Quadtree { x5: x5.clone(), x10, x20, of_coarse, below, taken })
    }
}

/// Scores `[n, 1]` whose softmax leaves out the rows that are not taken; all are equal where none is.
fn among_taken(scores: Tensor, taken: Option<&Tensor>) -> Result<Tensor> {
    let Some(taken) = taken else { return Ok(scores) };
    let left_out = (taken.eq(0.0)?.to_dtype(scores.dtype())? * -1e30)?;
    Ok((scores + left_out)?)
}

/// The rows of `x` at `indices`, zeros at [`EMPTY`].
fn gather(x: &Tensor, indices: &[u32]) -> Result<Tensor> {
    let (n, d) = x.dims2()?;
    let with_zeros = Tensor::cat(&[x, &Tensor::zeros((1, d), x.dtype(), x.device())?], 0)?;
    let rows: Vec<u32> = indices.iter().map(|&at| if at == EMPTY { n as u32 } else { at }).collect();
    Ok(with_zeros.index_select(&Tensor::from_vec(rows, indices.len(), x.device())?, 0)?)
}

/// `[k, n]` times the `n` groups of `group` rows of `x`: `[k * group, d]`.
fn zoom_in(selection: &Tensor, x: &Tensor, group: usize) -> Result<Tensor> {
    let ((k, n), (_, d)) = (selection.dims2()?, x.dims2()?);
    Ok(weighted_sums(selection, &x.reshape((n, group * d))?)?.reshape((k * group, d))?)
}

/// The column that each row of a selection is about.
fn chosen(selection: &Tensor) -> Result<Vec<u32>> {
    Ok(selection.detach().argmax(1)?.to_vec1()?)
}

/// The chosen ones of the groups of `group` places.
fn groups(places: &[u32], chosen: &[u32], group: usize) -> Vec<u32> {
    chosen.iter().flat_map(|&at| places[at as usize * group..][..group].iter().copied()).collect()
}

impl SurvivalModel for ZoomMil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let ZoomMilConfig { sigma, num_noise_samples, .. } = self.config;
        self.forward_selecting(bag, ctx, |weights, k, ctx| match ctx.mode() {
            Mode::Eval => Ok(hard_selection(weights, k)?),
            Mode::Train => {
                let mut rng = ctx.next_stream();
                let n = num_noise_samples * weights.dim(0)?;
                let noise: Vec<f32> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
                Ok(perturbed_selection(weights, k, &noise, sigma)?)
            }
        })
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &Magnification::ALL
    }
}
