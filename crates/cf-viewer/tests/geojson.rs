//! What is written for QuPath, through an independent reader.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use cf_viewer::{HeatLayer, PatchBoxes, PolygonCount, write_geojson};
use geojson::{Feature, FeatureCollection, GeoJson, GeometryValue};
use support::lattice_layer;
use wsi_bags::Magnification;

fn layers(lattice: [u32; 2]) -> [HeatLayer; 2] {
    ["source PT", "final PT"].map(|module| {
        lattice_layer(module, Magnification::X10, 1024, lattice, |column, row| {
            0.1 * (column * 7 + row) as f32
        })
    })
}

fn about() -> serde_json::Map<String, serde_json::Value> {
    [("slide", "slide \"1\"".into()), ("risk", (-2.25).into())]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn read(path: &Path) -> FeatureCollection {
    let text = std::fs::read_to_string(path).unwrap();
    FeatureCollection::try_from(text.parse::<GeoJson>().unwrap()).unwrap()
}

/// The square of a feature as left, top, right and bottom.
fn square(feature: &Feature) -> [f64; 4] {
    let GeometryValue::Polygon { coordinates } = &feature.geometry.as_ref().unwrap().value else {
        panic!("no polygon")
    };
    let [ring] = &coordinates[..] else { panic!("a hole") };
    assert_eq!((ring.len(), ring.first()), (5, ring.last()), "a closed ring");
    let bound = |axis: usize, pick: fn(f64, f64) -> f64| ring.iter().map(|at| at[axis]).reduce(pick).unwrap();
    let found = [bound(0, f64::min), bound(1, f64::min), bound(0, f64::max), bound(1, f64::max)];
    // Twice the area, positive where the ring runs as RFC 7946 wants the outer one.
    let doubled: f64 = ring.windows(2).map(|pair| pair[0][0] * pair[1][1] - pair[1][0] * pair[0][1]).sum();
    assert_eq!(doubled, 2.0 * (found[2] - found[0]) * (found[3] - found[1]));
    found
}

fn measurement(feature: &Feature, name: &str) -> f64 {
    feature.property("measurements").unwrap()[name].as_f64().unwrap()
}

#[test]
fn every_patch_is_a_locked_tile_with_its_box_and_scores() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x10.geojson");
    let layers = layers([5, 3]);
    let count = write_geojson(&path, &[&layers[0], &layers[1]], 1000, &about()).unwrap();
    assert_eq!(count, PolygonCount { n_polygons: 15, patches_per_side: 1 });
    let collection = read(&path);
    assert_eq!(collection.features.len(), 15);
    let said = &collection.foreign_members.as_ref().unwrap()["about"];
    assert_eq!((&said["slide"], &said["risk"]), (&"slide \"1\"".into(), &(-2.25).into()));
    assert_eq!(said["maps"], serde_json::json!(["source PT, 10x", "final PT, 10x"]));
    for ((feature, corner), score) in
        collection.features.iter().zip(&layers[0].boxes().corners).zip(layers[0].scores())
    {
        let [x, y] = corner.map(|at| at as f64);
        assert_eq!(square(feature), [x, y, x + 1024.0, y + 1024.0]);
        assert_eq!(feature.property("objectType").unwrap(), "tile");
        assert_eq!(feature.property("isLocked").unwrap(), true);
        assert_eq!(measurement(feature, "source PT, 10x") as f32, *score);
        assert!((0.0..=1.0).contains(&measurement(feature, "final PT, 10x, rank")));
        assert!(feature.property("measurements").unwrap().get("patches").is_none());
    }
}

#[test]
fn patches_that_stand_for_two_tokens_have_the_sum_and_are_ranked_by_the_mean() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x10.geojson");
    // Four tokens of 0.25, two of them of the first patch, whose copy fills the square.
    let layer =
        lattice_layer(
            "source PT",
            Magnification::X10,
            1024,
            [3, 1],
            |column, _| {
                if column == 0 { 0.5 } else { 0.25 }
            },
        );
    write_geojson(&path, &[&layer.with_copies(1)], 1000, &about()).unwrap();
    let features = read(&path).features;
    let of = |name: &str| features.iter().map(|feature| measurement(feature, name)).collect::<Vec<f64>>();
    assert_eq!(of("source PT, 10x"), [0.5, 0.25, 0.25]);
    assert_eq!(of("source PT, 10x, per token"), [0.25; 3]);
    assert_eq!(of("source PT, 10x, rank"), [0.5; 3], "all are equal");
}

