//! Patches with their scores as GeoJSON that QuPath takes by drag and drop.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files::replace;
use crate::layer::HeatLayer;
use crate::patch_boxes::PatchBoxes;
use crate::scaling::Scaling;

/// More polygons than this make viewers slow.
pub const MOST_POLYGONS: usize = 20_000;

/// What a file of polygons holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct PolygonCount {
    /// How many polygons.
    pub n_polygons: usize,
    /// Patches along the side of each polygon: 1 where every patch is one.
    pub patches_per_side: u32,
}

/// Writes the layers of one magnification as a `FeatureCollection`, in level-0 pixels from the top left corner: a tile
/// for each patch, or where there are more than `most` patches, for each square of 2 x 2, 4 x 4 and so on of them, until
/// there are at most `most`. Squares count from the first corner and hold the patches whose centres lie in them: of a
/// regular lattice, whole patches.
///
/// A tile has the raw score of each layer and its rank (0 to 1) as measurements, the means over its patches where it is a
/// square, then with the number of patches; of a layer with patches that stand for two tokens, the score per token, too. Features
/// are written one by one, and none is held.
///
/// - `layers`: all with the same patches.
/// - `about`: what the maps are of, such as the slide and the model: the member `about` of the collection, with the names of the maps.
///
/// # Errors
/// [`Error::Io`]; [`Error::Setting`] if `most` is 0.
pub fn write_geojson(
    path: &Path,
    layers: &[&HeatLayer],
    most: usize,
    about: &Map<String, Value>,
) -> Result<PolygonCount> {
    if most == 0 {
        let (what, found) = ("the largest number of polygons", "0".to_owned());
        return Err(Error::Setting { what, found, wanted: "1 or more" });
    }
    let Some(first) = layers.first() else { return Err(Error::NoLayers) };
    let boxes = first.boxes();
    let mut columns: Vec<(String, Cow<'_, [f32]>)> = Vec::new();
    for layer in layers {
        let title = layer.title();
        columns.push((format!("{title}, rank"), Scaling::Rank.fractions(layer.per_token()).into()));
        if layer.n_copied() > 0 {
            columns.push((format!("{title}, per token"), layer.per_token().into()));
        }
        columns.push((title, layer.scores().into()));
    }
    let mut patches_per_side = 1u32;
    let mut squares = BTreeMap::new();
    while boxes.len() > most && (squares.is_empty() || squares.len() > most) {
        patches_per_side *= 2;
        squares = binned(boxes, patches_per_side);
    }
    let side = i64::from(boxes.side) * i64::from(patches_per_side);
    let label = boxes.magnification.label();
    let mut n_polygons = 0;
    replace(path, |out| {
        let mut write =
            |bytes: &[u8]| out.write_all(bytes).map_err(|source| Error::io(path, "write the file", source));
        let mut about = about.clone();
        about.insert("maps".to_owned(), layers.iter().map(|layer| Value::from(layer.title())).collect());
        write(b"{\"type\":\"FeatureCollection\",\"about\":")?;
        write(Value::from(about).to_string().as_bytes())?;
        write(b",\"features\":[")?;
        let mut feature = |corner: [i64; 2], patches: &[u32]| {
            let separator: &[u8] = if n_polygons == 0 { b"\n" } else { b",\n" };
            n_polygons += 1;
            let mut measurements = Map::new();
            for (name, values) in &columns {
                measurements.insert(name.clone(), mean(values, patches));
            }
            if patches_per_side > 1 {
                measurements.insert("patches".to_owned(), patches.len().into());
            }
            let [left, top] = corner;
            let (right, bottom) = (left + side, top + side);
            let ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]];
            let value = json!({
                "type": "Feature",
                "geometry": { "type": "Polygon", "coordinates": [ring] },
                "properties": {
                    "objectType": "tile",
                    "name": label,
                    "isLocked": true,
                    "measurements": measurements,
                },
            });
            write(separator)?;
            write(value.to_string().as_bytes())
        };
        if patches_per_side == 1 {
            for (patch_idx, corner) in (0u32..).zip(&boxes.corners) {
                feature(*corner, &[patch_idx])?;
            }
        } else {
            for ([top, left], patches) in &squares {
                feature([*left, *top], patches)?;
            }
        }
        write(b"\n]}\n")
    })?;
    Ok(PolygonCount { n_polygons, patches_per_side })
}

/// Patches by top and left of the square that holds their centre.
fn binned(boxes: &PatchBoxes, patches_per_side: u32) -> BTreeMap<[i64; 2], Vec<u32>> {
    let side = i64::from(boxes.side);
    let span = side * i64::from(patches_per_side);
    // Grids of contours do not start at the slide's corner, and each may have an offset of its own.
    let origin = [0, 1].map(|axis| boxes.corners.iter().map(|corner| corner[axis]).min().unwrap_or(0));
    let start = |axis: usize, at: i64| {
        let centre = at.saturating_sub(origin[axis]).saturating_add(side / 2);
        origin[axis] + centre.div_euclid(span) * span
    };
    let mut squares: BTreeMap<[i64; 2], Vec<u32>> = BTreeMap::new();
    for (patch_idx, [x, y]) in (0u32..).zip(&boxes.corners) {
        squares.entry([start(1, *y), start(0, *x)]).or_default().push(patch_idx);
    }
    squares
}

/// The mean of some values; a single one is written with its own digits.
fn mean(values: &[f32], patches: &[u32]) -> Value {
    let at = |patch_idx: &u32| values.get(*patch_idx as usize).copied().unwrap_or_default();
    match patches {
        [only] => {
            // The digits of the 32-bit float, not those of the 64-bit one it would be widened to.
            let digits = at(only).to_string();
            digits.parse::<f64>().map_or(Value::Null, Value::from)
        }
        _ => {
            let sum: f64 = patches.iter().map(|patch_idx| f64::from(at(patch_idx))).sum();
            Value::from(sum / patches.len() as f64)
        }
    }
}
