//! Bags in a given order, read ahead of use.

use std::sync::Arc;

use crate::bag::Bag;
use crate::error::Result;
use crate::magnification::Magnification;
use crate::read_ahead::ReadAhead;
use crate::store::BagStore;

/// Reads bags on a background thread while earlier ones are in use, and yields them in exactly the asked order.
///
/// Yields each slide id as it was given, with its bag or the error of reading it; an error does not end the
/// iteration. At most `ahead` finished bags wait while one more is being read. Dropping the loader waits
/// for the read in progress and ends the thread.
///
/// Memory-mapped features (see [`FeatureMatrix::is_mapped`](crate::FeatureMatrix::is_mapped)) are checked for
/// non-finite values on that thread, which also brings them into memory.
///
/// ```
/// use std::sync::Arc;
/// use wsi_bags::{BagStore, FeatureMatrix, Magnification, OrderedLoader, pt};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let root = directory.path();
/// # let files = root.join("resnet50/x20/pt_files");
/// # std::fs::create_dir_all(&files).unwrap();
/// for (slide, n_patches) in [("slide-1", 3), ("slide-2", 5)] {
///     let features = FeatureMatrix::new(vec![0.5; n_patches], n_patches, 1)?;
///     pt::write_features(&files.join(format!("{slide}.pt")), &features)?;
/// }
/// let store = Arc::new(BagStore::open(root, None, "resnet50")?);
/// let order = ["slide-2", "slide-1", "slide-2"].map(str::to_owned).to_vec();
/// let mut n_patches = Vec::new();
/// for (_slide_id, bag) in OrderedLoader::new(store, order, vec![Magnification::X20], 2) {
///     n_patches.push(bag?.at(Magnification::X20)?.n_patches());
/// }
/// assert_eq!(n_patches, [5, 3, 5]);
/// # Ok::<(), wsi_bags::Error>(())
/// ```
pub struct OrderedLoader {
    bags: ReadAhead<(String, Result<Bag>)>,
    remaining: usize,
}

impl OrderedLoader {
    /// Starts reading `slide_ids` from `store`; ids may repeat, as in sampling with replacement.
    ///
    /// With `ahead` 0, one bag is read while the one before it is in use.
    #[must_use]
    pub fn new(
        store: Arc<BagStore>,
        slide_ids: Vec<String>,
        magnifications: Vec<Magnification>,
        ahead: usize,
    ) -> Self {
        let remaining = slide_ids.len();
        let read = move |slide_id: String| {
            let bag = store.read(&slide_id, &magnifications);
            (slide_id, bag)
        };
        Self { bags: ReadAhead::new(slide_ids.into_iter().map(read), ahead), remaining }
    }
}

impl Iterator for OrderedLoader {
    type Item = (String, Result<Bag>);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.bags.next()?;
        self.remaining = self.remaining.saturating_sub(1);
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for OrderedLoader {}
