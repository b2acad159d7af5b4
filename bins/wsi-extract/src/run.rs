//! `wsi-extract run`: slides to bags.

use wsi_features::{BatchOptions, ExtractOptions, SlideList, run as run_batch};
use wsi_slides::tissue::PenMarks;

use crate::args::{LatticeKind, RunArguments};
use crate::batch::follow;
use crate::error::CliError;
use cf_cli::Log;

pub(crate) fn run(arguments: &RunArguments, log: Log) -> Result<(), CliError> {
    let batch = &arguments.batch;
    let slides = SlideList::find(&batch.slides)?.with_resolution(arguments.resolution.given());
    let slides = match &arguments.slides_csv {
        Some(table) => {
            let (slides, left) = slides.with_table(table)?;
            if !left.is_empty() {
                let n = left.len();
                log.warn(&format!(
                    "{}: no slide here is called by {n} of its names: {}",
                    table.display(),
                    listed(&left)
                ));
            }
            slides
        }
        None => slides,
    };
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
            preference: arguments.resolution.prefer,
            target_mpp: arguments.target_mpp,
            pixels: batch.pixels.into(),
            bad_tiles: arguments.bad_tiles.into(),
        },
        shard: batch.shard,
    };
    follow(log, batch.json, |on_event| run_batch(&slides, &encoder, &options, on_event))
}

/// Some of many names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, ...") } else { shown }
}
