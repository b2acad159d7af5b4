//! The faults of files and of values given in memory.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::file_kind::FileKind;
use crate::magnification::Magnification;

use super::BoxedSource;

/// What is wrong with a file or with values given in memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as in "open the file".
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },

    /// The file is of another kind than the one asked for.
    #[error("found {found}, wanted {wanted}")]
    FileKind {
        /// What the file is.
        found: FileKind,
        /// What it should be.
        wanted: &'static str,
    },

    /// The zip container of a `.pt` file is damaged or incomplete.
    #[error("damaged zip archive: {fault}")]
    Archive {
        /// What is wrong with it.
        fault: String,
        /// The zip library's own account, where it has one.
        source: Option<BoxedSource>,
    },

    /// The pickle inside a `.pt` file is damaged or uses what this reader does not support.
    #[error("cannot unpickle, byte {offset}: {fault}")]
    Pickle {
        /// Position in the pickle of the instruction at fault.
        offset: usize,
        /// What is wrong with it.
        fault: String,
    },

    /// The pickle asks for a function or class that is not part of a tensor; nothing was executed.
    #[error("refused to load `{name}`: only tensors and their containers are read")]
    Global {
        /// The full dotted name asked for.
        name: String,
    },

    /// The pickle holds something other than what was asked for.
    #[error("found {found}, wanted {wanted}")]
    Content {
        /// What the file holds.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },

    /// The numbers are stored in a type that is not read here.
    #[error("element type is {found}, wanted {wanted}")]
    ElementType {
        /// The type in the file.
        found: String,
        /// The types that are read.
        wanted: &'static str,
    },

    /// An array has another number of axes or another length than wanted.
    #[error("shape is {found:?}, wanted {wanted}")]
    Shape {
        /// The shape in the file.
        found: Vec<u64>,
        /// The shape that is read.
        wanted: String,
    },

    /// A tensor reaches beyond the bytes stored for it, or overlaps itself.
    #[error("tensor of shape {shape:?} and strides {strides:?} does not fit its storage: {fault}")]
    TensorLayout {
        /// The shape in the file.
        shape: Vec<u64>,
        /// The strides in the file, in elements.
        strides: Vec<u64>,
        /// How it fails to fit.
        fault: String,
    },

    /// A number in the file is beyond what is accepted from an untrusted file.
    #[error("{what} is {found}, more than the limit of {limit}")]
    Limit {
        /// The quantity.
        what: &'static str,
        /// Its value in the file.
        found: u64,
        /// The largest accepted value.
        limit: u64,
    },

    /// An integer has no exact `f32`.
    #[error("integer {value} has no exact 32-bit float")]
    Inexact {
        /// The integer in the file.
        value: i64,
    },

    /// The header of a safetensors file is damaged or does not fit the file.
    #[error("damaged safetensors file")]
    Safetensors {
        /// The library's account.
        source: BoxedSource,
    },

    /// The HDF5 library could not read or write.
    #[error("cannot {action}")]
    Hdf5 {
        /// What was tried.
        action: String,
        /// The library's account.
        source: BoxedSource,
    },

    /// What is stored lies where the file has ended: a copy that broke off.
    #[error("the file ends at byte {file_len}, but what it holds lies up to byte {end}")]
    BeyondFile {
        /// Where what is stored would end.
        end: u64,
        /// Bytes of the file.
        file_len: u64,
    },

    /// A dataset that the format demands is absent.
    #[error("no dataset `{name}`; found {}", list(found))]
    MissingDataset {
        /// The dataset.
        name: String,
        /// What is there instead.
        found: Vec<String>,
    },

    /// A file has no features of the asked encoder.
    #[error("no features of encoder `{encoder}`; found {}", list(found))]
    MissingEncoder {
        /// The encoder asked for.
        encoder: String,
        /// The encoders whose features are there.
        found: Vec<String>,
    },

    /// An attribute is of the wrong type or has an impossible value.
    #[error("attribute `{name}` is {found}, wanted {wanted}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// Its value or type.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },

    /// The bag has no set of patches for a magnification.
    #[error("no {wanted} patches; present: {}", list(present))]
    MissingMagnification {
        /// The magnification asked for.
        wanted: Magnification,
        /// The magnifications that are there.
        present: Vec<Magnification>,
    },

    /// One magnification was given twice.
    #[error("{magnification} was given twice")]
    DuplicateMagnification {
        /// The magnification.
        magnification: Magnification,
    },

    /// The magnifications of a bag have features of different widths.
    #[error("features have {found} columns, expected {expected} as in the other magnifications")]
    FeatureDim {
        /// Columns of the first magnification.
        expected: usize,
        /// Columns of this one.
        found: usize,
    },

    /// An array has another number of rows than there are patches.
    #[error("{what} has {found} rows, expected {expected}, one for each patch")]
    RowCount {
        /// The array.
        what: &'static str,
        /// Number of patches.
        expected: usize,
        /// Rows of the array.
        found: usize,
    },

    /// A flat list of values does not fill a matrix of the stated shape.
    #[error("{found} values do not fill a matrix of {n_patches} x {dim}")]
    ValueCount {
        /// Stated number of rows.
        n_patches: usize,
        /// Stated number of columns.
        dim: usize,
        /// Number of values given.
        found: usize,
    },

    /// A feature is NaN or infinite, or a 64-bit float beyond the range of 32-bit ones, in which features are kept.
    #[error("the feature in row {row}, column {column} is NaN or infinite as a 32-bit float")]
    NonFinite {
        /// Row: index of the patch.
        row: usize,
        /// Column: index of the feature.
        column: usize,
    },

    /// There are no patches.
    #[error("no patches: a bag needs at least one")]
    EmptyBag,

    /// Features of zero columns.
    #[error("features have no columns")]
    ZeroWidth,

    /// A parent index points outside the coarser magnification, or there is no coarser one.
    #[error("patch {patch_idx} has parent {parent}, but {coarser}")]
    Parent {
        /// Index of the patch.
        patch_idx: usize,
        /// Its parent index as stored.
        parent: i64,
        /// What the coarser magnification offers.
        coarser: String,
    },

    /// A patch size or resolution that no slide can have.
    #[error("{what} is {found}, wanted a positive finite number")]
    Geometry {
        /// The quantity.
        what: &'static str,
        /// Its value.
        found: f64,
    },

    /// The file says that rows run along the lattice, but they do not.
    #[error("rows are declared row-major, but patch {patch_idx} does not come after the one before it")]
    RowOrder {
        /// The first patch out of order.
        patch_idx: usize,
    },

    /// A slide id or encoder that cannot be a file or dataset name.
    #[error("{what} {found:?} cannot be used as a name in a path")]
    Name {
        /// Which name.
        what: &'static str,
        /// The name.
        found: String,
    },

    /// The store has no file of the slide.
    #[error("no file of slide `{slide_id}`; looked for {}", list_paths(looked_for))]
    MissingSlide {
        /// The slide.
        slide_id: String,
        /// The files that would have been read.
        looked_for: Vec<PathBuf>,
    },

    /// A directory to be read is not there.
    #[error("there is no such directory")]
    NoDirectory,

    /// A directory to be written into holds files of another layout, beside which the new ones could not be opened.
    #[error(
        "the directory holds bags of another layout: {}; {wanted} bags want a directory of their own",
        list(found)
    )]
    OtherLayout {
        /// Patterns of file names that exist, each with the layout it belongs to.
        found: Vec<String>,
        /// The layout to be written.
        wanted: String,
    },

    /// A directory does not have the layout asked for, or any known one.
    #[error("no bags found; looked for {}; the directory holds {}", list(looked_for), list(found))]
    Layout {
        /// Patterns of file names, each with the layout it belongs to.
        looked_for: Vec<String>,
        /// What is there instead.
        found: Vec<String>,
    },

    /// A directory holds files of more than one layout, and none was asked for.
    #[error("files of more than one layout: {}; which layout to read must be stated", list(found))]
    AmbiguousLayout {
        /// Patterns of file names that exist, each with the layout it belongs to.
        found: Vec<String>,
    },

    /// More than one folder may be the one of a magnification.
    #[error(
        "more than one folder may hold {what}: {}; name the folder of each magnification, or the encoder in full",
        list_paths(found)
    )]
    AmbiguousFolder {
        /// What was looked for, as in "x20 features of `uni`".
        what: String,
        /// The folders.
        found: Vec<PathBuf>,
    },

    /// Two files of one slide, or of one directory, disagree.
    #[error("{what} of {} is {found}, but {expected} in {}", path.display(), other.display())]
    Disagreement {
        /// What disagrees, as in "number of patches".
        what: &'static str,
        /// One file.
        path: PathBuf,
        /// Its value.
        found: String,
        /// The file read before it.
        other: PathBuf,
        /// Its value.
        expected: String,
    },

    /// A patch lies where no patch in level-0 pixels of its slide can lie.
    #[error("patch {patch_idx} lies at ({}, {}): {fault}", found[0], found[1])]
    Coords {
        /// Index of the patch.
        patch_idx: usize,
        /// Its position as stored.
        found: [f64; 2],
        /// Why it cannot lie there.
        fault: String,
    },

    /// A feature that 16-bit floats cannot hold.
    #[error(
        "the feature in row {row}, column {column} is {found}, beyond the 65504 of 16-bit floats; write f32 instead"
    )]
    BeyondHalf {
        /// Its row, from 0.
        row: usize,
        /// Its column, from 0.
        column: usize,
        /// The value.
        found: f32,
    },

    /// Patches without coordinates in level-0 pixels, where these are needed.
    #[error("no coordinates in level-0 pixels are known, which the layout to write needs")]
    MissingCoords,

    /// An HDF5 file uses what the library in use cannot read.
    #[error(
        "the file uses what this HDF5 reader does not support: {feature}; cargo feature `hdf5` reads through the C \
         library, and `h5repack` rewrites a file without it"
    )]
    Hdf5Feature {
        /// The feature, in the library's words.
        feature: String,
    },

    /// A name that is none of the known ones.
    #[error("unknown {what} `{found}`, expected one of {}", list(known))]
    UnknownName {
        /// What it should name.
        what: &'static str,
        /// The name given.
        found: String,
        /// The names that exist.
        known: Vec<String>,
    },
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 12;
    let text = items.iter().take(SHOWN).map(T::to_string).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        _ if items.is_empty() => "nothing".to_owned(),
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn list_paths(paths: &[PathBuf]) -> String {
    list(&paths.iter().map(|path| path.display()).collect::<Vec<_>>())
}
