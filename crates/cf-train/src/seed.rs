//! The named random streams of a run: see [`cf_model::random`].
//!
//! | purpose | label |
//! |---|---|
//! | initial weights | `init/<parameter>` |
//! | order of bags | `order/fold F/epoch E` |
//! | patches of a bag with more than `training.max_patches` | `patches/fold F/epoch E/draw I/<slide>` |
//! | dropout | `dropout/fold F/epoch E/draw I/<slide>` |
//! | attention dropout kept in evaluation | `eval/fold F/epoch E/<slide>` |
//! | inner validation split | `inner validation/fold F` |
//! | simulated cohorts | `simulate/..` |

pub use cf_model::random::stream;
