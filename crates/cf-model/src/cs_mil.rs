//! CSMIL: triples of a 20x patch and the 10x and 5x patches that hold it, their scales weighed by attention, a few triples per
//! cluster making a bag (Deng et al., 2022).

use std::sync::Arc;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use cf_layers::kernels::Activation;
use cf_layers::{ForwardCtx, KMeansConfig, Linear, Mode, attention_pool, dropout, k_means, random};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module, scatter};
use crate::config::check_costly_count;
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};
use crate::patches::{Derived, Draw};

const NAME: &str = "csmil";
const WIDTH: usize = 64;
const HIDDEN: usize = 32;
const DROPOUT: f64 = 0.5;
const N_CLUSTERS: usize = 8;
/// Mean and deviation of the number of triples that a bag takes from each cluster.
const TRIPLES: (f64, f64) = (3.0, 1.0);
const SEED: u64 = 1;

/// The settings of CSMIL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsMilConfig {
    /// Which triples of a slide make a bag.
    pub sampling: TripleSampling,
    /// Bags per slide in evaluation with `sampling = "bags"`, at least 1; their hazards are averaged.
    pub num_eval_bags: usize,
    /// Whether scores of scales are weights as they are (`none`: the published code) or pass a softmax (its figures).
    pub cross_scale_norm: CrossScaleNorm,
}

/// Which triples of a slide make a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TripleSampling {
    /// About three from each of eight clusters of the 20x features; drawn anew at each visit in training, and the same
    /// for a slide at each evaluation.
    Bags,
    /// All.
    Full,
}

/// How scores of scales become weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CrossScaleNorm {
    /// As they are; they may be negative.
    None,
    /// By a softmax over the scales.
    Softmax,
}

impl Default for CsMilConfig {
    fn default() -> Self {
        Self { sampling: TripleSampling::Bags, num_eval_bags: 100, cross_scale_norm: CrossScaleNorm::None }
    }
}

impl CsMilConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_costly_count("num_eval_bags", self.num_eval_bags)
    }
}

/// The model. Parameters `embed`, `scale_attention.{0,2}`, `attention.{0,2}`, `head.{0,3}`.
#[derive(Debug, Clone)]
pub struct CsMil {
    embed: Linear,
    scale_hidden: Linear,
    scale_score: Linear,
    hidden: Linear,
    score: Linear,
    head_in: Linear,
    head_out: Linear,
    config: CsMilConfig,
    backbone_dim: usize,
}

/// What the attention over triples makes of a bag.
struct Pooled {
    logits: Tensor,
    /// `[1, n]`.
    weights: Tensor,
}

