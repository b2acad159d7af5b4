//! DSMIL: attention of every patch to the critical patch of each output (Li et al., 2021) on 20x patches.

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use cf_layers::kernels::{self, Activation, Compute};
use cf_layers::{ForwardCtx, Linear, dropout, init, instance_weights};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::config::{check_probability, reject};
use crate::discrete_time::N_BINS;
use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

const QUERY_WIDTH: usize = 128;

/// Parameters of the instance stream: without an instance loss they choose the critical patches but learn nothing.
pub(crate) const INSTANCE_STREAM: [&str; 2] = ["i_classifier.fc.0.bias", "i_classifier.fc.0.weight"];

/// The settings of DSMIL.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DsmilConfig {
    /// Weight of the loss of the largest instance scores, in `[0, 1)`; the bag's loss gets the rest. 0, as in Table 1, leaves
    /// the instance stream at its initial weights: it selects by a random projection. The published method has 0.5.
    pub instance_loss_weight: f64,
    /// Values of the bag stream are features through dropout, a linear layer and ReLU, instead of the features.
    pub learned_values: bool,
    /// Dropout before that layer, in `[0, 1)`.
    pub value_dropout: f64,
}

impl DsmilConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_probability("instance_loss_weight", self.instance_loss_weight)?;
        check_probability("value_dropout", self.value_dropout)?;
        if self.value_dropout > 0.0 && !self.learned_values {
            return reject("value_dropout", self.value_dropout, "0 without learned_values");
        }
        Ok(())
    }
}

/// Two streams: scores of single patches, and a bag whose patches are weighed by their likeness to the critical ones.
/// Parameter names are those of released checkpoints.
#[derive(Debug, Clone)]
pub struct Dsmil {
    instance: Linear,
    query_in: Linear,
    query_out: Linear,
    value: Option<Linear>,
    head_weight: Tensor,
    head_bias: Tensor,
    config: DsmilConfig,
    backbone_dim: usize,
}

impl Dsmil {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &DsmilConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let bag = vb.pp("b_classifier");
        let fan_in = init::fan_in(N_BINS * backbone_dim);
        let shape = (N_BINS, N_BINS, backbone_dim);
        let value = config.learned_values.then(|| Linear::uniform(backbone_dim, backbone_dim, bag.pp("v.1")));
        Ok(Self {
            instance: Linear::uniform(backbone_dim, N_BINS, vb.pp("i_classifier.fc.0"))?,
            query_in: Linear::uniform(backbone_dim, QUERY_WIDTH, bag.pp("q.0"))?,
            query_out: Linear::uniform(QUERY_WIDTH, QUERY_WIDTH, bag.pp("q.2"))?,
            value: value.transpose()?,
            head_weight: bag
                .pp("fcc")
                .get_with_hints(shape, "weight", fan_in)?
                .reshape((N_BINS, N_BINS * backbone_dim))?,
            head_bias: bag.pp("fcc").get_with_hints(N_BINS, "bias", fan_in)?,
            config: config.clone(),
            backbone_dim,
        })
    }

    fn query(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self
            .query_out
            .forward_with(&self.query_in.forward_with(x, Activation::Relu)?, Activation::Tanh)?)
    }
}

/// The row of the largest value of each column of `scores` `[n, k]`, the first of equals.
fn critical_instances(scores: &Tensor) -> Result<Vec<u32>> {
    let columns: Vec<Vec<f64>> = scores.detach().t()?.to_dtype(DType::F64)?.to_vec2()?;
    let first_largest = |column: &Vec<f64>| {
        let largest = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        column.iter().position(|&score| score == largest).unwrap_or(0) as u32
    };
    Ok(columns.iter().map(first_largest).collect())
}

impl SurvivalModel for Dsmil {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let scores = self.instance.forward(x)?;
        let critical = Tensor::new(critical_instances(&scores)?, x.device())?;
        let queries = self.query(x)?;
        let critical_queries = queries.index_select(&critical, 0)?;
        let similarity = (queries.matmul(&critical_queries.t()?)? / (QUERY_WIDTH as f64).sqrt())?;
        let weights = instance_weights(&similarity)?;
        let values = match &self.value {
            None => x.clone(),
            Some(value) => value
                .forward_with(&dropout(x, "features", self.config.value_dropout, ctx)?, Activation::Relu)?,
        };
        let pooled = kernels::weighted_sums(&weights, &values)?;
        let flat = pooled.reshape((1, N_BINS * self.backbone_dim))?;
        let logits =
            kernels::linear(&flat, &self.head_weight, &self.head_bias, Compute::AsStored)?.squeeze(0)?;
        let taps = [
            ("s", &scores),
            ("m", &critical),
            ("Q", &queries),
            ("Qstar", &critical_queries),
            ("A", &weights),
            ("B", &pooled),
        ];
        for (name, value) in taps {
            ctx.tap(name, value);
        }
        attribution::note(ctx, Module::Pooling, Magnification::X20, || Ok(weights.mean(0)?))?;
        let weight = self.config.instance_loss_weight;
        let mut output = SurvivalOutput { weight: 1.0 - weight, ..SurvivalOutput::new(logits) };
        if weight > 0.0 {
            let largest = scores.index_select(&critical, 0)?;
            let own = Tensor::eye(N_BINS, largest.dtype(), largest.device())?;
            output.auxiliary.push(((largest * own)?.sum(1)?, weight));
        }
        Ok(output)
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn of_equal_scores_the_first_patch_is_critical() {
        let scores = [[1.0_f32, 0.0, -3.0], [2.0, 0.0, -3.0], [2.0, 0.0, -1.0], [-5.0, 0.0, -1.0]];
        let scores = Tensor::new(&scores, &Device::Cpu).unwrap();
        assert_eq!(critical_instances(&scores).unwrap(), [1, 0, 2]);
    }
}
