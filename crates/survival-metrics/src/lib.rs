//! Evaluation of survival models, with every convention named.

mod concordance;
mod error;
mod kaplan_meier;
mod outcome;
pub mod special_functions;

pub use concordance::{Concordance, PairCounts, RiskTies, concordance_index, concordance_index_stratified};
pub use error::{Error, Result};
pub use kaplan_meier::{CiType, KaplanMeier};
pub use outcome::{Outcome, Status};
