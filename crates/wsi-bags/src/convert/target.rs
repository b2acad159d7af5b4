//! What lies in the directory that is written into.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::folders::{find, folders_named};
use crate::layout::Layout;
use crate::replace::name_beside;
use crate::slide_names::SlideNames;

/// The slides that have files of a layout and backbone in a directory, which need not be there.
///
/// # Errors
/// [`ErrorKind::OtherLayout`] if it holds files of another layout, which a store of one of the encoders could not tell from those of
/// this one; [`ErrorKind::AmbiguousFolder`], [`ErrorKind::Io`].
pub(super) fn slides_there(out: &Path, layout: Layout, backbone: &str) -> Result<SlideNames> {
    let look = || {
        let mut found = Vec::new();
        for candidate in Layout::ALL.into_iter().filter(|candidate| *candidate != layout) {
            found.extend(find(out, candidate, backbone, false)?.map(|_| candidate.pattern(backbone)));
        }
        // Files of these are found whatever the encoder, so that those of others must not lie beside them either.
        if matches!(layout, Layout::Native | Layout::Clam) {
            for folder in folders_named(out, |name| name != backbone)? {
                let other = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                for candidate in [Layout::Crossfusion, Layout::Safetensors] {
                    found.extend(find(out, candidate, &other, false)?.map(|_| candidate.pattern(&other)));
                }
            }
        }
        if !found.is_empty() {
            return Err(ErrorKind::OtherLayout { found, wanted: layout.to_string() }.into());
        }
        let stems = find(out, layout, backbone, true)?.map_or(Ok(Vec::new()), |folders| folders.stems())?;
        Ok(SlideNames::new(stems))
    };
    look().map_err(|error: Error| error.in_file(out))
}

/// Refuses a directory in which no file can be made: with the first slide, not with every one.
///
/// # Errors
/// [`ErrorKind::Io`], which names the directory.
pub(super) fn check_writable(out: &Path) -> Result<()> {
    let probe = name_beside(&out.join("probe"))?;
    let made = File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    made.map_err(|source| {
        Error::from(ErrorKind::Io { action: "write into the directory", source }).in_file(out)
    })
}
