//! `wsi-extract inspect`: what a slide is and what magnification it has.

use std::collections::BTreeMap;

use cf_cli::{aligned, with_causes};
use serde::{Serialize, Serializer};
use wsi_bags::Magnification;
use wsi_slides::lattice::PatchSides;
use wsi_slides::{Level, Resolution, open};

use crate::args::InspectArguments;
use crate::error::CliError;
use crate::output::{print, print_json};

#[derive(Serialize)]
struct Inspected {
    slide: String,
    format: String,
    levels: Vec<LevelRow>,
    stated: Stated,
    /// Null where no magnification can be told; `fault` then says why.
    resolution: Option<ResolutionRow>,
    fault: Option<String>,
    warnings: Vec<String>,
    properties: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct LevelRow {
    width: u32,
    height: u32,
    downsample: f64,
}

#[derive(Serialize)]
struct Stated {
    power: Option<f64>,
    mpp: Option<[f64; 2]>,
}

#[derive(Serialize)]
struct ResolutionRow {
    magnification: f64,
    mpp: Option<f64>,
    rule: &'static str,
    /// Side of a patch in level-0 pixels, for each magnification not above the slide's, coarse to fine.
    #[serde(serialize_with = "as_map")]
    patch_level0: Vec<(&'static str, u32)>,
}

fn as_map<S: Serializer>(sides: &[(&'static str, u32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(sides.iter().copied())
}

pub(crate) fn run(arguments: &InspectArguments) -> Result<(), CliError> {
    let slide = open(&arguments.slide)?;
    let stated = slide.stated_resolution();
    let resolved = arguments.resolution.resolve(slide.as_ref());
    let (resolution, fault) = match resolved {
        Ok(resolution) => (Some(resolution), None),
        Err(error) => (None, Some(with_causes(&error))),
    };
    let resolved = resolution.iter().flat_map(|resolution| &resolution.warnings).map(ToString::to_string);
    let of_file = slide.warnings().iter().map(ToString::to_string);
    let inspected = Inspected {
        slide: arguments.slide.display().to_string(),
        format: slide.format().to_owned(),
        levels: slide.levels().iter().map(level_row).collect(),
        stated: Stated { power: stated.power, mpp: stated.mpp },
        warnings: resolved.chain(of_file).collect(),
        resolution: resolution.as_ref().map(resolution_row),
        fault,
        properties: slide.properties().clone(),
    };
    if arguments.json { print_json(&inspected) } else { print(&text(&inspected)) }
}

fn level_row(level: &Level) -> LevelRow {
    LevelRow { width: level.width, height: level.height, downsample: level.downsample }
}

fn resolution_row(resolution: &Resolution) -> ResolutionRow {
    let side =
        |magnification| PatchSides::nominal(resolution, magnification).map(|s| s.at(magnification)).ok();
    let sides = Magnification::ALL.into_iter().filter_map(|m| Some((m.label(), side(m)?)));
    ResolutionRow {
        magnification: resolution.base,
        mpp: resolution.mpp,
        rule: resolution.rule.label(),
        patch_level0: sides.collect(),
    }
}

fn text(inspected: &Inspected) -> String {
    let optional = |value: Option<f64>| value.map_or("not stated".to_owned(), |value| value.to_string());
    let mpp = inspected.stated.mpp.map_or("not stated".to_owned(), |[x, y]| format!("{x} x {y}"));
    let mut rows = vec![
        vec!["slide".to_owned(), inspected.slide.clone()],
        vec!["format".to_owned(), inspected.format.clone()],
        vec!["stated power".to_owned(), optional(inspected.stated.power)],
        vec!["stated mpp".to_owned(), mpp],
    ];
    for (number, level) in inspected.levels.iter().enumerate() {
        let size = format!("{} x {}, downsample {:.4}", level.width, level.height, level.downsample);
        rows.push(vec![format!("level {number}"), size]);
    }
    match &inspected.resolution {
        Some(resolution) => {
            let found = format!("{}x, by the rule {}", resolution.magnification, resolution.rule);
            rows.push(vec!["magnification".to_owned(), found]);
            for (magnification, side) in &resolution.patch_level0 {
                rows.push(vec![format!("{magnification} patch"), format!("{side} level-0 pixels")]);
            }
        }
        None => {
            let fault = inspected.fault.clone().unwrap_or_default();
            rows.push(vec!["magnification".to_owned(), format!("unknown: {fault}")]);
        }
    }
    rows.extend(inspected.warnings.iter().map(|warning| vec!["warning".to_owned(), warning.clone()]));
    aligned(&rows)
}
