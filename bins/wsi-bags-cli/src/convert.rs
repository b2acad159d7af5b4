//! `wsi-bags convert`

use std::path::Path;

use serde::Serialize;
use wsi_bags::{
    BagStore, Converted, ConvertedSet, Converter, FeatureType, FolderLock, Layout, Magnification,
};

use crate::args::ConvertArguments;
use crate::error::CliError;
use crate::output::{fault, percent, print, print_json, progress};
use crate::remarks::{Coords, DoubtfulCoords, Lacking, lacking, lacking_text, presence};
use cf_cli::Log;

/// What was done, and what parents came out as.
#[derive(Debug, Serialize)]
struct Summary {
    layout: String,
    n_written: usize,
    /// Those of them that were added to a file with features of another encoder.
    n_added: usize,
    /// Slides that were there already.
    n_left_alone: usize,
    /// Those of them whose features are of another float type than the one asked for.
    n_other_dtype: usize,
    /// Features other than 0 that were written as 0, since 16-bit floats hold nothing so small.
    n_became_zero: usize,
    failed: Vec<Failure>,
    parents: Vec<ParentSummary>,
    /// Slides without a magnification that others have.
    lacking: Vec<Lacking>,
    #[serde(flatten)]
    doubtful: DoubtfulCoords,
}

/// A slide that could not be converted.
#[derive(Debug, Serialize)]
struct Failure {
    slide: String,
    reason: String,
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
    /// Patches without parents, of slides that lack the next coarser magnification.
    #[serde(skip)]
    n_without_coarser: usize,
}

