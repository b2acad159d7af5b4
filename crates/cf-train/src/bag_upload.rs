//! A bag on its way to the device.

use std::sync::Arc;

use cf_model::kernels::device::{Upload, Uploader};
use cf_model::{BagTensors, Patches};
use wsi_bags::{Bag, Magnification};

use crate::error::Result;

/// The features of a bag, each scale there or on its way.
pub(crate) struct BagUpload {
    x5: Option<Upload>,
    x10: Option<Upload>,
    x20: Option<Upload>,
    patches: Arc<Patches>,
}

impl BagUpload {
    /// # Errors
    /// If the device can't hold them, or its driver fails.
    pub(crate) fn start(uploader: &mut Uploader, bag: &Bag, patches: Arc<Patches>) -> Result<Self> {
        let mut start = |magnification| {
            let matrix = bag.get(magnification).map(|set| {
                let features = set.features();
                uploader.start(features.as_slice(), [features.n_patches(), features.dim()])
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
