//! Heatmaps of the slides with the highest and the lowest risk, as `cf-heatmap render` wrote them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use cf_model::ModelConfig;
use cf_report::{Heatmap, PredictionRow};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::run_dir;

/// The picture of a slide beside its maps.
const PICTURE: &str = "figure.png";
/// What was drawn, from what.
const SUMMARY: &str = "render.json";
/// Slides that are looked at from each end.
const FROM_EACH_END: usize = 2;
/// Share of a risk by which that of a map may differ: devices and precisions round otherwise, models differ by more.
const RISK_TOLERANCE: f64 = 0.01;

/// The part of a summary that says of which model a map is.
#[derive(Deserialize)]
struct Drawn {
    prediction: Option<DrawnPrediction>,
    #[serde(default)]
    origin: Origin,
}

#[derive(Deserialize)]
struct DrawnPrediction {
    risk: f64,
}

#[derive(Default, Deserialize)]
struct Origin {
    model: Option<String>,
    checkpoint: Option<String>,
}

/// Of the slides at both ends of the predicted risk, those whose heatmaps lie in `folder`, the highest first. `page` is where the page that shows
/// them lies: links lead from there.
///
/// # Errors
/// If there is none, or one is of another model than `model`, or of weights that predict another risk than the run has.
pub(super) fn of_extremes(
    (run, page): (&Path, &Path),
    folder: &Path,
    predictions: &[PredictionRow],
    model: &ModelConfig,
) -> Result<Vec<Heatmap>> {
    let by_risk = by_mean_risk(predictions);
    let n = by_risk.len();
    let ends = (0..n).filter(|at| *at < FROM_EACH_END || at + FROM_EACH_END >= n);
    let mut found = Vec::new();
    for slide_id in ends.filter_map(|at| by_risk.get(at).copied()) {
        let slide = folder.join(slide_id);
        let picture = slide.join(PICTURE);
        if !picture.is_file() {
            continue;
        }
        // The maps are of the model of one of these folds.
        let of_slide = predictions.iter().filter(|of| of.slide_id == slide_id);
        let mut drawn = of_slide.map(|of| check_origin(run, &slide.join(SUMMARY), of, model).map(|()| of));
        let Some(first) = drawn.next() else { continue };
        let row = first.or_else(|error| drawn.find_map(Result::ok).ok_or(error))?;
        // Models of other folds give risks on other scales.
        let of_fold = || predictions.iter().filter(|other| other.fold == row.fold);
        let rank = of_fold().filter(|other| other.risk > row.risk).count() + 1;
        let (risk, n_slides, fold) = (row.risk, of_fold().count(), row.fold);
        let reason =
            format!("predicted risk {risk:.3}, rank {rank} of {n_slides} in fold {fold} (1 is the highest)");
        found.push(Heatmap {
            slide_id: row.slide_id.clone(),
            reason,
            picture_png: std::fs::read(&picture).map_err(Error::io("read", &picture))?,
            folder: seen_from(&slide, page)?,
        });
    }
    if found.is_empty() {
        let named = |slide_id: Option<&&str>| slide_id.copied().unwrap_or_default().to_owned();
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

/// The slides, that of the highest risk first; where several folds validate one, by the mean of their risks.
fn by_mean_risk(predictions: &[PredictionRow]) -> Vec<&str> {
    let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for row in predictions {
        let (risk, n) = sums.entry(&row.slide_id).or_default();
        (*risk, *n) = (*risk + row.risk, *n + 1);
    }
    let mut means: Vec<(&str, f64)> =
        sums.into_iter().map(|(slide_id, (risk, n))| (slide_id, risk / n as f64)).collect();
    means.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    means.into_iter().map(|(slide_id, _)| slide_id).collect()
}

/// Refuses maps of another model than that of the fold that held the slide out. Where no summary lies beside them, nobody knows.
fn check_origin(run: &Path, summary: &Path, row: &PredictionRow, model: &ModelConfig) -> Result<()> {
    if !summary.is_file() {
        return Ok(());
    }
    let drawn: Drawn = run_dir::read_json(summary)?;
    let name = model.name().to_string();
    let risk = drawn.prediction.map(|prediction| prediction.risk);
    // Scores that are drawn at random differ from pass to pass.
    let same_risk = |risk: f64| {
        model.random_at_eval() || (risk - row.risk).abs() <= RISK_TOLERANCE * row.risk.abs().max(1.0)
    };
    if drawn.origin.model.as_ref().is_none_or(|found| *found == name) && risk.is_none_or(same_risk) {
        return Ok(());
    }
    let of = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    Err(Error::data(
        summary,
        format!(
            "is of model {} and checkpoint {}, which predict the risk {}; expected {name} with the risk {:.3} that the run predicts: \
             draw it again with `cf-heatmap render --run {} --fold {} --slide {}`",
            of(drawn.origin.model),
            of(drawn.origin.checkpoint),
            of(risk.map(|risk| format!("{risk:.3}"))),
            row.risk,
            run.display(),
            row.fold,
            row.slide_id
        ),
    ))
}

/// `path` as a link in a page in `folder`, which may have to be made yet, names it.
fn seen_from(path: &Path, folder: &Path) -> Result<String> {
    let (path, folder) = (without_links(path)?, without_links(folder)?);
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    Ok(relative.display().to_string())
}

/// The absolute path of what is there, or will be once folders are made, without links and `..`.
fn without_links(path: &Path) -> Result<PathBuf> {
    let mut there = std::path::absolute(path).map_err(Error::io("find", path))?;
    let mut to_make = Vec::new();
    loop {
        match there.canonicalize() {
            Ok(found) => return Ok(to_make.into_iter().rev().fold(found, |path, name| path.join(name))),
            Err(error) => {
                match (there.file_name().map(ToOwned::to_owned), there.parent().map(Path::to_owned)) {
                    (Some(name), Some(parent)) if error.kind() == std::io::ErrorKind::NotFound => {
                        to_make.push(name);
                        there = parent;
                    }
                    _ => return Err(Error::io("find", path)(error)),
                }
            }
        }
    }
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
            fold: usize::from(at % 2),
            outcome: Outcome::event(1.0).expect("a valid time"),
            risk: f64::from(at),
            survival: Vec::new(),
        };
        let rows: Vec<_> = (0..9).map(row).collect();
        std::fs::create_dir_all(&folder).expect("made");
        let config = ModelConfig::default_of(cf_model::ModelName::Amil);
        let error =
            of_extremes((&run, &run), &folder, &rows, &config).expect_err("nothing was drawn").to_string();
        assert!(error.contains("s8 and s0") && error.contains("cf-heatmap render"), "{error}");
        for slide in ["s0", "s4", "s7"] {
            std::fs::create_dir_all(folder.join(slide)).expect("made");
            std::fs::write(folder.join(slide).join(PICTURE), slide).expect("written");
        }
        let found = of_extremes((&run, &run), &folder, &rows, &config).expect("two are there");
        let said: Vec<_> = found.iter().map(|map| (map.slide_id.as_str(), map.folder.as_str())).collect();
        assert_eq!(said, [("s7", "../../heatmaps/s7"), ("s0", "../../heatmaps/s0")], "s4 is in the middle");
        let elsewhere = of_extremes((&run, dir.path()), &folder, &rows, &config).expect("two are there");
        assert_eq!(elsewhere[0].folder, "heatmaps/s7", "seen from the page");
        // Folders of the page are made once there is something to write.
        let page = dir.path().join("runs/../new/reports");
        let to_make = of_extremes((&run, &page), &folder, &rows, &config).expect("two are there");
        assert_eq!(to_make[0].folder, "../../heatmaps/s7");
        assert!(!dir.path().join("new").exists());
        let said: Vec<&str> = found.iter().map(|map| map.reason.as_str()).collect();
        let wanted = [
            "predicted risk 7.000, rank 1 of 4 in fold 1 (1 is the highest)",
            "predicted risk 0.000, rank 5 of 5 in fold 0 (1 is the highest)",
        ];
        assert_eq!(said, wanted);

        // Of one fold in the middle, by the mean of both at the low end.
        let of_two = [&rows[..], &[PredictionRow { fold: 1, risk: -100.0, ..row(4) }]].concat();
        let found = of_extremes((&run, &run), &folder, &of_two, &config).expect("three are there");
        assert_eq!(found.iter().map(|map| map.slide_id.as_str()).collect::<Vec<_>>(), ["s7", "s0", "s4"]);

        let drawn = |model: &str, risk: f64| {
            let summary = serde_json::json!({
                "prediction": { "risk": risk },
                "origin": { "model": model, "checkpoint": "other/fold_0/best.safetensors" },
            });
            std::fs::write(folder.join("s7").join(SUMMARY), summary.to_string()).expect("written");
            of_extremes((&run, &run), &folder, &rows, &config)
        };
        assert_eq!(drawn("amil", 7.0 + 1e-4).map(|found| found.len()).ok(), Some(2));
        // Another fold validates the slide, too, and its model drew the map.
        let again = [&rows[..], &[PredictionRow { fold: 0, risk: 12.5, ..row(7) }]].concat();
        drawn("amil", 12.5).expect_err("no risk of this run");
        let found = of_extremes((&run, &run), &folder, &again, &config).expect("two are there");
        assert_eq!(found[0].reason, "predicted risk 12.500, rank 1 of 6 in fold 0 (1 is the highest)");
        for (other, risk) in [("dsmil", 7.0), ("amil", 6.5)] {
            let error = drawn(other, risk).expect_err("a map of another model").to_string();
            for part in [
                "s7/render.json",
                other,
                "other/fold_0",
                &format!("{risk:.3}"),
                "7.000",
                "--fold 1 --slide s7",
            ] {
                assert!(error.contains(part), "`{part}` is not in: {error}");
            }
        }
    }
}
