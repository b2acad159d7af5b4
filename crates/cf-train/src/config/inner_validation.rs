//! What the epoch is selected on: `training.inner_validation`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::splits::{HeldOutPart, HeldOutUse};

/// What the `sound` protocol selects the epoch on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InnerValidation {
    /// The `val` part of the split files, whose `test` part is then what is validated.
    Val,
    /// A share of the training patients, in `[0, 0.5]`, who are not trained on; 0 selects the last epoch.
    #[serde(untagged)]
    Share(f64),
}

impl InnerValidation {
    /// Whether an epoch is selected at all, rather than the last.
    pub fn selects(self) -> bool {
        self != Self::Share(0.0)
    }

    /// What the held-out parts of split files are for, where `evaluate` is the part to validate.
    pub(crate) fn held_out_use(self, evaluate: HeldOutPart) -> HeldOutUse {
        match self {
            Self::Share(_) => HeldOutUse::Evaluate(evaluate),
            Self::Val => HeldOutUse::ChooseOnVal,
        }
    }

    /// Why `evaluate` can't be the part to validate, if it can't.
    pub(crate) fn fault_with(self, evaluate: HeldOutPart) -> Option<String> {
        (self == Self::Val && evaluate == HeldOutPart::Val).then(|| {
            "cohort.evaluate is \"val\", expected \"test\": training.inner_validation is \"val\", and what chooses the epoch is not what is \
             reported; set cohort.evaluate to \"test\", or leave it out"
                .to_owned()
        })
    }
}

impl fmt::Display for InnerValidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Val => f.write_str("\"val\""),
            Self::Share(share) => share.fmt(f),
        }
    }
}
