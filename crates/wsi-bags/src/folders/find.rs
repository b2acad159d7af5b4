//! The folders of each layout.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::magnification::Magnification;
use crate::native;
use crate::scale_file::{FileType, is_name_of};

use super::directory::{check_directory, file_names, folders_named, has_files, is_folder};
use super::{Folders, ScaleFolder};

/// Looks for the files of one layout below `root`; `None` if there are none. `stated` says that the user asked for
/// this layout, so that what has its files is not looked at more closely.
///
/// # Errors
/// [`ErrorKind::AmbiguousFolder`] if two folders may be the one of a magnification, [`ErrorKind::Io`] if a directory
/// cannot be listed.
pub(crate) fn find(root: &Path, layout: Layout, backbone: &str, stated: bool) -> Result<Option<Folders>> {
    match layout {
        Layout::Native => find_native(root, stated),
        Layout::Safetensors => find_safetensors(root, backbone),
        Layout::Crossfusion => per_scale(backbone, |magnification| {
            let dir = root.join(backbone).join(magnification.label()).join("pt_files");
            with_files(&dir, &[FileType::Pt])
        }),
        Layout::Clam => per_scale(backbone, |magnification| clam(&root.join(magnification.label()))),
        Layout::Trident => per_scale(backbone, |magnification| {
            let jobs = folders_named(root, |name| is_trident_job(name, magnification))?;
            each(jobs, |job| trident(&job, backbone))
        }),
        Layout::Stamp => {
            per_scale(backbone, |magnification| stamp(&root.join(magnification.label()), backbone))
        }
        Layout::Atlaspatch => per_scale(backbone, |magnification| {
            let home = root.join(magnification.label());
            // CLAM keeps coordinates without features in a folder of this name.
            if clam(&home)?.is_empty() { atlaspatch(&home) } else { Ok(Vec::new()) }
        }),
        Layout::Mmp => per_scale(backbone, |magnification| {
            let jobs = folders_named(root, |name| is_mmp_job(name, magnification))?;
            each(jobs, |job| each(encoder_folders(&job, "extracted-", backbone)?, |folder| mmp(&folder)))
        }),
    }
}

/// The files of one magnification in a folder that the user named, in whichever form.
///
/// # Errors
/// [`ErrorKind::Layout`] with all that was looked for, [`ErrorKind::NoDirectory`], [`ErrorKind::AmbiguousFolder`],
/// [`ErrorKind::Io`].
pub(crate) fn find_root(root: &Path, backbone: &str) -> Result<ScaleFolder> {
    check_directory(root)?;
    let mut found = Vec::new();
    found.extend(clam(root)?);
    found.extend(mmp(root)?);
    found.extend(trident(root, backbone)?);
    for folder in encoder_folders(root, "extracted-", backbone)? {
        found.extend(mmp(&folder)?);
    }
    found.extend(stamp(root, backbone)?);
    if found.is_empty() {
        found.extend(atlaspatch(root)?);
    }
    if found.is_empty() {
        found.extend(with_files(root, &FileType::ALL)?);
    }
    if let Some(folder) = only_one(found, || format!("features of `{backbone}`"))? {
        return Ok(folder);
    }
    let looked_for = [
        "h5_files/*.h5 or pt_files/*.pt (clam)".to_owned(),
        "feats_h5/*.h5 or feats_pt/*.pt (mmp)".to_owned(),
        format!("features_{backbone}/*.h5 (trident)"),
        format!("extracted-{backbone}/feats_h5 or feats_pt (mmp)"),
        format!("{backbone}[-hash]/*.h5 (stamp)"),
        "patches/*.h5 (atlaspatch)".to_owned(),
        "*.h5, *.pt or *.safetensors".to_owned(),
    ];
    let kind = ErrorKind::Layout { looked_for: looked_for.to_vec(), found: file_names(root)? };
    Err(Error::from(kind).in_file(root))
}

fn find_native(root: &Path, stated: bool) -> Result<Option<Folders>> {
    if !has_files(root, FileType::Hdf5)? {
        return Ok(None);
    }
    let folders = Folders::PerSlide { dir: root.to_owned(), file_type: FileType::Hdf5 };
    let first = folders.stems()?.into_iter().next().map(|stem| root.join(format!("{stem}.h5")));
    // A folder of one magnification looks the same from outside. A damaged file is told of when it is read.
    let is_native = stated || first.is_none_or(|first| native::has_groups(&first).unwrap_or(true));
    Ok(is_native.then_some(folders))
}

fn find_safetensors(root: &Path, backbone: &str) -> Result<Option<Folders>> {
    let home = root.join(backbone);
    let scales = per_scale(backbone, |magnification| {
        with_files(&home.join(magnification.label()), &[FileType::Safetensors])
    })?;
    match (has_files(&home, FileType::Safetensors)?, scales) {
        (true, Some(Folders::PerScale(scales))) => {
            let scales = scales.into_iter().flatten().flat_map(|folder| folder.dirs).map(|(dir, _)| dir);
            let found = std::iter::once(home.clone()).chain(scales).collect();
            let what = format!("safetensors files of `{backbone}`");
            Err(Error::from(ErrorKind::AmbiguousFolder { what, found }).in_file(root))
        }
        (true, _) => Ok(Some(Folders::PerSlide { dir: home, file_type: FileType::Safetensors })),
        (false, scales) => Ok(scales),
    }
}

