//! Commas in cells that should be numbers.

/// What the commas of a number may be, with the number as it should be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commas {
    /// A decimal comma.
    Decimal {
        /// With a point in its place.
        point: String,
    },
    /// One comma before three digits: it may separate thousands, or be a decimal comma.
    Unclear {
        /// Without it.
        whole: String,
        /// With a point in its place.
        point: String,
    },
    /// They separate thousands.
    Thousands {
        /// Without them.
        whole: String,
    },
}

/// What the commas of a cell may be; `None` where it has none, or is no number whatever they are.
#[must_use]
pub fn commas_of(cell: &str) -> Option<Commas> {
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let (number, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(n, after)| (n, Some(after)));
    let (first, rest) = number.split_once(',')?;
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_fraction = fraction.is_none_or(are_digits);
    if !is_fraction || !are_digits(first) || !rest.split(',').all(are_digits) {
        return None;
    }
    let is_grouped =
        first.len() <= 3 && !first.starts_with('0') && rest.split(',').all(|group| group.len() == 3);
    let is_decimal = fraction.is_none() && !rest.contains(',');
    let (whole, point) = (cell.replace(',', ""), cell.replace(',', "."));
    match (is_grouped, is_decimal) {
        (true, true) => Some(Commas::Unclear { whole, point }),
        (true, false) => Some(Commas::Thousands { whole }),
        (false, true) => Some(Commas::Decimal { point }),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_before_three_digits_may_separate_thousands() {
        let unclear = |whole: &str, point: &str| {
            Some(Commas::Unclear { whole: whole.to_owned(), point: point.to_owned() })
        };
        let thousands = |whole: &str| Some(Commas::Thousands { whole: whole.to_owned() });
        let decimal = |point: &str| Some(Commas::Decimal { point: point.to_owned() });
        assert_eq!(commas_of("1,260"), unclear("1260", "1.260"));
        assert_eq!(commas_of("-20,500"), unclear("-20500", "-20.500"));
        assert_eq!(commas_of("1,260,500"), thousands("1260500"));
        assert_eq!(commas_of("1,260.5"), thousands("1260.5"));
        for (cell, point) in
            [("0,270", "0.270"), ("0,27", "0.27"), ("20,5", "20.5"), ("1260,500", "1260.500")]
        {
            assert_eq!(commas_of(cell), decimal(point), "{cell}");
        }
        for cell in ["1260", "1.5", "", ",5", "5,", "1,2,3", "0,260,500", "1,26.5", "1,260.", "a,5"] {
            assert_eq!(commas_of(cell), None, "{cell}");
        }
    }
}
