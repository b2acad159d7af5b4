//! Whether a forward pass trains or evaluates, where its randomness comes from, and what it notes on the way.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::kernels::{DropoutMask, Retention};
use crate::random::{split_mix, stream_key};

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is active.
    Train,
    /// No dropout, unless a layer was told to keep it (see [`crate::SelfAttentionConfig`]) and the pass has a stream for it.
    Eval,
}

/// The part of a forward pass that is not a tensor: its mode and its dropout stream.
///
/// Dropout masks are functions of (stream, site, element), so they do not depend on the number of threads, and a
/// backward pass regenerates them instead of storing them.
#[derive(Debug, Clone)]
pub struct ForwardCtx {
    mode: Mode,
    /// Of the dropout stream; none where nothing may be dropped.
    key: Option<u64>,
    n_sites: u64,
    retention: Retention,
    record: Option<Record>,
}

/// What a pass notes: see [`ForwardCtx::recording`] and [`ForwardCtx::noting_attention`].
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Intermediate values by the name that the model gives them, such as attention weights.
    pub taps: BTreeMap<String, Tensor>,
    /// Name and probability of each dropout site, in the order in which the pass reached them. In evaluation only attention
    /// weights that a layer was told to drop there have one.
    pub dropout: Vec<(&'static str, f64)>,
    /// Whether other values than attention are noted.
    everything: bool,
}

impl ForwardCtx {
    /// A training pass whose masks come from the stream named by `seed` and `label`.
    pub fn train(seed: u64, label: &str) -> Self {
        let key = Some(stream_key(seed, label));
        Self { mode: Mode::Train, key, retention: Retention::Keep, ..Self::eval() }
    }

    /// An evaluation pass without any dropout. Two of them give the same bytes.
    pub fn eval() -> Self {
        Self { mode: Mode::Eval, key: None, n_sites: 0, retention: Retention::Recompute, record: None }
    }

    /// An evaluation pass for models that keep attention dropout active in evaluation, as the released code does.
    /// The masks come from the stream named by `seed` and `label`.
    pub fn eval_with_stream(seed: u64, label: &str) -> Self {
        Self { key: Some(stream_key(seed, label)), ..Self::eval() }
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

    /// The same pass, noting attention, named intermediate values and dropout sites: for tests. What is noted stays in memory.
    #[must_use]
    pub fn recording(self) -> Self {
        Self { record: Some(Record { everything: true, ..Record::default() }), ..self }
    }

    /// The same pass, noting attention and no other value: for heat maps of any bag that fits.
    #[must_use]
    pub fn noting_attention(self) -> Self {
        Self { record: Some(Record::default()), ..self }
    }

    /// Whether this pass notes attention: maps of it are made only then.
    pub fn notes_attention(&self) -> bool {
        self.record.is_some()
    }

    /// Whether this pass notes intermediate values: what only they need is made only then.
    pub fn is_recording(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.everything)
    }

    /// What was noted, if this pass records.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Whether a layer drops in this pass: in training, and in evaluation if the layer was told to keep its dropout there and the
    /// pass has a stream.
    pub(crate) fn drops(&self, keeps_at_eval: bool) -> bool {
        self.mode == Mode::Train || (keeps_at_eval && self.key.is_some())
    }

    /// Notes an intermediate value, if this pass records.
    pub fn tap(&mut self, name: &str, value: &Tensor) {
        if self.is_recording() {
            self.note_attention(name, value);
        }
    }

    /// Notes a map of attention, if this pass notes those.
    pub fn note_attention(&mut self, name: &str, value: &Tensor) {
        if let Some(record) = &mut self.record {
            record.taps.insert(name.to_owned(), value.clone());
        }
    }

    /// The mask of the next dropout site, which is noted under its name if this pass records.
    pub(crate) fn next_mask(&mut self, site: &'static str, p: f64) -> DropoutMask {
        if let Some(record) = &mut self.record {
            record.dropout.push((site, p));
        }
        DropoutMask { p, key: self.next_site() }
    }

    /// A generator for the draws of one place of the model, in the order in which the forward pass reaches them.
    pub fn next_stream(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.next_site())
    }

    /// The key of the next place of the model that is random, in the order in which the forward pass reaches them.
    fn next_site(&mut self) -> u64 {
        self.n_sites += 1;
        split_mix(self.key.unwrap_or_default() ^ split_mix(self.n_sites))
    }
}
