//! Neighbours by features, which take seconds to minutes per slide to find, kept beside the bags for the next run.
//!
//! A file per bag and encoder in the folder [`FOLDER`] where the bag's own file lies. It holds for that file as it was, by size and time
//! of its last change, and for this version; else it is as if it were not there.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cf_model::{Derived, DerivedCache};
use safetensors::SafeTensors;

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::run_dir;

/// The folder's name.
const FOLDER: &str = ".derived";
const NAME: &str = "nearest-features-";
const BAG: &str = "bag";

/// The lists of one bag: where they are kept, and the state of the bag for which they hold.
#[derive(Debug)]
pub(crate) struct EdgeFile {
    bag: PathBuf,
    path: PathBuf,
    state: String,
}

/// What tells one state of a bag's file from another.
fn state_of(bag: &Path) -> Option<String> {
    let metadata = fs::metadata(bag).ok()?;
    let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("{} {} {}", env!("CARGO_PKG_VERSION"), metadata.len(), changed.as_nanos()))
}

fn name_of(list: Derived) -> Option<String> {
    match list {
        Derived::NearestFeatures { k } => Some(format!("{NAME}{k}")),
        Derived::NearestPlaces { .. }
        | Derived::Parents { .. }
        | Derived::Places { .. }
        | Derived::Families
        | Derived::Clusters { .. } => None,
    }
}

impl EdgeFile {
    /// Of a bag that is about to be read, and its features of `encoder`, of which it may hold several. `None` where the system does not
    /// tell its state.
    pub(crate) fn of(bag: &Path, encoder: &str) -> Option<Self> {
        let name = format!("{}.{encoder}.safetensors", bag.file_name()?.to_str()?);
        let path = bag.parent()?.join(FOLDER).join(name);
        Some(Self { bag: bag.to_owned(), path, state: state_of(bag)? })
    }

    /// The lists that are kept, if they are those of the bag, and it was not changed while it was read.
    pub(crate) fn read(&self) -> Vec<(Derived, Vec<u32>)> {
        let lists = || {
            let bytes = fs::read(&self.path).ok()?;
            let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
            if header.metadata().as_ref()?.get(BAG)? != &self.state || state_of(&self.bag)? != self.state {
                return None;
            }
            let tensors = SafeTensors::deserialize(&bytes).ok()?;
            let list = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
                let k = name.strip_prefix(NAME)?.parse().ok()?;
                let (numbers, rest) = view.data().as_chunks::<4>();
                let is_list = view.dtype() == safetensors::Dtype::U32 && rest.is_empty();
                is_list.then(|| {
                    (Derived::NearestFeatures { k }, numbers.iter().map(|&n| u32::from_le_bytes(n)).collect())
                })
            };
            tensors.tensors().into_iter().map(list).collect::<Option<Vec<_>>>()
        };
        lists().unwrap_or_default()
    }

    /// Keeps the lists, as those of the bag before it was read; false if there is none that takes long to find.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn write(&self, derived: &DerivedCache) -> Result<bool> {
        let mut tensors = BTreeMap::new();
        for (list, indices) in derived.lists() {
            if let Some(name) = name_of(list) {
                tensors.insert(name, Tensor::from_vec(indices.to_vec(), indices.len(), &Device::Cpu)?);
            }
        }
        if tensors.is_empty() {
            return Ok(false);
        }
        let folder = self.path.parent().ok_or_else(|| Error::data(&self.path, "has no folder"))?;
        run_dir::create_dir(folder)?;
        let state = HashMap::from([(BAG.to_owned(), self.state.clone())]);
        checkpoint::write_tensors(&self.path, &tensors, state)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_until_the_bag_changes() {
        let dir = tempfile::tempdir().unwrap();
        let bag = dir.path().join("slide.h5");
        fs::write(&bag, "a bag").unwrap();
        let of = |encoder| EdgeFile::of(&bag, encoder).unwrap();
        let file = of("conch");
        assert!(file.read().is_empty());
        let derived = DerivedCache::default();
        derived.get(Derived::NearestPlaces { k: 2 }, || Ok(vec![1, 0])).unwrap();
        assert!(!file.write(&derived).unwrap(), "places are found at once");
        let list = Derived::NearestFeatures { k: 3 };
        derived.get(list, || Ok(vec![7, 5, 1 << 20])).unwrap();
        assert!(file.write(&derived).unwrap());
        assert_eq!(of("conch").read(), [(list, vec![7, 5, 1 << 20])]);
        assert!(of("uni2-h").read().is_empty(), "other features have other neighbours");

        let whole = fs::read(&file.path).unwrap();
        fs::write(&file.path, &whole[..whole.len() - 3]).unwrap();
        assert!(of("conch").read().is_empty(), "cut off");
        fs::write(&file.path, &whole).unwrap();
        assert_eq!(of("conch").read().len(), 1);
        fs::write(&bag, "another bag").unwrap();
        assert!(of("conch").read().is_empty() && file.read().is_empty(), "of a bag that was there before");
        file.write(&derived).unwrap();
        assert!(of("conch").read().is_empty(), "found in a bag that was replaced while it was read");
    }
}
