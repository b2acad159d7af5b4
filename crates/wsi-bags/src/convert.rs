//! Bags from one layout to another.

mod native_file;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use crate::clam;
use crate::coords::are_at_one_place;
use crate::error::{Error, ErrorKind, Result};
use crate::feature_type::FeatureType;
use crate::layout::Layout;
use crate::magnification::Magnification;
use crate::native;
use crate::one_slide::check_together;
use crate::parents::Parents;
use crate::patch_set::PatchSet;
use crate::patch_source::PatchSource;
use crate::pt;
use crate::safetensors;
use crate::scale_parents::scale_parents;
use crate::shared_file::complete_file;
use crate::slide_info::SlideInfo;
use crate::slide_names::SlideNames;
use crate::store::BagStore;

/// Writes the slides of a store in another layout, one at a time.
///
/// Of a slide no more than the features of one magnification are in memory. The order of rows is kept. Features that are
/// 16-bit floats (not bfloat16) stay so, all others become 32-bit ones: [`Converter::with_feature_type`]. Parents are
/// found from coordinates where the source has none and the new layout keeps them (native, safetensors). Each file is
/// written beside its name and renamed.
///
/// A native file holds the features of several encoders: those of the store's backbone are added to a file that has those of
/// another for the same patches. CLAM's folders hold those of one, which their files do not state.
///
/// ```
/// use wsi_bags::{BagStore, Converter, FeatureMatrix, Layout, Magnification, PatchSet, SlideInfo, safetensors};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let (root, out) = (directory.path().join("in"), directory.path().join("out"));
/// # std::fs::create_dir_all(root.join("uni/x20")).unwrap();
/// let features = FeatureMatrix::new(vec![0.5; 8], 2, 4)?;
/// let patches = PatchSet::new(features).with_coords(vec![[0, 0], [512, 0]])?;
/// safetensors::write(&root.join("uni/x20/slide-1.safetensors"), &patches, "uni", &SlideInfo::default())?;
///
/// let store = BagStore::open(&root, None, "uni")?;
/// let written = Converter::new(&store, Layout::Native, &out)?.convert("slide-1")?;
/// assert_eq!(written.files, [out.join("slide-1.h5")]);
/// let native = BagStore::open(&out, None, "uni")?;
/// assert_eq!(native.read("slide-1", &[Magnification::X20])?.at(Magnification::X20)?.coords(), patches.coords());
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Debug)]
pub struct Converter<'a> {
    store: &'a BagStore,
    layout: Layout,
    out: &'a Path,
    /// As the source has it when left out.
    feature_type: Option<FeatureType>,
    if_there: IfThere,
    /// The slides that will be converted; all of the store when left out.
    only: Option<SlideNames>,
    /// Slides that had files in `out` at the beginning.
    there: SlideNames,
    /// A file that was converted, or was in `out` before, and the width of its features, which all must have.
    first: Option<(PathBuf, usize)>,
    /// Whether files can be made in `out`, once that was asked.
    is_writable: bool,
}

/// What becomes of a native file with features of the store's backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfThere {
    Complete,
    Overwrite,
}

/// A magnification, and what the store has of it.
type Source = (Magnification, PatchSource);

/// What was written for one slide.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The files, by magnification.
    pub files: Vec<PathBuf>,
    /// The patches of each magnification, coarse to fine.
    pub sets: Vec<ConvertedSet>,
    /// Whether features were added to a file that has those of another encoder, and everything else before.
    pub added: bool,
}

/// What was written for one magnification of a slide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvertedSet {
    /// The magnification.
    pub magnification: Magnification,
    /// Number of patches.
    pub n_patches: usize,
    /// Whether parents were written.
    pub has_parents: bool,
    /// How many of them are the nearest coarse patch because none holds the patch, where that is known.
    pub parent_fallbacks: Option<usize>,
    /// Whether all of several patches lie at the same place, so that coordinates tell nothing.
    pub at_one_place: bool,
    /// How many features other than 0 were written as 0, since 16-bit floats hold nothing so small.
    pub n_became_zero: usize,
}

impl<'a> Converter<'a> {
    /// A converter from `store` into the directory `out`, which is made if need be. A slide whose files there bear its name in another
    /// form ([`SlideNames`]) keeps them.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] if `layout` is not one of [`Layout::WRITABLE`], [`ErrorKind::OtherLayout`] if `out` holds files of
    /// another one, [`ErrorKind::AmbiguousFolder`] and [`ErrorKind::Io`] as in [`BagStore::open`].
    pub fn new(store: &'a BagStore, layout: Layout, out: &'a Path) -> Result<Self> {
        if !Layout::WRITABLE.contains(&layout) {
            return Err(ErrorKind::UnknownName {
                what: "layout to write",
                found: layout.to_string(),
                known: Layout::WRITABLE.map(|layout| layout.to_string()).to_vec(),
            }
            .into());
        }
        let there = target::slides_there(out, layout, store.backbone())?;
        let if_there = IfThere::Complete;
        Ok(Self {
            store,
            layout,
            out,
            feature_type: None,
            if_there,
            only: None,
            there,
            first: None,
            is_writable: false,
        })
    }