#[test]
fn more_patches_than_polygons_are_binned_into_squares_that_hold_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x10.geojson");
    let layers = layers([50, 33]);
    let count = write_geojson(&path, &[&layers[0]], 200, &about()).unwrap();
    assert_eq!(count.patches_per_side, 4, "413 squares of 2 x 2 are too many");
    assert_eq!(count.n_polygons, 13 * 9);
    let collection = read(&path);
    assert_eq!(collection.features.len(), count.n_polygons);
    let squares: Vec<[f64; 4]> = collection.features.iter().map(square).collect();
    let distinct: HashSet<[i64; 2]> = squares.iter().map(|[x, y, ..]| [*x as i64, *y as i64]).collect();
    assert_eq!(distinct.len(), squares.len());
    let n: f64 = collection.features.iter().map(|feature| measurement(feature, "patches")).sum();
    assert_eq!(n as usize, 50 * 33);
    // The mean over squares, weighted, is the mean over patches.
    let total: f64 = collection
        .features
        .iter()
        .map(|feature| measurement(feature, "patches") * measurement(feature, "source PT, 10x"))
        .sum();
    let wanted: f64 = layers[0].scores().iter().map(|score| f64::from(*score)).sum();
    assert!((total - wanted).abs() < 1e-9 * wanted);
    assert!(layers[0].boxes().corners.iter().all(|corner| {
        let [x, y] = corner.map(|at| at as f64);
        squares.iter().any(|[l, t, r, b]| *l <= x && x < *r && *t <= y && y < *b)
    }));
}

/// A layer of patches at these corners, each with a score of its own.
fn placed(side: u32, corners: Vec<[i64; 2]>) -> HeatLayer {
    // Parts of 64, which have the same digits in 32 bits as in 64.
    let scores = (0..corners.len()).map(|at| (at * 37 % 64) as f32 / 64.0).collect();
    let boxes = PatchBoxes { magnification: Magnification::X10, side, corners };
    HeatLayer::new("source PT", Arc::new(boxes), scores).unwrap()
}

fn lattice(side: u32, [left, top]: [i64; 2], [columns, rows]: [i64; 2]) -> Vec<[i64; 2]> {
    let side = i64::from(side);
    (0..rows).flat_map(|y| (0..columns).map(move |x| [left + x * side, top + y * side])).collect()
}

/// The features of a file of at most `most`, with their squares.
fn binned(layer: &HeatLayer, most: usize) -> Vec<(Feature, [f64; 4])> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x10.geojson");
    let count = write_geojson(&path, &[layer], most, &about()).unwrap();
    assert!(count.patches_per_side > 1 && count.n_polygons <= most, "{count:?}");
    let side = f64::from(layer.boxes().side * count.patches_per_side);
    let squares: Vec<(Feature, [f64; 4])> =
        read(&path).features.into_iter().map(|feature| (feature.clone(), square(&feature))).collect();
    assert!(squares.iter().all(|(_, [l, t, r, b])| r - l == side && b - t == side));
    squares
}

/// Each patch is a member of the one square that holds its centre, and squares have the mean of their members.
fn assert_squares_show_their_patches(layer: &HeatLayer, squares: &[(Feature, [f64; 4])]) {
    let half = f64::from(layer.boxes().side) / 2.0;
    let mut n_members = 0;
    for (feature, [left, top, right, bottom]) in squares {
        let holds = |corner: &[i64; 2]| {
            let [x, y] = corner.map(|at| at as f64 + half);
            *left <= x && x < *right && *top <= y && y < *bottom
        };
        let patches = layer.boxes().corners.iter().zip(layer.scores());
        let members: Vec<f64> =
            patches.filter(|(corner, _)| holds(corner)).map(|(_, score)| f64::from(*score)).collect();
        assert_eq!(measurement(feature, "patches") as usize, members.len());
        let mean = members.iter().sum::<f64>() / members.len() as f64;
        assert!((measurement(feature, "source PT, 10x") - mean).abs() < 1e-9);
        n_members += members.len();
    }
    assert_eq!(n_members, layer.boxes().len());
}

#[test]
fn squares_lie_on_whole_patches_of_a_lattice_wherever_it_starts() {
    for side in [256, 75] {
        for offset in [[0, 0], [255, 255], [1, 130], [700, 33], [-60, -1]] {
            let layer = placed(side, lattice(side, offset, [9, 7]));
            for most in [1, 4, 20] {
                let squares = binned(&layer, most);
                assert_squares_show_their_patches(&layer, &squares);
                for corner in &layer.boxes().corners {
                    let [x, y] = corner.map(|at| at as f64);
                    let end = f64::from(side);
                    let is_whole = |[left, top, right, bottom]: &[f64; 4]| {
                        *left <= x && x + end <= *right && *top <= y && y + end <= *bottom
                    };
                    assert!(squares.iter().any(|(_, square)| is_whole(square)), "{side} {offset:?} {most}");
                }
            }
        }
    }
}

#[test]
fn patches_of_several_grids_lie_in_the_squares_that_hold_their_centres() {
    // Contours with grids of their own, as CLAM and TRIDENT cut them.
    let grids = [([255, 310], [6, 5]), ([2400, 17], [5, 9]), ([901, 2311], [8, 4])];
    let corners = grids.into_iter().flat_map(|(corner, size)| lattice(256, corner, size)).collect();
    let layer = placed(256, corners);
    for most in [1, 7, 30, 90] {
        assert_squares_show_their_patches(&layer, &binned(&layer, most));
    }
}
