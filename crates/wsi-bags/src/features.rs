//! The feature matrix: one row per patch, finite by construction.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Features of the patches of one magnification: `[n_patches, dim]`, row-major `f32`.
///
/// There is at least one row and one column, and every value is finite. Cloning shares the values. They are owned,
/// or lie in a memory-mapped file and are read from disk on first use: see [`FeatureMatrix::is_mapped`].
///
/// ```
/// use wsi_bags::FeatureMatrix;
///
/// let features = FeatureMatrix::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3)?;
/// assert_eq!((features.n_patches(), features.dim()), (2, 3));
/// assert_eq!(features.row(1), Some(&[4.0, 5.0, 6.0][..]));
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Clone)]
pub struct FeatureMatrix {
    values: Arc<dyn Floats>,
    n_patches: usize,
    dim: usize,
    mapped: bool,
}

/// Where values lie.
pub(crate) trait Floats: AsRef<[f32]> + Send + Sync {
    /// Gives back the memory that the values can do without until they are read again.
    fn release(&self) {}
}

impl Floats for Vec<f32> {}

impl FeatureMatrix {
    /// Checks `values` (row after row) and takes them over.
    ///
    /// # Errors
    /// [`ErrorKind::EmptyBag`] without rows, [`ErrorKind::ZeroWidth`] without columns, [`ErrorKind::ValueCount`] if
    /// the number of values is not `n_patches * dim`, [`ErrorKind::NonFinite`] at the first NaN or infinity.
    pub fn new(values: Vec<f32>, n_patches: usize, dim: usize) -> Result<Self> {
        Self::checked(Arc::new(values), n_patches, dim, false)
    }

    /// Like [`FeatureMatrix::new`], over little-endian values that stay in `file`, from its first byte on. They cost no
    /// memory that cannot be had back; see [`FeatureMatrix::is_mapped`] for what must not happen to the file.
    ///
    /// # Errors
    /// Those of [`FeatureMatrix::new`]; [`ErrorKind::Io`] if the file cannot be mapped.
    #[cfg(feature = "pt")]
    pub fn in_file(file: std::fs::File, n_patches: usize, dim: usize) -> Result<Self> {
        use crate::element_type::ElementType;
        use crate::gather::{Run, gather};
        use crate::mmap::{MappedFile, MappedFloats};

        let file = Arc::new(MappedFile::of(file)?);
        let n_values = n_patches.saturating_mul(dim).min(file.bytes().len() / size_of::<f32>());
        match MappedFloats::new(&file, 0, n_values) {
            Some(floats) => Self::mapped(Arc::new(floats), n_patches, dim),
            None => {
                let read = gather(&file, ElementType::F32, &[Run { offset: 0, n_values }])?;
                Self::gathered(read, n_patches, dim)
            }
        }
    }

    /// Like [`FeatureMatrix::new`], over values that stay in a memory-mapped file.
    #[cfg(feature = "pt")]
    pub(crate) fn mapped(values: Arc<dyn Floats>, n_patches: usize, dim: usize) -> Result<Self> {
        Self::checked(values, n_patches, dim, true)
    }

    /// Like [`FeatureMatrix::new`], over values that were read, and looked at meanwhile.
    #[cfg(feature = "pt")]
    pub(crate) fn gathered(read: crate::gather::Gathered, n_patches: usize, dim: usize) -> Result<Self> {
        Self::of(Arc::new(read.values), n_patches, dim, false, |_| read.non_finite)
    }

    fn checked(values: Arc<dyn Floats>, n_patches: usize, dim: usize, mapped: bool) -> Result<Self> {
        Self::of(values, n_patches, dim, mapped, find_non_finite)
    }

    fn of(
        values: Arc<dyn Floats>,
        n_patches: usize,
        dim: usize,
        mapped: bool,
        find_non_finite: impl FnOnce(&[f32]) -> Option<usize>,
    ) -> Result<Self> {
        if n_patches == 0 {
            return Err(ErrorKind::EmptyBag.into());
        }
        if dim == 0 {
            return Err(ErrorKind::ZeroWidth.into());
        }
        let slice = (*values).as_ref();
        if n_patches.checked_mul(dim) != Some(slice.len()) {
            return Err(ErrorKind::ValueCount { n_patches, dim, found: slice.len() }.into());
        }
        if let Some(index) = find_non_finite(slice) {
            return Err(Error::from(ErrorKind::NonFinite { row: index / dim, column: index % dim }));
        }
        Ok(Self { values, n_patches, dim, mapped })
    }

    /// Number of rows, at least 1.
    #[must_use]
    pub fn n_patches(&self) -> usize {
        self.n_patches
    }

