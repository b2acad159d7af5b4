//! What the held-out parts of splits are for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{FoldEntries, Part, SplitSet};
use crate::error::{Error, Result};

/// What is validated where a split has both a `val` and a `test` part. A split with one held-out part validates that one,
/// whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOutPart {
    /// The `val` part; `test` is neither trained nor validated on.
    #[default]
    Val,
    /// The `test` part; `val` is neither trained nor validated on.
    Test,
}

/// What the held-out parts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOutUse {
    /// One is validated; the other, where there is one, is neither trained nor validated on.
    Evaluate(HeldOutPart),
    /// `val` chooses the epoch, `test` is validated.
    ChooseOnVal,
}

impl HeldOutUse {
    /// The part that the epoch is chosen on, if it is one of the split files.
    pub fn choosing_part(self) -> Option<Part> {
        match self {
            Self::Evaluate(_) => None,
            Self::ChooseOnVal => Some(Part::Val),
        }
    }
}

impl SplitSet {
    /// The part that is validated: the one that is asked for where the splits have both, else the only one.
    ///
    /// # Errors
    /// If `test` is asked for and no fold has a test part; or if `val` is to choose the epoch and a fold has not all three parts.
    pub fn validated_part(&self, held_out: HeldOutUse) -> Result<Part> {
        let has =
            |part: Part| self.folds.iter().any(|fold| fold.entries.iter().any(|entry| entry.part == part));
        match held_out {
            HeldOutUse::Evaluate(HeldOutPart::Val) if has(Part::Val) || !has(Part::Test) => Ok(Part::Val),
            HeldOutUse::Evaluate(HeldOutPart::Test) if !has(Part::Test) => Err(Error::data(
                &self.path,
                "found no test part, but evaluate is \"test\"; write evaluate = \"val\" in [cohort]",
            )),
            HeldOutUse::Evaluate(_) => Ok(Part::Test),
            HeldOutUse::ChooseOnVal => {
                self.folds.iter().try_for_each(has_all_parts)?;
                Ok(Part::Test)
            }
        }
    }
}

/// Refuses a fold without one of the three parts.
fn has_all_parts(fold: &FoldEntries) -> Result<()> {
    let found: BTreeSet<Part> = fold.entries.iter().map(|entry| entry.part).collect();
    if [Part::Train, Part::Val, Part::Test].iter().all(|part| found.contains(part)) {
        return Ok(());
    }
    let found: Vec<&str> = found.into_iter().map(Part::as_str).collect();
    let found = if found.is_empty() { "no part".to_owned() } else { found.join(" and ") };
    let reason = format!(
        "fold {}: found {found}, expected train, val and test: training.inner_validation is \"val\", which chooses the epoch on val and \
         validates test; give the fold ids in all three, or set training.inner_validation to a share of the training patients, such as 0.2",
        fold.fold
    );
    Err(Error::data(&fold.path, reason))
}
