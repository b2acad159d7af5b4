//! Exact nearest neighbours of patches by their coordinates, through a grid of cells.

use rayon::prelude::*;

/// Patches per cell of the grid, on average.
const PER_CELL: usize = 2;

/// The `min(k, n - 1)` nearest other places of each place by Euclidean distance, the lower index first of equals.
///
/// - `places`: `[x, y]`, each below 2^40 in size, so that squared distances are exact. Returns row-major
///   `[n, min(k, n - 1)]`, nearest first.
///
/// Cost: about linear in `n` where places lie on a lattice; memory O(n).
pub fn nearest_places(places: &[[i64; 2]], k: usize) -> Vec<u32> {
    let k = k.min(places.len().saturating_sub(1));
    if k == 0 {
        return Vec::new();
    }
    let grid = Grid::new(places);
    let mut neighbours = vec![0; places.len() * k];
    neighbours.par_chunks_mut(k).enumerate().for_each(|(index, row)| grid.nearest(index, row));
    neighbours
}

/// Places sorted into square cells.
struct Grid<'a> {
    places: &'a [[i64; 2]],
    corner: [i64; 2],
    /// Side of a cell.
    side: i64,
    n_cells: [i64; 2],
    /// Where the members of each cell start, row-major.
    starts: Vec<usize>,
    members: Vec<u32>,
}

impl<'a> Grid<'a> {
    fn new(places: &'a [[i64; 2]]) -> Self {
        let edge = |axis: usize, pick: fn(i64, i64) -> i64| {
            places.iter().map(|place| place[axis]).reduce(pick).unwrap_or(0)
        };
        let corner = [edge(0, i64::min), edge(1, i64::min)];
        let extent = [edge(0, i64::max) - corner[0] + 1, edge(1, i64::max) - corner[1] + 1];
        let n_wanted = (places.len() / PER_CELL).max(1) as f64;
        // As many cells as wanted over the bounding box, and along a line no more either.
        let by_area = (extent[0] as f64 * extent[1] as f64 / n_wanted).sqrt();
        let by_line = extent[0].max(extent[1]) as f64 / n_wanted;
        let side = by_area.max(by_line).ceil().max(1.0) as i64;
        let n_cells = [extent[0] / side + 1, extent[1] / side + 1];
        let mut grid = Self { places, corner, side, n_cells, starts: Vec::new(), members: Vec::new() };
        let cells: Vec<usize> = places.iter().map(|&place| grid.index_of(grid.cell_of(place))).collect();
        let mut starts = vec![0; (n_cells[0] * n_cells[1]) as usize + 1];
        cells.iter().for_each(|&cell| starts[cell + 1] += 1);
        for cell in 1..starts.len() {
            starts[cell] += starts[cell - 1];
        }
        let mut next = starts.clone();
        let mut members = vec![0; places.len()];
        for (index, cell) in (0_u32..).zip(cells) {
            members[next[cell]] = index;
            next[cell] += 1;
        }
        (grid.starts, grid.members) = (starts, members);
        grid
    }

    fn cell_of(&self, place: [i64; 2]) -> [i64; 2] {
        [(place[0] - self.corner[0]) / self.side, (place[1] - self.corner[1]) / self.side]
    }

    fn index_of(&self, cell: [i64; 2]) -> usize {
        (cell[1] * self.n_cells[0] + cell[0]) as usize
    }

