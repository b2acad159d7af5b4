//! The two slides of `fixtures/reference/layouts`, by the rule that made them.

#![allow(dead_code, reason = "each test program uses its own part of this module")]

use std::path::{Path, PathBuf};

use wsi_bags::Magnification::{X5, X10, X20};
use wsi_bags::{Bag, Magnification};

pub(crate) const SLIDES: [&str; 2] = ["TCGA-AA-0001-01Z-00-DX1.5A6B", "slide-2"];

/// A folder of the committed fixtures.
pub(crate) fn layouts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/layouts").join(name)
}

/// The order in which a tool lists patches.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// As `LATTICE` lists them; what is left of an order where coordinates are unknown.
    Lattice,
    /// By y, then x.
    Rows,
    /// By x, then y.
    Columns,
}

const LATTICE: [(Magnification, &[[i64; 2]]); 3] = [
    (X5, &[[0, 0], [1, 0]]),
    (X10, &[[0, 0], [1, 0], [0, 1], [2, 0]]),
    (X20, &[[0, 0], [1, 0], [3, 0], [4, 0], [0, 1], [1, 1], [2, 1], [0, 2], [5, 1]]),
];

/// Side of a patch in level-0 pixels.
pub(crate) fn side(magnification: Magnification) -> i64 {
    512 * 20 / i64::from(magnification.power())
}

pub(crate) fn coords(magnification: Magnification, order: Order) -> Vec<[i64; 2]> {
    let cells = LATTICE.iter().find(|(at, _)| *at == magnification).unwrap().1;
    let mut coords: Vec<_> = cells.iter().map(|cell| cell.map(|c| c * side(magnification))).collect();
    match order {
        Order::Lattice => {}
        Order::Rows => coords.sort_by_key(|[x, y]| (*y, *x)),
        Order::Columns => coords.sort(),
    }
    coords
}

/// Features of a slide: the i-th value, row after row, is `((i + 7 slide + power) % 61 - 30) / 8`.
pub(crate) fn features(slide_idx: usize, magnification: Magnification, dim: usize) -> Vec<f32> {
    let n_values = coords(magnification, Order::Lattice).len() * dim;
    let rule = |i: usize| (i + 7 * slide_idx + magnification.power() as usize) % 61;
    (0..n_values).map(|i| (rule(i) as f32 - 30.0) / 8.0).collect()
}

/// Compares a bag with the rule; without an order, that there are no coordinates.
pub(crate) fn check(bag: &Bag, slide_idx: usize, dim: usize, order: Option<Order>, what: &str) {
    for magnification in Magnification::ALL {
        let set = bag.at(magnification).unwrap();
        assert_eq!(set.features().dim(), dim, "{what} {magnification}");
        assert_eq!(
            set.features().as_slice(),
            features(slide_idx, magnification, dim),
            "{what} {magnification}"
        );
        let coords = order.map(|order| coords(magnification, order));
        assert_eq!(set.coords(), coords.as_deref(), "{what} {magnification}");
    }
}
