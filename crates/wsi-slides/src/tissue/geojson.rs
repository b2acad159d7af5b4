//! Contours as GeoJSON, as QuPath and others read them.

use serde_json::{Value, json};

use crate::tissue::polygon::Polygon;
use crate::tissue::segmentation::Contour;

/// A feature collection with one polygon for each piece of tissue: its border, then its holes, in level-0 pixels.
#[must_use]
pub fn geojson(contours: &[Contour]) -> Value {
    let feature = |(idx, contour): (usize, &Contour)| {
        let rings: Vec<Value> = std::iter::once(&contour.outer).chain(&contour.holes).map(ring).collect();
        json!({
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Tissue"},
                "tissue_id": idx,
            },
        })
    };
    let features: Vec<Value> = contours.iter().enumerate().map(feature).collect();
    json!({"type": "FeatureCollection", "features": features})
}

/// A closed ring: the first point again at the end. Points between two others on one line are left out.
fn ring(polygon: &Polygon) -> Value {
    let points = polygon.points();
    let n = points.len();
    let turns = |idx: usize| {
        let [a, b, c] =
            [points[(idx + n - 1) % n], points[idx], points[(idx + 1) % n]].map(|p| p.map(i64::from));
        (b[0] - a[0]) * (c[1] - b[1]) != (b[1] - a[1]) * (c[0] - b[0])
    };
    let mut kept: Vec<[i32; 2]> = (0..n).filter(|idx| turns(*idx)).map(|idx| points[idx]).collect();
    if kept.is_empty() {
        kept = points.to_vec();
    }
    kept.extend(kept.first().copied());
    json!(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_closed_and_straight_runs_have_two_ends() {
        let outer = Polygon::new(vec![[0, 0], [0, 1], [0, 2], [2, 2], [2, 0]]);
        let hole = Polygon::new(vec![[1, 1]]);
        let found = geojson(&[Contour { outer, holes: vec![hole] }]);
        let rings = &found["features"][0]["geometry"]["coordinates"];
        assert_eq!(rings[0], json!([[0, 0], [0, 2], [2, 2], [2, 0], [0, 0]]));
        assert_eq!(rings[1], json!([[1, 1], [1, 1]]));
    }
}
