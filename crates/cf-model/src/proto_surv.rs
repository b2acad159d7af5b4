//! ProtoSurv: prototypes of tissue classes, refined by all patches and fused with a graph of patches (Wu et al., 2024), on 20x
//! patches.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use cf_layers::{ForwardCtx, Graph, GraphConv, LayerNorm, Linear, Mode, dropout, kernels, plain_layer_norm};
use serde::{Deserialize, Serialize};
use wsi_bags::Magnification;

use crate::attribution::{self, Module};
use crate::augmentation;
use crate::config::{check_costly_count, check_rising};
use crate::deep_graph_surv::direction;
use crate::discrete_time::N_BINS;
use crate::error::{Error, Result};
use crate::head::RiskHead;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};
use crate::needs::Need;
use crate::prototype_attention::{PrototypeAttention, WIDTH};
use crate::prototype_losses::PrototypeHead;
use crate::substitutes::Substitute;

const NAME: &str = "protosurv";
const NODE_WIDTH: usize = 128;
const N_GRAPH_LAYERS: usize = 3;
const N_PROTOTYPES: usize = 8;
const N_REFINEMENTS: usize = 2;
const N_FUSIONS: usize = 4;
const CENTRE_DROPOUT: f64 = 0.2;
const STRUCTURE_DROPOUT: f64 = 0.25;
const RESIDUAL_DROPOUT: f64 = 0.1;

/// Tissue classes: tumour, stroma, infiltrate, necrosis, other.
pub(crate) const N_CLASSES: usize = 5;

/// The class of every patch of a bag without classes.
const OTHER: u8 = 4;

/// The norm of the first graph layer, which is built and never used.
pub(crate) const DEAD: [&str; 2] = ["structure.layers.0.norm.bias", "structure.layers.0.norm.weight"];

/// The settings of ProtoSurv.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProtoSurvConfig {
    /// Whether bags must say the tissue class of each 20x patch.
    pub tissue_prior: TissuePrior,
    /// Neighbours per patch by coordinates, at least 1; fewer where the slide has fewer patches.
    pub num_neighbours: usize,
    /// A patch hears from its neighbours instead of from those that chose it.
    pub reverse_edges: bool,
    /// The model's own losses on its prototypes, beside the survival loss.
    pub auxiliary_losses: bool,
    /// In training, noise on some patches, others blank, and edges left out, each a tenth to three tenths of the slide's.
    pub augmentation: bool,
    /// What the model ends with.
    pub head: RiskHead,
    /// The cumulative hazard of the baseline at the end of each time bin, for the survival curve of a log risk; training writes
    /// it into the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<[f64; N_BINS]>,
}

/// Whether bags must say the tissue class of each 20x patch: 0 tumour, 1 stroma, 2 infiltrate, 3 necrosis, 4 other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TissuePrior {
    /// Where a bag says no classes, every patch is "other", which is counted: the model then has one class only.
    IfPresent,
    /// A bag without classes is refused.
    Required,
    /// Classes are not read: every patch is "other".
    None,
}

impl Default for ProtoSurvConfig {
    fn default() -> Self {
        Self {
            tissue_prior: TissuePrior::IfPresent,
            num_neighbours: 4,
            reverse_edges: false,
            auxiliary_losses: true,
            augmentation: false,
            head: RiskHead::Hazards,
            baseline: None,
        }
    }
}

impl ProtoSurvConfig {
    pub(crate) fn check(&self) -> Result<()> {
        check_costly_count("num_neighbours", self.num_neighbours)?;
        check_rising("baseline", self.baseline)
    }

    pub(crate) fn needs(&self) -> &'static [Need] {
        match self.tissue_prior {
            TissuePrior::Required => &[Need::Coordinates, Need::TissueClasses],
            TissuePrior::IfPresent | TissuePrior::None => &[Need::Coordinates],
        }
    }
}

/// The model. Parameters `prototypes`, `structure`, `fusion.<layer>`, `head`, and `prototype_head` with the auxiliary losses.
#[derive(Debug, Clone)]
pub struct ProtoSurv {
    prototypes: Prototypes,
    structure: Structure,
    fusion: Vec<PrototypeAttention>,
    head: Linear,
    prototype_head: Option<PrototypeHead>,
    config: ProtoSurvConfig,
    backbone_dim: usize,
}

/// Prototypes of each class, from its mean and then from all patches.
#[derive(Debug, Clone)]
struct Prototypes {
    project: Linear,
    norm: LayerNorm,
    /// `[classes, 1, WIDTH]`.
    log_spread: Tensor,
    /// `[classes, N_PROTOTYPES, WIDTH]`.
    directions: Tensor,
    /// Per class.
    refinements: Vec<Vec<PrototypeAttention>>,
}

/// The graph of patches.
#[derive(Debug, Clone)]
struct Structure {
    project: Linear,
    norm: LayerNorm,
    layers: Vec<(GraphConv, LayerNorm)>,
    mix: Linear,
    mix_norm: LayerNorm,
    out: Linear,
}

