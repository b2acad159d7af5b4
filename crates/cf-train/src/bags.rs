//! Slides as tensors, in a given order, read ahead of use and checked against the model's width.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device};
use cf_model::kernels::device::Uploader;
use cf_model::{BagTensors, DerivedCache, KnownFacts, ModelConfig, Patches};
use wsi_bags::{Bag, BagStore, Layout, Magnification, OrderedLoader, PatchDescription, ReadAhead};

use crate::bag_upload::BagUpload;
use crate::config::{FeaturesConfig, Precision};
use crate::data_hashes::BagPart;
use crate::device_memory::naming_the_bag;
use crate::edge_cache::EdgeFile;
use crate::error::{Error, Result};
use crate::memory::BagSize;
use crate::missing_fact;
use crate::one_magnification;
use crate::resident_bags::ResidentBags;
use crate::substitutes::{self, SubstituteRow};
use crate::visit::{PatchDraw, Visit};

/// Finished bags that wait beside the one that is read while another is in use: with none, one bag is ahead, as
/// [`StepMemory`](crate::memory::StepMemory) counts. Of a run on a GPU that one is there already, and the next is read into the host's
/// memory.
const AHEAD: usize = 0;

/// What files say of a slide's patches.
pub(crate) type Described = BTreeMap<Magnification, PatchDescription>;

fn size_of(described: &Described) -> BagSize {
    let n_patches = |at| described.get(&at).map_or(0, |at| at.n_patches);
    let [x5, x10, x20] = [Magnification::X5, Magnification::X10, Magnification::X20].map(n_patches);
    BagSize { x5, x10, x20 }
}

/// A directory of bags as one model reads it.
#[derive(Debug, Clone)]
pub struct BagSource {
    store: Arc<BagStore>,
    model: ModelConfig,
    magnifications: Vec<Magnification>,
    /// Neighbours and the like, which follow from a bag and cost more than reading it, by slide.
    derived: Arc<Mutex<HashMap<String, DerivedCache>>>,
    /// Lists that may be beside the bags, or are to be put there, by slide.
    edge_files: Arc<Mutex<HashMap<String, EdgeFile>>>,
    /// Of slides that were described: their files are opened once for that.
    sizes: Arc<Mutex<HashMap<String, BagSize>>>,
    resident: Arc<Mutex<ResidentBags>>,
    uploader: Arc<Mutex<Uploader>>,
    device: Device,
    dtype: DType,
    backbone_dim: usize,
    row_order: &'static str,
}

impl BagSource {
    /// Reads `example` to learn the width of the features and the order of their rows. On a GPU features are bf16 where that changes
    /// no result.
    ///
    /// # Errors
    /// If that bag can't be read, or lacks something that `model` needs.
    pub fn new(
        store: Arc<BagStore>,
        model: &ModelConfig,
        (device, precision): (&Device, Precision),
        example: &str,
    ) -> Result<Self> {
        let magnifications = model.magnifications();
        let bag = store
            .read(example, magnifications)
            .map_err(|source| Error::Bag { slide_id: example.to_owned(), source })?;
        model.check_bag(&bag).map_err(|error| missing_fact::of_model(error, &store))?;
        let dtype = model.feature_type(bag.feature_dim(), device, precision.compute_dtype());
        Ok(Self {
            store,
            model: model.clone(),
            magnifications: magnifications.to_vec(),
            derived: Arc::default(),
            edge_files: Arc::default(),
            sizes: Arc::default(),
            resident: Arc::default(),
            uploader: Arc::new(Mutex::new(Uploader::new(device, dtype)?)),
            device: device.clone(),
            dtype,
            backbone_dim: bag.feature_dim(),
            row_order: row_order(&bag),
        })
    }

    /// Columns of the features.
    pub fn backbone_dim(&self) -> usize {
        self.backbone_dim
    }

