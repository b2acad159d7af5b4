//! The number types found in files, and their conversion to `f32`.

use half::{bf16, f16, slice::HalfBitsSliceExt, slice::HalfFloatSliceExt};

use crate::error::ErrorKind;

/// How one number is stored, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementType {
    F16,
    Bf16,
    F32,
    F64,
    Bool,
    U8,
    I8,
    I16,
    I32,
    I64,
}

impl ElementType {
    /// Bytes of one number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Name for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
        }
    }

    /// Whether the type is one of the four floating-point types.
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// Converts all of `bytes`; a rest shorter than one number is ignored.
    ///
    /// Narrowing from `f64` rounds to nearest, and becomes infinite beyond the range of `f32`.
    ///
    /// # Errors
    /// [`ErrorKind::Inexact`] for an integer that `f32` cannot hold.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Vec<f32>, ErrorKind> {
        Ok(match self {
            Self::F16 => decode_half::<f16>(bytes),
            Self::Bf16 => decode_half::<bf16>(bytes),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |value| f64::from_le_bytes(value) as f32),
            Self::Bool => each(bytes, |[value]| if value == 0 { 0.0 } else { 1.0 }),
            Self::U8 => each(bytes, |[value]| f32::from(value)),
            Self::I8 => each(bytes, |value| f32::from(i8::from_le_bytes(value))),
            Self::I16 => each(bytes, |value| f32::from(i16::from_le_bytes(value))),
            Self::I32 => each_exact(bytes, |value| i64::from(i32::from_le_bytes(value)))?,
            Self::I64 => each_exact(bytes, i64::from_le_bytes)?,
        })
    }
}

fn each<const SIZE: usize>(bytes: &[u8], convert: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| convert(*chunk)).collect()
}

fn each_exact<const SIZE: usize>(
    bytes: &[u8],
    convert: impl Fn([u8; SIZE]) -> i64,
) -> Result<Vec<f32>, ErrorKind> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| {
            let value = convert(*chunk);
            let float = value as f32;
            // Through i128, because 2^63 as f32 would saturate back to i64::MAX and look exact.
            let back = float as i128;
            if back == i128::from(value) { Ok(float) } else { Err(ErrorKind::Inexact { value }) }
        })
        .collect()
}

/// Converts in blocks, which lets the processor's half-to-single instructions be used without viewing unaligned bytes
/// as numbers.
fn decode_half<T>(bytes: &[u8]) -> Vec<f32>
where
    [u16]: HalfBitsSliceExt,
    [T]: HalfFloatSliceExt,
    T: HalfType,
{
    const BLOCK: usize = 4096;
    let (halves, _) = bytes.as_chunks::<2>();
    let mut values = vec![0.0; halves.len()];
    let mut bits = [0; BLOCK];
    for (halves, values) in halves.chunks(BLOCK).zip(values.chunks_mut(BLOCK)) {
        let bits = &mut bits[..halves.len()];
        for (bits, half) in bits.iter_mut().zip(halves) {
            *bits = u16::from_le_bytes(*half);
        }
        T::view(bits).convert_to_f32_slice(values);
    }
    values
}

/// The two 16-bit types; `half` seals its own trait for this.
trait HalfType: Sized {
    fn view(bits: &[u16]) -> &[Self];
}

impl HalfType for f16 {
    fn view(bits: &[u16]) -> &[Self] {
        bits.reinterpret_cast()
    }
}

impl HalfType for bf16 {
    fn view(bits: &[u16]) -> &[Self] {
        bits.reinterpret_cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_converts_as_its_scalar_does() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let halves = ElementType::F16.decode(&bytes).unwrap();
        let brains = ElementType::Bf16.decode(&bytes).unwrap();
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            let found = (halves[usize::from(bits)], brains[usize::from(bits)]);
            if half.is_nan() {
                assert!(found.0.is_nan());
            } else {
                assert_eq!(found.0.to_bits(), half.to_f32().to_bits(), "{bits:#x}");
            }
            if brain.is_nan() {
                assert!(found.1.is_nan());
            } else {
                assert_eq!(found.1.to_bits(), brain.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn integers_beyond_the_mantissa_are_refused() {
        let decode = |value: i64| ElementType::I64.decode(&value.to_le_bytes());
        assert_eq!(decode(1 << 24).unwrap(), [16_777_216.0]);
        assert_eq!(decode(-(1 << 62)).unwrap(), [-4.611_686e18]);
        for value in [(1 << 24) + 1, i64::MAX] {
            assert!(matches!(decode(value), Err(ErrorKind::Inexact { value: found }) if found == value));
        }
        assert!(ElementType::I32.decode(&i32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn doubles_round_to_nearest_and_overflow_to_infinity() {
        let bytes = [0.1f64, 1e300].map(f64::to_le_bytes).concat();
        assert_eq!(ElementType::F64.decode(&bytes).unwrap(), [0.1f32, f32::INFINITY]);
    }

    #[test]
    fn small_integers_and_flags_keep_their_values() {
        assert_eq!(ElementType::I8.decode(&[0xff, 0x7f]).unwrap(), [-1.0, 127.0]);
        assert_eq!(ElementType::U8.decode(&[0xff]).unwrap(), [255.0]);
        assert_eq!(ElementType::Bool.decode(&[0, 1, 2]).unwrap(), [0.0, 1.0, 1.0]);
        assert_eq!(
            ElementType::I16.decode(&[0xfe, 0xff, 0x01]).unwrap(),
            [-2.0],
            "the odd byte is no number"
        );
    }
}
