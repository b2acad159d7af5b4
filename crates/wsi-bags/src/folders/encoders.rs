//! The encoders whose features lie in the folders of a layout.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::layout::Layout;
use crate::magnification::Magnification;

use super::directory::folders_named;
use super::find::{find, is_mmp_job, is_trident_job};

/// Folders beside which STAMP's may lie, of CLAM and AtlasPatch.
const OF_OTHER_TOOLS: [&str; 3] = ["h5_files", "pt_files", "patches"];

/// The encoders that have files of a layout below `root`, sorted, where folders one or two levels below it are named after them:
/// by TRIDENT, STAMP and MMP. None of other layouts.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if a directory cannot be listed.
pub(crate) fn encoders(root: &Path, layout: Layout) -> Result<Vec<String>> {
    let is_job = match layout {
        Layout::Trident => is_trident_job,
        Layout::Mmp => is_mmp_job,
        Layout::Stamp => |name: &str, at: Magnification| name == at.label(),
        _ => return Ok(Vec::new()),
    };
    let prefix = match layout {
        Layout::Trident => "features_",
        Layout::Mmp => "extracted-",
        _ => "",
    };
    let is_encoder = |name: &str| {
        name.strip_prefix(prefix).is_some_and(|encoder| !encoder.is_empty())
            && !OF_OTHER_TOOLS.contains(&name)
    };
    let mut named = BTreeSet::new();
    for job in folders_named(root, |name| Magnification::ALL.iter().any(|at| is_job(name, *at)))? {
        let folders: Vec<PathBuf> = folders_named(&job, is_encoder)?;
        let names = folders.iter().filter_map(|folder| folder.file_name()?.to_str()?.strip_prefix(prefix));
        named.extend(names.map(str::to_owned));
    }
    // Two folders of one magnification are files, too.
    Ok(named.into_iter().filter(|encoder| !matches!(find(root, layout, encoder, true), Ok(None))).collect())
}
