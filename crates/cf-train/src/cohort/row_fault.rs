//! What can be wrong with a row of the clinical table, and whether reading stops there.

use crate::error::{Error, Result};

/// A row that can't be used, or that contradicts another.
#[derive(Debug)]
pub(crate) struct RowFault {
    pub(crate) kind: RowFaultKind,
    /// The file, the line, what was found and what was wanted.
    pub(crate) error: Error,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFaultKind {
    /// A column is missing, or nothing says which one is meant; none of the rows was read.
    Columns,
    /// An id is empty.
    EmptyId,
    /// No time was recorded, and nothing says to leave such rows out.
    TimeMissing,
    /// The time has a comma where a point belongs.
    DecimalComma,
    /// The time has commas that separate thousands, or may do so.
    ThousandsComma,
    /// The time is no time.
    Time,
    /// The status is no status.
    Status,
    /// The slide stood in an earlier row.
    DuplicateSlide,
    /// The patient stood in an earlier row, where rows are patients.
    DuplicatePatient,
    /// Two rows of a patient disagree.
    TwoOutcomes,
    /// Nobody has an event.
    NoEvent,
}

/// What becomes of a fault.
pub(crate) enum OnFault<'a> {
    /// It ends the reading.
    Stop,
    /// It is listed, and reading goes on.
    Collect(&'a mut Vec<RowFault>),
}

impl OnFault<'_> {
    /// Lists `fault`.
    ///
    /// # Errors
    /// The fault itself, where it ends the reading.
    pub(crate) fn meet(&mut self, fault: RowFault) -> Result<()> {
        match self {
            Self::Stop => Err(fault.error),
            Self::Collect(faults) => {
                faults.push(fault);
                Ok(())
            }
        }
    }
}
