//! What is known about the slides and patches of a simulated cohort.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Error;
use super::classes::Classes;
use super::geometry::Lattice;
use super::latent::Latent;
use super::options::{CohortForm, CohortKind};
use super::roster::Roster;

/// A property of a slide that bears on risk, or in the interaction kind must not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truth {
    /// Column of `truth.csv`.
    pub column: &'static str,
    /// The one magnification that shows it; `None` for the latent risk itself.
    pub magnification: Option<&'static str>,
}

const fn truth(column: &'static str, magnification: Option<&'static str>) -> Truth {
    Truth { column, magnification }
}

/// The truths of a kind of cohort, in the order of their columns; the first is the latent risk.
///
/// In the interaction kind 10x patches show region and morphology together, so the contrast is theirs.
/// Of slides that are yet to be drawn, only the latent risk and its parts are known.
pub(super) fn truths(kind: CohortKind, form: CohortForm) -> &'static [Truth] {
    const ADDITIVE: [Truth; 7] = [
        truth("z", None),
        truth("z5", Some("x5")),
        truth("z10", Some("x10")),
        truth("z20", Some("x20")),
        truth("share5", Some("x5")),
        truth("share10", Some("x10")),
        truth("share20", Some("x20")),
    ];
    const INTERACTION: [Truth; 6] = [
        truth("z", None),
        truth("share_b", Some("x5")),
        truth("share_a", Some("x20")),
        truth("share_a_in_b", Some("x10")),
        truth("share_a_outside_b", Some("x10")),
        truth("contrast", Some("x10")),
    ];
    match (kind, form) {
        (CohortKind::Additive, CohortForm::Bags) => &ADDITIVE,
        (CohortKind::Additive, CohortForm::Slides) => &ADDITIVE[..4],
        (CohortKind::Interaction, CohortForm::Bags) => &INTERACTION,
        (CohortKind::Interaction, CohortForm::Slides) => &INTERACTION[..1],
    }
}

/// The truth about one slide.
#[derive(Debug)]
pub(super) struct SlideTruth {
    /// In the order of [`truths`]; shares are those that came out, rounded to whole patches.
    pub values: Vec<f64>,
    /// At 5x, 10x, 20x.
    n_patches: [usize; 3],
}

impl SlideTruth {
    /// What is known of a slide of `n_cells` before it is drawn.
    pub(super) fn planned(kind: CohortKind, latent: &Latent, n_cells: usize) -> Self {
        let [z5, z10, z20] = latent.parts;
        let values = match kind {
            CohortKind::Additive => vec![latent.z, z5, z10, z20],
            CohortKind::Interaction => vec![latent.z],
        };
        Self { values, n_patches: [n_cells, 4 * n_cells, 16 * n_cells] }
    }

    /// Counts what was planted.
    pub(super) fn measure(kind: CohortKind, latent: &Latent, lattice: &Lattice, classes: &Classes) -> Self {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
            sum / n
        };
        let one = |member: &bool| f64::from(u8::from(*member));
        let share5 = mean(&mut classes.region.iter().map(one));
        let share20 = mean(&mut classes.x20.iter().map(one));
        let values = match kind {
            CohortKind::Additive => {
                let [z5, z10, z20] = latent.parts;
                let share10 = mean(&mut classes.x10.iter().copied());
                vec![latent.z, z5, z10, z20, share5, share10, share20]
            }
            CohortKind::Interaction => {
                let [inside, outside] = [true, false].map(|side| {
                    let patches = classes.x20.iter().zip(&lattice.x20.cell);
                    mean(&mut patches.filter(|(_, cell)| classes.region[**cell] == side).map(|(a, _)| one(a)))
                });
                vec![latent.z, share5, share20, inside, outside, inside - outside]
            }
        };
        let n_patches = [&lattice.x5, &lattice.x10, &lattice.x20].map(|level| level.n_patches());
        Self { values, n_patches }
    }
}

/// Writes `truth/<slide>.csv`.
///
/// Columns: `magnification` (`x5`, `x10`, `x20`), `patch` (row of the bag), `region` (1 if its 5x cell is in
/// the planted region), `class` (additive: 1 if the patch is of its magnification's class; interaction: 1 if a 20x patch has
/// morphology A, for a 10x patch the share of its children that have it, blank at 5x).
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write_patches(
    path: &Path,
    kind: CohortKind,
    lattice: &Lattice,
    classes: &Classes,
) -> Result<(), Error> {
    let mut text = String::from("magnification,patch,region,class\n");
    let levels = [("x5", &lattice.x5), ("x10", &lattice.x10), ("x20", &lattice.x20)];
    for (magnification, level) in levels {
        for (patch, cell) in level.cell.iter().enumerate() {
            let region = u8::from(classes.region[*cell]);
            let class = match (magnification, kind) {
                ("x5", CohortKind::Interaction) => String::new(),
                ("x5", CohortKind::Additive) => region.to_string(),
                ("x10", _) => classes.x10[patch].to_string(),
                _ => u8::from(classes.x20[patch]).to_string(),
            };
            push_line(&mut text, format_args!("{magnification},{patch},{region},{class}"));
        }
    }
    fs::write(path, text).map_err(Error::io("write", path))
}

/// Writes `truth.csv`: per slide its outcome, its truths, and its number of patches at 5x, 10x and 20x.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write_slides(
    path: &Path,
    kind: CohortKind,
    form: CohortForm,
    roster: &Roster,
    slides: &[SlideTruth],
) -> Result<(), Error> {
    let names = truths(kind, form).iter().map(|truth| truth.column).collect::<Vec<_>>().join(",");
    let mut text = String::new();
    push_line(&mut text, format_args!("case_id,slide_id,survival_months,censorship,{names},n5,n10,n20"));
    for (slide, truth) in roster.slides.iter().zip(slides) {
        let outcome = roster.patients[slide.patient].outcome;
        let censorship = u8::from(!outcome.is_event());
        let values: Vec<String> = truth.values.iter().map(f64::to_string).collect();
        let [n5, n10, n20] = truth.n_patches;
        push_line(
            &mut text,
            format_args!(
                "{},{},{},{censorship},{},{n5},{n10},{n20}",
                quoted(&slide.case_id),
                quoted(&slide.slide_id),
                outcome.time(),
                values.join(",")
            ),
        );
    }
    fs::write(path, text).map_err(Error::io("write", path))
}

/// A CSV field; ids from a table may hold anything.
pub(super) fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

pub(super) fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}
