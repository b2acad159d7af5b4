//! Where the cut between high and low risk comes from, and what it makes of each fold.

use survival_metrics::{RiskGroup as Side, median_risk};

use crate::error::{Error, Result};
use crate::number::{count, significant};
use crate::patients::Subject;
use crate::risk_groups::Level;

/// Where the cut between high and low risk comes from; high is a risk of at least the cut.
#[derive(Debug, Clone, PartialEq)]
pub enum RiskCut {
    /// The median of the validation risks, pooled over folds: of slides among slides, of patients among patients.
    PooledMedian,
    /// One per fold, learned on its training part: it cuts the risks of the fold's own model.
    Training(Vec<TrainingCut>),
}

/// Median risks of the training part of a fold, as predicted by the model that scores its validation part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingCut {
    /// The fold.
    pub fold: usize,
    /// Median risk of the slides trained on.
    pub slides: f64,
    /// Median risk of the patients trained on; a patient's risk is the mean over the slides.
    pub patients: f64,
}

/// The cut at one level.
#[derive(Debug)]
pub(crate) enum Cut {
    /// One for all: the pooled median.
    Pooled(f64),
    /// One for all, found elsewhere.
    Given(f64),
    /// That of each fold.
    Training(Vec<FoldSides>),
}

/// The two sides of the cut of a fold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoldSides {
    pub(crate) fold: usize,
    pub(crate) threshold: f64,
    pub(crate) n_high: usize,
    pub(crate) n_low: usize,
}

impl RiskCut {
    /// Puts every subject to a side, in their order; `None` without subjects. `in_folds` are the subjects of each fold, whose sides are
    /// counted by fold.
    ///
    /// # Errors
    /// If a fold with subjects has no cut, or one that is not finite.
    pub(crate) fn sides(
        &self,
        level: Level,
        subjects: &[Subject<'_>],
        in_folds: &[Subject<'_>],
    ) -> Result<Option<(Cut, Vec<Side>)>> {
        if subjects.is_empty() {
            return Ok(None);
        }
        let cuts = match self {
            Self::PooledMedian => {
                let risks: Vec<f64> = subjects.iter().map(|subject| subject.risk).collect();
                let threshold = median_risk(&risks)?;
                let sides = risks.iter().map(|&risk| Side::of(risk, threshold)).collect();
                return Ok(Some((Cut::Pooled(threshold), sides)));
            }
            Self::Training(cuts) => cuts,
        };
        let side = |subject: &Subject<'_>| Ok(Side::of(subject.risk, cut_of(subject, level, cuts)?));
        let sides: Vec<Side> = subjects.iter().map(side).collect::<Result<_>>()?;
        let sides_in_folds: Vec<Side> = in_folds.iter().map(side).collect::<Result<_>>()?;
        let of_fold = |cut: &TrainingCut| {
            let members =
                || in_folds.iter().zip(&sides_in_folds).filter(|(subject, _)| subject.fold == cut.fold);
            let n_high = members().filter(|&(_, &side)| side == Side::High).count();
            let n_low = members().count() - n_high;
            FoldSides { fold: cut.fold, threshold: cut.at(level), n_high, n_low }
        };
        let folds = cuts.iter().map(of_fold).collect();
        Ok(Some((Cut::Training(folds), sides)))
    }
}

impl TrainingCut {
    fn at(&self, level: Level) -> f64 {
        match level {
            Level::Slide => self.slides,
            Level::Patient => self.patients,
        }
    }
}

/// The cut of a subject's fold. A risk that is the mean over the models of several folds has the mean of their cuts.
fn cut_of(subject: &Subject<'_>, level: Level, cuts: &[TrainingCut]) -> Result<f64> {
    let of_fold = |&fold: &usize| {
        let cut = cuts.iter().find(|cut| cut.fold == fold).map(|cut| cut.at(level));
        match cut {
            Some(cut) if cut.is_finite() => Ok(cut),
            _ => Err(Error::NoCut { fold, found: cut }),
        }
    };
    let cuts: Vec<f64> = subject.folds.iter().map(of_fold).collect::<Result<_>>()?;
    match cuts.as_slice() {
        // A mean of equal numbers may differ from them in its last digit.
        [first, others @ ..] if others.iter().all(|cut| cut == first) => Ok(*first),
        cuts => Ok(cuts.iter().sum::<f64>() / cuts.len() as f64),
    }
}

impl Cut {
    /// `cut at risk 2.31` or `cut at training medians`, as short as the heading of a figure has to be.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Pooled(threshold) | Self::Given(threshold) => {
                format!("cut at risk {}", significant(*threshold))
            }
            Self::Training(folds) if folds.len() == 1 => {
                format!("cut at training median {}", self.thresholds())
            }
            Self::Training(_) => "cut at training medians".to_owned(),
        }
    }

    /// `2.31`, or from the lowest to the highest of the folds.
    pub(crate) fn thresholds(&self) -> String {
        let folds = match self {
            Self::Pooled(threshold) | Self::Given(threshold) => return significant(*threshold),
            Self::Training(folds) => folds.iter().map(|fold| fold.threshold),
        };
        let low = significant(folds.clone().fold(f64::INFINITY, f64::min));
        let high = significant(folds.fold(f64::NEG_INFINITY, f64::max));
        if low == high { low } else { format!("{low} to {high}") }
    }

    /// Why one group has nobody, given the side that has all.
    pub(crate) fn only(&self, side: Side, level: Level) -> String {
        let noun = level.noun();
        let empty = match side {
            Side::High => "low",
            Side::Low => "high",
        };
        let place = match (self, side) {
            (Self::Pooled(threshold), _) => format!("at least the median, {},", significant(*threshold)),
            (Self::Given(threshold), Side::High) => format!("at least the cut, {},", significant(*threshold)),
            (Self::Given(threshold), Side::Low) => format!("below the cut, {},", significant(*threshold)),
            (Self::Training(_), Side::High) => "at least the training median of the fold,".to_owned(),
            (Self::Training(_), Side::Low) => "below the training median of the fold,".to_owned(),
        };
        format!(
            "The risk of every {noun} is {place} so that the {empty}-risk group is empty and no log-rank test is possible."
        )
    }

    /// A sentence for each fold that has all of its subjects on one side.
    pub(crate) fn one_sided_folds(&self, level: Level) -> Vec<String> {
        let Self::Training(folds) = self else { return Vec::new() };
        let sentence = |fold: &FoldSides| {
            let (n, side) = match (fold.n_high, fold.n_low) {
                (0, 0) => return None,
                (n, 0) => (n, "high"),
                (0, n) => (n, "low"),
                _ => return None,
            };
            let who = match level.noun() {
                noun if n == 1 => format!("the only {noun} is"),
                noun => format!("all {} {noun}s are", count(n)),
            };
            Some(format!("In fold {} {who} at {side} risk.", fold.fold))
        };
        folds.iter().filter_map(sentence).collect()
    }
}
