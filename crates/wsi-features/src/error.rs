//! The one error of this crate.

use std::path::PathBuf;

use wsi_bags::Magnification;

use crate::passed_over::PassedOver;

/// Why a slide gives no bag, or a batch cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The slide.
    #[error(transparent)]
    Slide(#[from] wsi_slides::Error),
    /// The bag.
    #[error(transparent)]
    Bag(#[from] wsi_bags::Error),
    /// The encoder.
    #[error("{}: {source}", slide.display())]
    Encoder {
        /// The slide being encoded.
        slide: PathBuf,
        /// What the encoder says.
        source: patch_encoders::Error,
    },
    /// Nothing to encode.
    #[error("{}: no tissue: {reason}", slide.display())]
    NoTissue {
        /// The slide.
        slide: PathBuf,
        /// Which step left nothing.
        reason: String,
    },
    /// No bag to take patches from.
    #[error("{}: there is no such bag; `wsi-extract run` makes one of the slide", bag.display())]
    NoBag {
        /// Where it was looked for.
        bag: PathBuf,
    },
    /// A bag without patches to encode.
    #[error("{}: it has no patches at any magnification; `wsi-extract run` makes a bag of the slide", bag.display())]
    NoPatches {
        /// The bag.
        bag: PathBuf,
    },
    /// A bag that does not say how large its patches are.
    #[error("{}: `patch_size_level0` of {magnification} is missing, so its patches cannot be read again", bag.display())]
    NoPatchSize {
        /// The bag.
        bag: PathBuf,
        /// The magnification.
        magnification: Magnification,
    },
    /// A bag whose patches are not those of a batch.
    #[error(
        "{}: {magnification} patches: {fault}; `wsi-extract encode` adds features at the patches of a bag, and patches laid anew want a \
         directory of their own",
        bag.display()
    )]
    OtherPatches {
        /// The bag.
        bag: PathBuf,
        /// The magnification.
        magnification: Magnification,
        /// What it has.
        fault: &'static str,
    },
    /// A bag that was cut by other settings.
    #[error(
        "{}: the bag was cut {there}, and these settings give {given}; patches laid anew want a directory of their own (--out), or remove \
         the bag",
        bag.display()
    )]
    OtherSettings {
        /// The bag.
        bag: PathBuf,
        /// What it states.
        there: String,
        /// What the settings give.
        given: String,
    },
    /// A bag whose features of the encoder were made otherwise.
    #[error(
        "{}: its {magnification} features of {encoder} were made with {there}, and this run has {given}; features made otherwise want a \
         directory of their own (--out), or remove the bag",
        bag.display()
    )]
    OtherFeatures {
        /// The bag.
        bag: PathBuf,
        /// The magnification.
        magnification: Magnification,
        /// The encoder.
        encoder: String,
        /// What the bag states.
        there: String,
        /// What the run has.
        given: String,
    },
    /// A bag of another slide.
    #[error(
        "{}: {found} pixels, but its bag is of a slide of {wanted}: the bag of another slide",
        slide.display()
    )]
    OtherSlide {
        /// The slide.
        slide: PathBuf,
        /// Its size.
        found: String,
        /// The size that the bag states.
        wanted: String,
    },
    /// Too many patches to leave out.
    #[error("{}: every {magnification} patch lies on a tile that does not decode", slide.display())]
    AllUnreadable {
        /// The slide.
        slide: PathBuf,
        /// The magnification without any patch.
        magnification: Magnification,
    },
    /// A file or directory that cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A table that cannot be used.
    #[error("{}: {fault}", path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// Line, column, found and wanted.
        fault: String,
    },
    /// No directory of bags to add to.
    #[error("{}: there is no such directory; `wsi-extract run` makes bags", folder.display())]
    NoFolder {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Slides whose bags would have one name.
    #[error(
        "slides of one name would share a bag: {}; rename them, or give them to separate runs with a directory of bags each (--out); of a \
         folder that is named itself, pictures with the name of a slide are left out",
        listed_pairs(pairs)
    )]
    SameName {
        /// Two of each name.
        pairs: Vec<(PathBuf, PathBuf)>,
    },
    /// A slide whose name no bag can bear.
    #[error(
        "{}: the name of the file {fault}, and the bag of the slide would bear it: rename the file, or link it under another name",
        path.display()
    )]
    Name {
        /// The slide.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A bag that was cut from another file.
    #[error(
        "{}: the bag is of the slide file {there}, and this one is {given}: slides of one name want directories of their own (--out); if \
         the slide was replaced, remove the bag",
        bag.display()
    )]
    OtherFile {
        /// The bag.
        bag: PathBuf,
        /// Name and size of the file that it states.
        there: String,
        /// Those of the file at hand.
        given: String,
    },
    /// The batch was told to stop.
    #[error("interrupted; the bags that are done stay, and the same command goes on with the others")]
    Interrupted,
    /// A place that is not there.
    #[error("{}: there is no such file or folder", place.display())]
    NoPlace {
        /// What was named.
        place: PathBuf,
    },
    /// Nothing to do.
    #[error("{} has no slides that are read from a directory{}", place.display(), passed_over_in_words(passed_over))]
    NoSlides {
        /// The directory.
        place: PathBuf,
        /// What lies there instead, and was not named.
        passed_over: PassedOver,
    },
}

fn listed_pairs(pairs: &[(PathBuf, PathBuf)]) -> String {
    cf_cli::listed(
        pairs.iter().map(|(first, second)| format!("{} and {}", first.display(), second.display())),
    )
}

fn passed_over_in_words(passed_over: &PassedOver) -> String {
    if passed_over.is_empty() { String::new() } else { format!("; there are {passed_over}") }
}

impl Error {
    /// Whether the same work may succeed later: the disk is full, the system interrupted, or a file system of the network is away.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Interrupted) || cf_cli::is_temporary(self)
    }
}

/// What the user of the command line can do about a slide that is not read or cut as asked.
#[must_use]
pub fn way_out(kind: &wsi_slides::ErrorKind) -> Option<&'static str> {
    match kind {
        wsi_slides::ErrorKind::Truncated { .. } | wsi_slides::ErrorKind::TruncatedDirectory { .. } => {
            Some("the copy is incomplete: copy or download the slide again")
        }
        wsi_slides::ErrorKind::AboveBase { base, .. } if *base < 5.0 => Some(
            "nothing can be cut of a slide below 5x; leave it out, or state its resolution if that is wrong",
        ),
        wsi_slides::ErrorKind::AboveBase { base, .. } if *base < 10.0 => {
            Some("--magnifications names those to cut, such as x5")
        }
        wsi_slides::ErrorKind::AboveBase { .. } => {
            Some("--magnifications names those to cut, such as x5,x10")
        }
        // A magnification has twice the micrometres per pixel of the next finer one; scanners differ by a tenth.
        wsi_slides::ErrorKind::FinerThanSlide { magnification, wanted_mpp, mpp } => {
            let finest = wanted_mpp * f64::from(magnification.power());
            Some(match [10.0, 5.0].map(|power| finest / power >= 0.9 * mpp) {
                [true, _] => {
                    "--magnifications names those to cut, such as x5,x10; a larger --target-mpp cuts larger patches"
                }
                [_, true] => {
                    "--magnifications names those to cut, such as x5; a larger --target-mpp cuts larger patches"
                }
                _ => "a larger --target-mpp cuts larger patches",
            })
        }
        wsi_slides::ErrorKind::Limit { what, .. } if what.contains("strip") => {
            Some("write the image in tiles, as `vips tiffsave IN OUT --tile --pyramid` does")
        }
        _ => None,
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
