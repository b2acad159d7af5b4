//! Raw scores as files: CSV for people and spreadsheets, HDF5 for programs.

use std::io::Write;
use std::path::Path;

use wsi_bags::scores::ScoredPatches;
use wsi_bags::{Magnification, SlideInfo};

use crate::error::{Error, Result};
use crate::files::replace;
use crate::layer::HeatLayer;
use crate::scaling::Scaling;

/// Writes one row per layer and patch: `slide,module,magnification,patch,x,y,width,height,score,rank,tokens`.
///
/// `patch` is the row of the bag from 0; the box is in level-0 pixels; `tokens` is how many tokens the patch stands for, whose scores
/// `score` adds up; `rank` is [`Scaling::Rank`] of the score per token. Scores are written
/// with as many digits as tell a 32-bit float apart.
///
/// # Errors
/// [`Error::Io`].
pub fn write_csv(path: &Path, slide_id: &str, layers: &[HeatLayer]) -> Result<()> {
    let failed = |source| Error::io(path, "write the file", source);
    replace(path, |out| {
        out.write_all(b"slide,module,magnification,patch,x,y,width,height,score,rank,tokens\n")
            .map_err(failed)?;
        let slide = quoted(slide_id);
        for layer in layers {
            let (module, magnification) = (quoted(layer.module()), layer.magnification());
            let side = layer.boxes().side;
            let ranks = Scaling::Rank.fractions(layer.per_token());
            let rows = layer.boxes().corners.iter().zip(layer.scores()).zip(ranks);
            for (patch_idx, (([x, y], score), rank)) in rows.enumerate() {
                let n_tokens = if patch_idx < layer.n_copied() { 2 } else { 1 };
                writeln!(
                    out,
                    "{slide},{module},{magnification},{patch_idx},{x},{y},{side},{side},{score},{rank},{n_tokens}"
                )
                .map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// Writes the layers in the form of [`wsi_bags::scores`].
///
/// # Errors
/// Those of [`wsi_bags::scores::write`].
pub fn write_hdf5(path: &Path, info: &SlideInfo, layers: &[HeatLayer]) -> Result<()> {
    let mut sets = Vec::new();
    for magnification in Magnification::ALL {
        let of_scale: Vec<&HeatLayer> =
            layers.iter().filter(|layer| layer.magnification() == magnification).collect();
        let Some(first) = of_scale.first() else { continue };
        sets.push(ScoredPatches {
            magnification,
            patch_size_level0: first.boxes().side,
            coords: &first.boxes().corners,
            modules: of_scale.iter().map(|layer| (layer.module(), layer.scores())).collect(),
        });
    }
    Ok(wsi_bags::scores::write(path, info, &sets)?)
}

/// A field of a CSV file.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PatchBoxes;
    use std::sync::Arc;

    #[test]
    fn rows_have_the_box_and_every_digit() {
        let corners = vec![[0, 256], [256, 256]];
        let boxes = Arc::new(PatchBoxes { magnification: Magnification::X20, side: 256, corners });
        let layer = HeatLayer::new("a, b", boxes, vec![0.1, 1.000_000_1]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores.csv");
        write_csv(&path, "slide-1", &[layer]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            rows,
            [
                "slide-1,\"a, b\",x20,0,0,256,256,256,0.1,0,1",
                "slide-1,\"a, b\",x20,1,256,256,256,256,1.0000001,1,1"
            ]
        );
    }
}
