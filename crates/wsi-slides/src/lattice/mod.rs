//! Where patches are cut.
//!
//! [`nested`] lays one lattice over the slide, in which each coarse patch holds its four finer ones; [`clam`] lays a
//! grid over each contour, exactly as CLAM does.

mod clam;
mod inclusion;
mod nested;
mod patch_side;

use wsi_bags::Magnification;

pub use clam::{Padding, clam};
pub use inclusion::Inclusion;
pub use nested::{nested, slide_wide};
pub use patch_side::{PATCH_SIDE, PatchSides};

/// The patches of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patches {
    /// Their side in level-0 pixels.
    pub side: u32,
    /// `[x, y]` of each top left corner in level-0 pixels.
    pub corners: Vec<[i64; 2]>,
}

/// The patches of one magnification of a nested lattice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NestedPatches {
    /// The magnification.
    pub magnification: Magnification,
    /// Where they lie, row by row.
    pub patches: Patches,
    /// For each patch the index of the one that holds it at the next coarser magnification; `None` for the coarsest.
    pub parents: Option<Vec<u32>>,
}
