//! The activation of Hugging Face's models, which weights do not show: the setting `hidden_act`.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::tensor_file::{TensorFile, failed};
use crate::vit::Activation;

/// Its name in `config.json`, and in the metadata of a converted file.
pub(crate) const HIDDEN_ACT: &str = "hidden_act";

/// CLIP's own, which stands where nothing is said.
const DEFAULT: &str = "quick_gelu";

/// The activation of CLIP's vision tower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HiddenAct {
    pub(crate) activation: Activation,
    /// By the name that `config.json` gives it.
    pub(crate) name: &'static str,
    /// Said where neither the file of weights nor a neighbour tells which.
    pub(crate) warning: Option<String>,
}

impl HiddenAct {
    /// What the file of weights says; else what the `config.json` beside it says; else CLIP's own, with a warning.
    ///
    /// The file comes first, since its neighbour may be of another model.
    ///
    /// # Errors
    /// [`Error::Config`] if it is another, or the `config.json` is damaged.
    pub(crate) fn of(file: &TensorFile) -> Result<Self> {
        let (stated, place) = match file.hidden_act() {
            Some(stated) => (Some(stated.to_owned()), file.path().to_owned()),
            None => (beside(file.path())?, config_of(file.path())),
        };
        let (activation, name) = match stated.as_deref() {
            None | Some(DEFAULT) => (Activation::QuickGelu, DEFAULT),
            Some("gelu") => (Activation::Gelu, "gelu"),
            Some(other) => {
                let reason = format!("`{HIDDEN_ACT}` is `{other}`, expected `quick_gelu` or `gelu`");
                return Err(Error::Config { path: place, reason });
            }
        };
        let warning = stated.is_none().then(|| {
            format!(
                "{}: neither the file nor a config.json beside it says `{HIDDEN_ACT}`, so it is taken to be `{DEFAULT}`, as in CLIP; \
                 the model's config.json beside the weights settles it",
                file.path().display()
            )
        });
        Ok(Self { activation, name, warning })
    }
}

/// The activation that a `config.json` in the folder of the weights names, if it does.
///
/// # Errors
/// [`Error::Config`] if it is damaged, [`Error::File`] if it cannot be read.
pub(crate) fn beside(weights: &Path) -> Result<Option<String>> {
    let path = config_of(weights);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(|source| failed(&path, "read", source))?;
    let config: HubConfig =
        serde_json::from_slice(&text).map_err(|error| Error::Config { path, reason: error.to_string() })?;
    Ok(config.vision_config.and_then(|vision| vision.hidden_act).or(config.hidden_act))
}

fn config_of(weights: &Path) -> std::path::PathBuf {
    weights.with_file_name("config.json")
}

/// The part of Hugging Face's `config.json` that weights do not show.
#[derive(Debug, Deserialize)]
struct HubConfig {
    vision_config: Option<VisionConfig>,
    hidden_act: Option<String>,
}

#[derive(Debug, Deserialize)]
struct VisionConfig {
    hidden_act: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A safetensors file without tensors, which states an activation or none.
    fn weights(path: &Path, stated: Option<&str>) -> TensorFile {
        let metadata = stated.map(|stated| HashMap::from([(HIDDEN_ACT.to_owned(), stated.to_owned())]));
        let none: [(&str, safetensors::tensor::TensorView<'_>); 0] = [];
        safetensors::serialize_to_file(none, metadata, path).unwrap();
        TensorFile::open(path).unwrap()
    }

    #[test]
    fn the_file_then_the_config_beside_it_name_the_activation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let write = |text: &str| std::fs::write(directory.path().join("config.json"), text).unwrap();
        let found = |stated: Option<&str>| {
            let HiddenAct { activation, name, warning } = HiddenAct::of(&weights(&path, stated)).unwrap();
            (activation, name, warning.is_some())
        };
        let (gelu, quick_gelu) =
            ((Activation::Gelu, "gelu", false), (Activation::QuickGelu, "quick_gelu", false));
        assert_eq!(found(None), (Activation::QuickGelu, "quick_gelu", true), "nothing says");
        assert_eq!([found(Some("gelu")), found(Some("quick_gelu"))], [gelu, quick_gelu]);
        write(r#"{"vision_config": {"hidden_act": "gelu", "hidden_size": 768}, "model_type": "clip"}"#);
        assert_eq!(found(None), gelu);
        assert_eq!(found(Some("quick_gelu")), quick_gelu, "the neighbour may be of another model");
        write(r#"{"hidden_act": "quick_gelu"}"#);
        assert_eq!([found(None), found(Some("gelu"))], [quick_gelu, gelu]);
        write(r#"{"vision_config": {"patch_size": 32}}"#);
        assert_eq!(found(None), (Activation::QuickGelu, "quick_gelu", true), "it does not say");
    }

    #[test]
    fn an_activation_that_is_not_known_is_refused_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let refused = |stated: Option<&str>| HiddenAct::of(&weights(&path, stated)).unwrap_err().to_string();
        let text = refused(Some("silu"));
        let wanted = "model.safetensors: `hidden_act` is `silu`, expected `quick_gelu` or `gelu`";
        assert!(text.ends_with(wanted), "{text}");
        std::fs::write(directory.path().join("config.json"), r#"{"hidden_act": "relu"}"#).unwrap();
        let text = refused(None);
        assert!(
            text.ends_with("config.json: `hidden_act` is `relu`, expected `quick_gelu` or `gelu`"),
            "{text}"
        );
        std::fs::write(directory.path().join("config.json"), "{{{").unwrap();
        assert!(refused(None).contains("config.json: key must be a string"), "{}", refused(None));
    }
}
