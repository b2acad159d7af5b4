//! A directory of bags.

use std::path::{Path, PathBuf};
use std::thread;

use crate::bag::Bag;
use crate::error::{Error, ErrorKind, Result};
use crate::folders::{
    Folders, ScaleFolder, check_directory, encoders, file_names, find, find_root, has_entry,
};
use crate::layout::Layout;
use crate::magnification::Magnification;
use crate::native;
use crate::one_slide::{StatedSlide, check_same_slide};
use crate::patch_set::PatchSet;
use crate::patch_source::PatchSource;
use crate::presence::Presence;
use crate::safetensors::{self, ToldBy};
use crate::scale_file::{self, Expected, FileType};
use crate::slide_name::{check_name, slide_stem};
use crate::slide_names::SlideNames;

/// The bags of a cohort with features of one backbone, in one directory or in one per magnification.
///
/// Slides are named as their files are, or with the extension of the slide file besides ([`slide_stem`]), which names of bags may
/// have, too: see [`SlideNames`]. The list of slides is made when the store is opened.
///
/// ```
/// use wsi_bags::{BagStore, FeatureMatrix, Layout, Magnification, pt};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let root = directory.path();
/// for magnification in ["x10", "x20"] {
///     let files = root.join("resnet50").join(magnification).join("pt_files");
///     std::fs::create_dir_all(&files).unwrap();
///     pt::write_features(&files.join("slide-1.pt"), &FeatureMatrix::new(vec![0.5; 6], 3, 2)?)?;
/// }
/// let store = BagStore::open(root, None, "resnet50")?;
/// assert_eq!(store.layout(), Some(Layout::Crossfusion));
/// assert_eq!(store.slide_ids(), ["slide-1"]);
/// assert!(!store.presence("slide-1.svs")?.at(Magnification::X5));
/// let bag = store.read("slide-1.svs", &[Magnification::X10, Magnification::X20])?;
/// assert_eq!(bag.at(Magnification::X20)?.n_patches(), 3);
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BagStore {
    root: PathBuf,
    backbone: String,
    layout: Option<Layout>,
    folders: Folders,
    slides: SlideNames,
    slide_mpp: Option<f64>,
}

impl BagStore {
    /// Opens the directory `root`, looks for the layout unless one is given, and lists the slides.
    ///
    /// # Errors
    /// [`ErrorKind::NoDirectory`] if there is none, [`ErrorKind::MissingEncoder`] if there are folders of other encoders (TRIDENT, STAMP,
    /// MMP), [`ErrorKind::Layout`] if there are no files of that layout (or of any), [`ErrorKind::AmbiguousLayout`] if there
    /// are files of several and none was given, [`ErrorKind::AmbiguousFolder`] if two folders may be the one of a
    /// magnification, [`ErrorKind::Name`] if `backbone` cannot be a directory or dataset, [`ErrorKind::Io`] if a
    /// directory cannot be listed.
    pub fn open(root: &Path, layout: Option<Layout>, backbone: &str) -> Result<Self> {
        check_name("backbone", backbone).map_err(|error| error.in_file(root))?;
        check_directory(root)?;
        let candidates = layout.map_or(Layout::ALL.to_vec(), |layout| vec![layout]);
        let mut found = Vec::new();
        for candidate in &candidates {
            let folders = find(root, *candidate, backbone, layout.is_some());
            found.extend(folders.map_err(|error| error.in_file(root))?.map(|folders| (*candidate, folders)));
        }
        let patterns =
            |layouts: &mut dyn Iterator<Item = Layout>| layouts.map(|at| at.pattern(backbone)).collect();
        let kind = match found.len() {
            0 => {
                let mut of_others = Vec::new();
                for candidate in &candidates {
                    of_others.extend(encoders(root, *candidate)?);
                }
                match of_others.is_empty() {
                    true => ErrorKind::Layout {
                        looked_for: patterns(&mut candidates.into_iter()),
                        found: file_names(root)?,
                    },
                    false => ErrorKind::MissingEncoder { encoder: backbone.to_owned(), found: of_others },
                }
            }
            1 => {
                let (layout, folders) = found.remove(0);
                return Self::of(root, backbone, Some(layout), folders);
            }
            _ => ErrorKind::AmbiguousLayout { found: patterns(&mut found.iter().map(|(layout, _)| *layout)) },
        };
        Err(Error::from(kind).in_file(root))
    }

