//! Contours as GeoJSON: geometries that are valid by the rules of OGC, of the same area and the same places.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};

use image::GrayImage;
use proptest::prelude::*;
use serde_json::{Value, json};
use wsi_slides::tissue::{Contour, Polygon, Position, Preset, TissueParams, area, contours, geojson};

type Point = [i32; 2];

/// The polygons of a geometry, each an exterior and its holes, rings without their last point.
fn polygons(geometry: &Value) -> Vec<Vec<Vec<Point>>> {
    let polygons = match geometry["type"].as_str().unwrap() {
        "Polygon" => json!([geometry["coordinates"]]),
        "MultiPolygon" => geometry["coordinates"].clone(),
        other => panic!("{other}"),
    };
    let closed: Vec<Vec<Vec<Point>>> = serde_json::from_value(polygons).unwrap();
    let open = |mut ring: Vec<Point>| {
        assert!(ring.len() >= 4 && ring.first() == ring.last(), "{ring:?} is no closed ring");
        ring.pop();
        ring
    };
    closed.into_iter().map(|rings| rings.into_iter().map(open).collect()).collect()
}

fn doubled_area(ring: &[Point]) -> i64 {
    edges(ring).map(|[a, b]| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1])).sum()
}

fn edges(ring: &[Point]) -> impl Iterator<Item = [Point; 2]> {
    ring.iter().zip(ring.iter().cycle().skip(1)).map(|(a, b)| [*a, *b])
}

/// On which side of an edge a point lies.
fn side([a, b]: [Point; 2], p: Point) -> i64 {
    let [a, b, p] = [a, b, p].map(|point| point.map(i64::from));
    ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])).signum()
}

fn is_on(edge: [Point; 2], p: Point) -> bool {
    let [a, b] = edge;
    let within = |axis: usize| (a[axis].min(b[axis])..=a[axis].max(b[axis])).contains(&p[axis]);
    side(edge, p) == 0 && within(0) && within(1)
}

/// Where two edges touch: at ends only, and at one point, or it is a fault.
fn touch(one: [Point; 2], other: [Point; 2]) -> Option<Point> {
    let on_one = other.into_iter().filter(|p| is_on(one, *p));
    let on_other = one.into_iter().filter(|p| is_on(other, *p));
    let points: BTreeSet<Point> = on_one.chain(on_other).collect();
    assert!(points.len() < 2, "{one:?} and {other:?} run along each other");
    let [sides, others] = [(one, other), (other, one)].map(|(edge, ends)| ends.map(|end| side(edge, end)));
    let crosses = sides[0] * sides[1] < 0 && others[0] * others[1] < 0;
    assert!(!crosses, "{one:?} and {other:?} cross");
    points.first().copied()
}

/// What OGC asks of a polygon: simple rings that touch at points only, holes inside and apart, an interior in one piece.
fn check(rings: &[Vec<Point>]) {
    for (number, ring) in rings.iter().enumerate() {
        assert_eq!(ring.iter().collect::<BTreeSet<_>>().len(), ring.len(), "{ring:?} meets itself");
        assert_eq!(doubled_area(ring) > 0, number == 0, "{ring:?}: exteriors run one way, holes the other");
        let of_ring: Vec<[Point; 2]> = edges(ring).collect();
        for (at, one) in of_ring.iter().enumerate() {
            for (other_at, other) in of_ring.iter().enumerate().skip(at + 1) {
                let touched = touch(*one, *other);
                let are_neighbours = other_at == at + 1 || (at == 0 && other_at == of_ring.len() - 1);
                assert_eq!(touched.is_some(), are_neighbours, "{one:?} and {other:?} of {ring:?}");
                assert!(touched.is_none_or(|p| one.contains(&p) && other.contains(&p)), "{one:?}, {other:?}");
            }
        }
    }
    // Rings that touch in a circle cut the interior in two.
    let mut groups: Vec<usize> = (0..rings.len()).collect();
    let mut meetings: BTreeMap<Point, BTreeSet<usize>> = BTreeMap::new();
    for (at, one) in rings.iter().enumerate() {
        for (other_at, other) in rings.iter().enumerate().skip(at + 1) {
            for point in edges(one).flat_map(|a| edges(other).filter_map(move |b| touch(a, b))) {
                meetings.entry(point).or_default().extend([at, other_at]);
            }
            let inside = Polygon::new(one.clone());
            let wrong = if at == 0 { Position::Outside } else { Position::Inside };
            let place = |p: &Point| inside.locate(p.map(|c| 2 * i64::from(c)));
            assert!(other.iter().all(|p| place(p) != wrong), "{other:?} is {wrong:?} of {one:?}");
        }
    }
    for (point, met) in meetings {
        let met: Vec<usize> = met.into_iter().collect();
        for ring in &met[1..] {
            let [from, to] = [groups[*ring], groups[met[0]]];
            assert_ne!(from, to, "rings that meet at {point:?} meet elsewhere, too");
            groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
        }
    }
}

/// How many polygons hold the point strictly; `None` on an edge of any.
fn n_holding(polygons: &[Vec<Polygon>], doubled: [i64; 2]) -> Option<usize> {
    let mut n = 0;
    for rings in polygons {
        let places: Vec<Position> = rings.iter().map(|ring| ring.locate(doubled)).collect();
        if places.contains(&Position::OnEdge) {
            return None;
        }
        n += usize::from(places[0] == Position::Inside && !places[1..].contains(&Position::Inside));
    }
    Some(n)
}

