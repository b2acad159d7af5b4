//! `wsi-extract inspect` of many slides: a row for each, and what they do not agree on.

use std::collections::BTreeMap;

use cf_cli::{Log, aligned, is_temporary, with_causes};
use wsi_bags::Magnification;
use wsi_features::{SlideEntry, differing_spans};

use crate::error::CliError;
use crate::inspect::Inspected;
use crate::output::{print, print_json};
use crate::resolution_args::ManySlidesArguments;

pub(crate) fn run(
    entries: &[SlideEntry],
    many: &ManySlidesArguments,
    json: bool,
    log: Log,
) -> Result<(), CliError> {
    let mut slides = Vec::with_capacity(entries.len());
    for entry in entries {
        let inspected = match Inspected::of(entry, many) {
            Ok(inspected) => inspected,
            Err(error) if is_temporary(&error) => return Err(error.into()),
            Err(error) => Inspected::unread(entry, Some(with_causes(&error))),
        };
        for warning in &inspected.warnings {
            log.warn(&format!("{}: {warning}", entry.id));
        }
        if json {
            print_json(&inspected)?;
        }
        slides.push((entry.id.as_str(), inspected));
    }
    let summary = summary(&slides);
    if json {
        log.remark(&summary);
    } else {
        print(&(text(&slides) + &summary + "\n"))?;
    }
    CliError::unless_none(slides.iter().filter(|(_, slide)| slide.fault.is_some()).count())
}

fn text(slides: &[(&str, Inspected)]) -> String {
    let header = [
        "slide",
        "format",
        "size",
        "µm/px",
        "power",
        "magnification",
        "rule",
        "x5 µm",
        "x10 µm",
        "x20 µm",
        "fault",
    ];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    let none = || "-".to_owned();
    for (name, slide) in slides {
        let resolution = slide.resolution.as_ref();
        let size = slide.levels.first().map(|level| format!("{} x {}", level.width, level.height));
        let mpp = resolution.and_then(|resolution| resolution.mpp);
        let mut cells = vec![
            (*name).to_owned(),
            slide.format.clone().unwrap_or_else(none),
            size.unwrap_or_else(none),
            mpp.map_or_else(none, |mpp| format!("{mpp:.4}")),
            slide.stated.power.map_or_else(none, |power| power.to_string()),
            resolution.map_or_else(none, |resolution| format!("{}x", resolution.magnification)),
            resolution.map_or_else(none, |resolution| resolution.rule.to_owned()),
        ];
        let spans = resolution.and_then(|resolution| resolution.patch_um.as_ref());
        cells.extend(Magnification::ALL.map(|magnification| {
            spans.and_then(|spans| spans.at(magnification)).map_or_else(none, |um| format!("{um:.0}"))
        }));
        cells.extend(slide.fault.clone());
        table.push(cells);
    }
    aligned(&table)
}

/// How many slides there are of which kind, and what they do not agree on.
fn summary(slides: &[(&str, Inspected)]) -> String {
    let mut by_base: BTreeMap<String, usize> = BTreeMap::new();
    let (mut n_without_mpp, mut n_without_scale, mut n_unread, mut n_warned) = (0, 0, 0, 0);
    for (_, slide) in slides {
        n_warned += usize::from(!slide.warnings.is_empty());
        match &slide.resolution {
            Some(resolution) => {
                *by_base.entry(format!("{}x", resolution.magnification)).or_default() += 1;
                n_without_mpp += usize::from(resolution.mpp.is_none());
            }
            None if slide.format.is_some() => n_without_scale += 1,
            None => n_unread += 1,
        }
    }
    let mut parts: Vec<String> = by_base.iter().map(|(base, n)| format!("{n} of {base}")).collect();
    let others = [
        (n_without_mpp, "without known micrometres per pixel"),
        (n_without_scale, "without a scale (--mpp, --slides-csv)"),
        (n_unread, "that cannot be read"),
        (n_warned, "with warnings"),
    ];
    parts.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    let scales = slides.iter().filter_map(|(name, slide)| Some((*name, slide.scale.as_ref()?)));
    let differ = differing_spans(scales).map_or_else(String::new, |differ| format!("; {differ}"));
    format!("{} slides: {}{differ}", slides.len(), parts.join(", "))
}
