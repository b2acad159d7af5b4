//! `wsi-extract encode`: features of another encoder for bags that are there.

use wsi_features::{EncodeOptions, encode as encode_bags};

use crate::args::BatchArguments;
use crate::batch::{follow, stop_at_signals};
use crate::error::CliError;
use crate::slides;
use cf_cli::Log;

pub(crate) fn run(arguments: &BatchArguments, log: Log) -> Result<(), CliError> {
    let slides = slides::find(&arguments.slides, log)?;
    let encoder = arguments.encoder.open()?;
    let options = EncodeOptions {
        bags: arguments.out.clone(),
        pixels: arguments.pixels.into(),
        shard: arguments.shard,
        stop: stop_at_signals()?,
    };
    follow(log, arguments.json, |on_event| encode_bags(&slides, &encoder, &options, on_event))
}