    /// Writes features of this type, whatever the source has, rounded to nearest.
    #[must_use]
    pub fn with_feature_type(mut self, feature_type: FeatureType) -> Self {
        self.feature_type = Some(feature_type);
        self
    }

    /// Writes native files anew, not what they lack, and those, too, that are damaged ([`Error::is_damage`]).
    #[must_use]
    pub fn overwriting(mut self) -> Self {
        self.if_there = IfThere::Overwrite;
        self
    }

    /// States that no other slides of the store will be converted, so that files of others stay where those of these are
    /// overwritten.
    #[must_use]
    pub fn only(mut self, slide_ids: &[String]) -> Self {
        self.only = Some(SlideNames::new(slide_ids.iter().cloned()));
        self
    }

    /// The files that [`Converter::convert`] would write for these magnifications of a slide.
    ///
    /// # Errors
    /// [`ErrorKind::Name`] if `slide_id` cannot be a file name.
    pub fn files(&self, slide_id: &str, magnifications: &[Magnification]) -> Result<Vec<PathBuf>> {
        let stem = self.store.stem(slide_id)?;
        if self.layout == Layout::Native {
            return Ok(vec![self.native_file(stem)]);
        }
        Ok(magnifications.iter().flat_map(|magnification| self.scale_files(stem, *magnification)).collect())
    }

    /// Whether all that the store has of a slide is there: its files, and in a native file features of the store's backbone
    /// at each magnification.
    ///
    /// # Errors
    /// Those of [`BagStore::presence`] and [`native::magnifications`]; [`ErrorKind::Disagreement`] if features that are there are
    /// not as wide as those of the store; for CLAM's layout [`ErrorKind::MissingEncoder`] if a file that is there states another
    /// encoder.
    pub fn is_done(&self, slide_id: &str) -> Result<bool> {
        let stem = self.store.stem(slide_id)?;
        let present: Vec<_> = self.store.presence(slide_id)?.magnifications().collect();
        if present.is_empty() || !self.files(slide_id, &present)?.iter().all(|file| file.is_file()) {
            return Ok(false);
        }
        if self.layout == Layout::Native {
            let done = native::magnifications(&self.native_file(stem), self.store.backbone())?;
            if !present.iter().all(|magnification| done.contains(magnification)) {
                return Ok(false);
            }
        }
        for magnification in present {
            // A source that can no longer be read has nothing to be compared.
            if let Ok(source) = self.store.source(stem, magnification) {
                self.check_there(stem, magnification, &source)?;
            }
        }
        Ok(true)
    }

    /// Converts all magnifications of a slide, replacing files of that name, but for the features of other encoders in a
    /// native file. To a native file with those of several encoders, the magnifications are added that this one lacks.
    ///
    /// # Errors
    /// Those of [`BagStore::read`], [`ErrorKind::Disagreement`] if its features are not as wide as those of the slides
    /// before and of one that was in `out` at the beginning, [`ErrorKind::MissingCoords`] if the new layout needs coordinates that are not known,
    /// [`ErrorKind::BeyondHalf`] for a feature that the float type cannot hold, and those of writing: [`ErrorKind::Io`] of `out` itself
    /// where no file can be made in it, whatever the slide. For a native file that is
    /// there: [`ErrorKind::Content`] if, written again, it would lose features of another encoder or magnification, and
    /// those of [`native::add_features`]. Those of [`Converter::is_done`].
    pub fn convert(&mut self, slide_id: &str) -> Result<Converted> {
        let store = self.store;
        let stem = store.stem(slide_id)?;
        let sources = self.sources(stem)?;
        if !self.is_writable {
            make_directory(self.out)?;
            target::check_writable(self.out)?;
            self.is_writable = true;
        }
        if self.layout != Layout::Native {
            return self.write_scales(stem, sources);
        }
        let file = self.native_file(stem);
        let mut opened = Some(sources);
        let written = complete_file(&file, |beside| {
            // Begun again, it reads them again.
            let sources = opened.take().map_or_else(|| self.sources(stem), Ok)?;
            self.write_native(&file, beside, sources).map(Some)
        })?;
        Ok(written.unwrap_or(Converted { files: vec![file], sets: Vec::new(), added: false }))
    }

