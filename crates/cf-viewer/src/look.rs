//! In which colours, and by which scaling, a layer is drawn.

use crate::colour_map::ColourMap;
use crate::layer::{HeatLayer, Meaning};
use crate::scaling::Scaling;

/// The colours of a layer and how its scores are spread over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours of the shades.
    pub colours: ColourMap,
    /// From scores to shades.
    pub scaling: Scaling,
}

impl Look {
    /// How scores that say `meaning` are drawn where these colours and this scaling are wished.
    ///
    /// Effects by value are always about 0 and in the diverging colours: with the lowest effect in one end's colour, a tissue that
    /// hardly lowers the risk would look as if it raised it.
    #[must_use]
    pub fn of(meaning: Meaning, colours: ColourMap, scaling: Scaling) -> Self {
        match (meaning, scaling) {
            (Meaning::Effect, Scaling::Raw | Scaling::Signed) => {
                Self { colours: ColourMap::Coolwarm, scaling: Scaling::Signed }
            }
            _ => Self { colours, scaling },
        }
    }

    /// The shade of each patch: by its score per token.
    #[must_use]
    pub fn shades(self, layer: &HeatLayer) -> Vec<u8> {
        self.scaling.shades(layer.per_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_by_value_are_drawn_about_zero_whatever_colours_are_wished() {
        let by_sign = Look { colours: ColourMap::Coolwarm, scaling: Scaling::Signed };
        for colours in ColourMap::ALL {
            for scaling in [Scaling::Raw, Scaling::Signed] {
                assert_eq!(Look::of(Meaning::Effect, colours, scaling), by_sign);
            }
            for (meaning, scaling) in [
                (Meaning::Effect, Scaling::Rank),
                (Meaning::Attention, Scaling::Rank),
                (Meaning::Attention, Scaling::Raw),
            ] {
                assert_eq!(Look::of(meaning, colours, scaling), Look { colours, scaling });
            }
        }
    }
}
