//! Borders of the white pieces of a mask (Suzuki and Abe 1985), with every point, in OpenCV's order.

use image::GrayImage;

/// One border, in pixels of the mask. A hole's border runs through the white pixels around it.
pub type Border = Vec<[i32; 2]>;

/// The outer border of a piece, and the borders of its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The outer border.
    pub outer: Border,
    /// One border for each hole.
    pub holes: Vec<Border>,
}

/// Finds the borders of all pieces; what is not 0 is white, and neighbours include diagonals.
///
/// The last piece that a scan from the top left meets comes first, and so do holes. A piece inside a hole is one of its
/// own.
#[must_use]
pub fn pieces(mask: &GrayImage) -> Vec<Piece> {
    let mut scan = Scan::new(mask);
    scan.run();
    let mut found: Vec<Piece> = Vec::new();
    // Where the piece of each outer border will be.
    let mut place = vec![usize::MAX; scan.borders.len()];
    for (idx, border) in scan.borders.iter_mut().enumerate().rev() {
        if border.parent.is_none() {
            place[idx] = found.len();
            found.push(Piece { outer: std::mem::take(&mut border.points), holes: Vec::new() });
        }
    }
    for border in scan.borders.iter_mut().rev() {
        if let Some(piece) = border.parent.and_then(|parent| found.get_mut(place[parent])) {
            piece.holes.push(std::mem::take(&mut border.points));
        }
    }
    found
}

struct Found {
    points: Border,
    /// The outer border around a hole; `None` for an outer border.
    parent: Option<usize>,
}

/// Unvisited white pixels are 1; visited ones bear the number of a border plus 2, negative where the pixel to the right
/// is black and belongs to the outside of that border.
struct Scan {
    labels: Vec<i32>,
    stride: usize,
    n_rows: usize,
    borders: Vec<Found>,
}

/// The eight directions, counter-clockwise from the right, y pointing down.
const STEPS: [[i32; 2]; 8] = [[1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1], [0, 1], [1, 1]];
const RIGHT: usize = 0;
const LEFT: usize = 4;

impl Scan {
    fn new(mask: &GrayImage) -> Self {
        // A black frame: borders never leave the image.
        let (width, height) = (mask.width() as usize, mask.height() as usize);
        let stride = width + 2;
        let mut labels = vec![0; stride * (height + 2)];
        for (y, row) in mask.chunks_exact(width.max(1)).enumerate() {
            for (x, value) in row.iter().enumerate() {
                labels[(y + 1) * stride + x + 1] = i32::from(*value != 0);
            }
        }
        Self { labels, stride, n_rows: height + 2, borders: Vec::new() }
    }

    fn run(&mut self) {
        for y in 1..self.n_rows.saturating_sub(1) {
            // The border met last in this row; `None` is the frame.
            let mut last: Option<usize> = None;
            for x in 1..self.stride {
                let at = y * self.stride + x;
                let (here, before) = (self.labels[at], self.labels[at - 1]);
                if here == 1 && before == 0 {
                    self.follow(at, LEFT, None);
                } else if here == 0 && before >= 1 {
                    let parent = last.map(|idx| self.borders[idx].parent.unwrap_or(idx));
                    self.follow(at - 1, RIGHT, parent);
                    // The pixel that was followed is the last of its row of white ones.
                    last = border_of(self.labels[at - 1]).or(last);
                }
                if self.labels[at] != 0 && self.labels[at] != 1 {
                    last = border_of(self.labels[at]);
                }
            }
        }
    }

    /// Follows one border from its first pixel, whose neighbour in direction `from` is black.
    fn follow(&mut self, start: usize, from: usize, parent: Option<usize>) {
        let label = i32::try_from(self.borders.len() + 2).unwrap_or(i32::MAX);
        let offsets = STEPS.map(|[dx, dy]| dx as isize + dy as isize * self.stride as isize);
        let neighbour = |at: usize, direction: usize| at.wrapping_add_signed(offsets[direction & 7]);
        let mut point = [(start % self.stride) as i32 - 1, (start / self.stride) as i32 - 1];
        // Clockwise from the black neighbour to the first white one.
        let first = (1..8).map(|turn| (from + 8 - turn) & 7).find(|d| self.labels[neighbour(start, *d)] != 0);
        let Some(first) = first else {
            self.labels[start] = -label;
            self.borders.push(Found { points: vec![point], parent });
            return;
        };
        let end = neighbour(start, first);
        let (mut at, mut direction) = (start, first);
        let mut points = Border::new();
        loop {
            // Counter-clockwise from the pixel that we came from to the next white one.
            let came_from = direction;
            let turned = (came_from + 1..came_from + 9).find(|d| self.labels[neighbour(at, *d)] != 0);
            // There is one: the pixel that we came from.
            let found = turned.unwrap_or(came_from + 8);
            direction = found & 7;
            // Direction 8 is the right again: it was passed over, and is black.
            if found > 8 {
                self.labels[at] = -label;
            } else if self.labels[at] == 1 {
                self.labels[at] = label;
            }
            points.push(point);
            let next = neighbour(at, direction);
            point = [point[0] + STEPS[direction][0], point[1] + STEPS[direction][1]];
            if next == start && at == end {
                break;
            }
            at = next;
            direction = (direction + 4) & 7;
        }
        self.borders.push(Found { points, parent });
    }
}

fn border_of(label: i32) -> Option<usize> {
    usize::try_from(label.unsigned_abs()).ok()?.checked_sub(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> GrayImage {
        GrayImage::from_fn(rows[0].len() as u32, rows.len() as u32, |x, y| {
            image::Luma([if rows[y as usize].as_bytes()[x as usize] == b'#' { 255 } else { 0 }])
        })
    }

    #[test]
    fn a_block_is_followed_counter_clockwise_from_its_top_left() {
        let found = pieces(&mask(&["....", ".##.", ".##."]));
        assert_eq!(found, [Piece { outer: vec![[1, 1], [1, 2], [2, 2], [2, 1]], holes: vec![] }]);
    }

    #[test]
    fn a_piece_in_a_hole_is_one_of_its_own_and_the_last_met_comes_first() {
        let found = pieces(&mask(&["#####", "#...#", "#.#.#", "#...#", "#####", ".....", "#...."]));
        let outlines: Vec<_> = found.iter().map(|piece| (piece.outer[0], piece.holes.len())).collect();
        assert_eq!(outlines, [([0, 6], 0), ([2, 2], 0), ([0, 0], 1)]);
        // The corners of the ring are not next to the hole by a side, so its border cuts them.
        assert_eq!(found[2].holes[0].len(), 12);
    }

    #[test]
    fn pieces_may_touch_the_edge_and_be_one_pixel_or_none() {
        assert_eq!(pieces(&mask(&["###", "###"])).len(), 1);
        assert_eq!(pieces(&mask(&["#"])), [Piece { outer: vec![[0, 0]], holes: vec![] }]);
        assert_eq!(pieces(&mask(&["..."])), []);
        assert_eq!(pieces(&GrayImage::new(0, 0)), []);
    }

    #[test]
    fn diagonal_neighbours_are_one_piece() {
        assert_eq!(pieces(&mask(&["#.", ".#"])).len(), 1);
    }
}
