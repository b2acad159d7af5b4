//! Lists of numbers, as `--folds` and `--index` take them: `3` or `0-4,7`.

use std::ops::RangeInclusive;

/// More than any study has tasks.
const MOST_NUMBERS: usize = 1_000_000;

/// A part of a list, between its commas: a number, or the first and the last of several.
pub(super) fn range(part: &str) -> Result<RangeInclusive<usize>, String> {
    let ends = || {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?))
    };
    match ends() {
        Some((first, last)) if first <= last && last - first < MOST_NUMBERS => Ok(first..=last),
        _ => Err(format!("found `{part}`, expected a number or a range, such as 3 or 0-4")),
    }
}

/// The numbers of a list's parts, in their order.
pub(super) fn numbers(parts: &[RangeInclusive<usize>]) -> Vec<usize> {
    parts.iter().cloned().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbers_or_ranges_that_rise() {
        let of = |list: &str| {
            list.split(',').map(range).collect::<Result<Vec<_>, _>>().map(|parts| numbers(&parts))
        };
        assert_eq!(of("0-2"), Ok(vec![0, 1, 2]));
        assert_eq!(of("3, 0 - 1,7"), Ok(vec![3, 0, 1, 7]));
        for wrong in ["", "2-0", "a", "-1", "0-", "1.5", "0-1000000", "0--1", "1,"] {
            assert!(of(wrong).is_err_and(|told| told.contains("such as 3 or 0-4")), "{wrong}");
        }
    }
}
