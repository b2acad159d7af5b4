//! Polygons in level-0 pixels: area, and which points lie inside.

/// Where a point lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Strictly inside.
    Inside,
    /// On an edge or corner.
    OnEdge,
    /// Strictly outside.
    Outside,
}

/// The area that a closed chain of pixel centres encloses: a block of 6 by 6 has 25, a single pixel 0.
#[must_use]
pub fn area(points: &[[i32; 2]]) -> f64 {
    let next = points.iter().skip(1).chain(points.first());
    let doubled: i64 = points
        .iter()
        .zip(next)
        .map(|([x0, y0], [x1, y1])| i64::from(*x0) * i64::from(*y1) - i64::from(*x1) * i64::from(*y0))
        .sum();
    doubled.unsigned_abs() as f64 / 2.0
}

/// A polygon prepared for many questions: its edges, sorted into bands of rows, so that a point is held against those of
/// its own height only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polygon {
    points: Vec<[i32; 2]>,
    /// Left, top, right and bottom of the points.
    bounds: [i32; 4],
    band_height: i64,
    /// Indices of the edges that reach into each band; edge i ends at point i.
    bands: Vec<Vec<u32>>,
}

impl Polygon {
    /// Prepares a closed chain of points.
    #[must_use]
    pub fn new(points: Vec<[i32; 2]>) -> Self {
        let axis = |axis: usize| points.iter().map(move |point| point[axis]);
        let bounds = [
            axis(0).min().unwrap_or(0),
            axis(1).min().unwrap_or(0),
            axis(0).max().unwrap_or(-1),
            axis(1).max().unwrap_or(-1),
        ];
        let height = i64::from(bounds[3]) - i64::from(bounds[1]) + 1;
        let band_height = (height / (points.len() as i64 / 4).max(1)).max(1);
        let n_bands = usize::try_from(height / band_height + 1).unwrap_or(1);
        let mut bands = vec![Vec::new(); n_bands];
        let band = |y: i32| usize::try_from((i64::from(y) - i64::from(bounds[1])) / band_height).unwrap_or(0);
        for (idx, point) in (0u32..).zip(&points) {
            let before = points[(idx as usize + points.len() - 1) % points.len()];
            for edges in &mut bands[band(before[1].min(point[1]))..=band(before[1].max(point[1]))] {
                edges.push(idx);
            }
        }
        Self { points, bounds, band_height, bands }
    }

    /// The points, in order.
    #[must_use]
    pub fn points(&self) -> &[[i32; 2]] {
        &self.points
    }

    /// Left, top, width and height; the width of points 0 and 9 is 10.
    #[must_use]
    pub fn bounding_box(&self) -> [i32; 4] {
        let [left, top, right, bottom] = self.bounds;
        [left, top, right - left + 1, bottom - top + 1]
    }

    /// Where the point at half of `doubled` lies, exactly, by the even-odd rule.
    ///
    /// Coordinates are doubled so that centres of odd-sized patches are whole numbers. The cost is that of the edges at
    /// its height.
    #[must_use]
    pub fn locate(&self, doubled: [i64; 2]) -> Position {
        let [x, y] = doubled;
        let [left, top, right, bottom] = self.bounds.map(|bound| 2 * i64::from(bound));
        if x < left || x > right || y < top || y > bottom {
            return Position::Outside;
        }
        let band = usize::try_from((y - top) / 2 / self.band_height).unwrap_or(0);
        let mut inside = false;
        for idx in self.bands.get(band).into_iter().flatten() {
            let idx = *idx as usize;
            let [x0, y0] =
                self.points[(idx + self.points.len() - 1) % self.points.len()].map(|c| 2 * i64::from(c));
            let [x1, y1] = self.points[idx].map(|c| 2 * i64::from(c));
            // Twice the area of the triangle of edge and point: 0 on the line, else its sign tells the side.
            let side = (y - y0) * (x1 - x0) - (x - x0) * (y1 - y0);
            let between = |a: i64, b: i64, c: i64| (a.min(b)..=a.max(b)).contains(&c);
            if side == 0 && between(x0, x1, x) && between(y0, y1, y) {
                return Position::OnEdge;
            }
            // Edges that cross the ray to the right; each takes its upper end only.
            if (y0 <= y) != (y1 <= y) && (side > 0) == (y1 > y0) {
                inside = !inside;
            }
        }
        if inside { Position::Inside } else { Position::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn areas_run_over_pixel_centres() {
        assert_eq!(area(&[[0, 0], [0, 5], [5, 5], [5, 0]]), 25.0);
        assert_eq!(area(&[[3, 3]]), 0.0);
        assert_eq!(area(&[]), 0.0);
    }

    #[test]
    fn edges_corners_and_halves_are_told_apart() {
        let square = Polygon::new(vec![[0, 0], [0, 10], [10, 10], [10, 0]]);
        assert_eq!(square.locate([10, 10]), Position::Inside);
        assert_eq!(square.locate([20, 10]), Position::OnEdge);
        assert_eq!(square.locate([0, 0]), Position::OnEdge);
        assert_eq!(square.locate([21, 10]), Position::Outside);
        assert_eq!(square.locate([1, 19]), Position::Inside);
        assert_eq!(square.bounding_box(), [0, 0, 11, 11]);
        assert_eq!(Polygon::new(Vec::new()).locate([0, 0]), Position::Outside);
    }

    /// The rule over all edges, in rational arithmetic by hand.
    fn by_hand(points: &[[i32; 2]], [x, y]: [i64; 2]) -> Position {
        let mut crossings = 0;
        for (idx, end) in points.iter().enumerate() {
            let [x0, y0] = points[(idx + points.len() - 1) % points.len()].map(|c| 2 * i64::from(c));
            let [x1, y1] = end.map(|c| 2 * i64::from(c));
            let cross = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0);
            let dot = (x - x0) * (x - x1) + (y - y0) * (y - y1);
            if cross == 0 && dot <= 0 {
                return Position::OnEdge;
            }
            if (y0 > y) != (y1 > y) {
                let at = x0 as f64 + (y - y0) as f64 * (x1 - x0) as f64 / (y1 - y0) as f64;
                crossings += i32::from(at > x as f64);
            }
        }
        if crossings % 2 == 1 { Position::Inside } else { Position::Outside }
    }

    proptest! {
        #[test]
        fn bands_do_not_change_the_answer(
            points in prop::collection::vec((-20i32..20, -20i32..20), 1..30), x in -50i64..50, y in -50i64..50,
        ) {
            let points: Vec<_> = points.into_iter().map(|(x, y)| [x, y]).collect();
            prop_assert_eq!(Polygon::new(points.clone()).locate([x, y]), by_hand(&points, [x, y]));
        }
    }
}
