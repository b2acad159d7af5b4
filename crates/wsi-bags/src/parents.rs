//! Which coarser patch a patch belongs to, from coordinates alone.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};

/// Square patches of one side length: `[x, y]` of each top left corner and the side, both in level-0 pixels.
#[derive(Debug, Clone, Copy)]
pub struct Squares<'a> {
    /// Top left corners.
    pub coords: &'a [[i64; 2]],
    /// Side of every patch.
    pub side: u32,
}

/// The parent of every patch of one magnification in the next coarser one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parents {
    /// For each fine patch the index of its coarse patch.
    pub index: Vec<u32>,
    /// How many fine patches lie in no coarse patch and were given the nearest one.
    pub n_fallbacks: usize,
}

impl Parents {
    /// The share of patches that were given the nearest coarse patch because none holds them, in `[0, 1]`.
    #[must_use]
    pub fn fallback_share(&self) -> f64 {
        if self.index.is_empty() { 0.0 } else { self.n_fallbacks as f64 / self.index.len() as f64 }
    }
}

/// Coordinates are bounded by this, so that sums and squared distances below are exact.
const LARGEST_COORD: u64 = 1 << 40;

/// Finds the coarse patch that holds the centre of each fine patch.
///
/// Where several do (grids of different tissue pieces overlap), the one wins from whose corner the fine patch is a
/// whole number of fine sides away, then the one with the nearest centre, then the first. A patch whose centre lies in
/// none gets the one with the nearest centre, the first of equals, and is counted.
///
/// Patches are half-open squares. The cost is that of sorting, and linear in the coarse patches for a fallback at
/// worst.
///
/// # Errors
/// [`ErrorKind::EmptyBag`] without coarse patches, [`ErrorKind::Geometry`] for a side of 0, [`ErrorKind::Limit`] for
/// coordinates that no slide has or more coarse patches than 32 bits count.
///
/// ```
/// use wsi_bags::{Squares, parents};
///
/// let coarse = Squares { coords: &[[0, 0], [1024, 0]], side: 1024 };
/// let fine = Squares { coords: &[[0, 512], [1024, 0], [2048, 0]], side: 512 };
/// let found = parents(fine, coarse)?;
/// assert_eq!(found.index, [0, 1, 1]);
/// assert_eq!(found.n_fallbacks, 1); // The last lies outside both.
/// # Ok::<(), wsi_bags::Error>(())
/// ```
pub fn parents(fine: Squares<'_>, coarse: Squares<'_>) -> Result<Parents> {
    check(fine)?;
    check(coarse)?;
    if coarse.coords.is_empty() {
        return Err(ErrorKind::EmptyBag.into());
    }
    if u32::try_from(coarse.coords.len()).is_err() {
        let (found, limit) = (coarse.coords.len() as u64, u32::MAX.into());
        return Err(ErrorKind::Limit { what: "number of coarse patches", found, limit }.into());
    }
    let side = i64::from(coarse.side);
    // A patch covers parts of at most four cells of its own size; the cell of its corner finds it from any of them.
    let mut cells: HashMap<[i64; 2], Vec<u32>> = HashMap::new();
    for (idx, [x, y]) in (0u32..).zip(coarse.coords) {
        cells.entry([x.div_euclid(side), y.div_euclid(side)]).or_default().push(idx);
    }
    let nearest = ByCentre::new(coarse);
    let mut n_fallbacks = 0;
    let index = fine
        .coords
        .iter()
        .map(|corner| {
            holder(*corner, fine.side, coarse, &cells).unwrap_or_else(|| {
                n_fallbacks += 1;
                nearest.to(centre(*corner, fine.side))
            })
        })
        .collect();
    Ok(Parents { index, n_fallbacks })
}

