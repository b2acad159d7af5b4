//! CONCH v1's image tower (Lu et al., 2024): a ViT whose tokens are pooled by attention of one learned query.

use candle_core::{Result, Tensor};
use cf_layers::kernels::{self, Compute};

use crate::linear::{Linear, Norm, linear_parameters, norm_parameters};
use crate::pixels::Pixels;
use crate::vit::{Vit, VitConfig, by_image};
use crate::weights::{Parameters, Weights};

const TRUNK: &str = "visual.trunk.";
const POOL: &str = "visual.attn_pool_contrast";
const NORM: &str = "visual.ln_contrast";
/// PyTorch's epsilon of layer norms; the trunk has timm's.
const EPS: f64 = 1e-5;

/// The sizes of the tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ConchConfig {
    pub(crate) trunk: VitConfig,
    /// Width of the pooled vector.
    pub(crate) width: usize,
    /// Heads of the pooling.
    pub(crate) n_heads: usize,
}

impl ConchConfig {
    pub(crate) fn parameters(&self) -> Parameters {
        let (width, context) = (self.width, self.trunk.width);
        let mut wanted = self.trunk.parameters(TRUNK);
        wanted.push((format!("{POOL}.query"), vec![1, width]));
        wanted.extend(norm_parameters(&format!("{POOL}.ln_q"), width));
        wanted.extend(norm_parameters(&format!("{POOL}.ln_k"), context));
        for (name, d_in) in [("q", width), ("k", context), ("v", context)] {
            wanted.push((format!("{POOL}.attn.{name}_proj_weight"), vec![width, d_in]));
        }
        wanted.push((format!("{POOL}.attn.in_proj_bias"), vec![3 * width]));
        wanted.extend(linear_parameters(&format!("{POOL}.attn.out_proj"), width, width));
        wanted.extend(norm_parameters(NORM, width));
        Parameters { wanted, unused }
    }
}

/// The text tower, the pooling for captions, and the projection for retrieval.
fn unused(name: &str) -> bool {
    const PARTS: [&str; 3] = ["visual.attn_pool_caption.", "visual.ln_caption.", "text."];
    matches!(name, "visual.proj_contrast" | "logit_scale") || PARTS.iter().any(|part| name.starts_with(part))
}

/// The tower with its weights.
#[derive(Debug)]
pub(crate) struct Conch {
    trunk: Vit,
    /// The projected query, `[1, width]`: it is the same for every image.
    query: Tensor,
    norm_keys: Norm,
    keys_and_values: Linear,
    out: Linear,
    norm: Norm,
    n_heads: usize,
}

impl Conch {
    pub(crate) fn load(config: &ConchConfig, weights: &mut Weights) -> crate::Result<Self> {
        let trunk = Vit::load(&config.trunk, weights, TRUNK)?;
        let bias = weights.take(&format!("{POOL}.attn.in_proj_bias"))?;
        let mut projection = |name: &str, index: usize| -> crate::Result<Linear> {
            let weight = weights.take(&format!("{POOL}.attn.{name}_proj_weight"))?;
            Ok(Linear { weight, bias: bias.narrow(0, index * config.width, config.width)? })
        };
        let [q, k, v] = [projection("q", 0)?, projection("k", 1)?, projection("v", 2)?];
        let norm_query = Norm::take(weights, &format!("{POOL}.ln_q"), EPS)?;
        Ok(Self {
            trunk,
            query: q.forward(&norm_query.forward(&weights.take(&format!("{POOL}.query"))?)?)?,
            norm_keys: Norm::take(weights, &format!("{POOL}.ln_k"), EPS)?,
            keys_and_values: Linear::side_by_side(&[k, v])?,
            out: Linear::take(weights, &format!("{POOL}.attn.out_proj"))?,
            norm: Norm::take(weights, NORM, EPS)?,
            n_heads: config.n_heads,
        })
    }

    /// `[n_images, width]`, before the contrastive projection and not normalised to length 1.
    pub(crate) fn forward(&self, pixels: &Pixels) -> Result<Tensor> {
        let tokens = self.norm_keys.forward(&self.trunk.tokens(pixels)?)?;
        let keys_and_values = self.keys_and_values.forward(&tokens)?;
        let n_tokens = tokens.dim(0)? / pixels.n_images;
        let pooled = by_image(tokens.device(), pixels.n_images, |image| {
            let seen = keys_and_values.narrow(0, image * n_tokens, n_tokens)?;
            kernels::attention(&self.query, &seen, self.n_heads, None, Compute::AsStored)
        })?;
        self.norm.forward(&self.out.forward(&pooled)?)
    }
}