impl Prototypes {
    fn new(backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let refinements = |class: usize| -> Result<Vec<_>> {
            let vb = vb.pp("refine").pp(class);
            (0..N_REFINEMENTS).map(|layer| PrototypeAttention::new(backbone_dim, vb.pp(layer))).collect()
        };
        let bound = (6.0 / (6 * WIDTH) as f64).sqrt();
        let spread = Init::Uniform { lo: -bound, up: bound };
        let standard_normal = Init::Randn { mean: 0.0, stdev: 1.0 };
        Ok(Self {
            project: Linear::uniform(backbone_dim, WIDTH, vb.pp("project.0"))?,
            norm: LayerNorm::new(WIDTH, vb.pp("project.1"))?,
            log_spread: vb.get_with_hints((N_CLASSES, 1, WIDTH), "log_spread", spread)?,
            directions: vb.get_with_hints((N_CLASSES, N_PROTOTYPES, WIDTH), "directions", standard_normal)?,
            refinements: (0..N_CLASSES).map(refinements).collect::<Result<_>>()?,
        })
    }

    /// `[classes * N_PROTOTYPES, WIDTH]`.
    fn forward(&self, x: &Tensor, classes: &[u8], ctx: &mut ForwardCtx) -> Result<Tensor> {
        let means = class_means(x, classes)?;
        ctx.tap("mu_c", &means);
        let centres = kernels::gelu(&self.norm.forward(&self.project.forward(&means)?)?, None)?;
        let centres = dropout(&centres, "centres", CENTRE_DROPOUT, ctx)?;
        ctx.tap("p_c", &centres);
        let spread = self.directions.broadcast_mul(&self.log_spread.exp()?)?;
        let seeds = spread.broadcast_add(&centres.unsqueeze(1)?)?;
        ctx.tap("P0", &seeds);
        let mut refined = vec![Vec::new(); N_REFINEMENTS];
        for (class, layers) in self.refinements.iter().enumerate() {
            let mut prototypes = seeds.get(class)?;
            for (layer, refined) in layers.iter().zip(&mut refined) {
                prototypes = layer.forward(&prototypes, x, ctx)?;
                refined.push(prototypes.clone());
            }
        }
        if ctx.is_recording() {
            for (index, of_classes) in refined.iter().enumerate() {
                ctx.tap(&format!("refined{}", index + 1), &Tensor::cat(of_classes, 0)?);
            }
        }
        Ok(Tensor::cat(&refined[N_REFINEMENTS - 1], 0)?)
    }
}

/// Mean of the patches of each class, `[classes, d]`, without rows of zeros; of all patches for a class without any.
fn class_means(x: &Tensor, classes: &[u8]) -> Result<Tensor> {
    let n = x.dim(0)?;
    let sizes: Vec<f64> = x.detach().abs()?.sum(1)?.to_dtype(DType::F64)?.to_vec1()?;
    let mut weights = vec![0.0_f64; N_CLASSES * n];
    for (class, weights) in weights.chunks_mut(n).enumerate() {
        let is_member = |patch: usize| usize::from(classes[patch]) == class && sizes[patch] > 0.0;
        let members: Vec<usize> = (0..n).filter(|&patch| is_member(patch)).collect();
        match members.len() {
            0 => weights.fill(1.0 / n as f64),
            count => members.into_iter().for_each(|patch| weights[patch] = 1.0 / count as f64),
        }
    }
    let weights = Tensor::from_vec(weights, (N_CLASSES, n), x.device())?.to_dtype(x.dtype())?;
    Ok(kernels::weighted_sums(&weights, x)?)
}

impl Structure {
    fn new(backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let layer = |index: usize| -> Result<_> {
            let vb = vb.pp("layers").pp(index);
            Ok((GraphConv::new(NODE_WIDTH, true, vb.pp("conv"))?, LayerNorm::new(NODE_WIDTH, vb.pp("norm"))?))
        };
        let width = NODE_WIDTH * (N_GRAPH_LAYERS + 1);
        Ok(Self {
            project: Linear::uniform(backbone_dim, NODE_WIDTH, vb.pp("project.0"))?,
            norm: LayerNorm::new(NODE_WIDTH, vb.pp("project.1"))?,
            layers: (0..N_GRAPH_LAYERS).map(layer).collect::<Result<_>>()?,
            mix: Linear::uniform(width, WIDTH, vb.pp("out.0"))?,
            mix_norm: LayerNorm::new(WIDTH, vb.pp("out.1"))?,
            out: Linear::uniform(WIDTH, WIDTH, vb.pp("out.4"))?,
        })
    }

