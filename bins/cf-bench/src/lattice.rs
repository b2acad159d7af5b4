//! Where the patches of a made-up bag lie: a nested lattice with holes.

use cf_model::{PatchFacts, Patches};

/// Side of a 20x patch in level-0 pixels.
const SIDE: u32 = 512;
/// 5x cells in a row of the slide.
const COLUMNS: usize = 30;
const N_TISSUE_CLASSES: usize = 5;

/// Coordinates, sides and tissue classes for so many patches at 5x, 10x and 20x.
///
/// Each cell holds four of the next finer magnification, of which as many are left out, evenly, as the sizes ask for; that
/// magnification's own children are laid in all of its cells, so that a share of the finest lacks a parent.
pub(crate) fn patches([n5, n10, n20]: [usize; 3]) -> Patches {
    let x5: Vec<[i64; 2]> = (0..n5)
        .map(|cell| [cell % COLUMNS, cell / COLUMNS].map(|at| (at * 4 * SIDE as usize) as i64))
        .collect();
    let all10 = children(&x5, 2 * SIDE);
    let all20 = children(&all10, SIDE);
    let tissue = (0..n20).map(|patch| (patch % N_TISSUE_CLASSES) as u8).collect();
    let facts = |coords: Vec<[i64; 2]>, side: u32| PatchFacts {
        coords: Some(coords),
        side: Some(side),
        ..PatchFacts::default()
    };
    Patches {
        slide_id: "bench".to_owned(),
        x5: facts(x5, 4 * SIDE),
        x10: facts(evenly(&all10, n10), 2 * SIDE),
        x20: PatchFacts { tissue: Some(tissue), ..facts(evenly(&all20, n20), SIDE) },
        ..Patches::default()
    }
}

/// The quarters of each cell.
fn children(cells: &[[i64; 2]], side: u32) -> Vec<[i64; 2]> {
    let side = i64::from(side);
    cells
        .iter()
        .flat_map(|[x, y]| [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(c, r)| [x + c * side, y + r * side]))
        .collect()
}

/// `n` of the places at even distances in their order.
fn evenly(places: &[[i64; 2]], n: usize) -> Vec<[i64; 2]> {
    (0..n).filter_map(|i| places.get(i * places.len() / n).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_asked_and_places_differ() {
        let sizes = [895, 3_449, 13_496];
        let patches = patches(sizes);
        for (facts, n) in [&patches.x5, &patches.x10, &patches.x20].into_iter().zip(sizes) {
            let mut coords = facts.coords.clone().expect("coordinates");
            coords.sort_unstable();
            coords.dedup();
            assert_eq!(coords.len(), n);
        }
    }
}
