//! A heatmap: one number for each patch of one magnification.

use std::sync::Arc;

use wsi_bags::Magnification;

use crate::error::{Error, Result};
use crate::patch_boxes::PatchBoxes;

/// What one module of a model, or another measure, gives each patch of one magnification.
///
/// ```
/// use std::sync::Arc;
/// use cf_viewer::{HeatLayer, PatchBoxes};
/// use wsi_bags::Magnification;
///
/// let boxes = PatchBoxes { magnification: Magnification::X10, side: 1024, corners: vec![[0, 0], [1024, 0]] };
/// let layer = HeatLayer::new("source_pt", Arc::new(boxes), vec![0.25, 0.75])?.named("Source PT");
/// assert_eq!(layer.file_stem(), "x10-source-pt");
/// assert_eq!(layer.title(), "Source PT, 10x");
/// # Ok::<(), cf_viewer::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HeatLayer {
    module: String,
    name: String,
    explanation: String,
    meaning: Meaning,
    // Layers of one magnification share their boxes.
    boxes: Arc<PatchBoxes>,
    scores: Vec<f32>,
    n_copied: usize,
    // Scores per token, where some patches stand for two.
    per_token: Option<Vec<f32>>,
}

/// What the scores of a layer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// How much of a model's attention a patch gets.
    #[default]
    Attention,
    /// How far the risk falls without the patch: above 0 it falls, below 0 it rises.
    Effect,
}

impl HeatLayer {
    /// The scores of `module`, one for each patch of `boxes`, in any unit; higher is more.
    ///
    /// # Errors
    /// [`Error::ScoreCount`]; [`Error::Score`] for one that is not finite.
    pub fn new(module: impl Into<String>, boxes: Arc<PatchBoxes>, scores: Vec<f32>) -> Result<Self> {
        let (module, magnification) = (module.into(), boxes.magnification);
        if scores.len() != boxes.len() {
            let (found, wanted) = (scores.len(), boxes.len());
            return Err(Error::ScoreCount { module, magnification, found, wanted });
        }
        if let Some((patch_idx, found)) =
            scores.iter().copied().enumerate().find(|(_, score)| !score.is_finite())
        {
            return Err(Error::Score { module, magnification, patch_idx, found });
        }
        Ok(Self {
            name: module.clone(),
            module,
            explanation: String::new(),
            meaning: Meaning::Attention,
            boxes,
            scores,
            n_copied: 0,
            per_token: None,
        })
    }

    /// Gives the module a name for people; it is shown as it is called otherwise.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Says what a high score means, as a sentence goes on after the name and a colon.
    #[must_use]
    pub fn explained(mut self, explanation: impl Into<String>) -> Self {
        self.explanation = explanation.into();
        self
    }

    /// Says what the scores are; attention otherwise.
    #[must_use]
    pub fn with_meaning(mut self, meaning: Meaning) -> Self {
        self.meaning = meaning;
        self
    }

    /// Says that each of the first `n_copied` patches stands for two tokens, whose scores are added up in its own.
    #[must_use]
    pub fn with_copies(mut self, n_copied: usize) -> Self {
        self.n_copied = n_copied.min(self.scores.len());
        let halved = |(at, score): (usize, &f32)| if at < n_copied { score / 2.0 } else { *score };
        self.per_token = (n_copied > 0).then(|| self.scores.iter().enumerate().map(halved).collect());
        self
    }

    /// What a high score means, in a sentence that begins with the name; empty where nobody said.
    #[must_use]
    pub fn explanation(&self) -> String {
        match self.explanation.as_str() {
            "" => String::new(),
            text => format!("{}: {text}", self.name),
        }
    }

    /// What the scores say.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// How many of the first patches stand for two tokens.
    #[must_use]
    pub fn n_copied(&self) -> usize {
        self.n_copied
    }

    /// What is ranked and coloured: the scores, those of patches that stand for two tokens as the mean of both. Else the first
    /// patches, whose copies fill a square, would stand out whatever lies on them.
    #[must_use]
    pub fn per_token(&self) -> &[f32] {
        self.per_token.as_deref().unwrap_or(&self.scores)
    }

    /// What was scored, such as `coarse_cab`.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// What the module is called, such as `Coarse CAB`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which patches.
    #[must_use]
    pub fn magnification(&self) -> Magnification {
        self.boxes.magnification
    }

    /// Where they lie.
    #[must_use]
    pub fn boxes(&self) -> &Arc<PatchBoxes> {
        &self.boxes
    }

    /// One score per patch, in the bag's order, as the model gave it.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// What files of this layer are called: magnification and module in lower case, joined by `-`.
    #[must_use]
    pub fn file_stem(&self) -> String {
        let mut stem = self.magnification().label().to_owned();
        for word in self.module.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            stem.push('-');
            stem.push_str(&word.to_ascii_lowercase());
        }
        stem
    }

    /// The name for people and the magnification, such as `Coarse CAB, 5x`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}, {}x", self.name, self.magnification().power())
    }

    /// Indices of the `k` patches with the highest scores [per token](Self::per_token), the highest first, the first row first
    /// among equals.
    #[must_use]
    pub fn highest(&self, k: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        let scores = self.per_token();
        let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if k < order.len() {
            order.select_nth_unstable_by(k, by_score);
            order.truncate(k);
        }
        order.sort_unstable_by(by_score);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(scores: &[f32]) -> Result<HeatLayer> {
        let corners = (0..4).map(|column| [column * 256, 0]).collect();
        let boxes = PatchBoxes { magnification: Magnification::X20, side: 256, corners };
        HeatLayer::new("fine CAB", Arc::new(boxes), scores.to_vec())
    }

    #[test]
    fn there_is_one_finite_score_for_each_patch() {
        let error = layer(&[0.5; 3]).unwrap_err();
        assert_eq!(error.to_string(), "fine CAB has 3 scores for 4 x20 patches");
        let error = layer(&[0.5, f32::NAN, 0.5, 0.5]).unwrap_err();
        assert!(matches!(error, Error::Score { patch_idx: 1, .. }), "{error}");
    }

    #[test]
    fn the_highest_come_first_and_the_first_of_equals() {
        let layer = layer(&[0.1, 0.3, 0.2, 0.3]).unwrap();
        assert_eq!(layer.highest(3), [1, 3, 2]);
        assert_eq!(layer.highest(9), [1, 3, 2, 0]);
        assert!(layer.highest(0).is_empty());
    }

    #[test]
    fn patches_that_stand_for_two_tokens_are_compared_by_the_mean_of_both() {
        // Tokens 0.2, 0.1, 0.3, 0.25 and copies of the first two with 0.2 and 0.3: by the sum, the first two would lead.
        let layer = layer(&[0.4, 0.4, 0.3, 0.25]).unwrap().with_copies(2);
        assert_eq!(layer.per_token(), [0.2, 0.2, 0.3, 0.25]);
        assert_eq!(layer.clone().named("Fine CAB").explained("which.").explanation(), "Fine CAB: which.");
        assert_eq!(layer.highest(2), [2, 3]);
        assert_eq!(layer.scores(), [0.4, 0.4, 0.3, 0.25], "files keep what the model gave");
    }
}
