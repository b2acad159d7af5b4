//! A directory of bags.
use std::path::{Path, PathBuf};

use crate::bag::Bag;
use crate::error::{ErrorKind, Result};
use crate::layout::Layout;
use crate::magnification::Magnification;

/// Which magnifications of a slide have features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence {
    present: [bool; 3],
}

impl Presence {
    /// Whether there are features at `magnification`.
    #[must_use]
    pub fn at(self, magnification: Magnification) -> bool {
        self.present[magnification as usize]
    }

    /// The magnifications that are present, coarse to fine.
    pub fn magnifications(self) -> impl Iterator<Item = Magnification> {
        Magnification::ALL
            .into_iter()
            .filter(move |magnification| self.at(*magnification))
    }
}

/// A directory of bags.
#[derive(Debug)]
pub struct BagStore {
    root: PathBuf,
    layout: Layout,
    slide_ids: Vec<String>,
}

impl BagStore {
    /// Opens a directory.
    ///
    /// # Errors
    /// If it cannot.
    pub fn open(root: &Path, _layout: Option<Layout>, _backbone: &str) -> Result<Self> {
        Err(crate::Error::from(ErrorKind::Archive {
            fault: "not read yet".into(),
            source: None,
        })
        .in_file(root))
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Slides with at least one file, sorted.
    #[must_use]
    pub fn slide_ids(&self) -> &[String] {
        &self.slide_ids
    }

    /// What is there of a slide.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn presence(&self, _slide_id: &str) -> Result<Presence> {
        Ok(Presence::default())
    }

    /// Reads a bag.
    ///
    /// # Errors
    /// If it cannot.
    pub fn read(&self, slide_id: &str, _magnifications: &[Magnification]) -> Result<Bag> {
        Bag::new(slide_id, [])
    }

    /// The file of a slide at a magnification.
    #[must_use]
    pub fn path_of(&self, slide_id: &str, _magnification: Magnification) -> PathBuf {
        self.root.join(slide_id)
    }
}