    /// Opens one directory per magnification, each with the files of one magnification in the form of any tool
    /// (`h5_files` and `pt_files`, `feats_h5` and `feats_pt`, `features_<backbone>`, `extracted-<backbone>`,
    /// `<backbone>[-hash]`, `patches`, or the files themselves). Slides are paired by their names.
    ///
    /// # Errors
    /// [`ErrorKind::EmptyBag`] without roots, [`ErrorKind::DuplicateMagnification`], and those of
    /// [`BagStore::open`].
    pub fn open_roots(roots: &[(Magnification, PathBuf)], backbone: &str) -> Result<Self> {
        check_name("backbone", backbone)?;
        let Some((_, first)) = roots.first() else { return Err(ErrorKind::EmptyBag.into()) };
        let mut folders = Magnification::ALL.map(|_| None);
        for (magnification, root) in roots {
            let entry = Magnification::ALL.into_iter().zip(&mut folders).find(|(at, _)| at == magnification);
            if let Some((_, folder)) = entry {
                if folder.is_some() {
                    return Err(ErrorKind::DuplicateMagnification { magnification: *magnification }.into());
                }
                *folder = Some(find_root(root, backbone).map_err(|error| error.in_file(root))?);
            }
        }
        Self::of(first, backbone, None, Folders::PerScale(folders))
    }

    fn of(root: &Path, backbone: &str, layout: Option<Layout>, folders: Folders) -> Result<Self> {
        let slides = SlideNames::new(folders.stems()?);
        let (root, backbone) = (root.to_owned(), backbone.to_owned());
        Ok(Self { root, backbone, layout, folders, slides, slide_mpp: None })
    }

    /// States the resolution of every slide at level 0, in micrometres per pixel, for files that give coordinates in
    /// micrometres and not the resolution, as STAMP's do. Without it such coordinates are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Geometry`] unless it is positive and finite.
    pub fn with_slide_mpp(mut self, mpp: f64) -> Result<Self> {
        if !(mpp.is_finite() && mpp > 0.0) {
            return Err(ErrorKind::Geometry { what: "mpp", found: mpp }.into());
        }
        self.slide_mpp = Some(mpp);
        Ok(self)
    }

