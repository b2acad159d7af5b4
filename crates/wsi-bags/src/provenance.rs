//! Which tool and encoder made features.

/// What a file says about the making of its features. Nothing is filled in that the file does not state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The tool that wrote them, such as `trident` or `stamp`.
    pub tool: Option<String>,
    /// Its version.
    pub tool_version: Option<String>,
    /// The encoder, by the name that the tool gives it.
    pub encoder: Option<String>,
    /// SHA-256 of the weights that the encoder had, hexadecimal; of what it is computed, the tool says.
    pub weights_sha256: Option<String>,
    /// Which pixels the encoder saw, such as `nearest` (the level of the slide nearest above the wanted resolution) or `level0`.
    pub pixels: Option<String>,
}

impl Provenance {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether STAMP wrote the file: its coordinates are in micrometres, and become level-0 pixels where the resolution of the slide is
    /// told.
    #[must_use]
    pub fn is_of_stamp(&self) -> bool {
        self.tool.as_deref() == Some(Self::STAMP)
    }

    /// What [`Self::tool`] calls STAMP.
    pub(crate) const STAMP: &str = "stamp";

    /// The encoder's weights as messages name them: by as much of their hash as tells two files apart.
    #[must_use]
    pub fn weights_in_words(&self) -> Option<String> {
        let hash = self.weights_sha256.as_deref()?;
        Some(format!("weights of SHA-256 {}..", hash.get(..12).unwrap_or(hash)))
    }

    /// What tells features of one making from others, as messages name it: the encoder's weights and the pixels that it saw.
    pub fn making_in_words(&self) -> impl Iterator<Item = String> + use<> {
        let pixels = self.pixels.as_ref().map(|pixels| format!("pixels `{pixels}`"));
        self.weights_in_words().into_iter().chain(pixels)
    }
}
