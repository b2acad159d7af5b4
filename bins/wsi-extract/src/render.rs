//! `wsi-extract render`: draws the slides of a simulated cohort.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wsi_slides::render::{RenderOptions, SlideTruth, render};

use crate::args::RenderArguments;
use crate::error::CliError;
use crate::output::{print, replace};
use crate::render_plan::{self, PlannedSlide};
use cf_cli::Log;

pub(crate) fn run(arguments: &RenderArguments, log: Log) -> Result<(), CliError> {
    let plan = render_plan::read(&arguments.plan)?;
    let [slides, truths] = ["slides", "truth"].map(|folder| arguments.out.join(folder));
    fs::create_dir_all(&slides).map_err(|source| CliError::Output(slides.clone(), source))?;
    let mut planted = Planted::new(arguments.out.join("planted.csv"))?;
    for (number, slide) in plan.iter().enumerate() {
        let PlannedSlide { stem, seed, n_cells, signal } = slide;
        let options =
            RenderOptions { seed: *seed, n_cells: *n_cells, base: arguments.base.into(), signal: *signal };
        let path = slides.join(format!("{stem}.svs"));
        log.remark(&format!("[{}/{}] {stem}", number + 1, plan.len()));
        let truth = render(&path, &options)?;
        write_table(&truths.join(format!("{stem}.csv")), patches(&truth).as_bytes())?;
        planted.slide(stem, &truth)?;
    }
    planted.finish()?;
    print(&format!("{} slides: {}\n", plan.len(), slides.display()))
}

/// The table of what came out per slide, rounded to whole patches.
struct Planted {
    path: PathBuf,
    rows: csv::Writer<Vec<u8>>,
}

impl Planted {
    fn new(path: PathBuf) -> Result<Self, CliError> {
        let mut table = Self { path, rows: csv::Writer::from_writer(Vec::new()) };
        table.row(["slide_id", "glands", "vacuoles", "large_nuclei", "contrast"].map(str::to_owned))?;
        Ok(table)
    }

    fn slide(&mut self, stem: &str, truth: &SlideTruth) -> Result<(), CliError> {
        let [glands, vacuoles, nuclei] = truth.shares().map(|share| share.to_string());
        let contrast = truth.contrast().map_or_else(String::new, |contrast| contrast.to_string());
        self.row([format!("{stem}.svs"), glands, vacuoles, nuclei, contrast])
    }

    fn row(&mut self, cells: [String; 5]) -> Result<(), CliError> {
        let failed = |error: csv::Error| CliError::Output(self.path.clone(), io::Error::other(error));
        self.rows.write_record(cells).map_err(failed)
    }

    fn finish(self) -> Result<(), CliError> {
        let Self { path, rows } = self;
        let bytes = rows.into_inner().map_err(|error| CliError::Output(path.clone(), error.into_error()))?;
        write_table(&path, &bytes)
    }
}

/// What was planted in each patch: 1 where it is glandular, and the shares of it with vacuoles and with large nuclei.
fn patches(truth: &SlideTruth) -> String {
    let mut text = String::from("magnification,x,y,side,glands,vacuoles,large_nuclei\n");
    for patch in truth.patches() {
        let [x, y] = patch.corner;
        let (glands, side) = (u8::from(patch.is_glandular), patch.side);
        let [vacuoles, nuclei] = [patch.vacuoles, patch.large_nuclei];
        // Writing to a string does not fail.
        let _ = writeln!(text, "{},{x},{y},{side},{glands},{vacuoles},{nuclei}", patch.magnification);
    }
    text
}

fn write_table(path: &Path, text: &[u8]) -> Result<(), CliError> {
    replace(path, |beside| {
        fs::write(beside, text).map_err(|source| CliError::Output(path.to_owned(), source))
    })
}
