//! Words that options take, and what they mean to the library.

use clap::ValueEnum;
use survival_metrics::{CiType, Convention, CoxTies, LogRankWeight, TimeWeight};

/// Names of the forms of confidence limits.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CiForm {
    /// On the scale of S (clipped to 0 and 1).
    Plain,
    /// On the scale of ln S; R's default.
    Log,
    /// On the scale of ln(-ln S); lifelines and scikit-survival.
    LogLog,
    /// On the scale of the log odds of S.
    Logit,
    /// On the scale of the arcsine of the root of S.
    Arcsin,
}

impl From<CiForm> for CiType {
    fn from(form: CiForm) -> Self {
        match form {
            CiForm::Plain => Self::Plain,
            CiForm::Log => Self::Log,
            CiForm::LogLog => Self::LogLog,
            CiForm::Logit => Self::Logit,
            CiForm::Arcsin => Self::Arcsin,
        }
    }
}

/// Names of conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Library {
    /// This program's: the statistics literature's, with scikit-survival's risk ties.
    Default,
    /// scikit-survival.
    ScikitSurvival,
    /// lifelines.
    Lifelines,
    /// R `survival`, whose `timefix` is not applied: times that differ by rounding differ.
    R,
}

impl From<Library> for Convention {
    fn from(library: Library) -> Self {
        match library {
            Library::Default => Self::Default,
            Library::ScikitSurvival => Self::ScikitSurvival,
            Library::Lifelines => Self::Lifelines,
            Library::R => Self::R,
        }
    }
}

/// Names of weights of pairs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PairWeight {
    /// All alike: Harrell's C.
    Harrell,
    /// Inverse squared probability of being uncensored: Uno's C.
    Uno,
    /// S / n: Peto and Wilcoxon.
    PetoWilcoxon,
    /// S / (G n): Schemper.
    Schemper,
    /// 1 / n: event times alike.
    Identity,
}

impl From<PairWeight> for TimeWeight {
    fn from(weight: PairWeight) -> Self {
        match weight {
            PairWeight::Harrell => Self::Harrell,
            PairWeight::Uno => Self::Uno,
            PairWeight::PetoWilcoxon => Self::PetoWilcoxon,
            PairWeight::Schemper => Self::Schemper,
            PairWeight::Identity => Self::Identity,
        }
    }
}

/// Names of log-rank weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestWeight {
    /// All event times alike.
    Logrank,
    /// Numbers at risk: Gehan, Breslow, Wilcoxon.
    Gehan,
    /// Roots of numbers at risk.
    TaroneWare,
    /// Peto and Peto, as modified by Andersen.
    Peto,
}

impl From<TestWeight> for LogRankWeight {
    fn from(weight: TestWeight) -> Self {
        match weight {
            TestWeight::Logrank => Self::LogRank,
            TestWeight::Gehan => Self::Gehan,
            TestWeight::TaroneWare => Self::TaroneWare,
            TestWeight::Peto => Self::Peto,
        }
    }
}

impl TestWeight {
    /// What the test is called.
    pub(crate) fn name_of_test(self) -> &'static str {
        match self {
            Self::Logrank => "log-rank",
            Self::Gehan => "Gehan-weighted log-rank",
            Self::TaroneWare => "Tarone-Ware-weighted log-rank",
            Self::Peto => "Peto-weighted log-rank",
        }
    }
}

/// Names of methods for tied events.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TiedEvents {
    /// Efron's approximation.
    Efron,
    /// Breslow's approximation.
    Breslow,
    /// The exact discrete likelihood.
    Exact,
}

impl From<TiedEvents> for CoxTies {
    fn from(ties: TiedEvents) -> Self {
        match ties {
            TiedEvents::Efron => Self::Efron,
            TiedEvents::Breslow => Self::Breslow,
            TiedEvents::Exact => Self::Exact,
        }
    }
}
