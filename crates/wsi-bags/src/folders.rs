//! Finding the folders of a layout.

mod directory;
mod encoders;
mod find;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::magnification::Magnification;
use crate::scale_file::FileType;

pub(crate) use directory::{check_directory, file_names, folders_named, has_entry};
pub(crate) use encoders::encoders;
pub(crate) use find::{find, find_root};

/// Where the files of a cohort are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Folders {
    /// One file per slide, with all magnifications.
    PerSlide { dir: PathBuf, file_type: FileType },
    /// One folder per magnification, some of which may be absent, from coarse to fine.
    PerScale([Option<ScaleFolder>; Magnification::ALL.len()]),
}

/// The folder or folders with the files of one magnification, one file per slide in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScaleFolder {
    /// Of a slide that has files in more than one, the first is read and the others must agree with it.
    pub(crate) dirs: Vec<(PathBuf, FileType)>,
    /// Whether coordinates are STAMP's whatever the files look like.
    pub(crate) by_stamp: bool,
}

impl ScaleFolder {
    /// The files of a slide that exist.
    pub(crate) fn files(&self, stem: &str) -> Vec<(PathBuf, FileType)> {
        self.candidates(stem).filter(|(path, _)| has_entry(path)).collect()
    }

    /// The files that a slide may have.
    pub(crate) fn candidates(&self, stem: &str) -> impl Iterator<Item = (PathBuf, FileType)> {
        self.dirs
            .iter()
            .map(move |(dir, file_type)| (dir.join(format!("{stem}{}", file_type.ending())), *file_type))
    }

    fn stems(&self) -> Result<BTreeSet<String>> {
        let mut stems = BTreeSet::new();
        for (dir, file_type) in &self.dirs {
            stems.extend(stems_in(dir, *file_type)?);
        }
        Ok(stems)
    }
}

impl Folders {
    /// The folder of a magnification, where magnifications have their own.
    pub(crate) fn at(&self, magnification: Magnification) -> Option<&ScaleFolder> {
        match self {
            Self::PerSlide { .. } => None,
            Self::PerScale(folders) => {
                Magnification::ALL.into_iter().zip(folders).find(|(at, _)| *at == magnification)?.1.as_ref()
            }
        }
    }

    /// The slides that have at least one file, sorted.
    pub(crate) fn stems(&self) -> Result<Vec<String>> {
        let mut stems = BTreeSet::new();
        match self {
            Self::PerSlide { dir, file_type } => stems.extend(stems_in(dir, *file_type)?),
            Self::PerScale(folders) => {
                for folder in folders.iter().flatten() {
                    stems.extend(folder.stems()?);
                }
            }
        }
        Ok(stems.into_iter().collect())
    }
}

fn stems_in(dir: &Path, file_type: FileType) -> Result<impl Iterator<Item = String> + use<>> {
    let names = directory::names_of_type(dir, file_type)?.into_iter();
    Ok(names.filter_map(move |name| name.strip_suffix(file_type.ending()).map(str::to_owned)))
}
