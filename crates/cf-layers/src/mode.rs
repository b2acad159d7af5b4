//! Whether a forward pass trains or evaluates, and where its dropout comes from.

use crate::kernels::Retention;
use crate::random::{split_mix, stream_key};

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is active.
    Train,
    /// No dropout, unless a layer was told to keep it (see [`crate::SelfAttentionConfig`]).
    Eval,
}

/// The part of a forward pass that is not a tensor: its mode and its dropout stream.
///
/// Dropout masks are functions of (stream, site, element), so they do not depend on the number of threads, and a
/// backward pass regenerates them instead of storing them.
#[derive(Debug, Clone)]
pub struct ForwardCtx {
    mode: Mode,
    key: u64,
    n_sites: u64,
    retention: Retention,
}

impl ForwardCtx {
    /// A training pass whose masks come from the stream named by `seed` and `label`.
    pub fn train(seed: u64, label: &str) -> Self {
        Self { mode: Mode::Train, key: stream_key(seed, label), n_sites: 0, retention: Retention::Keep }
    }

    /// An evaluation pass. Two of them give the same bytes.
    pub fn eval() -> Self {
        Self { mode: Mode::Eval, key: 0, n_sites: 0, retention: Retention::Recompute }
    }

    /// An evaluation pass for models that keep attention dropout active in evaluation, as the released code does.
    /// The masks come from the stream named by `seed` and `label`.
    pub fn eval_with_stream(seed: u64, label: &str) -> Self {
        Self { mode: Mode::Eval, key: stream_key(seed, label), n_sites: 0, retention: Retention::Recompute }
    }

    /// The same pass with another choice of what it leaves for the backward pass: [`Retention::Keep`] in training and
    /// [`Retention::Recompute`] in evaluation by default. The choice changes memory and time, and no number.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// What the pass leaves for its backward pass.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// The mode of this pass.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The mask key of the next dropout site, in the order in which the forward pass reaches them.
    pub(crate) fn next_site(&mut self) -> u64 {
        self.n_sites += 1;
        split_mix(self.key ^ split_mix(self.n_sites))
    }
}
