//! What a model is trained on, and what follows for its predictions.

use cf_model::{Head, ModelName};
use serde::{Deserialize, Serialize};

use super::RunConfig;

/// The losses of the released code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Discrete-time negative log-likelihood: the paper's.
    Nll,
    /// Discrete-time cross-entropy.
    CrossEntropy,
    /// Cox partial likelihood of the risk scores within each accumulation group.
    Cox,
    /// The censored likelihood of the time itself, for a model that ends with a mixture of times.
    Likelihood,
}

/// Why models predict no survival: the partial likelihood compares risks, and leaves open how high they are.
const NO_BASELINE: &str = "its models were trained with training.loss = \"cox\", which says whose risk is higher and not what survival is";

impl RunConfig {
    /// Why the models of a run predict no survival, as a clause about the run; `None` where they do.
    pub fn no_survival(&self) -> Option<&'static str> {
        (self.training.loss == LossKind::Cox && self.model.head() == Head::Hazards).then_some(NO_BASELINE)
    }
}

impl LossKind {
    /// Why a model that ends with `head` can't be trained on this loss, if it can't.
    pub(super) fn fault_with(self, head: Head, model: ModelName) -> Option<String> {
        let expected = match (head, self) {
            (Head::Hazards, Self::Nll | Self::CrossEntropy | Self::Cox)
            | (Head::LogRisk { .. }, Self::Cox)
            | (Head::TimeMixture { .. }, Self::Likelihood) => return None,
            (Head::Hazards, Self::Likelihood) => "nll, cross-entropy or cox",
            (Head::LogRisk { .. }, _) => "cox",
            (Head::TimeMixture { .. }, _) => "likelihood",
        };
        let found = match self {
            Self::Nll => "nll",
            Self::CrossEntropy => "cross-entropy",
            Self::Cox => "cox",
            Self::Likelihood => "likelihood",
        };
        Some(format!("training.loss is {found}, expected {expected}: this {model} ends with {head}"))
    }
}
