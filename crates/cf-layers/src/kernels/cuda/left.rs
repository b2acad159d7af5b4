//! What a forward pass leaves for its backward pass.

use std::sync::{Mutex, PoisonError};

use candle_core::{Error, Result};

/// A place for it. The one backward pass that may follow takes it, so that its memory is free again as that goes on, although the graph
/// keeps the op.
pub(super) struct Left<T>(Mutex<Option<T>>);

impl<T> Left<T> {
    pub(super) const fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn leave(&self, kept: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }

    pub(super) fn take(&self) -> Result<T> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        left.ok_or_else(|| {
            Error::Msg(
                "an op on a GPU runs backward once, after its forward: what it kept is not there".to_owned(),
            )
        })
    }
}
