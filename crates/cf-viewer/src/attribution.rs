//! What a model says of patches, as layers that lie on the slide.

use std::collections::BTreeMap;
use std::sync::Arc;

use cf_model::{AttributionLayer, Module};
use wsi_bags::{Bag, Magnification};

use crate::error::Result;
use crate::layer::{HeatLayer, Meaning};
use crate::patch_boxes::PatchBoxes;

/// Puts the layers of a model on the patches of the bag that it read; layers of one magnification share their boxes.
///
/// # Errors
/// Those of [`PatchBoxes::of`] and [`HeatLayer::new`].
pub fn heat_layers(bag: &Bag, layers: &[AttributionLayer]) -> Result<Vec<HeatLayer>> {
    let mut boxes: BTreeMap<Magnification, Arc<PatchBoxes>> = BTreeMap::new();
    let mut out = Vec::with_capacity(layers.len());
    for layer in layers {
        let boxes = match boxes.get(&layer.magnification) {
            Some(boxes) => Arc::clone(boxes),
            None => {
                let found = Arc::new(PatchBoxes::of(bag, layer.magnification)?);
                boxes.insert(layer.magnification, Arc::clone(&found));
                found
            }
        };
        let scores = layer.scores.iter().map(|score| *score as f32).collect();
        let meaning = match layer.module {
            Module::Occlusion => Meaning::Effect,
            _ => Meaning::Attention,
        };
        let heat = HeatLayer::new(layer.module.as_str(), boxes, scores)?
            .named(layer.module.title())
            .explained(layer.module.explanation())
            .with_meaning(meaning)
            .with_copies(layer.n_copied());
        out.push(heat);
    }
    Ok(out)
}