    /// `row-major` where all patch sets of the example bag are, else `file`.
    pub fn row_order(&self) -> &'static str {
        self.row_order
    }

    /// Where the tensors are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the model reads.
    pub(crate) fn magnifications(&self) -> &[Magnification] {
        &self.magnifications
    }

    /// The files that hold a slide's bag.
    pub(crate) fn files_of(&self, slide_id: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            self.magnifications.iter().map(|&at| self.store.path_of(slide_id, at)).collect();
        files.dedup();
        files
    }

    /// What of a slide's bag the model reads.
    pub(crate) fn parts_of(&self, slide_id: &str) -> impl Iterator<Item = BagPart> {
        self.magnifications.iter().map(move |&magnification| BagPart {
            file: self.store.path_of(slide_id, magnification),
            backbone: self.store.backbone().to_owned(),
            magnification,
        })
    }

    /// Bytes that tell a slide's patches at one magnification from others; see [`BagStore::sample`].
    ///
    /// # Errors
    /// If its file can't be read.
    pub(crate) fn sample(&self, slide_id: &str, magnification: Magnification) -> Result<Vec<u8>> {
        let sample = self.store.sample(slide_id, magnification);
        sample.map_err(|source| Error::Bag { slide_id: slide_id.to_owned(), source })
    }

    /// Refuses a slide whose features have another width, or whose bag lacks something beside features that the model needs, without
    /// reading its features. Returns what its files say.
    ///
    /// # Errors
    /// If it does, or the slide's description can't be read.
    pub(crate) fn check_described(&self, slide_id: &str) -> Result<Described> {
        let known = self.describe(slide_id)?;
        for described in known.values() {
            self.check_width(slide_id, described.dim, || described.path.clone())?;
        }
        let facts = |described: &PatchDescription| KnownFacts {
            coords: described.has_coords,
            side: described.geometry.patch_size_level0.is_some(),
            parents: described.has_parents,
            tissue: described.has_tissue,
        };
        self.model
            .check_known(slide_id, |at| known.get(&at).map(facts).unwrap_or_default())
            .map_err(|error| missing_fact::of_model(error, &self.store))?;
        Ok(known)
    }

    fn check_width(&self, slide_id: &str, found: usize, path: impl FnOnce() -> PathBuf) -> Result<()> {
        let expected = self.backbone_dim;
        if found == expected {
            return Ok(());
        }
        let reason = format!(
            "slide {slide_id} has features of {found} columns, expected {expected} as in the first slide"
        );
        Err(Error::data(&path(), reason))
    }

    /// What the slide's files say at each magnification that the model reads; its size is noted.
    fn describe(&self, slide_id: &str) -> Result<Described> {
        let describe = |&at: &Magnification| Ok((at, self.store.describe(slide_id, at)?));
        let described = self.magnifications.iter().map(describe).collect::<wsi_bags::Result<Described>>();
        let described = described.map_err(|source| Error::Bag { slide_id: slide_id.to_owned(), source })?;
        self.sizes().insert(slide_id.to_owned(), size_of(&described));
        Ok(described)
    }

    /// The patches of a slide at the magnifications that the model reads, without reading their features.
    ///
    /// # Errors
    /// If the slide's description can't be read.
    pub(crate) fn size(&self, slide_id: &str) -> Result<BagSize> {
        let known = self.sizes().get(slide_id).copied();
        known.map_or_else(|| Ok(size_of(&self.describe(slide_id)?)), Ok)
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<String, BagSize>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps bags on the device once they are read, as many of `bags` (slides and their patches), in that order, as so many bytes
    /// hold. Returns how many these are and what they take.
    pub(crate) fn keep_resident(&self, budget_bytes: u64, bags: &[(String, BagSize)]) -> (usize, u64) {
        let row_bytes = (self.backbone_dim * self.dtype.size_in_bytes()) as u64;
        let bytes =
            |(slide_id, size): &(String, BagSize)| (slide_id.clone(), size.total() as u64 * row_bytes);
        let mut resident = self.resident();
        *resident = ResidentBags::within(budget_bytes, bags.iter().map(bytes));
        (resident.n_bags(), resident.total_bytes())
    }

    fn resident(&self) -> MutexGuard<'_, ResidentBags> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn derived_of(&self, slide_id: &str) -> Result<DerivedCache> {
        let mut known = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(derived) = known.get(slide_id) {
            return Ok(derived.clone());
        }
        let derived = DerivedCache::default();
        let lists = self.edge_files().get(slide_id).map(EdgeFile::read).unwrap_or_default();
        if !lists.is_empty() {
            self.edge_files().remove(slide_id);
        }
        for (name, list) in lists {
            derived.get(name, || Ok(list))?;
        }
        known.insert(slide_id.to_owned(), derived.clone());
        Ok(derived)
    }

    fn finds_nearest_features(&self) -> bool {
        matches!(&self.model, ModelConfig::DeepGraphSurv(settings) if settings.finds_nearest_features())
    }

    fn edge_files(&self) -> MutexGuard<'_, HashMap<String, EdgeFile>> {
        self.edge_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the state of bags before they are read for the first time: what is found in them holds for that.
    fn note_edge_files(&self, slide_ids: &[String]) {
        if !self.finds_nearest_features() {
            return;
        }
        let known = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = self.edge_files();
        for slide_id in slide_ids.iter().filter(|&slide_id| !known.contains_key(slide_id)) {
            let bag = self.store.path_of(slide_id, Magnification::X20);
            if let Some(file) = EdgeFile::of(&bag, self.store.backbone()) {
                files.insert(slide_id.clone(), file);
            }
        }
    }

    /// Keeps beside the bags, for the next run, what took long to find for them. Where they can't be written to, it will be found
    /// again.
    pub(crate) fn keep_derived(&self) {
        let known = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        self.edge_files().retain(|slide_id, file| {
            let written = known.get(slide_id).map_or(Ok(false), |derived| file.write(derived));
            if let Err(error) = &written {
                tracing::debug!(slide_id, %error, "neighbours are not kept beside the bags");
            }
            // Nothing was found yet for a slide that no pass has seen.
            matches!(written, Ok(false))
        });
    }

    /// What stood in for what the bags of these slides lack, in the passes so far.
    pub(crate) fn substitutes<'a>(&self, slide_ids: impl Iterator<Item = &'a str>) -> Vec<SubstituteRow> {
        let slide_ids: BTreeSet<&str> = slide_ids.collect();
        let known = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        substitutes::sum(slide_ids.into_iter().filter_map(|slide_id| known.get(slide_id)))
    }

    /// The bags of `slide_ids`, in that order; ids may repeat. One is read while the one before it is in use, and to a GPU it is copied
    /// meanwhile, too: by threads that use Rayon's, so not to be called from one of those.
    pub fn load(&self, slide_ids: Vec<String>) -> impl Iterator<Item = Result<(String, BagTensors)>> + '_ {
        self.load_visits(slide_ids.into_iter().map(Visit::of_all).collect())
    }

    /// [`Self::load`] of what each visit sees. Of a bag that stays on the device all is there, and patches are drawn there; of others only
    /// those that are drawn are copied to it.
    pub(crate) fn load_visits(
        &self,
        visits: Vec<Visit>,
    ) -> impl Iterator<Item = Result<(String, BagTensors)>> + '_ {
        let there: Vec<(bool, Option<BagTensors>)> = {
            let resident = self.resident();
            let there = |slide_id: &str| (resident.has_place(slide_id), resident.get(slide_id));
            visits.iter().map(|visit| there(&visit.slide_id)).collect()
        };
        let absent = visits.iter().zip(&there).filter(|(_, (_, bag))| bag.is_none());
        let (absent, read_draws): (Vec<String>, Vec<Option<PatchDraw>>) = absent
            .map(|(visit, (stays, _))| (visit.slide_id.clone(), visit.draw.clone().filter(|_| !stays)))
            .unzip();
        self.note_edge_files(&absent);
        let source = self.clone();
        let upload = move |((slide_id, bag), draw): ((String, wsi_bags::Result<Bag>), Option<PatchDraw>)| {
            let bag = bag.map_err(|source| Error::Bag { slide_id: slide_id.clone(), source })?;
            Ok((BagSize::of_bag(&bag), source.upload(&slide_id, &bag, draw.as_ref())?))
        };
        let uploads = OrderedLoader::new(Arc::clone(&self.store), absent, self.magnifications.clone(), AHEAD)
            .zip(read_draws)
            .map(upload);
        let mut uploads: Box<dyn Iterator<Item = Result<(BagSize, Result<BagUpload>)>>> =
            if self.device.is_cpu() { Box::new(uploads) } else { Box::new(ReadAhead::new(uploads, AHEAD)) };
        visits.into_iter().zip(there).map_while(move |(Visit { slide_id, draw }, (stays, bag))| {
            let bag = match bag {
                Some(bag) => Ok(bag),
                None => uploads.next()?.and_then(|(size, upload)| {
                    // The bag before this one is gone by now.
                    let tensors = naming_the_bag(&self.device, &slide_id, size, || upload?.finish())?;
                    self.resident().keep(&slide_id, &tensors);
                    Ok(tensors)
                }),
            };
            let seen = bag.and_then(|bag| {
                let size = BagSize::of(&bag);
                match draw.filter(|_| stays).map(|draw| draw.of(size, &bag.patches)).transpose()?.flatten() {
                    None => Ok(bag),
                    Some(kept) => {
                        let part = || Ok(bag.select(&kept, bag.patches.part(&kept))?);
                        naming_the_bag(&self.device, &slide_id, size, part)
                    }
                }
            });
            Some(seen.map(|seen| (slide_id, seen)))
        })
    }

    /// Checks a bag and starts to copy it, or the patches that are drawn of it, to the device, which may fail by itself.
    fn upload(&self, slide_id: &str, bag: &Bag, draw: Option<&PatchDraw>) -> Result<Result<BagUpload>> {
        let path = || self.store.path_of(slide_id, self.magnifications[0]);
        self.check_width(slide_id, bag.feature_dim(), path)?;
        self.model.check_bag(bag).map_err(|error| missing_fact::of_model(error, &self.store))?;
        let derived = self.derived_of(slide_id)?;
        let mut patches = Patches { derived, ..Patches::of(bag) };
        let kept = draw.map(|draw| draw.of(BagSize::of_bag(bag), &patches)).transpose()?.flatten();
        if let Some(kept) = &kept {
            patches = patches.part(kept);
        }
        let mut uploader = self.uploader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(BagUpload::start(&mut uploader, bag, kept.as_ref(), Arc::new(patches)))
    }
}

