//! A bag on its way to the device.

use std::sync::Arc;

use cf_model::kernels::device::{Upload, Uploader};
use cf_model::{BagTensors, PatchIndices, Patches};
use wsi_bags::{Bag, FeatureMatrix, Magnification};

use crate::error::Result;

/// The features of a bag, each scale there or on its way.
pub(crate) struct BagUpload {
    x5: Option<Upload>,
    x10: Option<Upload>,
    x20: Option<Upload>,
    patches: Arc<Patches>,
}

impl BagUpload {
    /// Of the patches at these indices, or of all, which `patches` are.
    ///
    /// # Errors
    /// If the device can't hold them, or its driver fails.
    pub(crate) fn start(
        uploader: &mut Uploader,
        bag: &Bag,
        kept: Option<&PatchIndices>,
        patches: Arc<Patches>,
    ) -> Result<Self> {
        let mut start = |magnification| {
            let matrix = bag.get(magnification).map(|set| {
                let features = set.features();
                match kept.map(|kept| kept.get(&magnification).map_or(&[][..], Vec::as_slice)) {
                    None => uploader.start(features.as_slice(), [features.n_patches(), features.dim()]),
                    Some(kept) => uploader.start(&rows(features, kept), [kept.len(), features.dim()]),
                }
            });
            matrix.transpose()
        };
        Ok(Self {
            x5: start(Magnification::X5)?,
            x10: start(Magnification::X10)?,
            x20: start(Magnification::X20)?,
            patches,
        })
    }

    /// The bag as a step takes it, which a GPU has wait until it is there.
    ///
    /// # Errors
    /// If the device's driver fails.
    pub(crate) fn finish(self) -> Result<BagTensors> {
        let finish = |upload: Option<Upload>| upload.map(Upload::finish).transpose();
        Ok(BagTensors {
            x5: finish(self.x5)?,
            x10: finish(self.x10)?,
            x20: finish(self.x20)?,
            patches: self.patches,
        })
    }
}

/// The features of the patches at these indices.
fn rows(features: &FeatureMatrix, indices: &[u32]) -> Vec<f32> {
    let mut values = Vec::with_capacity(indices.len() * features.dim());
    for row in indices.iter().filter_map(|&index| features.row(index as usize)) {
        values.extend_from_slice(row);
    }
    values
}
