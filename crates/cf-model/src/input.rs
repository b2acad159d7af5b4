//! The tensors of one slide.

use candle_core::{DType, Device, Tensor};
use wsi_bags::{Bag, Magnification, PatchSet};

use crate::error::{Error, Result};

/// The patch features of one slide, `[n, backbone_dim]` for each magnification that is there.
#[derive(Debug, Clone)]
pub struct BagTensors {
    /// 5x, coarse.
    pub x5: Option<Tensor>,
    /// 10x, source.
    pub x10: Option<Tensor>,
    /// 20x, fine.
    pub x20: Option<Tensor>,
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
        })
    }

    /// The same features as another float type; no copy where they are of it already.
    ///
    /// # Errors
    /// If the device can't hold them.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let converted =
            |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.to_dtype(dtype)).transpose();
        Ok(Self { x5: converted(&self.x5)?, x10: converted(&self.x10)?, x20: converted(&self.x20)? })
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
