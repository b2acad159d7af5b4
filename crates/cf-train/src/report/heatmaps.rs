//! Heatmaps of the slides with the highest and the lowest risk, as `cf-heatmap render` wrote them.

use std::path::{Component, Path, PathBuf};

use cf_report::{Heatmap, PredictionRow};

use crate::error::{Error, Result};

/// The picture of a slide beside its maps.
const PICTURE: &str = "figure.png";
/// Slides that are looked at from each end.
const FROM_EACH_END: usize = 2;

/// Of the slides at both ends of the predicted risk, those whose heatmaps lie in `folder`, the highest first.
pub(super) fn of_extremes(run: &Path, folder: &Path, predictions: &[PredictionRow]) -> Result<Vec<Heatmap>> {
    let mut by_risk: Vec<&PredictionRow> = predictions.iter().collect();
    by_risk.sort_by(|a, b| b.risk.total_cmp(&a.risk).then_with(|| a.slide_id.cmp(&b.slide_id)));
    let n = by_risk.len();
    let ends = (0..n).filter(|at| *at < FROM_EACH_END || at + FROM_EACH_END >= n);
    let mut found = Vec::new();
    for (at, row) in ends.filter_map(|at| Some((at, *by_risk.get(at)?))) {
        let slide = folder.join(&row.slide_id);
        let picture = slide.join(PICTURE);
        if !picture.is_file() {
            continue;
        }
        let reason = format!("predicted risk {:.3}, rank {} of {n} (1 is the highest)", row.risk, at + 1);
        found.push(Heatmap {
            slide_id: row.slide_id.clone(),
            reason,
            picture_png: std::fs::read(&picture).map_err(Error::io("read", &picture))?,
            folder: seen_from(&slide, run)?,
        });
    }
    if found.is_empty() {
        let named = |row: Option<&&PredictionRow>| row.map_or_else(String::new, |row| row.slide_id.clone());
        let (highest, lowest) = (named(by_risk.first()), named(by_risk.last()));
        return Err(Error::data(
            folder,
            format!(
                "found no SLIDE/{PICTURE} of the slides with the highest and the lowest risk, such as {highest} and {lowest}; \
                 `cf-heatmap render --out {}` makes them",
                folder.display()
            ),
        ));
    }
    Ok(found)
}

/// `path` as a link in a page in `folder` names it.
fn seen_from(path: &Path, folder: &Path) -> Result<String> {
    let absolute = |path: &Path| path.canonicalize().map_err(Error::io("find", path));
    let (path, folder) = (absolute(path)?, absolute(folder)?);
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    Ok(relative.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use survival_metrics::Outcome;

    #[test]
    fn the_ends_that_were_drawn_are_shown_and_none_is_an_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let (run, folder) = (dir.path().join("runs/a"), dir.path().join("heatmaps"));
        std::fs::create_dir_all(&run).expect("made");
        let row = |at: u8| PredictionRow {
            case_id: format!("c{at}"),
            slide_id: format!("s{at}"),
            patient_id: format!("c{at}"),
            fold: 0,
            outcome: Outcome::event(1.0).expect("a valid time"),
            risk: f64::from(at),
            survival: Vec::new(),
        };
        let rows: Vec<_> = (0..9).map(row).collect();
        std::fs::create_dir_all(&folder).expect("made");
        let error = of_extremes(&run, &folder, &rows).expect_err("nothing was drawn").to_string();
        assert!(error.contains("s8 and s0") && error.contains("cf-heatmap render"), "{error}");
        for slide in ["s0", "s4", "s7"] {
            std::fs::create_dir_all(folder.join(slide)).expect("made");
            std::fs::write(folder.join(slide).join(PICTURE), slide).expect("written");
        }
        let found = of_extremes(&run, &folder, &rows).expect("two are there");
        let said: Vec<_> = found.iter().map(|map| (map.slide_id.as_str(), map.folder.as_str())).collect();
        assert_eq!(said, [("s7", "../../heatmaps/s7"), ("s0", "../../heatmaps/s0")], "s4 is in the middle");
        assert_eq!(found[0].reason, "predicted risk 7.000, rank 2 of 9 (1 is the highest)");
    }
}
