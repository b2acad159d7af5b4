//! Contours as GeoJSON, as QuPath and others read them.

use i_overlay::core::fill_rule::FillRule;
use i_overlay::core::overlay::{IntOverlayOptions, Overlay};
use i_overlay::core::overlay_rule::OverlayRule;
use i_overlay::i_float::int::point::IntPoint;
use serde_json::{Value, json};

use crate::tissue::polygon::Polygon;
use crate::tissue::segmentation::Contour;

/// A feature collection with one polygon for each piece of tissue, in level-0 pixels: its border less its holes, each by
/// the even-odd rule.
///
/// Geometries are valid by the rules of OGC, which programs that cut and join them rely on: a piece that hangs together
/// at single points only is a `MultiPolygon`. Its area is that of the contour; what has none goes: spikes and walls one
/// pixel wide, and a contour that is nothing else has no feature. Exteriors run as RFC 7946 wants them, with a positive
/// area by their numbers: clockwise on a screen, where y points down, and counter-clockwise where it points up.
#[must_use]
pub fn geojson(contours: &[Contour]) -> Value {
    let feature = |(idx, contour): (usize, &Contour)| {
        Some(json!({
            "type": "Feature",
            "geometry": geometry(contour)?,
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Tissue"},
                "tissue_id": idx,
            },
        }))
    };
    let features: Vec<Value> = contours.iter().enumerate().filter_map(feature).collect();
    json!({"type": "FeatureCollection", "features": features})
}

/// A closed ring: the first point again at the end.
type Ring = Vec<[i64; 2]>;

fn geometry(contour: &Contour) -> Option<Value> {
    let mut polygons = polygons(contour);
    match polygons.len() {
        0 => None,
        1 => polygons.pop().map(|rings| json!({"type": "Polygon", "coordinates": rings})),
        _ => Some(json!({"type": "MultiPolygon", "coordinates": polygons})),
    }
}

/// The border less the holes: polygons of an exterior and its holes. Points between two others on one line are left out.
///
/// A border passes a pixel twice where the piece is one pixel wide, and a hole may touch it: rings of which each was
/// followed alone are no polygon.
fn polygons(contour: &Contour) -> Vec<Vec<Ring>> {
    // Any i32 is far within the range of the 64-bit engine, which checks nothing.
    let path = |polygon: &Polygon| -> Vec<IntPoint<i64>> {
        polygon.points().iter().map(|[x, y]| IntPoint::new((*x).into(), (*y).into())).collect()
    };
    let border = path(&contour.outer);
    let holes: Vec<Vec<IntPoint<i64>>> = contour.holes.iter().map(path).collect();
    let options = IntOverlayOptions::ogc();
    let mut overlay = Overlay::from_subj_and_clip_custom(&border, &holes, options, Default::default());
    let shapes = overlay.overlay(OverlayRule::Difference, FillRule::EvenOdd);
    let ring = |points: Vec<IntPoint<i64>>| {
        let mut ring: Ring = points.iter().map(|point| [point.x, point.y]).collect();
        ring.extend(ring.first().copied());
        ring
    };
    shapes.into_iter().map(|rings| rings.into_iter().map(ring).collect()).collect()
}
