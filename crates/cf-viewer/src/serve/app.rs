//! The state behind the pages: what is served, what was opened and drawn last, and how much is done at once.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use cf_report::PredictionRow;
use tokio::sync::Semaphore;

use super::deep_zoom::DeepZoom;
use super::recent::Recent;
use super::refusal::Refusal;
use super::slide_state::{Drawing, OpenSlide, ReadyHeat, canvas};
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
    drawing: Arc<Semaphore>,
    /// A model runs alone: it uses every core, and memory.
    predicting: Arc<Semaphore>,
    /// Path below which everything of the study lies, such as `/5f0c9a417be2d386`. It is new with each start, so that a
    /// browser shows nothing that it kept of another run, and no page elsewhere can ask for a model's pass.
    pub(super) root: String,
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
            drawing: Arc::new(Semaphore::new(cores)),
            predicting: Arc::new(Semaphore::new(1)),
            // Keys of hashes come from the system's random numbers.
            root: format!("/{:016x}", RandomState::new().build_hasher().finish()),
            hosts,
        }
    }

    /// A slide of the study by its id. No other name ever reaches the file system.
    pub(super) fn slide(&self, id: &str) -> Result<(Arc<str>, &PredictionRow), Refusal> {
        let (id, at) = self.by_id.get_key_value(id).ok_or_else(|| Refusal::unknown("slide"))?;
        let row = self.study.predictions.get(*at).ok_or_else(|| Refusal::unknown("slide"))?;
        Ok((Arc::clone(id), row))
    }

    /// Where the time bins of a slide's fold begin and end, in months; empty where nobody knows.
    pub(super) fn time_bins(&self, row: &PredictionRow) -> &[f64] {
        self.study.time_bins.get(&row.fold).map_or(&[], Vec::as_slice)
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
        let app = Arc::clone(self);
        blocking(&self.predicting, move || app.heat_now(&id)).await
    }

    fn heat_now(&self, id: &Arc<str>) -> Result<Arc<ReadyHeat>, Refusal> {
        let (_, row) = self.slide(id)?;
        let make = || {
            let heat = self.study.heat.heat(row)?;
            let frame = match self.study.slide_files.get(&**id) {
                Some(path) => self.slides.get(id, || OpenSlide::open(path), |_| 1)?.frame_of(path, &heat)?,
                None => canvas(&heat)?,
            };
            Ok(ReadyHeat::new(heat, frame))
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
            let tile = zoom_tile(DeepZoom::of(heat.frame.size), at)?;
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
        let app = Arc::clone(self);
        blocking(&self.drawing, move || work(&app)).await
    }
}

fn zoom_tile(zoom: DeepZoom, [level, column, row]: [u32; 3]) -> Result<super::deep_zoom::ZoomTile, Refusal> {
    zoom.tile(level, column, row).ok_or_else(|| Refusal::unknown("tile"))
}

/// Does work within a limit, on a thread that may block. It counts until it ends: work goes on when its client has left.
async fn blocking<T: Send + 'static>(
    limit: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let permit = Arc::clone(limit).acquire_owned().await.map_err(|_| Refusal::closing())?;
    let counted = move || {
        let _until_done = permit;
        work()
    };
    match tokio::task::spawn_blocking(counted).await {
        Ok(result) => result,
        // The work panicked; its message went to the log. The server goes on.
        Err(_) => Err(Refusal::cannot("the server failed while it worked on this".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use cf_report::Outcome;

    use super::super::study::{HeatSource, SlideHeat};
    use super::*;

    /// Work that says when it begins, and goes on when it is let.
    struct Held {
        begun: Sender<()>,
        go_on: Mutex<Receiver<()>>,
    }

    impl Held {
        fn new() -> (Self, Receiver<()>, Sender<()>) {
            let ((begun, has_begun), (let_go_on, go_on)) = (channel(), channel());
            (Self { begun, go_on: Mutex::new(go_on) }, has_begun, let_go_on)
        }

        fn work<T>(&self) -> Result<T, String> {
            self.begun.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
            Err("nothing comes of it".to_owned())
        }
    }

    impl HeatSource for Held {
        fn heat(&self, _: &PredictionRow) -> Result<SlideHeat, String> {
            self.work()
        }
    }

    #[test]
    fn work_counts_until_it_ends_though_its_client_has_left() {
        let row = PredictionRow {
            case_id: "case".to_owned(),
            slide_id: "slide".to_owned(),
            patient_id: "patient".to_owned(),
            fold: 0,
            outcome: Outcome::event(1.0).unwrap(),
            risk: 0.0,
            survival: vec![0.5; 4],
        };
        let (model, model_begun, end_model) = Held::new();
        let (picture, picture_begun, end_picture) = Held::new();
        let study = Study {
            title: String::new(),
            predictions: vec![row],
            risk_cut: cf_report::RiskCut::PooledMedian,
            time_bins: BTreeMap::new(),
            slide_files: BTreeMap::new(),
            heat: Box::new(model),
        };
        let app = Arc::new(App::new(study, Vec::new()));
        let n_cores = app.drawing.available_permits();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let [of_model, of_picture] = [Arc::clone(&app), Arc::clone(&app)];
        let of_model = runtime.spawn(async move { of_model.heat(Arc::from("slide")).await.map(drop) });
        let of_picture = runtime.spawn(async move {
            of_picture.draw(move |_| picture.work::<()>().map_err(Refusal::cannot)).await
        });
        model_begun.recv().unwrap();
        picture_begun.recv().unwrap();
        runtime.block_on(async {
            // As the server lets go of a request whose connection is closed.
            for request in [of_model, of_picture] {
                request.abort();
                assert!(request.await.unwrap_err().is_cancelled());
            }
            let left = [&app.predicting, &app.drawing].map(|limit| limit.available_permits());
            // Before anything can fail: the runtime waits for work that was not let go on.
            end_model.send(()).unwrap();
            end_picture.send(()).unwrap();
            assert_eq!(left, [0, n_cores - 1]);
            assert!(app.predicting.acquire().await.is_ok());
            assert!(app.drawing.acquire_many(n_cores as u32).await.is_ok());
        });
    }
}