    /// Number of columns, at least 1.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        (*self.values).as_ref()
    }

    /// The features of patch `patch_idx`, or `None` beyond the last.
    #[must_use]
    pub fn row(&self, patch_idx: usize) -> Option<&[f32]> {
        let start = patch_idx.checked_mul(self.dim)?;
        self.as_slice().get(start..start.checked_add(self.dim)?)
    }

    /// Gives back the memory of values that lie in a memory-mapped file; they are read from disk again when they are next
    /// looked at. For who has made a copy of them. Values in memory of this process stay there.
    pub fn release(&self) {
        self.values.release();
    }

    /// Whether the values lie in a memory-mapped file rather than in memory of this process.
    ///
    /// Such values cost no memory until read, but the file must not be truncated or overwritten in place while they
    /// live. Everything this crate writes is written beside its name and renamed, which is safe.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.mapped
    }
}

impl fmt::Debug for FeatureMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureMatrix")
            .field("n_patches", &self.n_patches)
            .field("dim", &self.dim)
            .field("mapped", &self.mapped)
            .finish_non_exhaustive()
    }
}

impl PartialEq for FeatureMatrix {
    /// Equal shapes and equal values, wherever the values lie.
    fn eq(&self, other: &Self) -> bool {
        self.dim == other.dim && self.as_slice() == other.as_slice()
    }
}

/// [`first_non_finite`] of many values, by several threads: a scan by one takes as long as reading them.
fn find_non_finite(values: &[f32]) -> Option<usize> {
    const VALUES_PER_THREAD: usize = 1 << 20;
    const MAX_THREADS: usize = 4;
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let n_threads = (values.len() / VALUES_PER_THREAD).clamp(1, MAX_THREADS.min(available));
    if n_threads == 1 {
        return first_non_finite(values);
    }
    let part = values.len().div_ceil(n_threads);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            values.chunks(part).map(|values| scope.spawn(|| first_non_finite(values))).collect();
        let found = threads.into_iter().enumerate().map(|(index, thread)| match thread.join() {
            Ok(found) => found.map(|at| index * part + at),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All are joined; the first part that has one has the first.
        found.collect::<Vec<_>>().into_iter().flatten().next()
    })
}

/// Index of the first NaN or infinity.
pub(crate) fn first_non_finite(values: &[f32]) -> Option<usize> {
    // Exponent bits all set means NaN or infinity. Testing whole blocks without branches keeps the scan at memory
    // speed; only a block that fails is searched.
    const BLOCK: usize = 1024;
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = |value: &f32| value.to_bits() & EXPONENT == EXPONENT;
    values.chunks(BLOCK).enumerate().find_map(|(block_idx, block)| {
        let any_bad = block.iter().fold(false, |any, value| any | bad(value));
        if any_bad { block.iter().position(bad).map(|offset| block_idx * BLOCK + offset) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_patches_is_an_empty_bag() {
        let error = FeatureMatrix::new(Vec::new(), 0, 4).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::EmptyBag));
    }

    #[test]
    fn no_columns_is_refused() {
        let error = FeatureMatrix::new(Vec::new(), 3, 0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ZeroWidth));
    }

    #[test]
    fn a_value_too_few_is_refused() {
        let error = FeatureMatrix::new(vec![0.0; 5], 2, 3).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ValueCount { n_patches: 2, dim: 3, found: 5 }));
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        let error = FeatureMatrix::new(vec![0.0; 4], usize::MAX, 2).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ValueCount { .. }));
    }

    #[test]
    fn rows_beyond_the_last_are_none() {
        let features = FeatureMatrix::new(vec![1.0, 2.0], 2, 1).unwrap();
        assert_eq!(features.row(1), Some(&[2.0][..]));
        assert_eq!(features.row(2), None);
        assert_eq!(features.row(usize::MAX), None);
    }

    #[test]
    fn the_first_non_finite_value_of_many_is_found_in_every_part() {
        let n = (4 << 20) + 13;
        let mut values = vec![1.0f32; n];
        assert_eq!(find_non_finite(&values), None);
        for at in [n - 1, n / 2 + 1, n / 3, 0] {
            values[at] = f32::NAN;
            assert_eq!(find_non_finite(&values), Some(at));
        }
    }

    proptest! {
        #[test]
        fn the_first_non_finite_value_is_found_wherever_it_is(
            n_patches in 1usize..70, dim in 1usize..70, seed in any::<prop::sample::Index>(), which in 0usize..3,
        ) {
            let mut values = vec![f32::MAX; n_patches * dim];
            let index = seed.index(values.len());
            values[index..].fill(f32::NAN);
            values[index] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][which];
            let error = FeatureMatrix::new(values, n_patches, dim).unwrap_err();
            let found = match error.kind() {
                ErrorKind::NonFinite { row, column } => (*row, *column),
                other => panic!("{other}"),
            };
            prop_assert_eq!(found, (index / dim, index % dim));
        }
    }
}