fn check_contours(contours: &[Contour]) {
    let found = geojson(contours);
    let features = found["features"].as_array().unwrap();
    assert_eq!(features.len(), contours.len());
    for (feature, contour) in features.iter().zip(contours) {
        let polygons = polygons(&feature["geometry"]);
        polygons.iter().for_each(|rings| check(rings));
        let doubled: i64 = polygons.iter().flatten().map(|ring| doubled_area(ring)).sum();
        let holes: f64 = contour.holes.iter().map(|hole| area(hole.points())).sum();
        assert_eq!(doubled as f64 / 2.0, area(contour.outer.points()) - holes);
        let prepared: Vec<Vec<Polygon>> =
            polygons.into_iter().map(|rings| rings.into_iter().map(Polygon::new).collect()).collect();
        let source =
            [std::iter::once(&contour.outer).chain(&contour.holes).cloned().collect::<Vec<Polygon>>()];
        let [left, top, width, height] = contour.outer.bounding_box().map(i64::from);
        for y in 2 * top - 1..2 * (top + height) {
            for x in 2 * left - 1..2 * (left + width) {
                // Edges of the source that enclose nothing are none of the result.
                if let Some(wanted) = n_holding(&source, [x, y]) {
                    assert_eq!(n_holding(&prepared, [x, y]), Some(wanted), "twice ({x}, {y})");
                }
            }
        }
    }
}

fn of_rows(rows: &[&str], scale: [f64; 2]) -> Vec<Contour> {
    let mask = GrayImage::from_fn(rows[0].len() as u32, rows.len() as u32, |x, y| {
        image::Luma([if rows[y as usize].as_bytes()[x as usize] == b'#' { 255 } else { 0 }])
    });
    all_contours(&mask, scale)
}

/// Every piece that has an area, with all of its holes.
fn all_contours(mask: &GrayImage, scale: [f64; 2]) -> Vec<Contour> {
    let params =
        TissueParams { min_area: 0.0, min_hole_area: 0.0, max_holes: 99, ..Preset::Default.params() };
    contours(mask, scale, &params)
}

#[test]
fn rings_are_closed_and_straight_runs_have_two_ends() {
    let rows = ["######", "######", "##..##", "##..##", "######", "######"];
    let found = geojson(&of_rows(&rows, [2.0, 3.0]));
    let geometry = &found["features"][0]["geometry"];
    assert_eq!(geometry["type"], "Polygon");
    let rings = &polygons(geometry)[0];
    let corners: BTreeSet<Point> = rings[0].iter().copied().collect();
    assert_eq!((rings[0].len(), corners), (4, BTreeSet::from([[0, 0], [10, 0], [10, 15], [0, 15]])));
    // The border of a hole runs through the pixels that are next to it by a side, and cuts its corners.
    assert_eq!(rings[1].len(), 8);
}

#[test]
fn pieces_that_hang_together_at_a_pixel_are_several_polygons_and_spikes_go() {
    // Two blocks that share a pixel, and one at the end of a spike.
    let rows = ["###....", "###....", "#####..", "..###..", "..#####", "......#"];
    let contours = of_rows(&rows, [10.0, 10.0]);
    assert_eq!(contours.len(), 1);
    let found = geojson(&contours);
    assert_eq!(found["features"][0]["geometry"]["type"], "MultiPolygon");
    check_contours(&contours);
    // A spike alone has no area, hence no feature.
    let spike = Contour { outer: Polygon::new(vec![[0, 0], [5, 0]]), holes: vec![] };
    assert_eq!(geojson(&[spike])["features"], json!([]));
}

#[test]
fn a_hole_that_touches_the_border_twice_parts_the_piece() {
    let rows = ["..###..", ".#####.", "##...##", "##...##", "##...##", ".#####.", "..###.."];
    check_contours(&of_rows(&rows, [1.0, 1.0]));
    let rows = ["#####", "#...#", "#####"];
    check_contours(&of_rows(&rows, [3.5, 2.25]));
}

#[test]
fn a_hole_belongs_to_the_exterior_it_lies_in() {
    // Four holes that touch at their corners cut a diamond out; the hole to the right and below is none of its.
    let rows = [
        "##############",
        "###.##########",
        "##############",
        "###.#.########",
        "##############",
        "###.#.########",
        "##############",
        "##############",
        "##############",
        "#####.########",
        "##############",
        "##############",
    ];
    let contours = of_rows(&rows, [1.0, 1.0]);
    let found = geojson(&contours);
    let polygons = polygons(&found["features"][0]["geometry"]);
    let mut n_rings: Vec<usize> = polygons.iter().map(Vec::len).collect();
    n_rings.sort_unstable();
    // The four around the diamond are one hole.
    assert_eq!(n_rings, [1, 4]);
    check_contours(&contours);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn geometries_are_valid_and_have_the_area_of_their_contours(
        pixels in prop::collection::vec(0u8..100, 14 * 12),
        density in 35u8..90,
        scale in prop::sample::select(vec![[1.0, 1.0], [4.0, 4.0], [3.3, 2.7], [16.0, 15.9]]),
    ) {
        let values = pixels.into_iter().map(|pixel| if pixel < density { 255 } else { 0 }).collect();
        check_contours(&all_contours(&GrayImage::from_raw(14, 12, values).unwrap(), scale));
    }
}
