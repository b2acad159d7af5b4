//! Published weights by name, from Hugging Face.

use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};

use crate::error::{Error, Result};
use crate::name::EncoderName;
use crate::published::Published;

/// Settings that Hugging Face's models may have beside their weights: QuiltNet's activation stands there.
const SETTINGS: &str = "config.json";

/// The file of an encoder's weights: from the cache of Hugging Face's tools, else fetched into it. `None` for
/// `stain-texture`, which has none.
///
/// Terms of most encoders must be accepted on their page first, and the user's token proves it: that of the environment
/// variable `HF_TOKEN`, else the one that `hf auth login` leaves. `HF_HOME` moves the cache, `HF_ENDPOINT` names a mirror.
///
/// # Errors
/// [`Error::Hub`] without network, token or accepted terms.
pub fn fetch_weights(name: EncoderName) -> Result<Option<PathBuf>> {
    let Some(published) = Published::of(name) else { return Ok(None) };
    let fetched = || -> Result<PathBuf, ApiError> {
        let mut builder = ApiBuilder::from_env().with_progress(false).with_retries(2);
        if let Some(token) = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()) {
            builder = builder.with_token(Some(token));
        }
        let repository = builder.build()?.model(published.repository.to_owned());
        if name == EncoderName::Quiltnet {
            repository.get(SETTINGS)?;
        }
        repository.get(published.file)
    };
    fetched().map(Some).map_err(|source| Error::Hub {
        encoder: name,
        file: published.file,
        repository: published.repository,
        source: Box::new(source),
    })
}
