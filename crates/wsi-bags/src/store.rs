//! A directory of bags.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bag::Bag;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::magnification::Magnification;
use crate::native;
use crate::patch_set::PatchSet;
use crate::pt;
use crate::slide_name::{check_name, slide_stem};

/// Which magnifications of a slide have features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence {
    present: [bool; Magnification::ALL.len()],
}

impl Presence {
    fn of(present: impl Fn(Magnification) -> bool) -> Self {
        Self { present: Magnification::ALL.map(present) }
    }

    /// Whether there are features at `magnification`.
    #[must_use]
    pub fn at(self, magnification: Magnification) -> bool {
        self.magnifications().any(|present| present == magnification)
    }

    /// The magnifications that are present, coarse to fine.
    pub fn magnifications(self) -> impl Iterator<Item = Magnification> {
        Magnification::ALL
            .into_iter()
            .zip(self.present)
            .filter_map(|(magnification, present)| present.then_some(magnification))
    }
}

/// The bags of a cohort with features of one backbone, in one directory.
///
/// Slides are named with or without the extension of the slide file: see [`slide_stem`]. The list of slides is made
/// when the store is opened.
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
/// assert_eq!(store.layout(), Layout::Crossfusion);
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
    layout: Layout,
    slide_ids: Vec<String>,
}

impl BagStore {
    /// Opens the directory `root`, looks for the layout unless one is given, and lists the slides.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if there are no files of that layout (or of any), [`ErrorKind::AmbiguousLayout`] if there
    /// are files of both and none was given, [`ErrorKind::Name`] if `backbone` cannot be a directory or dataset,
    /// [`ErrorKind::Io`] if a directory cannot be listed.
    pub fn open(root: &Path, layout: Option<Layout>, backbone: &str) -> Result<Self> {
        check_name("backbone", backbone).map_err(|error| error.in_file(root))?;
        let candidates = layout.map_or(Layout::ALL.to_vec(), |layout| vec![layout]);
        let mut stores = Vec::new();
        for layout in &candidates {
            let mut store = Self {
                root: root.to_owned(),
                backbone: backbone.to_owned(),
                layout: *layout,
                slide_ids: Vec::new(),
            };
            store.slide_ids = store.list()?;
            if !store.slide_ids.is_empty() {
                stores.push(store);
            }
        }
        let kind = match (stores.pop(), stores.pop()) {
            (Some(store), None) => return Ok(store),
            (Some(_), Some(_)) => ErrorKind::AmbiguousLayout { backbone: backbone.to_owned() },
            (None, _) => ErrorKind::Layout {
                looked_for: candidates.iter().map(|layout| pattern(*layout, backbone)).collect(),
                found: file_names(root)?,
            },
        };
        Err(Error::from(kind).in_file(root))
    }

    /// How the files are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The slides that have at least one file, without extension, sorted.
    #[must_use]
    pub fn slide_ids(&self) -> &[String] {
        &self.slide_ids
    }

    /// Which magnifications of a slide are there, without reading features; none for an unknown slide.
    ///
    /// # Errors
    /// [`ErrorKind::Name`] if `slide_id` cannot be a file name; for the native layout, those of
    /// [`native::magnifications`].
    pub fn presence(&self, slide_id: &str) -> Result<Presence> {
        let stem = self.stem(slide_id)?;
        match self.layout {
            Layout::Crossfusion => Ok(Presence::of(|magnification| self.file(stem, magnification).is_file())),
            Layout::Native => {
                let path = self.file(stem, Magnification::X20);
                if !path.is_file() {
                    return Ok(Presence::default());
                }
                let present = native::magnifications(&path, &self.backbone)?;
                Ok(Presence::of(|magnification| present.contains(&magnification)))
            }
        }
    }

