//! From whole slide images to bags of patch features: the pipeline.
//!
//! [`extract`] turns one slide into a bag: resolution, tissue, lattice, then patches read on all threads while the encoder
//! works on those read before. [`run`] does so for many slides, or for one shard of them: what is there already is
//! skipped, one bad slide never stops the others, and a table says for each slide what became of it. Bags are native
//! files, written beside their name and renamed. [`preview`] says what [`run`] would do, and writes nothing. [`encode`] gives bags
//! the features of another encoder, at the patches that they have.
//!
//! ```
//! use patch_encoders::{Encoder, EncoderName};
//! use wsi_features::{BatchOptions, ExtractOptions, Outcome, SlideList, run};
//! use wsi_slides::render::{RenderOptions, render};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let root = directory.path();
//! render(&root.join("slide-1.svs"), &RenderOptions { n_cells: 1, ..RenderOptions::default() })?;
//!
//! let slides = SlideList::find(&[root.join("slide-1.svs")])?;
//! let encoder = Encoder::open(EncoderName::StainTexture, None)?;
//! let options = BatchOptions::new(root.join("bags"), ExtractOptions::default());
//! let statuses = run(&slides, &encoder, &options, &|_| {})?;
//! assert!(matches!(statuses[0].outcome, Outcome::Done(_)));
//! assert!(root.join("bags/slide-1.h5").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bag_lattice;
mod batch;
mod encoder;
mod error;
mod extract;
mod feature_spool;
mod passed_over;
mod patch_reader;
mod preview;
mod slide_lattice;
mod slide_list;
mod slide_scale;
mod status;
mod tissue_remarks;

pub use batch::{BatchOptions, EncodeOptions, Event, Shard, encode, run};
pub use encoder::PatchEncoder;
pub use error::{Error, Result, way_out};
pub use extract::{BadTiles, ExtractOptions, Extracted, LatticeKind, extract};
pub use passed_over::PassedOver;
pub use patch_reader::PixelSource;
pub use preview::{Preview, Prospect, preview};
pub use slide_list::{SlideEntry, SlideList};
pub use slide_scale::{SlideScale, differing_spans, resolution_remarks};
pub use status::{Encoded, Outcome, SlideStatus};
pub use tissue_remarks::{ink_warning, no_patches, no_tissue};
