//! `wsi-extract inspect`: what a slide is and what magnification it has.

use std::collections::BTreeMap;

use cf_cli::{Log, aligned, with_causes};
use serde::Serialize;
use wsi_bags::Magnification;
use wsi_features::{SlideEntry, SlideScale, resolution_remarks};
use wsi_slides::{Level, Resolution, open, resolve_slide};

use crate::args::InspectArguments;
use crate::error::CliError;
use crate::output::{Spans, as_map, print, print_json};
use crate::overview;
use crate::resolution_args::ManySlidesArguments;

/// What is told of a slide.
#[derive(Serialize)]
pub(crate) struct Inspected {
    pub(crate) slide: String,
    /// Null, as all that the file states, where it cannot be read.
    pub(crate) format: Option<String>,
    pub(crate) levels: Vec<LevelRow>,
    pub(crate) stated: Stated,
    /// Null where no magnification can be told; `fault` then says why.
    pub(crate) resolution: Option<ResolutionRow>,
    pub(crate) fault: Option<String>,
    pub(crate) warnings: Vec<String>,
    properties: BTreeMap<String, String>,
    #[serde(skip)]
    pub(crate) scale: Option<SlideScale>,
}

#[derive(Serialize)]
pub(crate) struct LevelRow {
    pub(crate) width: u32,
    pub(crate) height: u32,
    downsample: f64,
}

#[derive(Serialize, Default)]
pub(crate) struct Stated {
    pub(crate) power: Option<f64>,
    mpp: Option<[f64; 2]>,
}

#[derive(Serialize)]
pub(crate) struct ResolutionRow {
    pub(crate) magnification: f64,
    pub(crate) mpp: Option<f64>,
    pub(crate) rule: &'static str,
    /// Side of a patch in level-0 pixels, for each magnification not above the slide's, coarse to fine.
    #[serde(serialize_with = "as_map")]
    patch_level0: Vec<(Magnification, u32)>,
    /// The same in micrometres; null where micrometres per pixel are not known.
    pub(crate) patch_um: Option<Spans>,
}

pub(crate) fn run(arguments: &InspectArguments, log: Log) -> Result<(), CliError> {
    let slides = arguments.many.slides(&arguments.slides, log)?;
    match (&arguments.slides[..], slides.entries()) {
        ([place], [entry]) if !place.is_dir() => {
            let inspected = Inspected::of(entry, &arguments.many)?;
            if arguments.json { print_json(&inspected) } else { print(&text(&inspected)) }
        }
        (_, entries) => overview::run(entries, &arguments.many, arguments.json, log),
    }
}

impl Inspected {
    /// Looks at a slide.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of(entry: &SlideEntry, many: &ManySlidesArguments) -> wsi_slides::Result<Self> {
        let slide = open(&entry.path)?;
        let stated = slide.stated_resolution();
        let mut inspected = Self::unread(entry, None);
        inspected.format = Some(slide.format().to_owned());
        inspected.levels = slide.levels().iter().map(level_row).collect();
        inspected.stated = Stated { power: stated.power, mpp: stated.mpp };
        inspected.properties.clone_from(slide.properties());
        match resolve_slide(slide.as_ref(), entry.given, many.resolution.prefer) {
            Ok(resolution) => {
                inspected.warnings = resolution_remarks(&resolution, many.target_mpp);
                match SlideScale::at_finest(&resolution, many.target_mpp) {
                    Ok(scale) => {
                        inspected.fault = scale.lacking(many.target_mpp).map(|error| with_causes(&error));
                        inspected.scale = Some(scale);
                    }
                    Err(error) => inspected.fault = Some(with_causes(&error)),
                }
                inspected.resolution = Some(resolution_row(&resolution, inspected.scale.as_ref()));
            }
            Err(error) => inspected.fault = Some(with_causes(&error)),
        }
        inspected.warnings.extend(slide.warnings().iter().map(ToString::to_string));
        Ok(inspected)
    }

    /// A slide of which only its fault is known.
    pub(crate) fn unread(entry: &SlideEntry, fault: Option<String>) -> Self {
        Self {
            slide: entry.path.display().to_string(),
            format: None,
            levels: Vec::new(),
            stated: Stated::default(),
            resolution: None,
            fault,
            warnings: Vec::new(),
            properties: BTreeMap::new(),
            scale: None,
        }
    }
}

fn level_row(level: &Level) -> LevelRow {
    LevelRow { width: level.width, height: level.height, downsample: level.downsample }
}

fn resolution_row(resolution: &Resolution, scale: Option<&SlideScale>) -> ResolutionRow {
    let sides = |scale: &SlideScale| -> Vec<_> {
        scale.magnifications().map(|magnification| (magnification, scale.sides.at(magnification))).collect()
    };
    ResolutionRow {
        magnification: resolution.base,
        mpp: resolution.mpp,
        rule: resolution.rule.label(),
        patch_level0: scale.map_or_else(Vec::new, sides),
        patch_um: scale.and_then(Spans::of),
    }
}

fn text(inspected: &Inspected) -> String {
    let optional = |value: Option<f64>| value.map_or("not stated".to_owned(), |value| value.to_string());
    let mpp = inspected.stated.mpp.map_or("not stated".to_owned(), |[x, y]| format!("{x} x {y}"));
    let mut rows = vec![
        vec!["slide".to_owned(), inspected.slide.clone()],
        vec!["format".to_owned(), inspected.format.clone().unwrap_or_default()],
        vec!["stated power".to_owned(), optional(inspected.stated.power)],
        vec!["stated mpp".to_owned(), mpp],
    ];
    for (number, level) in inspected.levels.iter().enumerate() {
        let size = format!("{} x {}, downsample {:.4}", level.width, level.height, level.downsample);
        rows.push(vec![format!("level {number}"), size]);
    }
    let fault = inspected.fault.clone().unwrap_or_default();
    match &inspected.resolution {
        Some(resolution) => {
            let found = format!("{}x, by the rule {}", resolution.magnification, resolution.rule);
            rows.push(vec!["magnification".to_owned(), found]);
            for (magnification, side) in &resolution.patch_level0 {
                let span = resolution.patch_um.as_ref().and_then(|spans| spans.at(*magnification));
                let span = span.map_or_else(String::new, |um| format!(", {um:.0} µm"));
                rows.push(vec![format!("{magnification} patch"), format!("{side} level-0 pixels{span}")]);
            }
            if !fault.is_empty() {
                let has_some = !resolution.patch_level0.is_empty();
                let (label, fault) =
                    if has_some { ("fault", fault) } else { ("patches", format!("none: {fault}")) };
                rows.push(vec![label.to_owned(), fault]);
            }
        }
        None => rows.push(vec!["magnification".to_owned(), format!("unknown: {fault}")]),
    }
    rows.extend(inspected.warnings.iter().map(|warning| vec!["warning".to_owned(), warning.clone()]));
    aligned(&rows)
}
