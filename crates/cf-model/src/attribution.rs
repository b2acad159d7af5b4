//! Where a model looks: a number for each patch, from one pass.
//!
//! | module | of | what a patch's number is |
//! |---|---|---|
//! | coarse CAB, fine CAB | CrossFusion | mean over heads and 10x patches of the attention that this 5x or 20x patch receives |
//! | source PT | CrossFusion | mean over heads and tokens of the attention that this patch receives after the position encoding |
//! | final PT | CrossFusion | the class token's attention to it, mean over heads |
//! | pooling | methods that pool by attention | its weight in the mean; over all outputs that have weights of their own |
//! | joint pooling | MuSTMIL | its weight in the pooling over all scales |
//! | zoom | ZoomMIL | its weight when places to zoom into are chosen |
//! | class token | TransMIL | the class token's row of the Nystrom attention, mean over heads; can be negative |
//! | prototypes | ProtoSurv | mean over heads and prototypes of the attention that it receives in the last fusion |
//! | occlusion | any model | the fall in risk when its 5x cell is removed: see [`crate::occlusion`] |
//!
//! Tokens are filled up to a square with copies of the first ones. What a copy receives is added to the patch that it copies, as the
//! paper's maps have it: see [`AttributionLayer::n_copied`] for how to compare such patches with the others.
//!
//! Attention says what a model combines, not what its output depends on; occlusion measures the latter. The layers of
//! CrossFusion are those of its paper, section 5.2.

use std::fmt;

use candle_core::{DType, Tensor};
use cf_layers::{ForwardCtx, square_side};
use wsi_bags::Magnification;

use crate::error::Result;
use crate::input::BagTensors;
use crate::model::{SurvivalModel, SurvivalOutput};

/// The part of a model, or the experiment, that gives patches their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Module {
    /// The Cross-Attention Block of the coarse scale.
    CoarseCab,
    /// The Cross-Attention Block of the fine scale.
    FineCab,
    /// The second block of the source scale's Pad-Transformer.
    SourcePt,
    /// The second block of the final Pad-Transformer.
    FinalPt,
    /// Attention pooling.
    Pooling,
    /// Attention pooling over all scales together.
    JointPooling,
    /// The choice of where to zoom in.
    Zoom,
    /// The class token of a model that is not CrossFusion.
    ClassToken,
    /// Prototypes that look at patches.
    Prototypes,
    /// What the risk loses without the patch's neighbourhood.
    Occlusion,
}

impl Module {
    /// Every module.
    pub const ALL: [Self; 10] = [
        Self::CoarseCab,
        Self::FineCab,
        Self::SourcePt,
        Self::FinalPt,
        Self::Pooling,
        Self::JointPooling,
        Self::Zoom,
        Self::ClassToken,
        Self::Prototypes,
        Self::Occlusion,
    ];

    /// The name in files: `coarse_cab`, ...
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CoarseCab => "coarse_cab",
            Self::FineCab => "fine_cab",
            Self::SourcePt => "source_pt",
            Self::FinalPt => "final_pt",
            Self::Pooling => "pooling",
            Self::JointPooling => "joint_pooling",
            Self::Zoom => "zoom",
            Self::ClassToken => "class_token",
            Self::Prototypes => "prototypes",
            Self::Occlusion => "occlusion",
        }
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::CoarseCab => "Coarse CAB",
            Self::FineCab => "Fine CAB",
            Self::SourcePt => "Source PT",
            Self::FinalPt => "Final PT",
            Self::Pooling => "Attention pooling",
            Self::JointPooling => "Joint attention pooling",
            Self::Zoom => "Zoom",
            Self::ClassToken => "Class token",
            Self::Prototypes => "Prototypes",
            Self::Occlusion => "Occlusion",
        }
    }

    /// What a high score of a patch means, in one sentence for people.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::CoarseCab => {
                "which 5x patches the 10x patches look at for context of the architecture around them."
            }
            Self::FineCab => "which 20x patches the 10x patches look at for detail such as nuclei.",
            Self::SourcePt => "which patches the other patches of the same magnification attend to.",
            Self::FinalPt => {
                "which patches the token that the prediction is read from attends to, after the magnifications were joined."
            }
            Self::Pooling => "how much each patch weighs in the mean that the prediction is made from.",
            Self::JointPooling => {
                "how much each patch weighs in the mean over all magnifications that the prediction is made from."
            }
            Self::Zoom => "which patches are chosen to look into at the next magnification.",
            Self::ClassToken => "which patches the token that the prediction is read from attends to.",
            Self::Prototypes => "which patches the prototypes of tissue attend to.",
            Self::Occlusion => {
                "how much the predicted risk falls (above 0) or rises (below 0) when this part of the tissue is removed."
            }
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A number for each patch of one magnification.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributionLayer {
    /// Where the numbers come from.
    pub module: Module,
    /// The patches that they belong to.
    pub magnification: Magnification,
    /// One per patch, in the bag's order.
    pub scores: Vec<f64>,
}