impl CsMil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &CsMilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            embed: Linear::uniform(backbone_dim, WIDTH, vb.pp("embed"))?,
            scale_hidden: Linear::uniform(WIDTH, HIDDEN, vb.pp("scale_attention.0"))?,
            scale_score: Linear::uniform(HIDDEN, 1, vb.pp("scale_attention.2"))?,
            hidden: Linear::uniform(WIDTH, HIDDEN, vb.pp("attention.0"))?,
            score: Linear::uniform(HIDDEN, 1, vb.pp("attention.2"))?,
            head_in: Linear::uniform(WIDTH, HIDDEN, vb.pp("head.0"))?,
            head_out: Linear::uniform(HIDDEN, N_BINS, vb.pp("head.3"))?,
            config: config.clone(),
            backbone_dim,
        })
    }

    /// The logits of one bag: the triples of the 20x patches `fine`, which may repeat.
    ///
    /// # Errors
    /// As [`SurvivalModel::forward`]; and if `fine` is empty or names a patch that is not there.
    pub fn forward_triples(&self, bag: &BagTensors, fine: &[u32], ctx: &mut ForwardCtx) -> Result<Tensor> {
        Ok(self.pool_triples(bag, fine, ctx)?.logits)
    }

    fn pool_triples(&self, bag: &BagTensors, fine: &[u32], ctx: &mut ForwardCtx) -> Result<Pooled> {
        let (mut embedded, mut scores) = (Vec::with_capacity(3), Vec::with_capacity(3));
        for at in Magnification::ALL.into_iter().rev() {
            let features = bag.features(at, self.backbone_dim)?;
            let rows = match at {
                Magnification::X20 => fine.to_vec(),
                Magnification::X5 | Magnification::X10 => {
                    let parents = bag.patches.parents(Magnification::X20, at, NAME)?;
                    fine.iter().map(|&patch| parents[patch as usize]).collect()
                }
            };
            let rows = Tensor::from_vec(rows, fine.len(), features.device())?;
            let f = self.embed.forward_with(&features.index_select(&rows, 0)?, Activation::Relu)?;
            let score = self.scale_score.forward(&self.scale_hidden.forward_with(&f, Activation::Relu)?)?;
            ctx.tap(&format!("f_{at}"), &f);
            ctx.tap(&format!("a_{at}"), &score);
            embedded.push(f);
            scores.push(score);
        }
        let scores = Tensor::cat(&scores, 1)?;
        let weights = match self.config.cross_scale_norm {
            CrossScaleNorm::None => scores,
            CrossScaleNorm::Softmax => candle_nn::ops::softmax(&scores, 1)?,
        };
        let mut h = embedded[0].broadcast_mul(&weights.narrow(1, 0, 1)?)?;
        for (index, f) in embedded.iter().enumerate().skip(1) {
            h = (h + f.broadcast_mul(&weights.narrow(1, index, 1)?)?)?;
        }
        let scores = self.score.forward(&self.hidden.forward_with(&h, Activation::Tanh)?)?;
        let (beta, pooled) = attention_pool(&scores, &h)?;
        for (name, value) in [("h", &h), ("beta", &beta), ("M", &pooled)] {
            ctx.tap(name, value);
        }
        let hidden = dropout(&self.head_in.forward_with(&pooled, Activation::Relu)?, "hidden", DROPOUT, ctx)?;
        Ok(Pooled { logits: self.head_out.forward(&hidden)?.squeeze(0)?, weights: beta })
    }

    /// The 20x patches of each cluster.
    fn members(&self, bag: &BagTensors) -> Result<Vec<Vec<u32>>> {
        let mut members = vec![Vec::new(); N_CLUSTERS];
        for (patch, &label) in (0_u32..).zip(self.clusters(bag)?.iter()) {
            members[label as usize].push(patch);
        }
        Ok(members)
    }

    /// The cluster of each 20x patch, computed once per slide.
    fn clusters(&self, bag: &BagTensors) -> Result<Arc<Vec<u32>>> {
        let features = bag.features(Magnification::X20, self.backbone_dim)?;
        bag.patches.derived.get(Derived::Clusters { n_clusters: N_CLUSTERS }, || {
            let config = KMeansConfig { n_clusters: N_CLUSTERS, max_iterations: 100, tolerance: 1e-4 };
            Ok(k_means(features, config, &mut random::stream(SEED, "csmil clusters"))?)
        })
    }
}

/// The 20x patches of one bag: the same random number from each cluster, no more than it has, with replacement.
fn draw_bag(members: &[Vec<u32>], rng: &mut impl Rng) -> Vec<u32> {
    let (mean, deviation) = TRIPLES;
    let drawn = Normal::new(mean, deviation).map_or(mean, |normal| normal.sample(rng));
    let wanted = drawn.trunc().max(1.0) as usize;
    let mut bag = Vec::with_capacity(wanted * members.len());
    // A cluster without members would add a triple that is masked out of everything.
    for members in members.iter().filter(|members| !members.is_empty()) {
        let n = wanted.min(members.len());
        bag.extend((0..n).map(|_| members[rng.random_range(0..members.len())]));
    }
    bag
}

/// Logits of the mean hazards of several bags: `log(mean sigmoid(z)) - log(mean sigmoid(-z))`. By logarithms, as a hazard near 1
/// rounds to 1, whose logit is infinite.
fn mean_of_bags(logits: &[Tensor]) -> Result<Tensor> {
    let logits = Tensor::stack(logits, 0)?;
    let log_sum = |z: &Tensor| -> Result<Tensor> {
        let logs = log_sigmoid(z)?;
        let largest = logs.detach().max_keepdim(0)?;
        let sum = logs.broadcast_sub(&largest)?.exp()?.sum(0)?;
        Ok((sum.log()? + largest.squeeze(0)?)?)
    };
    // Both sums are of as many bags.
    Ok((log_sum(&logits)? - log_sum(&logits.neg()?)?)?)
}

/// `-log(1 + exp(-z))` without overflow.
#[expect(
    clippy::disallowed_methods,
    reason = "what is subtracted before the exponential, of NaN as well, is added after it"
)]
fn log_sigmoid(z: &Tensor) -> Result<Tensor> {
    let minus = z.neg()?;
    let largest = minus.detach().relu()?;
    let sum = ((minus - &largest)?.exp()? + largest.neg()?.exp()?)?;
    Ok((sum.log()? + largest)?.neg()?)
}

