//! `wsi-bags convert`

use serde::Serialize;
use wsi_bags::{Converter, Layout, Magnification};

use crate::args::ConvertArguments;
use crate::error::CliError;
use crate::output::{percent, print, print_json, progress};

/// What was done, and what parents came out as.
#[derive(Debug, Serialize)]
struct Summary {
    layout: String,
    n_written: usize,
    /// Those of them that were added to a file with features of another encoder.
    n_added: usize,
    /// Slides that were there already.
    n_left_alone: usize,
    parents: Vec<ParentSummary>,
}

/// Parents of one magnification over all slides that were written.
#[derive(Debug, Serialize)]
struct ParentSummary {
    magnification: String,
    n_patches: usize,
    /// Patches of slides whose parents are known.
    n_with_parents: usize,
    /// Patches that were given the nearest coarse patch because none holds them.
    n_fallbacks: usize,
}

/// Converts, one slide after the other.
pub(crate) fn run(arguments: &ConvertArguments, quiet: bool) -> Result<(), CliError> {
    let store = arguments.source.open()?;
    let mut converter = Converter::new(&store, arguments.to, &arguments.out).map_err(CliError::Bags)?;
    if let Some(feature_type) = arguments.dtype {
        converter = converter.with_feature_type(feature_type);
    }
    let slides = arguments.source.slides(&store);
    let mut parents: Vec<ParentSummary> = [Magnification::X10, Magnification::X20]
        .map(|magnification| ParentSummary {
            magnification: magnification.to_string(),
            n_patches: 0,
            n_with_parents: 0,
            n_fallbacks: 0,
        })
        .into();
    let (mut n_written, mut n_added, mut n_left_alone) = (0, 0, 0);
    let bar = progress(slides.len(), quiet);
    for slide in slides {
        bar.set_message(slide.clone());
        if !arguments.overwrite && converter.is_done(slide).map_err(CliError::Bags)? {
            n_left_alone += 1;
        } else {
            let written = converter.convert(slide).map_err(CliError::Bags)?;
            n_written += 1;
            n_added += usize::from(written.added);
            // Of a file that features were added to, the parents were there before.
            for set in written.sets.iter().filter(|_| !written.added) {
                let label = set.magnification.label();
                if let Some(summary) = parents.iter_mut().find(|summary| summary.magnification == label) {
                    summary.n_patches += set.n_patches;
                    summary.n_with_parents += if set.has_parents { set.n_patches } else { 0 };
                    summary.n_fallbacks += set.parent_fallbacks.unwrap_or(0);
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !matches!(arguments.to, Layout::Native | Layout::Safetensors) {
        parents.clear();
    }
    let summary = Summary { layout: arguments.to.to_string(), n_written, n_added, n_left_alone, parents };
    if arguments.json {
        print_json(&summary)
    } else {
        print(&text(&summary, &arguments.out.display().to_string()))
    }
}

fn text(summary: &Summary, out: &str) -> String {
    let mut text = format!("{} slides written to {out} ({})", summary.n_written, summary.layout);
    if summary.n_added > 0 {
        text += &format!(", {} to files with features of another encoder", summary.n_added);
    }
    if summary.n_left_alone > 0 {
        text += &format!(", {} there already", summary.n_left_alone);
    }
    text.push('\n');
    for parents in summary.parents.iter().filter(|parents| parents.n_patches > 0) {
        let magnification = &parents.magnification;
        text += &match parents.n_with_parents {
            0 => format!("{magnification}: no parents (coordinates or patch sizes are not known)\n"),
            known => format!(
                "{magnification}: parents for {} of {} patches, {} the nearest for want of one that holds them\n",
                known,
                parents.n_patches,
                percent(parents.n_fallbacks, known)
            ),
        };
    }
    text
}
