//! Agreement with lifelines, scikit-survival, R `survival` and mpmath on real data.
//!
//! Reads `$CF_TEST_DATA/survival` and skips with a printed reason where the variable is unset. Every case of a
//! supported function is compared, and each test asserts the number of its cases, so that none is skipped unnoticed.
#![allow(clippy::print_stdout, reason = "a test says what it compared, or why it compared nothing")]

mod concordance;
mod cox;
mod cross_validation;
mod data;
mod edge_cases;
mod every_case;
mod extreme_p;
mod kaplan_meier;
mod log_rank;
mod predictions;
mod special_functions;