    /// Reads a slide at the given magnifications.
    ///
    /// # Errors
    /// [`ErrorKind::MissingSlide`] if no file of the slide exists, [`ErrorKind::MissingMagnification`] if one of
    /// several is absent, [`ErrorKind::Name`] if `slide_id` cannot be a file name, and those of
    /// [`pt::read_features`], [`native::read`] and [`Bag::new`].
    pub fn read(&self, slide_id: &str, magnifications: &[Magnification]) -> Result<Bag> {
        let stem = self.stem(slide_id)?;
        match self.layout {
            Layout::Crossfusion => self.read_tensors(stem, magnifications),
            Layout::Native => {
                let path = self.file(stem, Magnification::X20);
                if !path.is_file() {
                    return Err(self.missing_slide(stem, vec![path]));
                }
                native::read(&path, &self.backbone, magnifications)
            }
        }
    }

    fn read_tensors(&self, stem: &str, magnifications: &[Magnification]) -> Result<Bag> {
        let mut sets = Vec::with_capacity(magnifications.len());
        for magnification in magnifications {
            let path = self.file(stem, *magnification);
            if !path.is_file() {
                let present: Vec<_> = self.presence(stem)?.magnifications().collect();
                if present.is_empty() {
                    let looked_for =
                        magnifications.iter().map(|magnification| self.file(stem, *magnification));
                    return Err(self.missing_slide(stem, looked_for.collect()));
                }
                let kind = ErrorKind::MissingMagnification { wanted: *magnification, present };
                return Err(Error::from(kind).in_file(&path));
            }
            sets.push((*magnification, PatchSet::new(pt::read_features(&path)?)));
        }
        Bag::new(stem, sets).map_err(|error| error.in_file(&self.root))
    }

    /// The file that holds, or would hold, a slide at a magnification.
    #[must_use]
    pub fn path_of(&self, slide_id: &str, magnification: Magnification) -> PathBuf {
        self.file(slide_stem(slide_id), magnification)
    }

    fn stem<'a>(&self, slide_id: &'a str) -> Result<&'a str> {
        let stem = slide_stem(slide_id);
        check_name("slide id", stem).map_err(|error| error.in_file(&self.root))?;
        Ok(stem)
    }

    fn file(&self, stem: &str, magnification: Magnification) -> PathBuf {
        match self.layout {
            Layout::Crossfusion => self.directory(magnification).join(format!("{stem}.pt")),
            Layout::Native => self.root.join(format!("{stem}.h5")),
        }
    }

    /// Where the files of a magnification are.
    fn directory(&self, magnification: Magnification) -> PathBuf {
        match self.layout {
            Layout::Crossfusion => {
                self.root.join(&self.backbone).join(magnification.label()).join("pt_files")
            }
            Layout::Native => self.root.clone(),
        }
    }

    fn list(&self) -> Result<Vec<String>> {
        let extension = match self.layout {
            Layout::Crossfusion => ".pt",
            Layout::Native => ".h5",
        };
        let directories: BTreeSet<_> =
            Magnification::ALL.into_iter().map(|magnification| self.directory(magnification)).collect();
        let mut stems = BTreeSet::new();
        for directory in directories {
            let names = file_names(&directory)?.into_iter();
            stems.extend(names.filter_map(|name| name.strip_suffix(extension).map(str::to_owned)));
        }
        Ok(stems.into_iter().filter(|stem| !stem.is_empty()).collect())
    }

    fn missing_slide(&self, stem: &str, looked_for: Vec<PathBuf>) -> Error {
        Error::from(ErrorKind::MissingSlide { slide_id: stem.to_owned(), looked_for }).in_file(&self.root)
    }
}

fn pattern(layout: Layout, backbone: &str) -> String {
    match layout {
        Layout::Crossfusion => format!("{backbone}/x5|x10|x20/pt_files/*.pt ({layout})"),
        Layout::Native => format!("*.h5 ({layout})"),
    }
}

/// Names in a directory, sorted, without hidden ones (files being written are hidden); empty if it does not exist.
fn file_names(directory: &Path) -> Result<Vec<String>> {
    let failed =
        |source| Error::from(ErrorKind::Io { action: "list the directory", source }).in_file(directory);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names.into_iter().collect())
}