    /// `[n, WIDTH]`.
    fn forward(&self, x: &Tensor, graph: &Arc<Graph>, ctx: &mut ForwardCtx) -> Result<Tensor> {
        let mut x = kernels::gelu(&self.norm.forward(&self.project.forward(x)?)?, None)?;
        x = dropout(&x, "structure input", STRUCTURE_DROPOUT, ctx)?;
        ctx.tap("g0", &x);
        let mut kept = vec![x.clone()];
        for (index, (conv, norm)) in self.layers.iter().enumerate() {
            let convolved = conv.forward(&x, graph, &format!("agg{}", index + 1), ctx)?;
            x = match index {
                0 => convolved,
                _ => {
                    let sum = (x + kernels::gelu(&norm.forward(&convolved)?, None)?)?;
                    dropout(&sum, "residual", RESIDUAL_DROPOUT, ctx)?
                }
            };
            ctx.tap(&format!("g{}", index + 1), &x);
            kept.push(x.clone());
        }
        let mixed = self.mix_norm.forward(&self.mix.forward(&Tensor::cat(&kept, 1)?)?)?;
        let mixed = dropout(&kernels::gelu(&mixed, None)?, "structure mix", STRUCTURE_DROPOUT, ctx)?;
        Ok(self.out.forward(&mixed)?)
    }
}

impl ProtoSurv {
    /// Builds the model for features of `backbone_dim` columns.
    ///
    /// # Errors
    /// If a parameter is missing from `vb` or has another shape.
    pub fn new(config: &ProtoSurvConfig, backbone_dim: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let prototype_head = config
            .auxiliary_losses
            .then(|| PrototypeHead::new(WIDTH, backbone_dim, vb.pp("prototype_head")))
            .transpose()?;
        let fusion = |layer: usize| PrototypeAttention::new(WIDTH, vb.pp("fusion").pp(layer));
        Ok(Self {
            prototypes: Prototypes::new(backbone_dim, vb.pp("prototypes"))?,
            structure: Structure::new(backbone_dim, vb.pp("structure"))?,
            fusion: (0..N_FUSIONS).map(fusion).collect::<Result<_>>()?,
            head: match config.head {
                RiskHead::Hazards => Linear::uniform(WIDTH, N_BINS, vb.pp("head"))?,
                // A log risk is relative: a bias would do nothing.
                RiskHead::LogRisk => Linear::uniform_without_bias(WIDTH, 1, vb.pp("head"))?,
            },
            prototype_head,
            config: config.clone(),
            backbone_dim,
        })
    }

    /// The class of each of `n` patches.
    fn classes(&self, bag: &BagTensors, n: usize) -> Result<Vec<u8>> {
        let fault = |reason| Error::Bag { slide_id: bag.patches.slide_id.clone(), reason };
        let classes = match (self.config.tissue_prior, &bag.patches.x20.tissue) {
            (TissuePrior::None, _) | (TissuePrior::IfPresent, None) => {
                bag.patches.derived.note(Substitute::OneTissueClass, n, n);
                return Ok(vec![OTHER; n]);
            }
            (TissuePrior::Required, None) => {
                return Err(Error::MissingFact {
                    slide_id: bag.patches.slide_id.clone(),
                    model: NAME,
                    magnification: Magnification::X20,
                    need: Need::TissueClasses,
                });
            }
            (TissuePrior::IfPresent | TissuePrior::Required, Some(classes)) => {
                bag.patches.derived.note(Substitute::OneTissueClass, 0, n);
                classes
            }
        };
        if classes.len() != n {
            return Err(fault(format!("{} tissue classes for {n} x20 patches", classes.len())));
        }
        match classes.iter().find(|&&class| usize::from(class) >= N_CLASSES) {
            None => Ok(classes.clone()),
            Some(class) => Err(fault(format!("tissue class {class}, expected 0 (tumour) to 4 (other)"))),
        }
    }
}

impl SurvivalModel for ProtoSurv {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, self.backbone_dim)?;
        let n = x.dim(0)?;
        let classes = self.classes(bag, n)?;
        let neighbours = bag.patches.nearest_places(self.config.num_neighbours, NAME)?;
        let mut graph = Graph::new(&neighbours, n, direction(self.config.reverse_edges))?;
        let disturbed;
        let x = if self.config.augmentation && ctx.mode() == Mode::Train {
            let mut rng = ctx.next_stream();
            graph = augmentation::thin(&graph, &mut rng);
            disturbed = augmentation::disturb(x, &mut rng)?;
            &disturbed
        } else {
            x
        };
        let graph = Arc::new(graph);
        let prototypes = self.prototypes.forward(x, &classes, ctx)?;
        let structure = self.structure.forward(x, &graph, ctx)?;
        ctx.tap("structure", &structure);
        let mut fused = prototypes.clone();
        for (index, layer) in self.fusion.iter().enumerate() {
            if index + 1 == N_FUSIONS {
                let at = Magnification::X20;
                attribution::note(ctx, Module::Prototypes, at, || layer.received(&fused, &structure))?;
            }
            fused = layer.forward(&fused, &structure, ctx)?;
            ctx.tap(&format!("fusion{}", index + 1), &fused);
        }
        let pooled = plain_layer_norm(&fused.mean_keepdim(0)?)?;
        ctx.tap("pooled", &pooled);
        let values = self.head.forward(&pooled)?.squeeze(0)?;
        let mut output = SurvivalOutput::of(self.config.head.with(self.config.baseline), values);
        if let Some(head) = &self.prototype_head {
            output.penalty = Some(head.losses(&prototypes, x, &classes, ctx)?);
        }
        Ok(output)
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}