impl AttributionLayer {
    /// How many of the first patches stand for two tokens each: those whose copies fill the tokens up to a square. Their scores
    /// are those of both tokens added up, so that where all tokens get the same, these patches have twice the score of the
    /// others: what compares patches divides theirs by 2.
    pub fn n_copied(&self) -> usize {
        match self.module {
            Module::SourcePt | Module::FinalPt | Module::ClassToken => {
                square_side(self.scores.len()).pow(2) - self.scores.len()
            }
            _ => 0,
        }
    }
}

/// A prediction, and where the model looked for it.
#[derive(Debug, Clone)]
pub struct Attribution {
    /// The model's output, as without attribution.
    pub output: SurvivalOutput,
    /// Its layers, in the order of [`Module::ALL`], each from coarse to fine.
    pub layers: Vec<AttributionLayer>,
}

/// Runs `model` on one slide and keeps the attention that each patch gets. One pass; no matrix of queries by keys is made.
///
/// # Errors
/// Those of the model's forward pass.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cf_model::{BagTensors, CrossFusionConfig, ModelConfig, Module, ParamStore, attribute};
///
/// let config = ModelConfig::Crossfusion(CrossFusionConfig { embed_dim: 32, ..CrossFusionConfig::default() });
/// let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
/// let model = config.build(48, store.builder())?;
/// let patches = |n: usize| Tensor::ones((n, 48), DType::F32, &Device::Cpu);
/// let bag = BagTensors { x5: Some(patches(2)?), x10: Some(patches(7)?), x20: Some(patches(28)?), ..BagTensors::default() };
/// let attribution = attribute(model.as_ref(), &bag)?;
/// let fine = attribution.layers.iter().find(|layer| layer.module == Module::FineCab).expect("of CrossFusion");
/// assert_eq!(fine.scores.len(), 28);
/// assert!((fine.scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);
/// # Ok::<(), cf_model::Error>(())
/// ```
pub fn attribute(model: &dyn SurvivalModel, bag: &BagTensors) -> Result<Attribution> {
    let mut ctx = ForwardCtx::eval().noting_attention();
    let output = model.forward(bag, &mut ctx)?;
    let mut layers = Vec::new();
    for module in Module::ALL {
        for magnification in Magnification::ALL {
            let name = tap_name(module, magnification);
            let Some(scores) = ctx.record().and_then(|record| record.taps.get(&name)) else { continue };
            let scores = scores.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
            layers.push(AttributionLayer { module, magnification, scores });
        }
    }
    Ok(Attribution { output, layers })
}

fn tap_name(module: Module, magnification: Magnification) -> String {
    format!("attribution/{module}/{magnification}")
}

/// Notes the numbers of one layer, one per patch, if the pass notes attention.
pub(crate) fn note(
    ctx: &mut ForwardCtx,
    module: Module,
    magnification: Magnification,
    scores: impl FnOnce() -> Result<Tensor>,
) -> Result<()> {
    if ctx.notes_attention() {
        ctx.note_attention(&tap_name(module, magnification), &scores()?.detach());
    }
    Ok(())
}

/// Numbers of rows that belong to patches: `[rows]` to `[n_patches]`, those of one patch added up, 0 for a patch without a row.
pub(crate) fn scatter(scores: &Tensor, patches: &[u32], n_patches: usize) -> Result<Tensor> {
    let scores: Vec<f64> = scores.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    let mut of_patches = vec![0.0; n_patches];
    for (&patch, score) in patches.iter().zip(scores) {
        // A place without a patch has an index beyond them.
        if let Some(total) = of_patches.get_mut(patch as usize) {
            *total += score;
        }
    }
    Ok(Tensor::from_vec(of_patches, n_patches, &candle_core::Device::Cpu)?)
}
