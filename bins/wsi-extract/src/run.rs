//! `wsi-extract run`: slides to bags.

use std::sync::Arc;

use cf_cli::Log;
use wsi_features::{BatchOptions, ExtractOptions, run as run_batch};
use wsi_slides::tissue::PenMarks;

use crate::args::{LatticeKind, RunArguments};
use crate::batch::{follow, stop_at_signals};
use crate::error::CliError;
use crate::preview;

pub(crate) fn run(arguments: &RunArguments, log: Log) -> Result<(), CliError> {
    let (batch, many) = (&arguments.batch, &arguments.many);
    let slides = many.slides(&batch.slides, log)?;
    let encoder = batch.encoder.open()?;
    let pen_marks = match arguments.lattice {
        LatticeKind::Clam => PenMarks::Keep,
        LatticeKind::Nested => PenMarks::Remove,
    };
    let options = BatchOptions {
        out: batch.out.clone(),
        extract: ExtractOptions {
            tissue: arguments.segmentation.params(pen_marks),
            lattice: arguments.lattice.into(),
            magnifications: arguments.magnifications.clone(),
            preference: many.resolution.prefer,
            target_mpp: many.target_mpp,
            pixels: batch.pixels.into(),
            bad_tiles: arguments.bad_tiles.into(),
        },
        shard: batch.shard,
        // What is only looked at ends at once, as programs do.
        stop: if arguments.dry_run { Arc::default() } else { stop_at_signals()? },
    };
    if arguments.dry_run {
        return preview::run(&slides, &encoder, &options, batch.json, log);
    }
    follow(log, batch.json, |on_event| run_batch(&slides, &encoder, &options, on_event))
}
