//! Colour maps by the names that the field knows them by.

use std::str::FromStr;

use crate::error::{Error, Result};

/// A colour map of 256 steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourMap {
    /// Perceptually uniform, dark purple to yellow, legible in grey and with any form of colour vision.
    #[default]
    Viridis,
    /// Perceptually uniform, black to pale yellow.
    Inferno,
    /// Diverging, blue over grey to red (Moreland 2009), the habit of TRIDENT.
    Coolwarm,
    /// The rainbow of CLAM's templates. Its bright bands are no property of the data.
    Jet,
}

impl ColourMap {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viridis, Self::Inferno, Self::Coolwarm, Self::Jet];

    /// The name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Viridis => "viridis",
            Self::Inferno => "inferno",
            Self::Coolwarm => "coolwarm",
            Self::Jet => "jet",
        }
    }

    /// RGB of each shade, the lowest first.
    #[must_use]
    pub fn table(self) -> [[u8; 3]; 256] {
        std::array::from_fn(|shade| {
            let fraction = shade as f64 / 255.0;
            match self {
                Self::Viridis => colorous::VIRIDIS.eval_continuous(fraction).into_array(),
                Self::Inferno => colorous::INFERNO.eval_continuous(fraction).into_array(),
                Self::Coolwarm => coolwarm(fraction),
                Self::Jet => jet(fraction),
            }
        })
    }
}

impl FromStr for ColourMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.map(Self::label).to_vec();
        let unknown = || Error::UnknownName { what: "colour map", found: text.to_owned(), known };
        Self::ALL.into_iter().find(|map| map.label() == text).ok_or_else(unknown)
    }
}

/// Trapezoids of red, green and blue, with the corners of Matplotlib's table.
fn jet(fraction: f64) -> [u8; 3] {
    const RED: [[f64; 2]; 4] = [[0.35, 0.0], [0.66, 1.0], [0.89, 1.0], [1.0, 0.5]];
    const GREEN: [[f64; 2]; 4] = [[0.125, 0.0], [0.375, 1.0], [0.64, 1.0], [0.91, 0.0]];
    const BLUE: [[f64; 2]; 4] = [[0.0, 0.5], [0.11, 1.0], [0.34, 1.0], [0.65, 0.0]];
    [RED, GREEN, BLUE].map(|corners| byte(between(&corners, fraction)))
}

/// Linear between corners, constant outside them.
fn between(corners: &[[f64; 2]], at: f64) -> f64 {
    let after = corners.iter().position(|[x, _]| *x > at);
    match (after, corners) {
        (Some(0), [[_, first], ..]) => *first,
        (None, [.., [_, last]]) => *last,
        (Some(end), _) => match corners.get(end - 1..=end) {
            Some([[x0, y0], [x1, y1]]) => y0 + (y1 - y0) * (at - x0) / (x1 - x0),
            _ => 0.0,
        },
        _ => 0.0,
    }
}

/// Moreland's diverging map between two colours: through grey, in polar coordinates of CIELAB ("Diverging color maps for
/// scientific visualization", 2009).
fn coolwarm(fraction: f64) -> [u8; 3] {
    const COOL: [f64; 3] = [59.0, 76.0, 192.0];
    const WARM: [f64; 3] = [180.0, 4.0, 38.0];
    let (mut cool, mut warm) = (msh_of_rgb(COOL), msh_of_rgb(WARM));
    // The middle is as light as the lighter end, and at least 88.
    let middle = cool[0].max(warm[0]).max(88.0);
    let mut at = fraction;
    if at < 0.5 {
        warm = [middle, 0.0, 0.0];
        at *= 2.0;
    } else {
        cool = [middle, 0.0, 0.0];
        at = 2.0 * at - 1.0;
    }
    if cool[1] < 0.05 {
        cool[2] = spun_hue(warm, cool[0]);
    } else {
        warm[2] = spun_hue(cool, warm[0]);
    }
    rgb_of_msh([0, 1, 2].map(|idx| (1.0 - at) * cool[idx] + at * warm[idx]))
}

/// The hue to give a grey so that the way to a saturated colour keeps its length uniform.
fn spun_hue([m, s, h]: [f64; 3], unsaturated: f64) -> f64 {
    if m >= unsaturated - 0.1 {
        return h;
    }
    let spin = s * (unsaturated * unsaturated - m * m).sqrt() / (m * s.sin());
    if h > -std::f64::consts::FRAC_PI_3 { h + spin } else { h - spin }
}

/// Tristimulus values of the white D65.
const WHITE: [f64; 3] = [0.950_47, 1.0, 1.088_83];

fn msh_of_rgb(rgb: [f64; 3]) -> [f64; 3] {
    let linear = rgb.map(|value| {
        let value = value / 255.0;
        if value > 0.040_45 { ((value + 0.055) / 1.055).powf(2.4) } else { value / 12.92 }
    });
    let xyz = [
        [0.412_456_4, 0.357_576_1, 0.180_437_5],
        [0.212_672_9, 0.715_152_2, 0.072_175_0],
        [0.019_333_9, 0.119_192_0, 0.950_304_1],
    ]
    .map(|row: [f64; 3]| row.iter().zip(linear).map(|(weight, value)| weight * value).sum::<f64>());
    let f = |idx: usize| {
        let t = xyz[idx] / WHITE[idx];
        if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 }
    };
    let (l, a, b) = (116.0 * f(1) - 16.0, 500.0 * (f(0) - f(1)), 200.0 * (f(1) - f(2)));
    let m = (l * l + a * a + b * b).sqrt();
    [m, (l / m).acos(), b.atan2(a)]
}

fn rgb_of_msh([m, s, h]: [f64; 3]) -> [u8; 3] {
    let (l, a, b) = (m * s.cos(), m * s.sin() * h.cos(), m * s.sin() * h.sin());
    let fy = (l + 16.0) / 116.0;
    let f = [fy + a / 500.0, fy, fy - b / 200.0];
    let xyz = [0, 1, 2].map(|idx: usize| {
        let cubed = f[idx] * f[idx] * f[idx];
        WHITE[idx] * if cubed > 0.008_856 { cubed } else { (f[idx] - 16.0 / 116.0) / 7.787 }
    });
    [
        [3.240_454_2, -1.537_138_5, -0.498_531_4],
        [-0.969_266_0, 1.876_010_8, 0.041_556_0],
        [0.055_643_4, -0.204_025_9, 1.057_225_2],
    ]
    .map(|row: [f64; 3]| {
        let linear: f64 = row.iter().zip(xyz).map(|(weight, value)| weight * value).sum();
        byte(if linear > 0.003_130_8 { 1.055 * linear.powf(1.0 / 2.4) - 0.055 } else { 12.92 * linear })
    })
}

fn byte(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}
