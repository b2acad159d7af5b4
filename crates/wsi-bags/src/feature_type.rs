//! The float types that features are written as.

use std::fmt;
use std::str::FromStr;

use half::f16;

use crate::element_type::ElementType;
use crate::error::{Error, ErrorKind, Result};
use crate::features::FeatureMatrix;

/// The float type of features in a file. In memory they are `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureType {
    /// 16 bits: half the room, about three decimal digits, up to 65,504.
    F16,
    /// 32 bits.
    #[default]
    F32,
}

impl FeatureType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F16, Self::F32];

    /// As command lines spell it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// The smallest that holds every value of an element type, or f32 for f64.
    #[cfg(feature = "store")]
    pub(crate) fn holding(element: ElementType) -> Self {
        if element == ElementType::F16 { Self::F16 } else { Self::F32 }
    }

    /// Bytes of one value.
    pub(crate) fn size(self) -> usize {
        self.element().size()
    }

    /// The type among those of files.
    pub(crate) fn element(self) -> ElementType {
        match self {
            Self::F16 => ElementType::F16,
            Self::F32 => ElementType::F32,
        }
    }

    /// Refuses features that this type cannot hold. Rounding is no fault.
    ///
    /// # Errors
    /// [`ErrorKind::BeyondHalf`] at the first that would become infinite.
    pub(crate) fn check(self, features: &FeatureMatrix) -> Result<()> {
        if self == Self::F32 {
            return Ok(());
        }
        let values = features.as_slice();
        match values.iter().position(|value| !f16::from_f32(*value).is_finite()) {
            None => Ok(()),
            Some(index) => {
                let (row, column) = (index / features.dim(), index % features.dim());
                let found = values.get(index).copied().unwrap_or_default();
                Err(Error::from(ErrorKind::BeyondHalf { row, column, found }))
            }
        }
    }

    /// How many features other than 0 become 0: they are nearer to it than to the smallest number of this type.
    #[cfg(feature = "store")]
    pub(crate) fn n_becoming_zero(self, features: &FeatureMatrix) -> usize {
        // Half of the smallest 16-bit float, 2^-24. What lies in the middle is rounded to the even of the two, which is 0.
        const LARGEST: f32 = 1.0 / (1 << 25) as f32;
        match self {
            Self::F32 => 0,
            Self::F16 => {
                features.as_slice().iter().filter(|value| **value != 0.0 && value.abs() <= LARGEST).count()
            }
        }
    }

    /// Appends the little-endian bytes of `values`, rounded to nearest.
    pub(crate) fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F16 => bytes.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes())),
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
}

impl fmt::Display for FeatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for FeatureType {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::UnknownName`] for other texts than the labels.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.label() == text).ok_or_else(|| {
            let known = Self::ALL.map(|known| known.label().to_owned()).to_vec();
            ErrorKind::UnknownName { what: "float type", found: text.to_owned(), known }.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for known in FeatureType::ALL {
            assert_eq!(known.to_string().parse::<FeatureType>().unwrap(), known);
        }
        let error = "bf16".parse::<FeatureType>().unwrap_err();
        assert_eq!(error.to_string(), "unknown float type `bf16`, expected one of f16, f32");
    }

    #[test]
    fn what_half_precision_would_make_infinite_is_refused() {
        let features = FeatureMatrix::new(vec![65_519.0, -65_504.0, 1e-9, 65_520.0], 2, 2).unwrap();
        assert!(FeatureType::F32.check(&features).is_ok());
        let error = FeatureType::F16.check(&features).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BeyondHalf { row: 1, column: 1, .. }), "{error}");
    }

    #[cfg(feature = "store")]
    #[test]
    fn values_that_half_precision_makes_zero_are_counted() {
        let smallest = 2f32.powi(-24);
        let values = vec![
            0.0,
            -0.0,
            1e-9,
            -1e-9,
            smallest,
            smallest / 2.0,
            (smallest / 2.0).next_up(),
            1.0,
            f32::from_bits(1),
            -(smallest / 2.0).next_down(),
        ];
        let by_rounding =
            values.iter().filter(|value| **value != 0.0 && f16::from_f32(**value).to_f32() == 0.0).count();
        let features = FeatureMatrix::new(values, 5, 2).unwrap();
        assert_eq!(by_rounding, 5);
        assert_eq!(FeatureType::F16.n_becoming_zero(&features), by_rounding);
        assert_eq!(FeatureType::F32.n_becoming_zero(&features), 0);
    }

    #[test]
    fn halves_are_rounded_to_nearest() {
        let mut bytes = Vec::new();
        FeatureType::F16.encode(&[1.0, 2049.0, -0.0], &mut bytes);
        assert_eq!(bytes, [0x00, 0x3c, 0x00, 0x68, 0x00, 0x80]);
    }
}
