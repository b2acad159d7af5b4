//! From a tensor's description to its values, with every number of the description checked first.

use crate::element_type::ElementType;
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Run;
use crate::mmap::MappedFloats;

use super::archive::{Archive, Record};
use super::value::{Objects, Storage, TensorView};

/// A tensor that is known to fit its storage.
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
    /// The record with the storage's bytes.
    record: Record,
    /// First byte of the tensor within the record.
    start: usize,
    /// Number of values.
    pub(super) len: usize,
    /// Elements from the first to the last value, both included; at least `len`.
    span: usize,
}

impl Tensor {
    /// Compares a description with the record that holds its values.
    ///
    /// # Errors
    /// [`ErrorKind::TensorLayout`] if it reaches beyond the storage or overlaps itself, [`ErrorKind::Archive`] if the
    /// record is absent or shorter than the storage.
    pub(super) fn locate(view: &TensorView, objects: &Objects, archive: &mut Archive) -> Result<Self> {
        let [sizes, steps] = [view.shape, view.strides].map(|sizes| objects.sizes(sizes).unwrap_or_default());
        let misfit = |fault: &str| {
            let (shape, strides) = (sizes.clone(), steps.clone());
            Error::from(ErrorKind::TensorLayout { shape, strides, fault: fault.to_owned() })
        };
        let storage = *objects.storages.get(view.storage).ok_or_else(|| misfit("it has no storage"))?;
        let key = objects.text(storage.key).ok_or_else(|| misfit("its storage has no key"))?;
        let record = archive.record(&format!("data/{key}"))?;
        let element = storage.element_type.size();
        let storage_len = usize::try_from(storage.len)
            .ok()
            .filter(|len| len.checked_mul(element).is_some_and(|bytes| bytes <= record.len))
            .ok_or_else(|| {
                misfit(&format!(
                    "storage `{key}` states {} elements of {element} bytes, its record has {} bytes",
                    storage.len, record.len
                ))
            })?;

        let narrow =
            |sizes: &[u64]| sizes.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<_>>>();
        let (Some(shape), Some(strides)) = (narrow(&sizes), narrow(&steps)) else {
            return Err(misfit("a size is beyond this machine's address space"));
        };
        if shape.len() != strides.len() {
            return Err(misfit("it has not one stride per axis"));
        }
        let (len, span) = extent(&shape, &strides).ok_or_else(|| misfit("its size overflows"))?;
        let end = usize::try_from(view.offset).ok().and_then(|offset| offset.checked_add(span));
        if end.is_none_or(|end| end > storage_len) {
            return Err(misfit(&format!(
                "the storage has {storage_len} elements, the offset is {}",
                view.offset
            )));
        }
        // A stride of 0 (`expand`) would let a few bytes stand for any number of values.
        if len > span {
            return Err(misfit("its elements overlap, as after `expand`; save `tensor.contiguous()`"));
        }
        let start = end.map_or(0, |end| end - span) * element;
        Ok(Self { storage, shape, strides, record, start, len, span })
    }

    /// The record with the bytes of its storage, which other tensors may share.
    pub(super) fn record(&self) -> Record {
        self.record
    }

    /// The values where they lie in the file, if they lie there as row-major, aligned `f32`.
    pub(super) fn mapped(&self, archive: &Archive) -> Option<MappedFloats> {
        let in_place = self.storage.element_type == ElementType::F32 && self.is_row_major();
        let offset = self.record.start.checked_add(self.start)?;
        in_place.then(|| MappedFloats::new(archive.file(), offset, self.len)).flatten()
    }

    /// Where the values lie in the file, if they lie there as row-major floats of any size.
    pub(super) fn run(&self) -> Option<(ElementType, Run)> {
        let element = self.storage.element_type;
        let offset = self.record.start.checked_add(self.start)?;
        let plain = element.is_float() && self.is_row_major();
        plain.then_some((element, Run { offset: offset as u64, n_values: self.len }))
    }

    /// The values in row-major order.
    ///
    /// # Errors
    /// [`ErrorKind::Inexact`] for an integer that `f32` cannot hold.
    pub(super) fn values(&self, archive: &Archive) -> Result<Vec<f32>> {
        let element = self.storage.element_type;
        // `locate` made sure that this is within the record.
        let end = self.start + self.span * element.size();
        let values = element.decode(archive.bytes(self.record).get(self.start..end).unwrap_or_default())?;
        if self.is_row_major() { Ok(values) } else { Ok(self.gather(&values)) }
    }

    fn is_row_major(&self) -> bool {
        if self.len == 0 {
            return true;
        }
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            // The stride of an axis of length 1 is never used, and PyTorch leaves anything there.
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        })
    }

    /// Puts values that lie in the order of the strides into row-major order.
    fn gather(&self, values: &[f32]) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(self.len);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..self.len {
            gathered.push(values[at]);
            for (axis, (size, stride)) in self.shape.iter().zip(&self.strides).enumerate().rev() {
                index[axis] += 1;
                at += stride;
                if index[axis] < *size {
                    break;
                }
                at -= stride * size;
                index[axis] = 0;
            }
        }
        gathered
    }
}

/// Number of values, and of elements from the first to the last; `None` on overflow.
fn extent(shape: &[usize], strides: &[usize]) -> Option<(usize, usize)> {
    if shape.contains(&0) {
        return Some((0, 0));
    }
    let mut len = 1usize;
    let mut span = 1usize;
    for (size, stride) in shape.iter().zip(strides) {
        len = len.checked_mul(*size)?;
        span = span.checked_add((size - 1).checked_mul(*stride)?)?;
        // `gather` steps one stride past the end of an axis before it comes back.
        stride.checked_mul(*size)?;
    }
    Some((len, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_count_values_and_reach() {
        assert_eq!(extent(&[], &[]), Some((1, 1)));
        assert_eq!(extent(&[3, 4], &[4, 1]), Some((12, 12)));
        assert_eq!(extent(&[3, 4], &[1, 3]), Some((12, 12)));
        assert_eq!(extent(&[3, 4], &[10, 2]), Some((12, 27)));
        assert_eq!(extent(&[5], &[0]), Some((5, 1)));
        assert_eq!(extent(&[0, usize::MAX], &[usize::MAX, 1]), Some((0, 0)));
    }

    #[test]
    fn extents_that_overflow_are_none() {
        for (shape, strides) in [
            ([usize::MAX, 2], [0, 0]),
            ([2, 2], [usize::MAX, 1]),
            ([3, 1], [usize::MAX / 2, 1]),
            ([1, 2], [1, usize::MAX]),
        ] {
            assert_eq!(extent(&shape, &strides), None, "{shape:?} {strides:?}");
        }
    }
}
