//! Presets named after the library whose numbers they reproduce.

use crate::brier::{BrierConfig, BrierNorm};
use crate::censoring::{CensoringRule, CensoringSide, CensoringTies, ZeroCensoring};
use crate::concordance::RiskTies;
use crate::concordance_estimate::{ConcordanceConfig, TimeWeight};
use crate::kaplan_meier::{CiType, QuantileRule};
use crate::nelson_aalen::HazardTies;

/// Where libraries differ on purpose, all choices of one of them at once.
///
/// | | `Default` | `ScikitSurvival` | `Lifelines` | `R` |
/// |---|---|---|---|---|
/// | tied risks | within 1e-8 | within 1e-8 | equal | equal |
/// | G at an event | `G(t-)`, events first | `G(t)`, events first | `G(t-)`, flipped | `G(t-)`, events first |
/// | limits of S | log-log | log-log | log-log | log |
/// | quantile on a level stretch | midpoint | left end | left end | midpoint |
/// | tied events in H | `d / n` | `d / n` | one after the other | `d / n` |
/// | Brier score divided by | n | n | n | n |
///
/// Pycox divides Brier scores by the sum of weights ([`BrierNorm::SumOfWeights`]) and reads `G(t-)` of a flipped curve.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Convention {
    /// This crate's: what the statistics literature defines, with scikit-survival's tie tolerance.
    #[default]
    Default,
    /// scikit-survival 0.28.
    ScikitSurvival,
    /// lifelines 0.30.
    Lifelines,
    /// R `survival` 3.5.
    R,
}

impl Convention {
    /// When two risks are tied.
    pub fn risk_ties(self) -> RiskTies {
        match self {
            Self::Default | Self::ScikitSurvival => RiskTies::AbsTol(1e-8),
            Self::Lifelines | Self::R => RiskTies::Exact,
        }
    }

    /// How inverse probabilities of censoring are made and read.
    pub fn censoring(self) -> CensoringRule {
        let (ties, side) = match self {
            Self::Default | Self::R => (CensoringTies::EventsFirst, CensoringSide::Before),
            Self::ScikitSurvival => (CensoringTies::EventsFirst, CensoringSide::At),
            Self::Lifelines => (CensoringTies::Flipped, CensoringSide::Before),
        };
        CensoringRule { ties, side, zero: ZeroCensoring::Error }
    }

    /// A C-index with the given time weights.
    pub fn concordance(self, time_weight: TimeWeight) -> ConcordanceConfig<'static> {
        ConcordanceConfig {
            ties: self.risk_ties(),
            time_weight,
            tau: None,
            censoring: self.censoring(),
            training: None,
        }
    }

    /// The form of confidence limits of S.
    pub fn ci_type(self) -> CiType {
        match self {
            Self::R => CiType::Log,
            _ => CiType::LogLog,
        }
    }

    /// The time that is a quantile where the curve lies on its level.
    pub fn quantile_rule(self) -> QuantileRule {
        match self {
            Self::Default | Self::R => QuantileRule::Midpoint,
            Self::ScikitSurvival | Self::Lifelines => QuantileRule::LeftEnd,
        }
    }

    /// How tied events add to the cumulative hazard.
    pub fn hazard_ties(self) -> HazardTies {
        match self {
            Self::Lifelines => HazardTies::FlemingHarrington,
            _ => HazardTies::NelsonAalen,
        }
    }

    /// Brier scores and their integral.
    pub fn brier(self) -> BrierConfig {
        BrierConfig { censoring: self.censoring(), norm: BrierNorm::N }
    }
}
