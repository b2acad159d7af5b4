//! What an HDF5 library must do for this crate.
//!
//! Places are names joined by `/`, empty for the top of the file.

use crate::element_type::ElementType;
use crate::error::Result;

/// A file opened for reading. Nothing that it states has been checked.
pub(super) trait SourceFile {
    /// Names of the groups and datasets directly inside a group, sorted, soft links within the file followed; `None`
    /// if there is no such group.
    fn members(&self, group: &str) -> Result<Option<Members>>;

    /// What the header of a dataset says; `None` if there is no such dataset in this file.
    fn dataset(&self, place: &str) -> Result<Option<Dataset>>;

    /// All values of a matrix of floats. f64 is rounded to nearest, and becomes infinite beyond the range of f32.
    ///
    /// # Errors
    /// Also if a chunk was never written, as in the next two: libraries make up its values.
    fn floats(&self, place: &str) -> Result<Vec<f32>>;

    /// All values of a dataset of integers.
    ///
    /// # Errors
    /// Also if an unsigned one is beyond `i64`.
    fn integers(&self, place: &str) -> Result<Vec<i64>>;

    /// All values of a dataset of floats, exactly.
    fn doubles(&self, place: &str) -> Result<Vec<f64>>;

    /// An attribute of a group or dataset, if it is there.
    fn attribute(&self, place: &str, name: &str) -> Result<Option<Attribute>>;
}

/// The members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Members {
    pub(super) groups: Vec<String>,
    pub(super) datasets: Vec<String>,
}

/// The header of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dataset {
    pub(super) shape: Vec<u64>,
    pub(super) element: Element,
    /// Bytes of one element.
    pub(super) element_size: u64,
    pub(super) storage: Storage,
}

/// The type of the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// An IEEE float.
    Float { element: ElementType, little_endian: bool },
    /// An integer of at most 64 bits.
    Integer,
    /// Anything else, in words.
    Other(String),
}

/// Where the values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Storage {
    /// In one piece from this byte of the file on; `None` where the library does not tell or finds too few bytes.
    Contiguous { offset: Option<u64> },
    /// In chunks, filtered or not, or inside the header.
    Elsewhere,
    /// Nowhere: nothing was ever written.
    Unwritten,
    /// In another file.
    OtherFile,
    /// In chunks.
    Chunked,
    /// In unfiltered chunks of whole rows: `rows` to a chunk, the first bytes of the chunks in order.
    RowChunks { rows: u64, offsets: Vec<u64> },
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    /// One text.
    Text(String),
    /// One number.
    Number(f64),
    /// Anything else, in words.
    Other(String),
}

/// A file being written.
pub(super) trait SinkFile {
    /// Makes a group, whose parent exists.
    fn create_group(&self, place: &str) -> Result<()>;

    /// Sets a text attribute of a group or dataset.
    fn set_text(&self, place: &str, name: &str, value: &str) -> Result<()>;

    /// Sets a number attribute of a group or dataset.
    fn set_number(&self, place: &str, name: &str, value: Number) -> Result<()>;

    /// Writes a contiguous dataset.
    fn write(&self, place: &str, shape: [usize; 2], values: Values<'_>) -> Result<()>;

    /// Writes a list, contiguous.
    fn write_list(&self, place: &str, values: Values<'_>) -> Result<()>;

    /// Writes a matrix in chunks of `rows_per_chunk` rows that may grow later.
    fn write_chunked(
        &self,
        place: &str,
        shape: [usize; 2],
        rows_per_chunk: usize,
        values: Values<'_>,
    ) -> Result<()>;

    /// Writes what is left and closes the file.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Values to write, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Features, to be rounded to 16 bits.
    F16(&'a [f32]),
    /// Features.
    F32(&'a [f32]),
    /// Coordinates as CLAM stores them.
    I32(&'a [i32]),
    /// Coordinates and indices.
    I64(&'a [i64]),
    /// Classes.
    U8(&'a [u8]),
}

/// A number to write as an attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Float(f64),
}
