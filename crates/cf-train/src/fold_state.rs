//! What a fold in progress needs to go on after an interruption, to the same bytes.

use std::path::Path;

use candle_core::Device;
use cf_model::ParamStore;
use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::run_dir;

/// A row of `history.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// From 1.
    pub epoch: usize,
    /// Rate of the epoch's last optimiser step; empty where it made none.
    pub learning_rate: Option<f64>,
    /// Mean over the epoch's bags, in training mode; empty where no group of a Cox loss was filled.
    pub train_loss: Option<f64>,
    /// Mean over the validation slides, with alpha 0.
    pub validation_loss: f64,
    /// C-index of the validation fold, in the protocol's unit; empty where no pair can be compared.
    pub validation_c_index: Option<f64>,
    /// C-index of the inner validation part, where there is one.
    pub inner_c_index: Option<f64>,
    /// Seconds of training and evaluation.
    pub seconds: f64,
}

/// The epoch that stands selected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// From 1.
    pub epoch: usize,
    /// What it was selected by.
    pub c_index: f64,
}

/// A bag that was drawn and awaits the end of its group (Cox loss only, whose risk sets are groups).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// From 1.
    pub epoch: usize,
    /// Position in the epoch's order.
    pub position: usize,
    /// Index into the training slides.
    pub slide: usize,
}

/// Where a fold stands. Together with the parameters and the optimiser this is all there is: every random stream is named by
/// numbers that are in here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldState {
    /// Epoch in progress, from 1.
    pub epoch: usize,
    /// Bags of it that are done.
    pub position: usize,
    /// Sum of their losses.
    pub loss_sum: f64,
    /// Losses in that sum.
    pub n_losses: usize,
    /// Seconds spent in the epoch before it was interrupted.
    pub epoch_seconds: f64,
    /// Optimiser steps made.
    pub n_steps: usize,
    /// Bags whose gradients await a step.
    pub n_pending: usize,
    /// Rate of the last step in the epoch in progress, where it made one.
    pub learning_rate: Option<f64>,
    /// Bags that await the end of their group.
    pub draws: Vec<Draw>,
    /// The epoch selected so far.
    pub best: Option<Best>,
    /// Epochs done.
    pub history: Vec<HistoryRow>,
    /// Whether training is over, by number of epochs or by early stopping.
    pub trained: bool,
}

impl FoldState {
    /// Before the first bag.
    pub fn start() -> Self {
        Self {
            epoch: 1,
            position: 0,
            loss_sum: 0.0,
            n_losses: 0,
            epoch_seconds: 0.0,
            n_steps: 0,
            n_pending: 0,
            learning_rate: None,
            draws: Vec::new(),
            best: None,
            history: Vec::new(),
            trained: false,
        }
    }

    /// Writes parameters, optimiser and position into `dir`; the position last, and the two files that it describes carry its
    /// count of steps and bags in their names, so a crash between them leaves the previous state whole.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn save(&self, dir: &Path, store: &ParamStore, adam: &Adam) -> Result<()> {
        run_dir::create_dir(dir)?;
        let names = self.file_names();
        let values = store.params().into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect();
        checkpoint::write_tensors(&dir.join(&names[0]), &values, Default::default())?;
        checkpoint::write_tensors(&dir.join(&names[1]), &adam.state(), Default::default())?;
        run_dir::write_json(&dir.join("position.json"), self)?;
        // The previous state is removed only once this one would be found.
        run_dir::sync_dir(dir)?;
        let entries = std::fs::read_dir(dir).map_err(Error::io("read", dir))?;
        for entry in entries {
            let path = entry.map_err(Error::io("read", dir))?.path();
            let stale = path.extension().is_some_and(|extension| extension == "safetensors")
                && !names.iter().any(|name| path.ends_with(name));
            if stale {
                std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Reads what [`Self::save`] wrote, into `store` and `adam`; nothing where nothing was saved.
    ///
    /// # Errors
    /// If a file is unreadable or of another model.
    pub fn restore(dir: &Path, store: &ParamStore, adam: &mut Adam) -> Result<Option<Self>> {
        let position = dir.join("position.json");
        if !position.is_file() {
            return Ok(None);
        }
        let state: Self = run_dir::read_json(&position)?;
        let [params, optimiser] = state.file_names().map(|name| dir.join(name));
        let load = |path: &Path| -> Result<_> {
            let tensors = candle_core::safetensors::load(path, &Device::Cpu)
                .map_err(|error| Error::data(path, error.to_string()))?;
            Ok(tensors.into_iter().collect())
        };
        store.assign(&load(&params)?)?;
        adam.restore(&load(&optimiser)?, state.n_steps, state.n_pending)
            .map_err(|reason| Error::data(&optimiser, reason))?;
        Ok(Some(state))
    }

    fn file_names(&self) -> [String; 2] {
        ["parameters", "optimiser"].map(|kind| format!("{kind}-{}-{}.safetensors", self.epoch, self.position))
    }
}
