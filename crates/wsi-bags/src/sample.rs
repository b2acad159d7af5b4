//! Few bytes of a slide's patches that tell them from others.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::magnification::Magnification;
use crate::patch_source::PatchSource;
use crate::regular_file;
use crate::store::BagStore;

/// Bytes that are read at each of three places: all features of a cohort would take as long as an epoch of training.
const PLACE_BYTES: u64 = 4096;

impl BagStore {
    /// Bytes that differ, in all likelihood, where a slide's patches at one magnification are not those that they were.
    ///
    /// Of a native bag, which may hold features of other encoders besides, they are what is known of the patches of this one, coordinates
    /// included, and the first, middle and last of its features; of other files, or where its features are not in one piece, the
    /// length of the file and its first, middle and last bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read; of a native bag, as [`BagStore::describe`].
    pub fn sample(&self, slide_id: &str, magnification: Magnification) -> Result<Vec<u8>> {
        let path = self.path_of(slide_id, magnification);
        if self.layout() == Some(Layout::Native) {
            let source = self.source(self.stem(slide_id)?, magnification)?;
            if let Some(range) = source.feature_bytes() {
                let mut sample = known(&source);
                read_places(&path, range, &mut sample)?;
                return Ok(sample);
            }
        }
        let read = regular_file::open(&path, "a file").and_then(|file| file.metadata());
        let n_bytes = read.map_err(unreadable).map_err(|error| error.in_file(&path))?.len();
        let mut sample = n_bytes.to_string().into_bytes();
        read_places(&path, 0..n_bytes, &mut sample)?;
        Ok(sample)
    }
}

/// All that is known of patches but features, and who made them.
fn known(source: &PatchSource) -> Vec<u8> {
    let PatchSource { n_patches, dim, element, geometry, slide, parent_fallbacks, .. } = source;
    let element = element.name();
    let mut known =
        format!("{n_patches} {dim} {element} {geometry:?} {slide:?} {parent_fallbacks:?}\n").into_bytes();
    let coords = source.coords.iter().flatten().flatten();
    known.extend(coords.flat_map(|number| number.to_le_bytes()));
    let parents = source.parents.iter().flatten().map(|parent| parent.map_or(-1, i64::from));
    known.extend(parents.flat_map(i64::to_le_bytes));
    known.extend(source.tissue.iter().flatten());
    known
}

/// Reads the first, middle and last bytes of a part of a file.
fn read_places(path: &Path, Range { start, end }: Range<u64>, into: &mut Vec<u8>) -> Result<()> {
    let n_bytes = PLACE_BYTES.min(end.saturating_sub(start));
    let last = end - n_bytes;
    let mut read = || {
        let mut file = regular_file::open(path, "a file")?;
        for place in [start, start + (last - start) / 2, last] {
            file.seek(SeekFrom::Start(place))?;
            (&mut file).take(n_bytes).read_to_end(into)?;
        }
        Ok(())
    };
    read().map_err(unreadable).map_err(|error| error.in_file(path))
}

fn unreadable(source: std::io::Error) -> Error {
    ErrorKind::Io { action: "read the file", source }.into()
}
