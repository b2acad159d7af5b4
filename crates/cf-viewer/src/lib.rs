//! Heatmaps on slides, from stored features and the scores that a model gives their patches.
//!
//! A [`HeatLayer`] is a number for each patch of one magnification: what one module of a model attends to, or what leaving
//! a patch out does. [`render`] draws layers in every form that the field reads: the slide beside its maps as the paper's
//! Figure 2, overlays with legend and scale bar, sheets of the patches that score highest, polygons for QuPath, and
//! pyramids that lie on the slide pixel for pixel; raw scores are always written beside.
//!
//! Patches are placed by their level-0 coordinates and pictures by the exact ratio of their sides, never by rounded
//! downsamples, so that nothing drifts towards a corner. [`SlideFrame::of_slide`] refuses a file that the features do not
//! come from.
//!
//! ```
//! use std::sync::Arc;
//! use cf_viewer::{HeatLayer, PatchBoxes, RenderOptions, SlideFrame, Subject, render};
//! use wsi_bags::{Magnification, SlideInfo};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let out = directory.path().join("slide-1");
//! let boxes = PatchBoxes { magnification: Magnification::X10, side: 1024, corners: vec![[0, 0], [1024, 0]] };
//! let layers = [HeatLayer::new("source PT", Arc::new(boxes), vec![0.25, 0.75])?];
//! let info = SlideInfo { width: Some(4000), height: Some(3000), mpp: Some(0.25) };
//! let frame = SlideFrame::of_features(None, &info, layers.iter().map(|layer| layer.boxes().as_ref()))?;
//! let subject = Subject {
//!     slide_id: "slide-1",
//!     frame,
//!     info,
//!     slide: None,
//!     prediction: None,
//!     unscored: Vec::new(),
//!     origin: Vec::new(),
//!     source: "a model".to_owned(),
//! };
//!
//! let rendered = render(&subject, &layers, &out, &RenderOptions::default(), &|_, _| {})?;
//! assert_eq!(rendered.files[..3], ["scores.csv", "scores.h5", "figure.png"]);
//! assert_eq!(rendered.left_out[1].what, "patch sheets");
//! assert!(out.join("x10-source-pt.tiff").exists());
//! # Ok::<(), cf_viewer::Error>(())
//! ```

mod attribution;
mod colour_map;
mod earlier_render;
mod error;
mod figure;
mod files;
mod furniture;
mod geojson;
mod layer;
mod look;
mod options;
mod overlay;
mod overlay_page;
mod patch_boxes;
mod patch_sheet;
mod raster;
mod render;
mod scale_bar;
mod scaling;
mod score_text;
mod scores;
pub mod serve;
mod slide_frame;
mod thumbnail;
mod tiff_overlay;

pub use attribution::heat_layers;
pub use colour_map::ColourMap;
pub use error::{Error, Result};
pub use geojson::{MOST_POLYGONS, PolygonCount, write_geojson};
pub use layer::{HeatLayer, Meaning};
pub use look::Look;
pub use options::{RenderOptions, Under};
pub use overlay::{blend, map_alone};
pub use patch_boxes::PatchBoxes;
pub use patch_sheet::patch_picture;
pub use raster::{PixelGrid, ShadeMap};
pub use render::{LeftOut, Prediction, Rendered, Subject, render};
pub use scale_bar::ScaleBar;
pub use scaling::{Scaling, range};
pub use scores::{write_csv, write_hdf5};
pub use slide_frame::SlideFrame;
pub use thumbnail::thumbnail;
pub use tiff_overlay::write_tiff;
