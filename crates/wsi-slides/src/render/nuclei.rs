//! Nuclei: one near each point of a jittered grid, drawn as ellipses of haematoxylin.

use crate::render::value_noise;

/// Distance of the grid's points in pixels at 20x, so that both kinds of nuclei are equally many.
const SPACING: f32 = 22.0;
const PURPOSE: u64 = 20;

/// How a nucleus looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Morphology {
    /// Small, dark and even.
    Small,
    /// Large and pale with a dark rim and a nucleolus.
    Large,
}

/// One nucleus; lengths in pixels at 20x.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nucleus {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Half axes, and the direction of the first.
    axes: [f32; 2],
    direction: [f32; 2],
    morphology: Morphology,
}

/// The farthest that a nucleus reaches from its centre.
pub(super) const REACH: f32 = 9.0;

/// The nuclei whose centres lie in a window, in pixels at 20x; `morphology` is asked for each centre, and `None` there
/// means that there is no tissue.
pub(super) fn within(
    seed: u64,
    [left, top, right, bottom]: [f32; 4],
    morphology: impl Fn(f32, f32) -> Option<Morphology>,
) -> Vec<Nucleus> {
    let first = |at: f32| (at / SPACING).floor() as i64 - 1;
    let last = |at: f32| (at / SPACING).ceil() as i64 + 1;
    let mut found = Vec::new();
    for row in first(top)..=last(bottom) {
        for column in first(left)..=last(right) {
            let random = |number: u64| value_noise::at(seed, PURPOSE + number, column, row);
            let x = (column as f32 + 0.15 + 0.7 * random(0)) * SPACING;
            let y = (row as f32 + 0.15 + 0.7 * random(1)) * SPACING;
            if !((left..right).contains(&x) && (top..bottom).contains(&y)) {
                continue;
            }
            let Some(morphology) = morphology(x, y) else { continue };
            let (radius, stretch) = match morphology {
                Morphology::Small => (3.6 + 0.8 * random(2), 1.0 + 0.5 * random(3)),
                Morphology::Large => (6.2 + 1.2 * random(2), 1.0 + 0.25 * random(3)),
            };
            let angle = std::f32::consts::PI * random(4);
            let axes = [radius * stretch.sqrt(), radius / stretch.sqrt()];
            found.push(Nucleus { x, y, axes, direction: [angle.cos(), angle.sin()], morphology });
        }
    }
    found
}

impl Nucleus {
    /// Haematoxylin at a place, as optical density; 0 outside.
    pub(super) fn density(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.x, y - self.y);
        let [cos, sin] = self.direction;
        let along = (dx * cos + dy * sin) / self.axes[0];
        let across = (dy * cos - dx * sin) / self.axes[1];
        let distance = along * along + across * across;
        if distance > 1.0 {
            return 0.0;
        }
        match self.morphology {
            Morphology::Small => 1.5,
            Morphology::Large if distance > 0.72 => 1.2,
            Morphology::Large if distance < 0.06 => 1.4,
            Morphology::Large => 0.55,
        }
    }
}