fn check(squares: Squares<'_>) -> Result<(), Error> {
    if squares.side == 0 {
        return Err(ErrorKind::Geometry { what: "patch_size_level0", found: 0.0 }.into());
    }
    match squares.coords.as_flattened().iter().map(|c| c.unsigned_abs()).find(|c| *c > LARGEST_COORD) {
        None => Ok(()),
        Some(found) => Err(ErrorKind::Limit { what: "a coordinate", found, limit: LARGEST_COORD }.into()),
    }
}

/// The centre of a patch, in half pixels.
fn centre([x, y]: [i64; 2], side: u32) -> [i64; 2] {
    [2 * x + i64::from(side), 2 * y + i64::from(side)]
}

fn squared_distance(a: [i64; 2], b: [i64; 2]) -> i128 {
    let square = |d: i64| i128::from(d) * i128::from(d);
    square(a[0] - b[0]) + square(a[1] - b[1])
}

/// The coarse patch that holds the centre of a fine one, if there is one.
fn holder(
    corner: [i64; 2],
    fine_side: u32,
    coarse: Squares<'_>,
    cells: &HashMap<[i64; 2], Vec<u32>>,
) -> Option<u32> {
    let (side, step) = (i64::from(coarse.side), i64::from(fine_side));
    let middle = centre(corner, fine_side);
    let cell = middle.map(|c| c.div_euclid(2 * side));
    let mut best: Option<((bool, i128), u32)> = None;
    for neighbour in [[0, 0], [-1, 0], [0, -1], [-1, -1]] {
        let found = cells.get(&[cell[0] + neighbour[0], cell[1] + neighbour[1]]);
        for idx in found.into_iter().flatten().copied() {
            let Some(candidate) = usize::try_from(idx).ok().and_then(|idx| coarse.coords.get(idx)) else {
                continue;
            };
            let holds =
                |axis: usize| (2 * candidate[axis]..2 * (candidate[axis] + side)).contains(&middle[axis]);
            if !(holds(0) && holds(1)) {
                continue;
            }
            let off_grid = (0..2).any(|axis| (corner[axis] - candidate[axis]) % step != 0);
            let rank = (off_grid, squared_distance(middle, centre(*candidate, coarse.side)));
            if best.is_none_or(|(known, known_idx)| (rank, idx) < (known, known_idx)) {
                best = Some((rank, idx));
            }
        }
    }
    best.map(|(_, idx)| idx)
}

/// Centres sorted by x, to search outwards from a place until x alone is too far.
struct ByCentre {
    sorted: Vec<([i64; 2], u32)>,
}

