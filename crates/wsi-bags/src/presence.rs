//! Which magnifications a slide has.

use crate::magnification::Magnification;

/// Which magnifications of a slide have features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence {
    present: [bool; Magnification::ALL.len()],
}

impl Presence {
    pub(crate) fn of(present: impl Fn(Magnification) -> bool) -> Self {
        Self { present: Magnification::ALL.map(present) }
    }

    /// Whether there are features at `magnification`.
    #[must_use]
    pub fn at(self, magnification: Magnification) -> bool {
        self.magnifications().any(|present| present == magnification)
    }

    /// The magnifications that are present, coarse to fine.
    pub fn magnifications(self) -> impl Iterator<Item = Magnification> {
        Magnification::ALL
            .into_iter()
            .zip(self.present)
            .filter_map(|(magnification, present)| present.then_some(magnification))
    }
}
