//! Kinds of files that are met where a bag or a state dict is wanted.

use std::fmt;

/// What a file turned out to be, judged by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// No bytes at all.
    Empty,
    /// A pickle outside a zip archive: PyTorch before 1.6, or `pickle.dump`.
    BarePickle,
    /// A tar archive: PyTorch before 0.4.
    Tar,
    /// A zip archive, where none is wanted.
    Zip,
    /// A zip archive that `torch.save` did not write, where one that it did is wanted.
    OtherZip,
    /// A TorchScript module.
    TorchScript,
    /// HDF5.
    Hdf5,
    /// A NumPy array file (`.npy`).
    Npy,
    /// A page of HTML: what a server sends in place of a file that it does not hand out.
    Html,
    /// What git keeps in place of a large file that was not fetched.
    LfsPointer,
    /// Anything else.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::BarePickle => "a legacy file (a pickle that is not in a zip archive)",
            Self::Tar => "a legacy file (a tar archive)",
            Self::Zip => "a zip archive",
            Self::OtherZip => "a zip archive without `data.pkl`",
            Self::TorchScript => "a TorchScript module",
            Self::Hdf5 => "an HDF5 file",
            Self::Npy => "a NumPy array file",
            Self::Html => {
                "an HTML page saved in place of the file (log in there, accept the licence, and download it again)"
            }
            Self::LfsPointer => "a git-lfs pointer in place of the file (`git lfs pull` fetches the file)",
            Self::Unknown => "a file of unknown kind",
        })
    }
}
