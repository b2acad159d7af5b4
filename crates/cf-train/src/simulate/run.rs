//! Simulates a cohort from options to a finished directory.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::bag;
use super::ceilings::{self, Ceiling};
use super::classes::Classes;
use super::cohort_files::{write_config, write_tables};
use super::features::FeatureSpace;
use super::geometry::{Lattice, draw_n_cells};
use super::options::{CohortForm, OutcomeSource, SimulateOptions};
use super::roster::Roster;
use super::slide_plan;
use super::truth::{SlideTruth, write_patches, write_slides};
use crate::seed::stream;

/// A cohort that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Where it is.
    pub out: PathBuf,
    /// Rows of `clinical.csv`.
    pub n_slides: usize,
    /// Patients, whose slides share the latent risk.
    pub n_patients: usize,
    /// Slides whose patient has an event.
    pub n_event_slides: usize,
    /// C-index of every truth; the first is that of the latent risk.
    pub ceilings: Vec<Ceiling>,
}

/// Writes a simulated cohort into `options.out`: `bags/<slide>.h5` (native layout, encoder "simulated"),
/// `clinical.csv`, `splits/splits_<fold>.csv`, `config.toml`, `truth.csv`, `truth.json` and
/// `truth/<slide>.csv`. With [`CohortForm::Slides`], `slides.csv` takes the place of `bags/` and `truth/`.
///
/// All is written into a directory beside `out` that takes its name when it is complete, and goes when
/// something fails. Holds one slide in memory at a time. `progress` is called with the number of slides
/// done and their total after each slide.
///
/// # Errors
/// If an option is out of range, `out` exists and is not empty, a table cannot be used, or a file cannot be
/// written.
pub fn simulate(
    options: &SimulateOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Simulated, Error> {
    options.check()?;
    refuse_occupied(&options.out)?;
    let seed = options.seed;
    let roster = match &options.outcomes {
        OutcomeSource::Drawn => Roster::drawn(options.n_patients, seed),
        OutcomeSource::Table { clinical, splits } => Roster::from_table(clinical, splits, seed)?,
    };

    let partial = PartialDirectory::create(&options.out)?;
    let dir = partial.path.as_path();
    write_tables(dir, &options.outcomes, &roster)?;
    write_config(dir, options.kind, options.form)?;
    let truths = match options.form {
        CohortForm::Bags => write_bags(dir, options, &roster, progress)?,
        CohortForm::Slides => slide_plan::write(&dir.join("slides.csv"), options, &roster)?,
    };
    write_slides(&dir.join("truth.csv"), options.kind, options.form, &roster, &truths)?;
    let ceilings = ceilings::write(&dir.join("truth.json"), options, &roster, &truths)?;
    partial.finish(&options.out)?;
    let is_event = |patient: usize| roster.patients[patient].outcome.is_event();
    Ok(Simulated {
        out: options.out.clone(),
        n_slides: roster.slides.len(),
        n_patients: roster.patients.len(),
        n_event_slides: roster.slides.iter().filter(|slide| is_event(slide.patient)).count(),
        ceilings,
    })
}

/// Writes `bags/` and `truth/` below `dir`.
fn write_bags(
    dir: &Path,
    options: &SimulateOptions,
    roster: &Roster,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<SlideTruth>, Error> {
    let seed = options.seed;
    let (bags, patch_truth) = (dir.join("bags"), dir.join("truth"));
    for folder in [&bags, &patch_truth] {
        fs::create_dir(folder).map_err(Error::io("create", folder))?;
    }
    let space = FeatureSpace::draw(options.backbone_dim, &mut stream(seed, "simulate/features"));
    let n_slides = roster.slides.len();
    let mut truths = Vec::with_capacity(n_slides);
    for (done, slide) in roster.slides.iter().enumerate() {
        let stem = slide.stem();
        let latent = &roster.patients[slide.patient].latent;
        // One stream per purpose: the tissue does not change with the kind, nor the classes with the width.
        let mut tissue = stream(seed, &format!("simulate/tissue/{stem}"));
        let lattice = Lattice::grow(draw_n_cells(options.scale, &mut tissue), &mut tissue);
        let mut planted = stream(seed, &format!("simulate/classes/{stem}"));
        let classes = Classes::plant(options.kind, latent, &lattice, &mut planted);
        let mut noise = stream(seed, &format!("simulate/noise/{stem}"));
        let features = space.draw_slide(options.kind, &lattice, &classes, &mut noise);
        bag::write(&bags, stem, &lattice, features, space.width())?;
        write_patches(&patch_truth.join(format!("{stem}.csv")), options.kind, &lattice, &classes)?;
        truths.push(SlideTruth::measure(options.kind, latent, &lattice, &classes));
        progress(done + 1, n_slides);
    }
    Ok(truths)
}

fn refuse_occupied(out: &Path) -> Result<(), Error> {
    if !out.exists() {
        return Ok(());
    }
    let mut entries = fs::read_dir(out).map_err(Error::io("list", out))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Error::OutputNotEmpty { path: out.to_path_buf() }),
    }
}

/// A directory beside the output's name, removed unless it is finished.
struct PartialDirectory {
    path: PathBuf,
}

impl PartialDirectory {
    fn create(out: &Path) -> Result<Self, Error> {
        let Some(name) = out.file_name() else {
            return Err(Error::Option {
                option: "out",
                found: out.display().to_string(),
                expected: "a path that ends in a name",
            });
        };
        let partial_name = format!(".{}.partial-{}", name.to_string_lossy(), std::process::id());
        let path = out.with_file_name(partial_name);
        if path.exists() {
            // Left by a process of the same number that was killed.
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path })
    }

    fn finish(self, out: &Path) -> Result<(), Error> {
        if out.exists() {
            // Empty, as checked before; not all systems rename over an empty directory.
            fs::remove_dir(out).map_err(Error::io("replace", out))?;
        }
        // On success the destructor finds nothing to remove.
        fs::rename(&self.path, out).map_err(Error::io("rename to", out))
    }
}

impl Drop for PartialDirectory {
    fn drop(&mut self) {
        // An error is already on its way to the caller, or nothing is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}