/// Converts, one slide after the other.
pub(crate) fn run(arguments: &ConvertArguments, log: Log) -> Result<(), CliError> {
    let store = arguments.source.open()?;
    let mut converter = Converter::new(&store, arguments.to, &arguments.out).map_err(CliError::Bags)?;
    if let Some(feature_type) = arguments.dtype {
        converter = converter.with_feature_type(feature_type);
    }
    if arguments.overwrite {
        converter = converter.overwriting();
    }
    let slides = arguments.source.slides(&store);
    converter = converter.only(slides);
    let mut parents: Vec<ParentSummary> = [Magnification::X10, Magnification::X20]
        .map(|magnification| ParentSummary {
            magnification: magnification.to_string(),
            n_patches: 0,
            n_with_parents: 0,
            n_fallbacks: 0,
            n_without_coarser: 0,
        })
        .into();
    if arguments.to == Layout::Native {
        warn_of_no_lock(&arguments.out, log)?;
    }
    let (mut n_written, mut n_added, mut n_left_alone, mut n_other_dtype, mut n_became_zero) =
        (0, 0, 0, 0, 0);
    let (mut failed, mut there) = (Vec::new(), None);
    let (mut present, mut doubtful) = (Vec::new(), DoubtfulCoords::default());
    let bar = progress(slides.len(), log);
    for slide in slides {
        bar.set_message(slide.clone());
        present.extend(presence(&store, slide));
        match one(&mut converter, arguments, slide, &mut there) {
            Err(error) if error.ends_the_run() || error.is_of(&arguments.out) => return Err(error),
            Err(error) => {
                bar.suspend(|| fault(log, slide, &error));
                failed.push(Failure { slide: slide.clone(), reason: error.to_string() });
            }
            Ok(Outcome::LeftAlone { has_other_dtype }) => {
                n_left_alone += 1;
                n_other_dtype += usize::from(has_other_dtype);
            }
            Ok(Outcome::Written(written)) => {
                n_written += 1;
                n_added += usize::from(written.added);
                n_became_zero += written.sets.iter().map(|set| set.n_became_zero).sum::<usize>();
                written.sets.iter().for_each(|set| doubtful.look_at(slide, &coords_of(set)));
                // Of a file that features were added to, the parents were there before.
                for set in written.sets.iter().filter(|_| !written.added) {
                    let label = set.magnification.label();
                    if let Some(summary) = parents.iter_mut().find(|summary| summary.magnification == label) {
                        summary.n_patches += set.n_patches;
                        summary.n_with_parents += if set.has_parents { set.n_patches } else { 0 };
                        summary.n_fallbacks += set.parent_fallbacks.unwrap_or(0);
                        let coarser = set.magnification.coarser();
                        let has_coarser = written.sets.iter().any(|set| Some(set.magnification) == coarser);
                        let is_without = !has_coarser && !set.has_parents;
                        summary.n_without_coarser += if is_without { set.n_patches } else { 0 };
                    }
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !matches!(arguments.to, Layout::Native | Layout::Safetensors) {
        parents.clear();
    }
    let n_failed = failed.len();
    let layout = arguments.to.to_string();
    let summary = Summary {
        layout,
        n_written,
        n_added,
        n_left_alone,
        n_other_dtype,
        n_became_zero,
        failed,
        parents,
        lacking: lacking(&present),
        doubtful,
    };
    if arguments.json {
        print_json(&summary)?;
    } else {
        print(&text(&summary, &arguments.out.display().to_string()))?;
    }
    if n_failed > 0 { Err(CliError::NotConverted(n_failed)) } else { Ok(()) }
}

fn coords_of(set: &ConvertedSet) -> Coords {
    let ConvertedSet { magnification, n_patches, parent_fallbacks, at_one_place, .. } = *set;
    Coords { magnification, n_patches, n_fallbacks: parent_fallbacks, at_one_place }
}

/// What became of a slide.
enum Outcome {
    Written(Converted),
    /// It was there already.
    LeftAlone {
        has_other_dtype: bool,
    },
}

/// Converts a slide unless it is there. `there` is opened when it is needed.
fn one(
    converter: &mut Converter<'_>,
    arguments: &ConvertArguments,
    slide: &str,
    there: &mut Option<BagStore>,
) -> Result<Outcome, CliError> {
    if !arguments.overwrite {
        match converter.is_done(slide) {
            Ok(true) => {
                let has_other_dtype = has_other_dtype(arguments, slide, there).map_err(CliError::Bags)?;
                return Ok(Outcome::LeftAlone { has_other_dtype });
            }
            Ok(false) => {}
            Err(error) => {
                let files = converter.files(slide, &Magnification::ALL).unwrap_or_default();
                let is_of_file = files.iter().any(|file| Some(file.as_path()) == error.path());
                return Err(match is_of_file && error.is_damage() {
                    true => CliError::Damaged(error),
                    false => CliError::Bags(error),
                });
            }
        }
    }
    converter.convert(slide).map(Outcome::Written).map_err(CliError::Bags)
}

/// Whether features of a slide that is there are of another float type than the one asked for.
fn has_other_dtype(
    arguments: &ConvertArguments,
    slide: &str,
    there: &mut Option<BagStore>,
) -> wsi_bags::Result<bool> {
    let wanted = match arguments.dtype {
        None => return Ok(false),
        Some(FeatureType::F16) => "float16",
        Some(FeatureType::F32) => "float32",
    };
    let there = match there {
        Some(there) => there,
        None => there.insert(arguments.source.written(&arguments.out, arguments.to)?),
    };
    for magnification in there.presence(slide)?.magnifications() {
        if there.describe(slide, magnification)?.element_type != wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says that other processes will not wait, where they will not.
fn warn_of_no_lock(out: &Path, log: Log) -> Result<(), CliError> {
    if std::fs::create_dir_all(out).is_err() {
        // What is written there says so.
        return Ok(());
    }
    if let Some(warning) = FolderLock::of(out).map_err(CliError::Bags)?.warning() {
        log.warn(warning);
    }
    Ok(())
}

fn text(summary: &Summary, out: &str) -> String {
    let mut text = format!("{} slides written to {out} ({})", summary.n_written, summary.layout);
    if summary.n_added > 0 {
        text += &format!(", {} to files with features of another encoder", summary.n_added);
    }
    if summary.n_left_alone > 0 {
        text += &format!(", {} there already", summary.n_left_alone);
    }
    if summary.n_other_dtype > 0 {
        text += &format!(" ({} in another float type; --overwrite writes them again)", summary.n_other_dtype);
    }
    if !summary.failed.is_empty() {
        text += &format!(", {} failed", summary.failed.len());
    }
    text.push('\n');
    if summary.n_became_zero > 0 {
        text += &format!(
            "warning: {} features other than 0 are 0 as 16-bit floats; --dtype f32 --overwrite writes them as they are\n",
            summary.n_became_zero
        );
    }
    summary.parents.iter().for_each(|parents| text += &parents_text(parents));
    text + &lacking_text(&summary.lacking) + &summary.doubtful.text()
}

/// A line on the parents of a magnification; empty if no patches of it were written.
fn parents_text(parents: &ParentSummary) -> String {
    let ParentSummary { magnification, n_patches, n_with_parents, n_without_coarser, .. } = parents;
    let coarser = magnification.parse().ok().and_then(Magnification::coarser);
    let coarser = coarser.map(Magnification::label).unwrap_or_default();
    if *n_patches == 0 {
        return String::new();
    }
    match (*n_with_parents, *n_without_coarser) {
        (0, 0) => format!("{magnification}: no parents (coordinates or patch sizes are not known)\n"),
        (0, without) if without == *n_patches => {
            format!("{magnification}: no parents ({coarser} is missing, whose patches they would be)\n")
        }
        (0, without) => format!(
            "{magnification}: no parents ({coarser}, whose patches they would be, is missing for {without} of {n_patches} patches; \
             of the others coordinates or patch sizes are not known)\n"
        ),
        (known, without) => {
            let nearest = percent(parents.n_fallbacks, known);
            let missing = match without {
                0 => String::new(),
                _ => format!("; {coarser}, whose patches they would be, is missing for {without}"),
            };
            format!(
                "{magnification}: parents for {known} of {n_patches} patches, {nearest} the nearest for want of one that holds \
                 them{missing}\n"
            )
        }
    }
}
