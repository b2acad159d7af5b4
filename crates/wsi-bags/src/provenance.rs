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
}

impl Provenance {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
