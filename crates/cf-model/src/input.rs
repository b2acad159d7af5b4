//! The tensors of one slide.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use wsi_bags::{Bag, Magnification, PatchSet};

use crate::error::{Error, Result};
use crate::families::PatchIndices;
use crate::patches::Patches;

/// The patch features of one slide, `[n, backbone_dim]` for each magnification that is there.
#[derive(Debug, Clone, Default)]
pub struct BagTensors {
    /// 5x, coarse.
    pub x5: Option<Tensor>,
    /// 10x, source.
    pub x10: Option<Tensor>,
    /// 20x, fine.
    pub x20: Option<Tensor>,
    /// What else is known of the patches.
    pub patches: Arc<Patches>,
}

impl BagTensors {
    /// Copies a bag's features to `device` as f32.
    ///
    /// # Errors
    /// If the device can't hold them.
    pub fn from_bag(bag: &Bag, device: &Device) -> Result<Self> {
        let tensor = |magnification| -> Result<Option<Tensor>> {
            let Some(set): Option<&PatchSet> = bag.get(magnification) else {
                return Ok(None);
            };
            let features = set.features();
            let shape = (features.n_patches(), features.dim());
            Ok(Some(Tensor::from_slice(features.as_slice(), shape, device)?))
        };
        Ok(Self {
            x5: tensor(Magnification::X5)?,
            x10: tensor(Magnification::X10)?,
            x20: tensor(Magnification::X20)?,
            patches: Arc::new(Patches::of(bag)),
        })
    }

    /// The same features as another float type; no copy where they are of it already.
    ///
    /// # Errors
    /// If the device can't hold them.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let converted =
            |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.to_dtype(dtype)).transpose();
        Ok(Self {
            x5: converted(&self.x5)?,
            x10: converted(&self.x10)?,
            x20: converted(&self.x20)?,
            patches: Arc::clone(&self.patches),
        })
    }

    /// The features at these indices of each magnification, of `patches`, which are those at the same indices.
    ///
    /// # Errors
    /// If the device can't hold them.
    pub fn select(&self, kept: &PatchIndices, patches: Patches) -> Result<Self> {
        let select = |at: Magnification, features: &Option<Tensor>| -> Result<Option<Tensor>> {
            let (Some(features), Some(kept)) = (features, kept.get(&at)) else { return Ok(None) };
            Ok(Some(features.index_select(&Tensor::new(kept.as_slice(), features.device())?, 0)?))
        };
        Ok(Self {
            x5: select(Magnification::X5, &self.x5)?,
            x10: select(Magnification::X10, &self.x10)?,
            x20: select(Magnification::X20, &self.x20)?,
            patches: Arc::new(patches),
        })
    }

    /// The features of one magnification, of the width that a model was built for.
    ///
    /// # Errors
    /// If they are not there, are of another width, or hold no patch.
    pub fn features(&self, magnification: Magnification, backbone_dim: usize) -> Result<&Tensor> {
        let features = self.at(magnification)?;
        let (n, found) = features.dims2()?;
        if found != backbone_dim {
            return Err(Error::FeatureDim { magnification, found, expected: backbone_dim });
        }
        if n == 0 {
            let slide_id = self.patches.slide_id.clone();
            return Err(Error::Bag {
                slide_id,
                reason: format!("no {magnification} patches, expected at least 1"),
            });
        }
        Ok(features)
    }

    /// The features of one magnification.
    ///
    /// # Errors
    /// If they are not there.
    pub fn at(&self, magnification: Magnification) -> Result<&Tensor> {
        let tensor = match magnification {
            Magnification::X5 => &self.x5,
            Magnification::X10 => &self.x10,
            Magnification::X20 => &self.x20,
        };
        tensor.as_ref().ok_or(Error::MissingMagnification { wanted: magnification })
    }
}