    /// Fills `row` with the nearest other places of the place `index`.
    fn nearest(&self, index: usize, row: &mut [u32]) {
        let k = row.len();
        let place = self.places[index];
        let centre = self.cell_of(place);
        let last_ring = (0..2).map(|axis| centre[axis].max(self.n_cells[axis] - 1 - centre[axis])).max();
        let mut best: Vec<(i128, u32)> = Vec::with_capacity(k + 1);
        for ring in 0..=last_ring.unwrap_or(0) {
            // Whatever lies in this ring is at least this far away.
            let reach = i128::from((ring - 1).max(0)) * i128::from(self.side);
            if best.len() == k && best.last().is_some_and(|(farthest, _)| reach * reach > *farthest) {
                break;
            }
            self.for_ring(centre, ring, |other| {
                if other as usize == index {
                    return;
                }
                let [x, y] = self.places[other as usize];
                let square = |d: i64| i128::from(d) * i128::from(d);
                let found = (square(x - place[0]) + square(y - place[1]), other);
                if best.len() < k || best.last().is_some_and(|worst| found < *worst) {
                    best.insert(best.partition_point(|known| *known < found), found);
                    best.truncate(k);
                }
            });
        }
        for (neighbour, (_, other)) in row.iter_mut().zip(best) {
            *neighbour = other;
        }
    }

    /// Calls `visit` for every place in a cell that is `ring` cells from `centre`, in the larger of both directions.
    fn for_ring(&self, centre: [i64; 2], ring: i64, mut visit: impl FnMut(u32)) {
        let rows = (centre[1] - ring).max(0)..=(centre[1] + ring).min(self.n_cells[1] - 1);
        for y in rows {
            let whole_row = (y - centre[1]).abs() == ring;
            let step = if whole_row { 1 } else { (2 * ring).max(1) };
            let mut x = centre[0] - ring;
            while x <= centre[0] + ring {
                if (0..self.n_cells[0]).contains(&x) {
                    let cell = self.index_of([x, y]);
                    self.members[self.starts[cell]..self.starts[cell + 1]]
                        .iter()
                        .copied()
                        .for_each(&mut visit);
                }
                x += step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn by_sorting(places: &[[i64; 2]], k: usize) -> Vec<u32> {
        let rows = places.iter().enumerate().map(|(index, a)| {
            let mut others: Vec<(i64, u32)> = (0_u32..)
                .zip(places)
                .filter(|(other, _)| *other as usize != index)
                .map(|(other, b)| ((a[0] - b[0]).pow(2) + (a[1] - b[1]).pow(2), other))
                .collect();
            others.sort_unstable();
            others.into_iter().take(k).map(|(_, other)| other).collect::<Vec<_>>()
        });
        rows.flatten().collect()
    }

    #[test]
    fn neighbours_are_those_of_a_full_sort() {
        let mut rng = crate::random::stream(7, "nearest places test");
        for n in [1, 2, 3, 5, 9, 60, 400] {
            for spread in [1, 4, 30, 100_000] {
                let places: Vec<[i64; 2]> = (0..n)
                    .map(|_| {
                        [256 * rng.random_range(-spread..spread), 256 * rng.random_range(-spread..spread)]
                    })
                    .collect();
                for k in [0, 1, 4, 8, 12] {
                    assert_eq!(
                        nearest_places(&places, k),
                        by_sorting(&places, k),
                        "n {n} spread {spread} k {k}"
                    );
                }
            }
        }
    }

    #[test]
    fn lines_islands_and_piles_are_no_exception() {
        let line: Vec<[i64; 2]> = (0..500).map(|x| [x * 1024, 7]).collect();
        let pile = vec![[5, 5]; 40];
        let mut islands: Vec<[i64; 2]> = (0..30).map(|i| [i % 6 * 512, i / 6 * 512]).collect();
        islands.extend((0..30).map(|i| [1_000_000 + i % 6 * 512, 900_000 + i / 6 * 512]));
        islands.push([-4_000_000, 3]);
        for places in [line, pile, islands] {
            assert_eq!(nearest_places(&places, 8), by_sorting(&places, 8));
        }
    }

    #[test]
    fn the_largest_bag_takes_seconds_at_most() {
        let places: Vec<[i64; 2]> = (0..137_990).map(|i| [i % 420 * 512, i / 420 * 512]).collect();
        let started = std::time::Instant::now();
        let neighbours = nearest_places(&places, 8);
        println!("{} neighbours in {:.2} s", neighbours.len(), started.elapsed().as_secs_f64());
        assert_eq!(&neighbours[..3], [1, 420, 421]);
        assert_eq!(neighbours.len(), 137_990 * 8);
    }
}
