//! How maps are drawn.

use std::str::FromStr;

use serde::Serialize;

use crate::colour_map::ColourMap;
use crate::error::{Error, Result};
use crate::geojson::MOST_POLYGONS;
use crate::layer::Meaning;
use crate::look::Look;
use crate::scaling::Scaling;

/// How maps are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RenderOptions {
    /// Colours of the scores.
    pub colours: ColourMap,
    /// How scores of attention are spread over them.
    pub scaling: Scaling,
    /// How effects are, such as those of occlusion: by sign, or by rank.
    pub effect_scaling: Scaling,
    /// What the slide is shown in below a map.
    pub under: Under,
    /// Opacity of a map over the slide, from 0 to 1.
    pub opacity: f32,
    /// Longer side of the slide in overlays, in pixels, from 100 to 10000.
    pub longest_side: u32,
    /// Patches on a sheet, at most 200; no sheets if 0.
    pub top_k: usize,
    /// The largest number of polygons in a GeoJSON file, at least 1.
    pub most_polygons: usize,
}

/// How the slide is shown below a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Under {
    /// Without its colours: pink below blue is no colour of the map.
    #[default]
    Grey,
    /// As it is.
    Colour,
}

impl FromStr for Under {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "grey" => Ok(Self::Grey),
            "colour" => Ok(Self::Colour),
            _ => Err(Error::UnknownName {
                what: "way to show the slide",
                found: text.to_owned(),
                known: vec!["grey", "colour"],
            }),
        }
    }
}

impl RenderOptions {
    /// How scores that say this are drawn.
    #[must_use]
    pub fn look(&self, meaning: Meaning) -> Look {
        let scaling = match meaning {
            Meaning::Attention => self.scaling,
            Meaning::Effect => self.effect_scaling,
        };
        Look::of(meaning, self.colours, scaling)
    }
}

impl Default for RenderOptions {
    /// Viridis by rank at 40 % over grey, effects by sign, overlays of 1600 pixels, 15 patches, 20,000 polygons.
    fn default() -> Self {
        Self {
            colours: ColourMap::default(),
            scaling: Scaling::default(),
            effect_scaling: Scaling::Signed,
            under: Under::default(),
            opacity: 0.4,
            longest_side: 1600,
            top_k: 15,
            most_polygons: MOST_POLYGONS,
        }
    }
}