impl SurvivalModel for CsMil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        if self.config.sampling == TripleSampling::Full {
            let n = bag.features(Magnification::X20, self.backbone_dim)?.dim(0)?;
            let all: Vec<u32> = (0..n as u32).collect();
            let Pooled { logits, weights } = self.pool_triples(bag, &all, ctx)?;
            attribution::note(ctx, Module::Pooling, Magnification::X20, || Ok(weights))?;
            return Ok(SurvivalOutput::new(logits));
        }
        if ctx.mode() == Mode::Train {
            let drawn = draw_bag(&self.members(bag)?, &mut ctx.next_stream());
            return Ok(SurvivalOutput::new(self.forward_triples(bag, &drawn, ctx)?));
        }
        let n = self.config.num_eval_bags;
        let bags = bag.patches.drawn(Draw::Bags { n }, || {
            let members = self.members(bag)?;
            let mut rng = random::stream(SEED, &format!("csmil bags/{}", bag.patches.slide_id));
            Ok((0..n).map(|_| draw_bag(&members, &mut rng)).collect())
        })?;
        let (mut logits, mut weights) = (Vec::with_capacity(bags.len()), Vec::with_capacity(bags.len()));
        for fine in bags.iter() {
            let pooled = self.pool_triples(bag, fine, ctx)?;
            logits.push(pooled.logits);
            weights.push(pooled.weights);
        }
        attribution::note(ctx, Module::Pooling, Magnification::X20, || {
            let mean = (Tensor::cat(&weights, 1)? / bags.len() as f64)?;
            scatter(&mean, &bags.concat(), bag.at(Magnification::X20)?.dim(0)?)
        })?;
        Ok(SurvivalOutput::new(mean_of_bags(&logits)?))
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &Magnification::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn a_bag_takes_as_many_of_each_cluster_as_it_drew_or_as_there_are() {
        let members = vec![(0..50).collect(), Vec::new(), vec![50], (51..90).collect(), vec![90, 91]];
        let mut rng = random::stream(3, "bags");
        let mut drawn = [0_usize; 10];
        for _ in 0..2000 {
            let bag = draw_bag(&members, &mut rng);
            let of = |cluster: usize| bag.iter().filter(|patch| members[cluster].contains(patch)).count();
            let wanted = of(0);
            assert_eq!([of(2), of(3), of(4)], [1, wanted, wanted.min(2)]);
            assert_eq!(bag.len(), 2 * wanted + 1 + wanted.min(2), "only patches of the clusters");
            drawn[wanted] += 1;
        }
        // The whole part of a normal number of mean 3 and deviation 1, at least 1: 2 and 3 are as likely, 0.3413 each.
        assert_eq!(drawn[0], 0);
        for (wanted, share) in [(1, 0.1587), (2, 0.3413), (3, 0.3413), (4, 0.1359)] {
            let found = drawn[wanted] as f64 / 2000.0;
            assert!((found - share).abs() < 0.04, "{wanted}: {found}, expected {share}");
        }
    }

    #[test]
    fn bags_are_averaged_as_hazards() {
        let bags = [[0.5_f64, -2.0, 3.0, 0.0], [-1.5, -2.0, 1.0, 4.0]];
        let logits = bags.map(|bag| Tensor::new(&bag, &Device::Cpu).unwrap());
        let found: Vec<f64> = mean_of_bags(&logits).unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        let hazard = |z: f64| 1.0 / (1.0 + (-z).exp());
        for (bin, found) in found.into_iter().enumerate() {
            let mean = (hazard(bags[0][bin]) + hazard(bags[1][bin])) / 2.0;
            assert!((hazard(found) - mean).abs() < 1e-12, "bin {bin}");
        }
    }

    #[test]
    fn hazards_that_round_to_0_or_1_have_finite_logits_and_gradients() {
        // In f32 a sigmoid is 1 from about 17 on, and 0 from about -104.
        let bags = [[17.0_f32, 60.0, -120.0, 0.0], [18.0, 200.0, -130.0, 0.0]];
        let bags = bags.map(|bag| candle_core::Var::new(&bag, &Device::Cpu).unwrap());
        let mean = mean_of_bags(&bags.clone().map(|bag| bag.as_tensor().clone())).unwrap();
        let found: Vec<f32> = mean.to_vec1().unwrap();
        // Far from 0, `log(mean sigmoid(-z))` is the log of the mean of `exp(-z)`.
        let log_mean = |a: f64, b: f64| -((((-a).exp() + (-b).exp()) / 2.0).ln());
        let wanted = [log_mean(17.0, 18.0), log_mean(60.0, 200.0), -log_mean(120.0, 130.0), 0.0];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((f64::from(*found) - wanted).abs() < 1e-4, "{found}, expected {wanted}");
        }
        let grads = mean.sum_all().unwrap().backward().unwrap();
        let [first, second] = bags.map(|bag| grads.get(&bag).unwrap().to_vec1::<f32>().unwrap());
        for (bin, (first, second)) in first.into_iter().zip(second).enumerate() {
            assert!((first + second - 1.0).abs() < 1e-4, "bin {bin}: {first} and {second}");
        }
    }
}
