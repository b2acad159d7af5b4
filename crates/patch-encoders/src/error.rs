//! The one error of this crate.

use std::fmt;
use std::path::PathBuf;

use crate::name::EncoderName;
use crate::rgb_image::CHANNELS;

/// What keeps an encoder from being made or from encoding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no encoder has.
    #[error("unknown encoder `{name}`, expected one of {}", EncoderName::list())]
    UnknownEncoder {
        /// The name as given.
        name: String,
    },

    /// An encoder that was asked for without its weights.
    #[error("{encoder} needs its file of weights ({published}), found none")]
    WeightsNeeded {
        /// The encoder.
        encoder: EncoderName,
        /// The repository and the file that its authors publish.
        published: String,
    },

    /// Weights that cannot be fetched.
    #[cfg(feature = "hub")]
    #[error("{encoder} needs {file} of {repository}, which cannot be fetched")]
    Hub {
        /// The encoder.
        encoder: EncoderName,
        /// The file.
        file: &'static str,
        /// Its repository on Hugging Face.
        repository: &'static str,
        /// Why.
        #[source]
        source: Box<hf_hub::api::sync::ApiError>,
    },

    /// Weights for the encoder that has none.
    #[error("{}: {encoder} takes no weights", path.display())]
    WeightsRefused {
        /// The file that was given.
        path: PathBuf,
        /// The encoder.
        encoder: EncoderName,
    },

    /// A file that cannot be opened, read or written.
    #[error("{}: cannot {action} the file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed, as a verb.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A PyTorch file that holds no state dict, or is damaged.
    #[error(transparent)]
    StateDict(#[from] wsi_bags::Error),

    /// A safetensors file that is damaged, or no such file at all.
    #[error("{}: {reason}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What was found and what was wanted.
        reason: String,
    },

    /// A file without weights.
    #[error("{}: found no tensor of floats, expected the weights of an encoder", path.display())]
    NoTensors {
        /// The file.
        path: PathBuf,
    },

    /// An output that would take the place of the input.
    #[error("{}: this is the file to be converted, which is kept; name another file for the output", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },

    /// Weights of another model, or not all of this one.
    #[error("{}: these are not the weights of {encoder}: {mismatch}", path.display())]
    OtherWeights {
        /// The file.
        path: PathBuf,
        /// The encoder that was asked for.
        encoder: EncoderName,
        /// What is wrong with names and shapes.
        mismatch: Box<Mismatch>,
    },

    /// A weight that is NaN or infinite.
    #[error("{}: `{parameter}` holds a value that is NaN or infinite", path.display())]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// The name in the file.
        parameter: String,
    },

    /// A `config.json` beside the weights, or what the weights state, that says what this crate does not know.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What was found and what was wanted.
        reason: String,
    },

    /// An image without pixels, or with more or fewer bytes than its size asks for.
    #[error(
        "an image of {width} x {height} pixels with {found} bytes, expected {CHANNELS} per pixel and at least one pixel"
    )]
    PixelCount {
        /// Pixels from left to right.
        width: usize,
        /// Pixels from top to bottom.
        height: usize,
        /// Bytes found.
        found: usize,
    },

    /// Features that are NaN or infinite.
    #[error("{encoder} gave NaN or an infinite feature for patch {patch_idx} of the batch")]
    NonFiniteFeature {
        /// The encoder.
        encoder: EncoderName,
        /// From 0, in the batch.
        patch_idx: usize,
    },

    /// Tensor arithmetic that failed, which no input should cause.
    #[error("tensor arithmetic failed")]
    Tensor(#[from] candle_core::Error),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How the parameters of a file differ from those of an encoder. Names are those in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mismatch {
    /// Parameters that the encoder has.
    pub n_wanted: usize,
    /// Parameters that the file lacks.
    pub missing: Vec<String>,
    /// Parameters of another shape: name, shape in the file, shape of the encoder.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Parameters of the file that the encoder does not have.
    pub unknown: Vec<String>,
    /// The encoder that the file fits instead.
    pub fits: Option<EncoderName>,
}

impl Mismatch {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty() && self.unknown.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            let names = shown(&self.missing);
            parts.push(format!(
                "{} of {} parameters are missing ({names})",
                self.missing.len(),
                self.n_wanted
            ));
        }
        if let Some((name, found, wanted)) = self.misshapen.first() {
            let n = self.misshapen.len();
            parts.push(format!("{n} have another shape (`{name}` is {found:?}, expected {wanted:?})"));
        }
        if !self.unknown.is_empty() {
            parts.push(format!("{} are unknown ({})", self.unknown.len(), shown(&self.unknown)));
        }
        if let Some(name) = self.fits {
            parts.push(format!("the file fits {name}"));
        }
        f.write_str(&parts.join("; "))
    }
}

/// The first names, quoted, and whether there are more.
fn shown(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        text.push("..".to_owned());
    }
    text.join(", ")
}