impl ByCentre {
    fn new(squares: Squares<'_>) -> Self {
        let centres = squares.coords.iter().map(|corner| centre(*corner, squares.side));
        let mut sorted: Vec<_> = centres.zip(0u32..).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The first of the patches whose centre is nearest.
    fn to(&self, place: [i64; 2]) -> u32 {
        let start = self.sorted.partition_point(|(centre, _)| centre[0] < place[0]);
        let (left, right) = self.sorted.split_at(start);
        let mut best = (i128::MAX, u32::MAX);
        let mut search = |candidates: &mut dyn Iterator<Item = &([i64; 2], u32)>| {
            for (centre, idx) in candidates {
                let apart = i128::from(centre[0] - place[0]);
                if apart * apart > best.0 {
                    break;
                }
                best = best.min((squared_distance(*centre, place), *idx));
            }
        };
        search(&mut right.iter());
        search(&mut left.iter().rev());
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(fine: &[[i64; 2]], fine_side: u32, coarse: &[[i64; 2]], side: u32) -> Parents {
        parents(Squares { coords: fine, side: fine_side }, Squares { coords: coarse, side }).unwrap()
    }

    #[test]
    fn a_nested_lattice_has_no_fallbacks() {
        let coarse: Vec<_> = (0..3).flat_map(|y| (0..3).map(move |x| [x * 100, y * 100])).collect();
        let fine: Vec<_> = (0..6).flat_map(|y| (0..6).map(move |x| [x * 50, y * 50])).collect();
        let parents = found(&fine, 50, &coarse, 100);
        assert_eq!(parents.n_fallbacks, 0);
        assert_eq!(parents.fallback_share(), 0.0);
        for ([x, y], parent) in fine.iter().zip(parents.index) {
            assert_eq!(coarse[parent as usize], [x / 100 * 100, y / 100 * 100]);
        }
    }

    #[test]
    fn of_overlapping_grids_the_one_that_fits_wins_then_the_nearest_then_the_first() {
        let fine = [[100, 100]];
        // Corner [90, 90] has the nearer centre, but is not a whole number of 20 away.
        assert_eq!(found(&fine, 20, &[[90, 90], [60, 60]], 60).index, [1]);
        assert_eq!(found(&fine, 20, &[[60, 60], [80, 80]], 60).index, [1], "both fit, the second is nearer");
        assert_eq!(found(&fine, 20, &[[80, 80], [80, 80]], 60).index, [0], "equal in all: the first");
    }

    #[test]
    fn a_patch_that_lies_nowhere_gets_the_nearest_and_is_counted() {
        let parents = found(&[[1000, 0], [0, 0]], 10, &[[0, 0], [500, 0]], 20);
        assert_eq!(parents, Parents { index: vec![1, 0], n_fallbacks: 1 });
        assert_eq!(parents.fallback_share(), 0.5);
    }

    #[test]
    fn the_far_edge_belongs_to_the_next_patch() {
        // The centre of the fine patch is x = 20, where the first coarse patch ends.
        assert_eq!(found(&[[15, 0]], 10, &[[0, 0], [20, 0]], 20).index, [1]);
    }

    #[test]
    fn impossible_squares_are_refused() {
        let corner = [[0, 0]];
        let one = |side| Squares { coords: &corner, side };
        assert!(matches!(parents(one(0), one(1)).unwrap_err().kind(), ErrorKind::Geometry { .. }));
        assert!(matches!(parents(one(1), one(0)).unwrap_err().kind(), ErrorKind::Geometry { .. }));
        let none = Squares { coords: &[], side: 1 };
        assert!(matches!(parents(one(1), none).unwrap_err().kind(), ErrorKind::EmptyBag));
        let far = Squares { coords: &[[i64::MIN, 0]], side: 1 };
        assert!(matches!(parents(far, one(1)).unwrap_err().kind(), ErrorKind::Limit { .. }));
    }

    /// The rule read literally, over all pairs.
    fn by_hand(fine: &[[i64; 2]], fine_side: u32, coarse: &[[i64; 2]], side: u32) -> Parents {
        let mut n_fallbacks = 0;
        let index = fine.iter().map(|corner| {
            let middle = centre(*corner, fine_side);
            let rank = |idx: &u32| {
                let candidate = coarse[*idx as usize];
                let inside = (0..2).all(|axis| {
                    let (low, high) = (2 * candidate[axis], 2 * (candidate[axis] + i64::from(side)));
                    low <= middle[axis] && middle[axis] < high
                });
                let fits = (0..2).all(|axis| (corner[axis] - candidate[axis]) % i64::from(fine_side) == 0);
                // Outside, only the distance counts.
                (!inside, inside && !fits, squared_distance(middle, centre(candidate, side)), *idx)
            };
            let best = (0..coarse.len() as u32).min_by_key(rank).unwrap();
            n_fallbacks += usize::from(rank(&best).0);
            best
        });
        let index = index.collect();
        Parents { index, n_fallbacks }
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_the_rule(
            fine in prop::collection::vec([0i64..200, 0i64..200], 0..40),
            coarse in prop::collection::vec([0i64..200, 0i64..200], 1..40),
            fine_side in 1u32..30, side in 1u32..60,
        ) {
            prop_assert_eq!(found(&fine, fine_side, &coarse, side), by_hand(&fine, fine_side, &coarse, side));
        }
    }
}
