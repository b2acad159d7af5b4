//! The nearest patches of every patch, which graphs of patches are made of.

use std::time::Instant;

use candle_core::Device;
use cf_model::Patches;
use cf_train::environment;
use serde_json::json;

use crate::kernels::input;
use crate::lattice;
use crate::model::{BACKBONE_DIM, sizes_of};
use crate::timing::median;

/// Neighbours per patch.
const K: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `{places,features}/{tenth,mean,largest}`: nearest by coordinates, or by 2048 features.
    case: String,
    /// Timed repetitions.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

pub(crate) fn run(
    arguments: &Arguments,
) -> std::result::Result<serde_json::Value, Box<dyn std::error::Error>> {
    let (kind, size) = arguments
        .case
        .split_once('/')
        .ok_or_else(|| format!("case `{}` is not of the form {{places,features}}/SIZE", arguments.case))?;
    let sizes = sizes_of(size)?;
    let features = match kind {
        "places" => None,
        "features" => Some(input(&[sizes[2], BACKBONE_DIM], 1, &Device::Cpu)?.as_detached_tensor()),
        other => return Err(format!("kind `{other}`, expected places or features").into()),
    };
    let mut seconds = Vec::new();
    for _ in 0..arguments.repeats.max(1) {
        // Lists are remembered: each call has patches of its own.
        let patches: Patches = lattice::patches(sizes);
        let started = Instant::now();
        let list = match &features {
            None => patches.nearest_places(K, "bench")?,
            Some(features) => patches.nearest_features(features, K)?,
        };
        seconds.push(started.elapsed().as_secs_f64());
        assert_eq!(list.len(), K * sizes[2], "neighbours of every patch");
    }
    Ok(json!({
        "case": arguments.case,
        "seconds": median(&seconds),
        "peak_rss_bytes": environment::peak_rss_bytes(),
    }))
}
