//! What lies in the directory that is written into.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::folders::{find, folders_named};
use crate::layout::Layout;
use crate::magnification::Magnification;
use crate::native;
use crate::patch_source::PatchSource;
use crate::replace::name_beside;
use crate::safetensors::ToldBy;
use crate::scale_file::{self, Expected, FileType};
use crate::slide_names::SlideNames;

use super::{Converter, IfThere};

/// How many slides of a directory are looked at for features of the encoder: in native files there may be those of others.
const N_LOOKED_AT: usize = 16;

impl Converter<'_> {
    /// Refuses features that are not as wide as those before, the first of which were in the directory already.
    pub(super) fn check_width(&mut self, source: &PatchSource) -> Result<()> {
        if self.first.is_none() {
            self.first = self.width_there()?;
        }
        let (other, expected) = self.first.get_or_insert_with(|| (source.path.clone(), source.dim));
        same_width(source, other, *expected)
    }

    /// Refuses to write over, or to leave alone, a file of a slide that is told to be of another encoder: by its width, and in
    /// CLAM's folders by what it states. Other files that are overwritten are gone whatever they held.
    pub(super) fn check_there(
        &self,
        stem: &str,
        magnification: Magnification,
        source: &PatchSource,
    ) -> Result<()> {
        if self.if_there == IfThere::Overwrite && self.layout != Layout::Clam {
            return Ok(());
        }
        match self.source_there(stem, magnification)? {
            Some(there) => same_width(&there, &source.path, source.dim),
            None => Ok(()),
        }
    }

    /// A file with features of the store's backbone that was in the directory at the beginning, and their width. Where files are
    /// overwritten, none of those that will be, but for CLAM's.
    fn width_there(&self) -> Result<Option<(PathBuf, usize)>> {
        let is_among = |name: &str| match &self.only {
            Some(only) => only.find(name).is_some(),
            None => self.store.listed_as(name).is_some(),
        };
        let is_written_again =
            |name: &str| self.if_there == IfThere::Overwrite && self.layout != Layout::Clam && is_among(name);
        let stays = |name: &&String| !is_written_again(name.as_str());
        for name in self.there.all().iter().filter(stays).take(N_LOOKED_AT) {
            for magnification in Magnification::ALL {
                if let Some(there) = self.source_there(name, magnification)? {
                    return Ok(Some((there.path, there.dim)));
                }
            }
        }
        Ok(None)
    }

    /// What the file at the place of a slide's says of the features of the store's backbone. `None` where there is none, or one
    /// that tells nothing of them, such as a damaged one.
    fn source_there(&self, stem: &str, magnification: Magnification) -> Result<Option<PatchSource>> {
        let encoder = self.store.backbone();
        if self.layout == Layout::Native {
            let file = self.native_file(stem);
            return Ok(native::open(&file, encoder, magnification).ok());
        }
        let files = self.scale_files(stem, magnification);
        let Some(file) = files.iter().find(|file| file.is_file()) else { return Ok(None) };
        let told_by = ToldBy::Folder;
        let expected = Expected { encoder, magnification, told_by, slide_mpp: None, by_stamp: false };
        let file_type = match self.layout {
            Layout::Safetensors => FileType::Safetensors,
            _ if file.extension().is_some_and(|extension| extension == "h5") => FileType::Hdf5,
            _ => FileType::Pt,
        };
        match scale_file::open(file, file_type, expected) {
            Err(error)
                if self.layout == Layout::Clam
                    && matches!(error.kind(), ErrorKind::MissingEncoder { .. }) =>
            {
                Err(error)
            }
            there => Ok(there.ok()),
        }
    }
}

/// Features of one encoder are as wide in every file.
fn same_width(source: &PatchSource, other: &Path, expected: usize) -> Result<()> {
    if expected == source.dim {
        return Ok(());
    }
    Err(ErrorKind::Disagreement {
        what: "number of columns",
        path: source.path.clone(),
        found: source.dim.to_string(),
        other: other.to_owned(),
        expected: expected.to_string(),
    }
    .into())
}

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
