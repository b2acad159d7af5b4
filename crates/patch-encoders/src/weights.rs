//! A file of weights held against the parameters that an encoder has.

use std::path::Path;

use candle_core::{Device, Tensor};

use crate::error::{Error, Mismatch, Result};
use crate::name::EncoderName;
use crate::tensor_file::TensorFile;
use crate::weights_hash::WeightsHash;

/// The parameters of an encoder, as its published file names them.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    /// Name and shape of each. The first name is one that no other of this file ends with.
    pub(crate) wanted: Vec<(String, Vec<usize>)>,
    /// Whether a name, without the file's prefix, is of a part that published files hold and this encoder does not use.
    pub(crate) unused: fn(&str) -> bool,
}

impl Parameters {
    /// Scalars in all parameters, running statistics of batch norms left out.
    pub(crate) fn n_scalars(&self) -> usize {
        let trained = self.wanted.iter().filter(|(name, _)| !name.contains(".running_"));
        trained.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// What stands before these names in the file, such as `module.`: of all candidates, that of most names.
    fn prefix(&self, file: &TensorFile) -> String {
        let Some((anchor, _)) = self.wanted.first() else { return String::new() };
        let candidates = file.shapes().keys().filter_map(|name| name.strip_suffix(anchor.as_str()));
        let whole = candidates.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'));
        let present = |prefix: &str| {
            let names = self.wanted.iter().map(|(name, _)| format!("{prefix}{name}"));
            names.filter(|name| file.shapes().contains_key(name)).count()
        };
        whole.max_by_key(|prefix| present(prefix)).unwrap_or("").to_owned()
    }

    /// How the file differs from these parameters.
    fn compare(&self, file: &TensorFile, prefix: &str) -> Mismatch {
        let mut mismatch = Mismatch { n_wanted: self.wanted.len(), ..Mismatch::default() };
        let mut unknown = file.shapes().clone();
        for (name, wanted) in &self.wanted {
            let name = format!("{prefix}{name}");
            match unknown.remove(&name) {
                None => mismatch.missing.push(name),
                Some(found) if found != *wanted => mismatch.misshapen.push((name, found, wanted.clone())),
                Some(_) => {}
            }
        }
        unknown.retain(|name, _| !name.strip_prefix(prefix).is_some_and(self.unused));
        mismatch.unknown = unknown.into_keys().collect();
        mismatch
    }
}

/// A file that holds all parameters of one encoder and none that it does not know.
#[derive(Debug)]
pub(crate) struct Weights {
    file: TensorFile,
    prefix: String,
    device: Device,
    hash: WeightsHash,
}

impl Weights {
    /// Opens a file and compares it with the parameters of `encoder`, which are to go to `device`.
    ///
    /// # Errors
    /// [`Error::OtherWeights`] with all differences, and those of [`TensorFile::open`].
    pub(crate) fn open(
        path: &Path,
        encoder: EncoderName,
        parameters: &Parameters,
        device: &Device,
    ) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let prefix = parameters.prefix(&file);
        let mut mismatch = parameters.compare(&file, &prefix);
        if mismatch.is_empty() {
            return Ok(Self { file, prefix, device: device.clone(), hash: WeightsHash::default() });
        }
        mismatch.fits = EncoderName::ALL.into_iter().find(|name| {
            name.parameters().is_some_and(|other| other.compare(&file, &other.prefix(&file)).is_empty())
        });
        Err(Error::OtherWeights { path: path.to_owned(), encoder, mismatch: Box::new(mismatch) })
    }

    /// The parameter of this name, in f32; each is taken once.
    ///
    /// # Errors
    /// If it cannot be read or is not finite.
    pub(crate) fn take(&mut self, name: &str) -> Result<Tensor> {
        let in_file = format!("{}{name}", self.prefix);
        let (values, shape) = match (self.file.values(&in_file)?, self.file.shapes().get(&in_file)) {
            (Some(values), Some(shape)) => (values, shape.as_slice()),
            _ => return Err(candle_core::Error::CannotFindTensor { path: in_file }.into()),
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::NonFiniteWeight { path: self.file.path().to_owned(), parameter: in_file });
        }
        self.hash.add(name, shape, &values);
        Ok(Tensor::from_vec(values, shape, &self.device)?)
    }

    /// The file.
    pub(crate) fn file(&self) -> &TensorFile {
        &self.file
    }

    /// The hash of all that was taken, and of a setting that belongs to it.
    pub(crate) fn finish(self, setting: Option<[&str; 2]>) -> String {
        self.hash.finish(setting)
    }
}
