//! The two protocols: which epoch, which order, which schedule, which bins.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{LossKind, Precision, RunConfig};

/// A named way of training and selecting. Every report says which one made its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// What the released code does, for Tables 1 and 2: bins on all slides, class-weighted sampling, the epoch with the
    /// best validation C-index. Optimistic, since it selects on the fold that it reports.
    Paper,
    /// Nothing is fitted or selected on the validation fold: bins on the training slides, every slide once an epoch, the
    /// last epoch (or one selected on an inner validation part, or on the part `val` where `test` is reported).
    Sound,
}

/// Epochs that the `paper` protocol trains before it may select one ("5-epoch warm-up").
pub const UNSELECTABLE_EPOCHS: usize = 5;

/// Epochs without a better one after which the `paper` protocol stops.
pub const PATIENCE: usize = 20;

impl Protocol {
    /// The epochs of this protocol.
    pub fn default_epochs(self) -> usize {
        match self {
            Self::Paper => 100,
            Self::Sound => 20,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Sound => "sound",
        })
    }
}

const SEED: &str = "training.seed";

/// The protocol's name, with the settings that differ from it: `paper (modified: training.max_epochs)`.
pub fn describe(config: &RunConfig) -> String {
    named(config.training.protocol, &modified(config))
}

/// [`describe`] of a run whose seed is one of several, which are told beside the protocol.
pub(crate) fn describe_but_seed(config: &RunConfig) -> String {
    let mut modified = modified(config);
    modified.retain(|key| *key != SEED);
    named(config.training.protocol, &modified)
}

fn named(protocol: Protocol, modified: &[&str]) -> String {
    match modified {
        [] => protocol.to_string(),
        keys => format!("{protocol} (modified: {})", keys.join(", ")),
    }
}

/// The settings that differ from those of the protocol.
fn modified(config: &RunConfig) -> Vec<&'static str> {
    let training = &config.training;
    [
        ("training.max_epochs", training.max_epochs != training.protocol.default_epochs()),
        ("training.learning_rate", training.learning_rate != 1e-4),
        ("training.weight_decay", training.weight_decay != 4e-6),
        ("training.accumulation", training.accumulation != 32),
        ("training.alpha", training.alpha != 0.2),
        ("training.loss", training.loss != LossKind::Nll),
        ("training.precision", training.precision != Precision::F32),
        (SEED, training.seed != 7),
        ("training.inner_validation", training.inner_validation.selects()),
        ("training.max_patches", training.max_patches.is_some()),
        ("training.initial_weights", training.initial_weights.is_some()),
        ("model.attention_dropout_at_eval", config.model.random_at_eval()),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