    /// What the store has of a slide, checked.
    fn sources(&mut self, stem: &str) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for magnification in self.store.presence(stem)?.magnifications() {
            let source = self.store.source(stem, magnification)?;
            self.check_there(stem, magnification, &source)?;
            self.check_width(&source)?;
            self.check_coords(&source, magnification)?;
            sources.push((magnification, source));
        }
        if sources.is_empty() {
            return Err(self.store.why_absent(stem));
        }
        check_together(&sources)?;
        Ok(sources)
    }

    /// Writes the files of each magnification.
    fn write_scales(&self, stem: &str, sources: Vec<Source>) -> Result<Converted> {
        let slide = slide_of(&sources);
        let parents = self.parents(&sources)?;
        let magnifications: Vec<_> = sources.iter().map(|(magnification, _)| *magnification).collect();
        let files = self.files(stem, &magnifications)?;
        files.iter().filter_map(|file| file.parent()).try_for_each(make_directory)?;
        let mut sets = Vec::with_capacity(sources.len());
        for (source, found) in sources.into_iter().zip(parents) {
            let (patches, feature_type, set) = self.read(source, found)?;
            self.write_scale(&self.scale_files(stem, set.magnification), &patches, &slide, feature_type)?;
            sets.push(set);
        }
        Ok(Converted { files, sets, added: false })
    }

    /// Reads what is written of a magnification.
    fn read(
        &self,
        (magnification, source): Source,
        found: Option<Parents>,
    ) -> Result<(PatchSet, FeatureType, ConvertedSet)> {
        let feature_type = self.feature_type.unwrap_or(FeatureType::holding(source.element));
        let path = source.path.clone();
        let patches = source
            .into_patches()
            .and_then(|patches| with_found_parents(patches, found))
            .map_err(|error| error.in_file(&path).at_place(magnification))?;
        let set = ConvertedSet {
            magnification,
            n_patches: patches.n_patches(),
            has_parents: self.keeps_parents() && patches.parents().is_some(),
            parent_fallbacks: patches.parent_fallbacks().filter(|_| self.keeps_parents()),
            at_one_place: patches.coords().is_some_and(are_at_one_place),
            n_became_zero: feature_type.n_becoming_zero(patches.features()),
        };
        Ok((patches, feature_type, set))
    }

    fn write_scale(
        &self,
        files: &[PathBuf],
        patches: &PatchSet,
        slide: &SlideInfo,
        feature_type: FeatureType,
    ) -> Result<()> {
        let write_pt = |file: &PathBuf| pt::write_features_as(file, patches.features(), feature_type);
        match (self.layout, files) {
            (Layout::Clam, [h5, tensor]) => {
                clam::write_h5(h5, patches, slide, feature_type).map_err(|error| error.in_file(h5))?;
                write_pt(tensor)
            }
            (Layout::Safetensors, [file]) => {
                safetensors::write_as(file, patches, self.store.backbone(), slide, feature_type)
            }
            (_, files) => files.iter().try_for_each(write_pt),
        }
    }

    /// What files of a slide are called in `out`: as those that are there, unless these are of another slide of the store.
    fn stem_there<'b>(&'b self, stem: &'b str) -> &'b str {
        let is_other = |name: &str| name != stem && self.store.listed_as(name) == Some(name);
        self.there.find(stem).filter(|name| !is_other(name)).unwrap_or(stem)
    }

    fn native_file(&self, stem: &str) -> PathBuf {
        self.out.join(format!("{}.h5", self.stem_there(stem)))
    }

    fn scale_files(&self, stem: &str, magnification: Magnification) -> Vec<PathBuf> {
        let (label, backbone, stem) = (magnification.label(), self.store.backbone(), self.stem_there(stem));
        match self.layout {
            Layout::Clam => {
                let home = self.out.join(label);
                vec![
                    home.join("h5_files").join(format!("{stem}.h5")),
                    home.join("pt_files").join(format!("{stem}.pt")),
                ]
            }
            Layout::Safetensors => {
                vec![self.out.join(backbone).join(label).join(format!("{stem}.safetensors"))]
            }
            _ => vec![self.out.join(backbone).join(label).join("pt_files").join(format!("{stem}.pt"))],
        }
    }

    fn keeps_parents(&self) -> bool {
        matches!(self.layout, Layout::Native | Layout::Safetensors)
    }

    fn check_coords(&self, source: &PatchSource, magnification: Magnification) -> Result<()> {
        if source.coords.is_some() || !matches!(self.layout, Layout::Native | Layout::Clam) {
            return Ok(());
        }
        Err(Error::from(ErrorKind::MissingCoords).in_file(&source.path).at_place(magnification))
    }

    /// Parents to add to each set: none where it has them, where nothing keeps them, or where they cannot be told.
    fn parents(&self, sources: &[Source]) -> Result<Vec<Option<Parents>>> {
        let found = |(magnification, fine): &Source| {
            let coarser = magnification.coarser();
            let coarse = sources.iter().find(|(at, _)| Some(*at) == coarser).map(|(_, source)| source);
            match coarse {
                Some(coarse) if fine.parents.is_none() && self.keeps_parents() => {
                    scale_parents(fine, coarse, *magnification).map_err(|error| error.in_file(&fine.path))
                }
                _ => Ok(None),
            }
        };
        sources.iter().map(found).collect()
    }
}

/// What the files of a slide say of it.
fn slide_of(sources: &[Source]) -> SlideInfo {
    sources.iter().fold(SlideInfo::default(), |known, (_, source)| known.or(source.slide))
}

fn make_directory(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|source| {
        Error::from(ErrorKind::Io { action: "make the directory", source }).in_file(directory)
    })
}

fn with_found_parents(patches: PatchSet, found: Option<Parents>) -> Result<PatchSet> {
    match found {
        None => Ok(patches),
        Some(Parents { index, n_fallbacks }) => {
            patches.with_parents(index.into_iter().map(Some).collect())?.with_parent_fallbacks(n_fallbacks)
        }
    }
}
