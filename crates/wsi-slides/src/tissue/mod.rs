//! Where on a slide tissue lies: CLAM's segmentation, exactly, and what is made of it.
//!
//! [`find`] runs all of it on a slide; the stages are public, so that each can be held against another program.

mod border;
mod closing;
mod geojson;
mod median;
mod params;
mod pen;
mod picture;
mod polygon;
mod saturation;
mod segmentation;
mod threshold;

pub use border::{Border, Piece, pieces};
pub use closing::closing;
pub use geojson::geojson;
pub use median::median;
pub use params::{PenMarks, Preset, Threshold, TissueParams};
pub use pen::{Ink, pen_marks};
pub use picture::{overlay, thumbnail};
pub use polygon::{Polygon, Position, area};
pub use saturation::saturation;
pub use segmentation::{Contour, Tissue, contours, find, mask, segmentation_level};
pub use threshold::{above, otsu};
