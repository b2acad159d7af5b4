//! What the user knows of resolutions, and how large patches are to be.

use std::path::PathBuf;

use cf_cli::{Log, listed_up_to};
use clap::Args;
use wsi_features::SlideList;
use wsi_slides::{PLAUSIBLE_MPP, Preference, Resolution, ResolutionOverride, SlideReader, resolve_slide};

use crate::error::CliError;
use crate::slides;

/// What the user knows of the resolution.
#[derive(Debug, Args)]
pub(crate) struct ResolutionArguments {
    /// Micrometres per pixel at level 0, for slides that state none or a wrong one.
    #[arg(long, value_name = "X", value_parser = parse_mpp)]
    mpp: Option<f64>,
    /// Magnification of level 0, such as 40.
    #[arg(long, value_name = "M", value_parser = parse_magnification)]
    magnification: Option<f64>,
    /// Which of power and micrometres per pixel decides where they disagree: mpp or power.
    #[arg(long, value_name = "NAME", default_value = "mpp")]
    pub(crate) prefer: Preference,
}

impl ResolutionArguments {
    /// The slide's resolution by what it states and the user gives.
    pub(crate) fn resolve(&self, slide: &dyn SlideReader) -> wsi_slides::Result<Resolution> {
        resolve_slide(slide, self.given(), self.prefer)
    }

    /// What the user states.
    pub(crate) fn given(&self) -> ResolutionOverride {
        ResolutionOverride { mpp: self.mpp, magnification: self.magnification }
    }
}

/// The resolution of many slides, and how large their patches are to be.
#[derive(Debug, Args)]
pub(crate) struct ManySlidesArguments {
    /// Table with the columns slide (or wsi: TRIDENT's tables with the header `wsi,mpp` are read as they are) and mpp, mag or both, for
    /// slides that state no resolution or a wrong one. It may name slides of other batches, which are listed in a warning. That it names none
    /// of several slides is an error; a single slide, such as that of a task in a job array, need not stand in it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mpp", "magnification"])]
    slides_csv: Option<PathBuf>,
    /// Micrometres per pixel of 20x patches, coarser ones 2 and 4 times as many, instead of nominal magnifications: patches of one size from
    /// all slides.
    #[arg(long, value_name = "X", value_parser = parse_mpp)]
    pub(crate) target_mpp: Option<f64>,
    #[command(flatten)]
    pub(crate) resolution: ResolutionArguments,
}

impl ManySlidesArguments {
    /// The slides at these places, and what the user states of each; names in the table that are none of them are told of.
    pub(crate) fn slides(&self, places: &[PathBuf], log: Log) -> Result<SlideList, CliError> {
        let slides = slides::find(places, log)?.with_resolution(self.resolution.given());
        let Some(table) = &self.slides_csv else { return Ok(slides) };
        let (slides, left) = slides.with_table(table)?;
        if !left.is_empty() {
            let (n, names) = (left.len(), listed_up_to(10, &left));
            log.warn(&format!("{}: no slide here is called by {n} of its names: {names}", table.display()));
        }
        Ok(slides)
    }
}

pub(crate) fn parse_mpp(text: &str) -> Result<f64, String> {
    parse_within(text, &PLAUSIBLE_MPP)
}

fn parse_magnification(text: &str) -> Result<f64, String> {
    parse_within(text, &[1.0, 100.0])
}

fn parse_within(text: &str, [least, most]: &[f64; 2]) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (*least..=*most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}