/// One folder per magnification, none of which may have a rival.
fn per_scale(
    backbone: &str,
    find: impl Fn(Magnification) -> Result<Vec<ScaleFolder>>,
) -> Result<Option<Folders>> {
    let mut folders = Magnification::ALL.map(|_| None);
    for (magnification, folder) in Magnification::ALL.into_iter().zip(&mut folders) {
        *folder = only_one(find(magnification)?, || format!("{magnification} features of `{backbone}`"))?;
    }
    Ok(folders.iter().any(Option::is_some).then_some(Folders::PerScale(folders)))
}

fn only_one(found: Vec<ScaleFolder>, what: impl Fn() -> String) -> Result<Option<ScaleFolder>> {
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (first, Some(second)) => {
            let dirs = first
                .into_iter()
                .chain([second])
                .chain(found)
                .filter_map(|folder| folder.dirs.into_iter().next());
            let found: Vec<PathBuf> = dirs.map(|(dir, _)| dir).collect();
            Err(ErrorKind::AmbiguousFolder { what: what(), found }.into())
        }
    }
}

fn each(dirs: Vec<PathBuf>, find: impl Fn(PathBuf) -> Result<Vec<ScaleFolder>>) -> Result<Vec<ScaleFolder>> {
    let mut found = Vec::new();
    for dir in dirs {
        found.extend(find(dir)?);
    }
    Ok(found)
}

/// The files directly in a folder, as one source; the first of `types` is read.
fn with_files(dir: &Path, types: &[FileType]) -> Result<Vec<ScaleFolder>> {
    among(types.iter().map(|file_type| (dir.to_owned(), *file_type)))
}

/// The folders that have files, as one source.
fn among(candidates: impl Iterator<Item = (PathBuf, FileType)>) -> Result<Vec<ScaleFolder>> {
    let mut dirs = Vec::new();
    for (dir, file_type) in candidates {
        if has_files(&dir, file_type)? {
            dirs.push((dir, file_type));
        }
    }
    Ok(if dirs.is_empty() { Vec::new() } else { vec![ScaleFolder { dirs, by_stamp: false }] })
}

fn clam(home: &Path) -> Result<Vec<ScaleFolder>> {
    among([(home.join("h5_files"), FileType::Hdf5), (home.join("pt_files"), FileType::Pt)].into_iter())
}

fn mmp(home: &Path) -> Result<Vec<ScaleFolder>> {
    among([(home.join("feats_h5"), FileType::Hdf5), (home.join("feats_pt"), FileType::Pt)].into_iter())
}

fn trident(job: &Path, backbone: &str) -> Result<Vec<ScaleFolder>> {
    each(encoder_folders(job, "features_", backbone)?, |dir| {
        with_files(&dir, &[FileType::Hdf5, FileType::Pt])
    })
}

fn stamp(home: &Path, backbone: &str) -> Result<Vec<ScaleFolder>> {
    let found = each(encoder_folders(home, "", backbone)?, |dir| with_files(&dir, &[FileType::Hdf5]))?;
    Ok(found.into_iter().map(|folder| ScaleFolder { by_stamp: true, ..folder }).collect())
}

fn atlaspatch(home: &Path) -> Result<Vec<ScaleFolder>> {
    with_files(&home.join("patches"), &[FileType::Hdf5])
}

/// The folders `<prefix><encoder>`; the one of exactly the asked name, if there is one, before others that mean it.
fn encoder_folders(home: &Path, prefix: &str, backbone: &str) -> Result<Vec<PathBuf>> {
    let exact = home.join(format!("{prefix}{backbone}"));
    if is_folder(&exact)? {
        return Ok(vec![exact]);
    }
    folders_named(home, |name| name.strip_prefix(prefix).is_some_and(|encoder| is_name_of(backbone, encoder)))
}

/// `extracted_mag20x_patch256_fp`
pub(super) fn is_mmp_job(name: &str, magnification: Magnification) -> bool {
    name.starts_with(&format!("extracted_mag{}x_", magnification.power()))
}

/// `20x_256px_0px_overlap`
pub(super) fn is_trident_job(name: &str, magnification: Magnification) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let sizes = name
        .strip_prefix(&format!("{}x_", magnification.power()))
        .and_then(|rest| rest.strip_suffix("px_overlap"))
        .and_then(|rest| rest.split_once("px_"));
    sizes.is_some_and(|(size, overlap)| digits(size) && digits(overlap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trident_jobs_are_told_by_their_name() {
        use Magnification::{X5, X20};
        assert!(is_trident_job("20x_512px_0px_overlap", X20));
        assert!(is_trident_job("5x_256px_128px_overlap", X5));
        for name in
            ["20x_512px_0px_overlap", "15x_256px_0px_overlap", "5x_px_0px_overlap", "5x_256px_overlap"]
        {
            assert!(!is_trident_job(name, X5), "{name}");
        }
    }
}
