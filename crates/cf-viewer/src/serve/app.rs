//! The state behind the pages: what is served, what was opened and drawn last, and how much is done at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use cf_report::PredictionRow;
use tokio::sync::Semaphore;

use super::deep_zoom::DeepZoom;
use super::recent::Recent;
use super::refusal::Refusal;
use super::slide_state::{Drawing, OpenSlide, ReadyHeat};
use super::study::Study;

/// Slides that are open at once; each holds tiles of its own.
const OPEN_SLIDES: usize = 6;
/// Bytes of heatmaps that are kept.
const HEAT_BYTES: usize = 256 << 20;
/// Bytes of encoded tiles that are kept.
const TILE_BYTES: usize = 96 << 20;

/// Which tile of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Picture {
    /// Of the slide: level, column, row.
    Tile(Arc<str>, [u32; 3]),
    /// Of a layer.
    Heat(Arc<str>, usize, [u32; 3], Drawing),
    /// A patch: its corner and side.
    Patch(Arc<str>, [i64; 2], u32),
}

/// Everything that handlers share.
pub(super) struct App {
    pub(super) study: Study,
    /// Place in the study of each slide.
    by_id: BTreeMap<Arc<str>, usize>,
    slides: Recent<Arc<str>, OpenSlide>,
    heat: Recent<Arc<str>, ReadyHeat>,
    pictures: Recent<Picture, Vec<u8>>,
    /// Pictures that are made at once: as many as there are cores.
    drawing: Semaphore,
    /// A model runs alone: it uses every core, and memory.
    predicting: Semaphore,
    /// Names that a request may call this server by.
    pub(super) hosts: Vec<String>,
}

impl App {
    pub(super) fn new(study: Study, hosts: Vec<String>) -> Self {
        let ids = study.predictions.iter().map(|row| Arc::from(row.slide_id.as_str()));
        let by_id = ids.zip(0..).collect();
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            study,
            by_id,
            slides: Recent::new(OPEN_SLIDES),
            heat: Recent::new(HEAT_BYTES),
            pictures: Recent::new(TILE_BYTES),
            drawing: Semaphore::new(cores),
            predicting: Semaphore::new(1),
            hosts,
        }
    }

    /// A slide of the study by its id. No other name ever reaches the file system.
    pub(super) fn slide(&self, id: &str) -> Result<(Arc<str>, &PredictionRow), Refusal> {
        let (id, at) = self.by_id.get_key_value(id).ok_or_else(|| Refusal::unknown("slide"))?;
        let row = self.study.predictions.get(*at).ok_or_else(|| Refusal::unknown("slide"))?;
        Ok((Arc::clone(id), row))
    }

    /// The open file of a slide.
    pub(super) async fn open(self: &Arc<Self>, id: Arc<str>) -> Result<Arc<OpenSlide>, Refusal> {
        self.draw(move |app| app.open_now(&id)).await
    }

    fn open_now(&self, id: &Arc<str>) -> Result<Arc<OpenSlide>, Refusal> {
        let path = self.study.slide_files.get(&**id).ok_or_else(|| Refusal::unknown("slide file"))?;
        self.slides.get(id, || OpenSlide::open(path), |_| 1).map_err(Refusal::cannot)
    }

    /// The heatmaps of a slide; made by the model the first time, one slide at a time.
    pub(super) async fn heat(self: &Arc<Self>, id: Arc<str>) -> Result<Arc<ReadyHeat>, Refusal> {
        if let Some(heat) = self.heat.held(&id) {
            return Ok(heat);
        }
        let _alone = self.predicting.acquire().await.map_err(|_| Refusal::closing())?;
        let app = Arc::clone(self);
        blocking(move || app.heat_now(&id)).await
    }

    fn heat_now(&self, id: &Arc<str>) -> Result<Arc<ReadyHeat>, Refusal> {
        let (_, row) = self.slide(id)?;
        let make = || {
            let heat = self.study.heat.heat(row)?;
            if let Some(path) = self.study.slide_files.get(&**id) {
                self.slides.get(id, || OpenSlide::open(path), |_| 1)?.check(path, &heat)?;
            }
            ReadyHeat::new(heat)
        };
        self.heat.get(id, make, ReadyHeat::bytes).map_err(Refusal::cannot)
    }

    /// A tile of the slide as JPEG.
    pub(super) async fn tile(self: &Arc<Self>, id: Arc<str>, at: [u32; 3]) -> Result<Arc<Vec<u8>>, Refusal> {
        self.draw(move |app| {
            let slide = app.open_now(&id)?;
            let tile = zoom_tile(slide.zoom(), at)?;
            let picture = Picture::Tile(id, at);
            app.pictures.get(&picture, || slide.tile(&tile), Vec::len).map_err(Refusal::cannot)
        })
        .await
    }

    /// A tile of a layer as PNG.
    pub(super) async fn heat_tile(
        self: &Arc<Self>,
        id: Arc<str>,
        index: usize,
        at: [u32; 3],
        drawing: Drawing,
    ) -> Result<Arc<Vec<u8>>, Refusal> {
        let heat = self.heat(Arc::clone(&id)).await?;
        self.draw(move |app| {
            let size = app.open_now(&id).map_or(heat.frame.size, |slide| slide.frame.size);
            let tile = zoom_tile(DeepZoom::of(size), at)?;
            if index >= heat.heat.layers.len() {
                return Err(Refusal::unknown("layer"));
            }
            let make = || heat.tile(index, &tile, drawing).unwrap_or_else(|| Err("no such layer".to_owned()));
            let picture = Picture::Heat(id, index, at, drawing);
            app.pictures.get(&picture, make, Vec::len).map_err(Refusal::cannot)
        })
        .await
    }

    /// A patch of a layer as JPEG.
    pub(super) async fn patch(
        self: &Arc<Self>,
        id: Arc<str>,
        index: usize,
        patch_idx: usize,
    ) -> Result<Arc<Vec<u8>>, Refusal> {
        let heat = self.heat(Arc::clone(&id)).await?;
        let boxes = heat.heat.layers.get(index).ok_or_else(|| Refusal::unknown("layer"))?.boxes();
        let corner = *boxes.corners.get(patch_idx).ok_or_else(|| Refusal::unknown("patch"))?;
        let side = boxes.side;
        self.draw(move |app| {
            let slide = app.open_now(&id)?;
            let picture = Picture::Patch(id, corner, side);
            app.pictures.get(&picture, || slide.patch(corner, side), Vec::len).map_err(Refusal::cannot)
        })
        .await
    }

    /// Does work that reads files or draws, on a thread that may block, no more than cores at once.
    async fn draw<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _permit = self.drawing.acquire().await.map_err(|_| Refusal::closing())?;
        let app = Arc::clone(self);
        blocking(move || work(&app)).await
    }
}

fn zoom_tile(zoom: DeepZoom, [level, column, row]: [u32; 3]) -> Result<super::deep_zoom::ZoomTile, Refusal> {
    zoom.tile(level, column, row).ok_or_else(|| Refusal::unknown("tile"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The work panicked; its message went to the log. The server goes on.
        Err(_) => Err(Refusal::cannot("the server failed while it worked on this".to_owned())),
    }
}