    /// How the files are laid out; `None` if each magnification has a root of its own.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// The directory; `None` if each magnification has a root of its own.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.layout.is_some().then_some(self.root.as_path())
    }

    /// The encoder whose features are read.
    #[must_use]
    pub fn backbone(&self) -> &str {
        &self.backbone
    }

    /// The slides that have at least one file, by the file's name without its ending, sorted.
    #[must_use]
    pub fn slide_ids(&self) -> &[String] {
        self.slides.all()
    }

    /// What [`BagStore::slide_ids`] calls a slide, if its files are there.
    #[must_use]
    pub fn listed_as(&self, slide_id: &str) -> Option<&str> {
        self.slides.find(slide_id)
    }

    /// Which magnifications of a slide are there, without reading features; none for an unknown slide.
    ///
    /// # Errors
    /// [`ErrorKind::Name`] if `slide_id` cannot be a file name; where a file holds all magnifications, those of opening
    /// it.
    pub fn presence(&self, slide_id: &str) -> Result<Presence> {
        self.presence_of(self.stem(slide_id)?)
    }

    fn presence_of(&self, stem: &str) -> Result<Presence> {
        let present = match &self.folders {
            Folders::PerScale(_) => {
                return Ok(Presence::of(|at| {
                    self.folders.at(at).is_some_and(|dir| !dir.files(stem).is_empty())
                }));
            }
            Folders::PerSlide { dir, file_type } => {
                let path = dir.join(format!("{stem}{}", file_type.ending()));
                match file_type {
                    _ if !has_entry(&path) => Vec::new(),
                    FileType::Safetensors => safetensors::magnifications(&path)?,
                    _ => native::magnifications(&path, &self.backbone)?,
                }
            }
        };
        Ok(Presence::of(|magnification| present.contains(&magnification)))
    }

    /// Why a slide has no features here, for where [`BagStore::presence`] finds none: there is no file of it
    /// ([`ErrorKind::MissingSlide`]), or it has those of other encoders ([`ErrorKind::MissingEncoder`]).
    #[must_use]
    pub fn why_absent(&self, slide_id: &str) -> Error {
        let stem = match self.stem(slide_id) {
            Ok(stem) => stem,
            Err(error) => return error,
        };
        let mut looked_for =
            Magnification::ALL.map(|magnification| self.path_of(stem, magnification)).to_vec();
        looked_for.dedup();
        match (&self.folders, looked_for.first()) {
            (Folders::PerSlide { file_type: FileType::Hdf5, .. }, Some(path)) if has_entry(path) => {
                let encoder = self.backbone.clone();
                native::encoders(path).map_or_else(
                    |error| error,
                    |found| Error::from(ErrorKind::MissingEncoder { encoder, found }).in_file(path),
                )
            }
            _ => self.missing_slide(stem, looked_for),
        }
    }

    /// Reads a slide at the given magnifications, each on a thread of its own.
    ///
    /// # Errors
    /// [`ErrorKind::MissingSlide`] if no file of the slide exists, [`ErrorKind::MissingMagnification`] if one of
    /// several is absent, [`ErrorKind::Name`] if `slide_id` cannot be a file name, [`ErrorKind::Disagreement`] if two
    /// files of one magnification differ, or those of two state different slides, [`ErrorKind::Coords`] if coordinates cannot be level-0
    /// pixels, and those of
    /// [`pt::read_features`](crate::pt::read_features), [`native::read`] and [`Bag::new`].
    pub fn read(&self, slide_id: &str, magnifications: &[Magnification]) -> Result<Bag> {
        let stem = self.stem(slide_id)?;
        let read = |magnification: Magnification| self.read_set(stem, magnification);
        let sets: Vec<Result<(PatchSet, StatedSlide)>> = match magnifications {
            [] | [_] => magnifications.iter().map(|magnification| read(*magnification)).collect(),
            [first, rest @ ..] => thread::scope(|scope| {
                let others: Vec<_> =
                    rest.iter().map(|magnification| scope.spawn(move || read(*magnification))).collect();
                let joined = others.into_iter().map(|other| match other.join() {
                    Ok(set) => set,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                std::iter::once(read(*first)).chain(joined).collect()
            }),
        };
        let (sets, stated): (Vec<_>, Vec<_>) =
            sets.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
        check_same_slide(&stated)?;
        Bag::new(stem, magnifications.iter().copied().zip(sets)).map_err(|error| error.in_file(&self.root))
    }

    /// Reads the patches of a slide at one magnification, and what their file states of the slide.
    fn read_set(&self, stem: &str, magnification: Magnification) -> Result<(PatchSet, StatedSlide)> {
        let source = self.source(stem, magnification)?;
        let (path, stated) = (source.path.clone(), StatedSlide::of(magnification, &source));
        let patches = source.into_patches();
        Ok((patches.map_err(|error| error.in_file(&path).at_place(magnification))?, stated))
    }

    /// All that is known of the patches of a slide at one magnification. Features are not read.
    pub(crate) fn source(&self, stem: &str, magnification: Magnification) -> Result<PatchSource> {
        let expected = Expected {
            encoder: &self.backbone,
            magnification,
            told_by: match &self.folders {
                Folders::PerScale(_) => ToldBy::Folder,
                Folders::PerSlide { .. } => ToldBy::Tensors,
            },
            slide_mpp: self.slide_mpp,
            by_stamp: self.folders.at(magnification).is_some_and(|folder| folder.by_stamp),
        };
        let files = match (&self.folders, self.folders.at(magnification)) {
            (Folders::PerSlide { dir, file_type }, _) => {
                let path = dir.join(format!("{stem}{}", file_type.ending()));
                if !has_entry(&path) {
                    return Err(self.missing_slide(stem, vec![path]));
                }
                return match file_type {
                    FileType::Hdf5 => native::open(&path, &self.backbone, magnification),
                    other => scale_file::open(&path, *other, expected),
                };
            }
            (Folders::PerScale(_), folder) => folder.map(|folder| folder.files(stem)).unwrap_or_default(),
        };
        let mut sources = files.iter().map(|(path, file_type)| scale_file::open(path, *file_type, expected));
        let first = sources.next().ok_or_else(|| self.missing(stem, magnification))??;
        sources.try_for_each(|other| agree(&first, &other?))?;
        Ok(first)
    }

    /// The file that holds, or would hold, a slide at a magnification.
    #[must_use]
    pub fn path_of(&self, slide_id: &str, magnification: Magnification) -> PathBuf {
        let stem = self.file_stem(slide_id);
        match (&self.folders, self.folders.at(magnification)) {
            (Folders::PerSlide { dir, file_type }, _) => dir.join(format!("{stem}{}", file_type.ending())),
            (_, Some(folder)) => {
                let existing = folder.files(stem).into_iter().next();
                let path = existing.or_else(|| folder.candidates(stem).next()).map(|(path, _)| path);
                path.unwrap_or_else(|| self.root.join(stem))
            }
            (_, None) => self.absent(stem, magnification),
        }
    }

    /// Where a file of a magnification would be that has no folder.
    fn absent(&self, stem: &str, magnification: Magnification) -> PathBuf {
        let folders = Magnification::ALL.into_iter().filter_map(|at| Some((at, self.folders.at(at)?)));
        for (at, folder) in folders {
            let Some((path, _)) = folder.candidates(stem).next() else { continue };
            let renamed = |part: &std::ffi::OsStr| {
                if part == at.label() { magnification.label().into() } else { part.to_owned() }
            };
            let sibling: PathBuf = path.iter().map(renamed).collect();
            if sibling != path {
                return sibling;
            }
        }
        self.root.join(magnification.label()).join(stem)
    }

    /// What a slide's files are called before their ending: bags may be called `<slide>.svs.h5`.
    fn file_stem<'a>(&'a self, slide_id: &'a str) -> &'a str {
        self.slides.find(slide_id).unwrap_or_else(|| slide_stem(slide_id))
    }

    /// What a slide's files are called before their ending.
    ///
    /// # Errors
    /// [`ErrorKind::Name`] if it cannot be a file name.
    pub(crate) fn stem<'a>(&'a self, slide_id: &'a str) -> Result<&'a str> {
        let stem = self.file_stem(slide_id);
        check_name("slide id", stem).map_err(|error| error.in_file(&self.root))?;
        Ok(stem)
    }

    fn missing(&self, stem: &str, wanted: Magnification) -> Error {
        match self.presence_of(stem) {
            Ok(presence) if presence.magnifications().next().is_none() => {
                let candidates =
                    |folder: &ScaleFolder| folder.candidates(stem).map(|(path, _)| path).collect::<Vec<_>>();
                let looked_for = self.folders.at(wanted).map(candidates);
                self.missing_slide(stem, looked_for.unwrap_or_else(|| vec![self.absent(stem, wanted)]))
            }
            Ok(presence) => {
                let kind =
                    ErrorKind::MissingMagnification { wanted, present: presence.magnifications().collect() };
                Error::from(kind).in_file(&self.path_of(stem, wanted))
            }
            Err(error) => error,
        }
    }

    fn missing_slide(&self, stem: &str, looked_for: Vec<PathBuf>) -> Error {
        Error::from(ErrorKind::MissingSlide { slide_id: stem.to_owned(), looked_for }).in_file(&self.root)
    }
}

/// Two files of one slide and magnification must hold the same number of patches of the same width.
fn agree(first: &PatchSource, other: &PatchSource) -> Result<()> {
    let pairs = [
        ("number of patches", first.n_patches, other.n_patches),
        ("number of columns", first.dim, other.dim),
    ];
    match pairs.into_iter().find(|(_, expected, found)| expected != found) {
        None => Ok(()),
        Some((what, expected, found)) => Err(ErrorKind::Disagreement {
            what,
            path: other.path.clone(),
            found: found.to_string(),
            other: first.path.clone(),
            expected: expected.to_string(),
        }
        .into()),
    }
}
