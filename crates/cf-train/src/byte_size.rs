//! Amounts of memory, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes, written as `12 GiB`, `1.5 GB`, `800 MiB` or `900 MB`.
///
/// ```
/// use cf_train::byte_size::ByteSize;
///
/// let size: ByteSize = "1.5 GiB".parse().unwrap();
/// assert_eq!(size.0, 3 << 29);
/// assert_eq!(size.to_string(), "1.5 GiB");
/// assert!("1.5".parse::<ByteSize>().unwrap_err().contains("GiB"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

const UNITS: [(&str, f64); 4] =
    [("GiB", (1_u64 << 30) as f64), ("MiB", (1_u64 << 20) as f64), ("GB", 1e9), ("MB", 1e6)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = UNITS.iter().find_map(|(unit, bytes)| {
            let number: f64 = text.trim().strip_suffix(unit)?.trim_end().parse().ok()?;
            (number.is_finite() && number > 0.0).then(|| Self((number * bytes).round() as u64))
        });
        size.ok_or_else(|| {
            format!("found `{text}`, expected a number above 0 and GiB, MiB, GB or MB, as in `12 GiB`")
        })
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

/// In GiB, or MiB below a tenth of one.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.0 as f64 / UNITS[0].1;
        if gib < 0.1 { write!(f, "{:.0} MiB", gib * 1024.0) } else { write!(f, "{gib:.1} GiB") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_apart_and_nonsense_is_refused() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes(" 2 GB "), Ok(2_000_000_000));
        assert_eq!(bytes("500 MiB"), Ok(500 << 20));
        assert_eq!(bytes("0.5 MB"), Ok(500_000));
        for text in ["", "GiB", "12", "-1 GiB", "0 GiB", "nan GiB", "12 KiB", "12 GiB more"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
