//! `cf-heatmap render`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cf_train::held_out::{self, Part};
use cf_train::predict::{AttributionOptions, SlideAttribution, Target, attribute};
use cf_viewer::{HeatLayer, LeftOut, Prediction, Rendered, SlideFrame, Subject, heat_layers, render};
use serde::Serialize;
use wsi_bags::slide_stem;

use crate::args::RenderArguments;
use crate::chosen_model::{ChosenModel, OfRun};
use crate::error::CliError;
use crate::output::{print, print_json, progress};

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    slide: &'a str,
    #[serde(flatten)]
    models: Models<'a>,
    directory: PathBuf,
    risk: f64,
    /// Past each time bin; empty of a model that predicts none.
    survival: &'a [f64],
    #[serde(flatten)]
    rendered: &'a Rendered,
    model_seconds: f64,
    drawing_seconds: f64,
}

/// The models whose numbers these are.
#[derive(Default, Serialize)]
struct Models<'a> {
    /// The fold of the run that the model is of, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    fold: Option<usize>,
    /// What the slide was to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Part>,
    /// Folds that held the slide out as well.
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    other_folds: &'a [usize],
    /// Folds over whose models all numbers are means, since the slide took no part in the run.
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    folds: &'a [usize],
    /// Whether another slide of the patient took part in it, where this one did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient_in_run: Option<bool>,
}

impl<'a> Models<'a> {
    fn of(of_run: &'a OfRun) -> Self {
        match of_run {
            OfRun::Unknown => Self::default(),
            OfRun::Fold { fold, part, others } => {
                Self { fold: Some(*fold), part: Some(*part), other_folds: others, ..Self::default() }
            }
            OfRun::All { folds, has_patient, .. } => {
                Self { folds, patient_in_run: Some(*has_patient), ..Self::default() }
            }
        }
    }
}

pub(crate) fn run(arguments: &RenderArguments, show_bars: bool) -> Result<(), CliError> {
    let device = arguments.device.open().map_err(|error| CliError::Device(error.to_string()))?;
    let start = Instant::now();
    let slide = arguments.slide_file.as_deref().map(wsi_slides::open).transpose()?;
    let model = ChosenModel::of(arguments)?;
    let target = Target {
        checkpoint: &model.checkpoint,
        model: model.config.clone(),
        features: &model.features,
        slide: &arguments.slide,
        device,
    };
    let slide_id = slide_stem(&arguments.slide);
    let passes = progress(show_bars, "occlusion");
    let mut on_pass = |done: usize, all: usize| {
        passes.set_length(all as u64);
        passes.set_position(done as u64);
    };
    let occlusion = arguments.occlusion.map(|most| most as usize);
    let averaged_with = model.of_run.other_checkpoints().to_vec();
    let options = AttributionOptions { averaged_with, occlusion, progress: Some(&mut on_pass) };
    let found = attribute(&target, options)?;
    passes.finish_and_clear();
    let info = found.info;
    let no_survival = held_out::no_survival(&model.checkpoint);
    let prediction = Prediction {
        risk: found.prediction.risk,
        risk_is_of_survival: found.risk_is_of_survival,
        survival: if no_survival.is_some() { Vec::new() } else { found.prediction.survival.to_vec() },
        time_bin_edges_months: found.prediction.time_bin_edges_months.clone().unwrap_or_default(),
    };
    let (layers, mut unscored) = layers(&model, &found)?;
    unscored.extend(no_survival.map(|reason| LeftOut {
        what: "predicted survival".to_owned(),
        reason: format!("the model is of a run that predicts none: {reason}"),
    }));
    // The features are not drawn.
    drop(found);
    let boxes = layers.iter().map(|layer| layer.boxes().as_ref());
    let frame = match (&slide, &arguments.slide_file) {
        (Some(slide), Some(path)) => SlideFrame::of_slide(path, slide.as_ref(), arguments.mpp, &info, boxes)?,
        _ => SlideFrame::of_features(arguments.mpp, &info, boxes)?,
    };
    let model_seconds = start.elapsed().as_secs_f64();
    let subject = Subject {
        slide_id,
        frame,
        info,
        slide: slide.as_deref(),
        prediction: Some(prediction.clone()),
        unscored,
        origin: origin(&model, arguments.slide_file.as_deref()),
        source: source(&model),
    };
    let directory = arguments.out.join(slide_id);
    let bar = progress(show_bars, "drawing");
    let on_file = |name: &str, n_files: usize| {
        bar.set_length(n_files as u64);
        bar.set_message(name.to_owned());
        bar.inc(1);
    };
    let rendered = render(&subject, &layers, &directory, &arguments.options(), &on_file)?;
    bar.finish_and_clear();
    let report = Report {
        slide: slide_id,
        models: Models::of(&model.of_run),
        directory,
        risk: prediction.risk,
        survival: &prediction.survival,
        rendered: &rendered,
        model_seconds,
        drawing_seconds: start.elapsed().as_secs_f64() - model_seconds,
    };
    if arguments.json { print_json(&report) } else { print(&in_words(&report, &model.of_run)) }
}

