//! Contours as GeoJSON, as QuPath and others read them.

use i_overlay::core::fill_rule::FillRule;
use i_overlay::core::overlay::{IntOverlayOptions, Overlay};
use i_overlay::core::overlay_rule::OverlayRule;
use i_overlay::i_float::int::point::IntPoint;
use serde_json::{Value, json};

use crate::tissue::polygon::{Polygon, Position, area};
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

/// A ring without its last point, which is the first again.
type Ring = Vec<[i32; 2]>;

fn geometry(contour: &Contour) -> Option<Value> {
    let closed = |mut ring: Ring| {
        ring.extend(ring.first().copied());
        ring
    };
    let mut polygons: Vec<Vec<Ring>> =
        polygons(contour).into_iter().map(|rings| rings.into_iter().map(closed).collect()).collect();
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
    // What comes out lies within the bounds of what went in.
    let point = |point: IntPoint<i64>| [point.x, point.y].map(|c| i32::try_from(c).unwrap_or(i32::MAX));
    let ring = |points: Vec<IntPoint<i64>>| points.into_iter().map(point).collect();
    with_own_holes(shapes.into_iter().map(|rings| rings.into_iter().map(ring).collect()).collect())
}

/// The polygons, each with the holes that lie in it.
///
/// i_overlay 9.1 finds the right rings, but gives a hole to another exterior at times, where four holes that touch at
/// their corners cut a piece out of what is between them.
fn with_own_holes(polygons: Vec<Vec<Ring>>) -> Vec<Vec<Ring>> {
    if polygons.len() < 2 {
        return polygons;
    }
    let (mut exteriors, mut holes) = (Vec::new(), Vec::new());
    for (given, rings) in polygons.into_iter().enumerate() {
        let mut rings = rings.into_iter();
        exteriors.extend(rings.next().map(Polygon::new));
        holes.extend(rings.map(|hole| (given, hole)));
    }
    let mut bound: Vec<Vec<Ring>> =
        exteriors.iter().map(|exterior| vec![exterior.points().to_vec()]).collect();
    for (given, hole) in holes {
        // An exterior in a hole of another lies in both: a hole of it belongs to the smaller.
        let holding = exteriors.iter().enumerate().filter(|(_, exterior)| lies_in(&hole, exterior));
        let owner = holding.min_by(|(_, a), (_, b)| area(a.points()).total_cmp(&area(b.points())));
        bound[owner.map_or(given, |(owner, _)| owner)].push(hole);
    }
    bound
}

/// Whether a ring that touches a polygon at single points at most lies inside: the first corner or middle of an edge
/// that is not on the border tells.
fn lies_in(ring: &[[i32; 2]], polygon: &Polygon) -> bool {
    let next = ring.iter().skip(1).chain(ring.first());
    let places = ring.iter().zip(next).flat_map(|(from, to)| {
        let [from, to] = [from, to].map(|point| point.map(i64::from));
        [from.map(|c| 2 * c), [from[0] + to[0], from[1] + to[1]]]
    });
    places.map(|doubled| polygon.locate(doubled)).find(|place| *place != Position::OnEdge)
        == Some(Position::Inside)
}
