//! What stood in for what bags lack, over the slides of a fold or a run.

use std::collections::BTreeMap;

use cf_model::{DerivedCache, ModelName, Substitute};
use serde::{Deserialize, Serialize};

/// A row of `substitutes.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubstituteRow {
    /// What was used, and for what.
    pub substitute: String,
    /// Patches, or places for patches, with it.
    pub n: usize,
    /// Patches or places in all.
    pub of: usize,
    /// Slides with some of them.
    pub n_slides: usize,
    /// Slides in all.
    pub of_slides: usize,
}

/// The sums over slides, of what was used at all.
pub(crate) fn sum<'a>(slides: impl Iterator<Item = &'a DerivedCache>) -> Vec<SubstituteRow> {
    let mut sums: BTreeMap<Substitute, SubstituteRow> = BTreeMap::new();
    for slide in slides {
        for (substitute, count) in slide.substitutes() {
            let row = sums.entry(substitute).or_insert_with(|| SubstituteRow {
                substitute: substitute.to_string(),
                n: 0,
                of: 0,
                n_slides: 0,
                of_slides: 0,
            });
            row.n += count.n;
            row.of += count.of;
            row.n_slides += usize::from(count.n > 0);
            row.of_slides += 1;
        }
    }
    sums.into_values().filter(|row| row.n > 0).collect()
}

/// The sums over folds.
pub(crate) fn merge<'a>(folds: impl Iterator<Item = &'a SubstituteRow>) -> Vec<SubstituteRow> {
    let mut merged: Vec<SubstituteRow> = Vec::new();
    for row in folds {
        match merged.iter_mut().find(|known| known.substitute == row.substitute) {
            Some(known) => {
                known.n += row.n;
                known.of += row.of;
                known.n_slides += row.n_slides;
                known.of_slides += row.of_slides;
            }
            None => merged.push(row.clone()),
        }
    }
    merged
}

impl SubstituteRow {
    /// The row as a sentence without its end.
    pub fn text(&self) -> String {
        let share = 100.0 * self.n as f64 / self.of.max(1) as f64;
        let Self { substitute, n, of, n_slides, of_slides } = self;
        format!("{substitute}: {n} of {of} ({share:.2} %), on {n_slides} of {of_slides} slides")
    }
}

/// How a model is called where its bags had these substitutes: one without the prior it is named for says so.
pub(crate) fn label(model: &str, substitutes: &[SubstituteRow]) -> String {
    let without_prior = model == ModelName::ProtoSurv.as_str()
        && substitutes.iter().any(|row| {
            row.substitute == Substitute::OneTissueClass.to_string() && row.n_slides == row.of_slides
        });
    if without_prior { format!("{model} (no prior)") } else { model.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(substitute: &str, n: usize, n_slides: usize) -> SubstituteRow {
        SubstituteRow { substitute: substitute.to_owned(), n, of: 100, n_slides, of_slides: 4 }
    }

    #[test]
    fn folds_add_up_and_a_model_without_its_prior_says_so() {
        let merged = merge([row("a", 1, 1), row("b", 2, 1), row("a", 3, 2)].iter());
        assert_eq!(merged[0], SubstituteRow { n: 4, of: 200, n_slides: 3, of_slides: 8, ..row("a", 0, 0) });
        assert_eq!(merged[0].text(), "a: 4 of 200 (2.00 %), on 3 of 8 slides");
        let other = Substitute::OneTissueClass.to_string();
        assert_eq!(label("protosurv", &[row(&other, 100, 4)]), "protosurv (no prior)");
        assert_eq!(label("protosurv", &[row(&other, 50, 2)]), "protosurv");
        assert_eq!(label("amil", &[]), "amil");
    }
}