/// Opens the directory of bags that a configuration names, or those of each magnification.
///
/// # Errors
/// If there are no bags, or more than one way to read them.
pub fn open_store(features: &FeaturesConfig) -> Result<BagStore> {
    let layout = features.layout.as_deref().map(str::parse::<Layout>).transpose().map_err(Error::BagStore)?;
    let store = match (&features.dir, &features.roots) {
        (Some(dir), _) => BagStore::open(dir, layout, &features.backbone),
        (None, roots) => {
            let of = |at: Magnification| {
                let root = roots.as_ref().and_then(|roots| match at {
                    Magnification::X5 => roots.x5.clone(),
                    Magnification::X10 => roots.x10.clone(),
                    Magnification::X20 => roots.x20.clone(),
                });
                Some((at, root?))
            };
            let roots: Vec<_> = Magnification::ALL.into_iter().filter_map(of).collect();
            BagStore::open_roots(&roots, &features.backbone)
        }
    };
    store.map_err(|error| {
        let dir = features.dir.as_deref();
        dir.and_then(|dir| one_magnification::fault(dir, &error, &features.backbone))
            .unwrap_or(Error::BagStore(error))
    })
}

/// The order of a bag's patches, as checkpoints record it.
pub(crate) fn row_order(bag: &Bag) -> &'static str {
    order_of(bag.sets().map(|(_, set)| set.row_order()))
}

/// [`row_order`] of a bag that was not read.
pub(crate) fn described_order(described: &Described) -> &'static str {
    order_of(described.values().map(|described| described.row_order))
}

fn order_of(mut sets: impl Iterator<Item = wsi_bags::RowOrder>) -> &'static str {
    let all = sets.all(|order| order == wsi_bags::RowOrder::RowMajor);
    if all { wsi_bags::RowOrder::RowMajor.label() } else { wsi_bags::RowOrder::File.label() }
}
