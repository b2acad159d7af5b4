//! What is drawn on each slide of a cohort, for `wsi-extract render`.

use std::fs;
use std::path::Path;

use rand::Rng;

use super::Error;
use super::geometry::draw_n_cells;
use super::options::SimulateOptions;
use super::roster::Roster;
use super::truth::{SlideTruth, push_line, quoted};
use crate::seed::stream;

/// Writes `slides.csv`, a slide per line.
///
/// Columns: `slide_id`; `seed` of everything random that is drawn; `cells`, 5x patches of tissue; `kind`, what carries the
/// risk; the latent risk `z` and its parts `z5`, `z10`, `z20`, of which the additive kind shows the parts and the
/// interaction kind the risk.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(
    path: &Path,
    options: &SimulateOptions,
    roster: &Roster,
) -> Result<Vec<SlideTruth>, Error> {
    let mut text = String::from("slide_id,seed,cells,kind,z,z5,z10,z20\n");
    let mut truths = Vec::with_capacity(roster.slides.len());
    for slide in &roster.slides {
        let latent = &roster.patients[slide.patient].latent;
        let mut tissue = stream(options.seed, &format!("simulate/tissue/{}", slide.stem()));
        let n_cells = draw_n_cells(options.scale, &mut tissue);
        let drawn: u64 = tissue.random();
        let (kind, z, [z5, z10, z20]) = (options.kind.name(), latent.z, latent.parts);
        let slide_id = quoted(&slide.slide_id);
        push_line(&mut text, format_args!("{slide_id},{drawn},{n_cells},{kind},{z},{z5},{z10},{z20}"));
        truths.push(SlideTruth::planned(options.kind, latent, n_cells));
    }
    fs::write(path, text).map_err(Error::io("write", path))?;
    Ok(truths)
}
