//! Reading one bag, all its magnifications.

use std::path::PathBuf;
use std::time::Instant;

use cf_train::environment;
use serde_json::json;
use wsi_bags::{BagStore, Magnification};

use crate::timing::median;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The directory of bags, in any layout.
    root: PathBuf,
    /// The encoder whose features are read.
    #[arg(long, default_value = "resnet50")]
    backbone: String,
    /// The slide.
    #[arg(long)]
    slide: String,
    /// Timed repetitions after the first; with 0 the first is what counts.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let before = environment::peak_rss_bytes();
    let mut seconds = Vec::new();
    let mut bytes = 0;
    for _ in 0..=arguments.repeats {
        let started = Instant::now();
        let store = BagStore::open(&arguments.root, None, &arguments.backbone)?;
        // Every value is looked at, so a mapped bag is as much in memory as a copied one.
        let bag = store.read(&arguments.slide, &Magnification::ALL)?;
        seconds.push(started.elapsed().as_secs_f64());
        bytes = bag.sets().map(|(_, set)| size_of_val(set.features().as_slice())).sum();
    }
    if arguments.repeats > 0 {
        seconds.remove(0);
    }
    let peak = environment::peak_rss_bytes();
    Ok(json!({
        "seconds": median(&seconds),
        "bag_bytes": bytes,
        "grown_rss_bytes": peak - before,
        "peak_rss_bytes": peak,
    }))
}
