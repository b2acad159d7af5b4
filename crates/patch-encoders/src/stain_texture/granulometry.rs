//! Sizes of stained objects: how much stain an opening by a square removes that a smaller square's left (Matheron, 1975).

use super::map::{Map, Pyramid};

/// Sides of the squares on the map of half resolution; all odd.
const SIDES: [usize; 6] = [3, 5, 7, 9, 13, 17];

pub(super) fn names() -> Vec<String> {
    super::names_by_stain("size", &SIDES.map(|side| 2 * side))
}

pub(super) fn features(pyramid: &Pyramid) -> Vec<f32> {
    pyramid.iter().flat_map(|levels| sizes(&levels[1])).collect()
}

/// For each side, the mean of what its opening removes from the opening before, the first from the map itself.
fn sizes(map: &Map) -> [f32; SIDES.len()] {
    let n = map.values.len().max(1) as f64;
    let mean = |map: &Map| map.values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let mut left = mean(map);
    SIDES.map(|side| {
        let opened = mean(&opening(map, side));
        (std::mem::replace(&mut left, opened) - opened) as f32
    })
}

/// The largest map below this one that is a union of flat squares: an erosion, then a dilation. Squares are cut at the edges.
fn opening(map: &Map, side: usize) -> Map {
    let mut eroded = least_in_squares(map, side);
    eroded.values.iter_mut().for_each(|x| *x = -*x);
    let mut opened = least_in_squares(&eroded, side);
    opened.values.iter_mut().for_each(|x| *x = -*x);
    opened
}

/// The least value of the square around each value.
fn least_in_squares(map: &Map, side: usize) -> Map {
    let (width, height, margin) = (map.width, map.height, side / 2);
    let mut rows = Vec::with_capacity(map.values.len());
    let mut padded = vec![f32::INFINITY; width + 2 * margin];
    for y in 0..height {
        padded.fill(f32::INFINITY);
        padded[margin..margin + width].copy_from_slice(map.row(y));
        least_in_windows(&mut padded, 1, side);
        rows.extend_from_slice(&padded[..width]);
    }
    let mut columns = vec![f32::INFINITY; (height + 2 * margin) * width];
    columns[margin * width..][..rows.len()].copy_from_slice(&rows);
    least_in_windows(&mut columns, width, side);
    columns.truncate(rows.len());
    Map { width, height, values: columns }
}

/// Replaces each value by the least of itself and the `window - 1` that follow it at distances of `step`. Windows double, so
/// the passes are few; the values of the last `window - 1` steps are of no use.
fn least_in_windows(values: &mut [f32], step: usize, window: usize) {
    let mut covered = 1;
    while covered < window {
        let more = covered.min(window - covered);
        let shift = more * step;
        // Each value meets one that lies ahead and is still as it was.
        for index in 0..values.len().saturating_sub(shift) {
            let ahead = values[index + shift];
            values[index] = if ahead < values[index] { ahead } else { values[index] };
        }
        covered += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_every_length_give_their_least_value() {
        let values: Vec<f32> = (0..40).map(|i| ((i * 7919) % 101) as f32).collect();
        for (step, window) in [(1, 3), (1, 5), (1, 7), (1, 13), (3, 5)] {
            let mut least = values.clone();
            least_in_windows(&mut least, step, window);
            for start in 0..values.len() - (window - 1) * step {
                let wanted = (0..window).map(|i| values[start + i * step]).fold(f32::INFINITY, f32::min);
                assert_eq!(least[start], wanted, "step {step}, window {window}, start {start}");
            }
        }
    }

    #[test]
    fn an_opening_keeps_squares_that_fit_and_removes_others() {
        let mut map = Map { width: 12, height: 12, values: vec![0.0; 144] };
        for (x, y) in (0..25).map(|i| (3 + i % 5, 4 + i / 5)) {
            map.values[y * 12 + x] = 2.0;
        }
        assert_eq!(opening(&map, 5).values, map.values);
        assert_eq!(opening(&map, 7).values, vec![0.0; 144]);
        let sizes = sizes(&map);
        assert_eq!(sizes[2], 50.0 / 144.0);
        assert_eq!(sizes.iter().sum::<f32>(), sizes[2]);
    }
}