/// The layers that have a number for every patch, and those that have not.
fn layers(model: &ChosenModel, found: &SlideAttribution) -> Result<(Vec<HeatLayer>, Vec<LeftOut>), CliError> {
    let (whole, partial): (Vec<_>, Vec<_>) =
        found.layers.iter().cloned().partition(|layer| layer.scores.iter().all(|score| score.is_finite()));
    let mut left_out = Vec::new();
    if found.layers.is_empty() {
        let reason = format!("{} attends to no patches; --occlusion N measures effects", model.config.name());
        left_out.push(LeftOut { what: "maps of attention".to_owned(), reason });
    }
    for layer in partial {
        let what = format!("{} of the {} patches", layer.module.title(), layer.magnification);
        let reason = if layer.scores.iter().any(|score| score.is_finite()) {
            "without one of its parts, a magnification has no patches"
        } else {
            "its patches lie in one part, without which there are none, or without any part a magnification has none"
        };
        left_out.push(LeftOut { what, reason: reason.to_owned() });
    }
    Ok((heat_layers(&found.bag, &whole)?, left_out))
}

fn origin(model: &ChosenModel, slide_file: Option<&Path>) -> Vec<(String, String)> {
    let others = model.of_run.other_checkpoints();
    let checkpoints = std::iter::once(&model.checkpoint).chain(others).map(|path| path.display().to_string());
    let mut origin = vec![
        ("model".to_owned(), model.config.name().to_string()),
        ("checkpoint".to_owned(), cf_cli::listed(checkpoints)),
        ("features".to_owned(), model.bags_in_words()),
        ("backbone".to_owned(), model.features.backbone.clone()),
    ];
    if let Some(path) = slide_file {
        origin.push(("slide_file".to_owned(), path.display().to_string()));
    }
    origin
}

fn numbers(folds: &[usize]) -> String {
    cf_cli::listed(folds.iter().map(ToString::to_string))
}

/// What the pictures were made of, in a line.
fn source(model: &ChosenModel) -> String {
    let file = model.checkpoint.file_name().unwrap_or_default().display();
    let slide = model.of_run.slide_in_words().unwrap_or("whether it was trained on this slide is not known");
    let weights = match &model.of_run {
        OfRun::Unknown => format!("{file} ({slide})"),
        OfRun::Fold { fold, .. } => format!("fold {fold} ({file}; {slide})"),
        OfRun::All { folds, .. } => format!("mean over the models of folds {} ({slide})", numbers(folds)),
    };
    let (name, encoder, version) = (model.config.name(), &model.features.backbone, env!("CARGO_PKG_VERSION"));
    format!("Model {name}, encoder {encoder}, {weights}. Drawn by cf-heatmap {version}. For research only.")
}

fn in_words(report: &Report<'_>, of_run: &OfRun) -> String {
    let slide = of_run.slide_in_words().unwrap_or_default();
    let fold = match of_run {
        OfRun::Unknown => String::new(),
        OfRun::Fold { fold, others, .. } if others.is_empty() => format!("model of fold {fold}: {slide}\n"),
        OfRun::Fold { fold, others, .. } => {
            format!(
                "model of fold {fold}: {slide} (also by fold {}; --fold N takes another)\n",
                numbers(others)
            )
        }
        OfRun::All { folds, .. } => {
            format!("mean over the models of folds {}: {slide} (--fold N takes one)\n", numbers(folds))
        }
    };
    let mut text = format!("slide {}\n{fold}risk  {:.6} (higher is worse)\n", report.slide, report.risk);
    for name in &report.rendered.files {
        text.push_str(&format!("  {}\n", report.directory.join(name).display()));
    }
    for (name, count) in &report.rendered.polygons {
        if count.patches_per_side > 1 {
            text.push_str(&format!(
                "{name}: {} squares of {side} x {side} patches, since there are more patches than polygons wanted\n",
                count.n_polygons,
                side = count.patches_per_side
            ));
        }
    }
    for left_out in &report.rendered.left_out {
        text.push_str(&format!("left out: {} ({})\n", left_out.what, left_out.reason));
    }
    text.push_str(&format!(
        "{:.1} s: {:.1} for the model, {:.1} for drawing\n",
        report.model_seconds + report.drawing_seconds,
        report.model_seconds,
        report.drawing_seconds
    ));
    text
}
