//! Neighbours by features, which take seconds to minutes per slide to find, kept beside the bags for the next run.
//!
//! A file per bag in the folder [`FOLDER`] where the bag's own file lies. It holds for that file as it was, by size and time of
//! its last change, and for this version; else it is as if it were not there.

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

fn path_for(bag: &Path) -> Option<PathBuf> {
    let name = bag.file_name()?.to_str()?;
    Some(bag.parent()?.join(FOLDER).join(format!("{name}.safetensors")))
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
        | Derived::Clusters { .. } => None,
    }
}

/// The lists that are kept for a bag, if they are still its own.
pub(crate) fn read(bag: &Path) -> Vec<(Derived, Vec<u32>)> {
    let lists = || {
        let bytes = fs::read(path_for(bag)?).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        if header.metadata().as_ref()?.get(BAG)? != &state_of(bag)? {
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

/// Keeps the lists of a bag; false if there is none that takes long to find.
///
/// # Errors
/// If the file can't be written.
pub(crate) fn write(bag: &Path, derived: &DerivedCache) -> Result<bool> {
    let mut tensors = BTreeMap::new();
    for (list, indices) in derived.lists() {
        if let Some(name) = name_of(list) {
            tensors.insert(name, Tensor::from_vec(indices.to_vec(), indices.len(), &Device::Cpu)?);
        }
    }
    let (Some(path), Some(state), false) = (path_for(bag), state_of(bag), tensors.is_empty()) else {
        return Ok(false);
    };
    let folder = path.parent().ok_or_else(|| Error::data(&path, "has no folder"))?;
    run_dir::create_dir(folder)?;
    checkpoint::write_tensors(&path, &tensors, HashMap::from([(BAG.to_owned(), state)]))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_until_the_bag_changes() {
        let dir = tempfile::tempdir().unwrap();
        let bag = dir.path().join("slide.h5");
        fs::write(&bag, "a bag").unwrap();
        assert!(read(&bag).is_empty());
        let derived = DerivedCache::default();
        derived.get(Derived::NearestPlaces { k: 2 }, || Ok(vec![1, 0])).unwrap();
        assert!(!write(&bag, &derived).unwrap(), "places are found at once");
        let list = Derived::NearestFeatures { k: 3 };
        derived.get(list, || Ok(vec![7, 5, 1 << 20])).unwrap();
        assert!(write(&bag, &derived).unwrap());
        assert_eq!(read(&bag), [(list, vec![7, 5, 1 << 20])]);

        let kept = path_for(&bag).unwrap();
        let whole = fs::read(&kept).unwrap();
        fs::write(&kept, &whole[..whole.len() - 3]).unwrap();
        assert!(read(&bag).is_empty(), "cut off");
        fs::write(&kept, &whole).unwrap();
        assert_eq!(read(&bag).len(), 1);
        fs::write(&bag, "another bag").unwrap();
        assert!(read(&bag).is_empty(), "of a bag that was there before");
    }
}
