//! Which patch of a slide belongs to which class.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::geometry::Lattice;
use super::latent::{Latent, additive_share, contrast};
use super::options::CohortKind;

/// Share of region B in the interaction kind, drawn without regard to risk.
const REGION_SHARE: std::ops::Range<f64> = 0.3..0.7;

/// Classes of all patches of one slide; 1 is the class whose share is planted, 0 the other.
#[derive(Debug)]
pub(super) struct Classes {
    /// Per 5x patch: in the region (additive: of the 5x class; interaction: architecture B).
    pub region: Vec<bool>,
    /// Per 10x patch: of the 10x class (additive, 0 or 1), or the share of its four children with
    /// morphology A (interaction).
    pub x10: Vec<f64>,
    /// Per 20x patch: of the 20x class (additive), or of morphology A (interaction).
    pub x20: Vec<bool>,
}

impl Classes {
    /// Plants the classes that a patient's latent risk asks for, rounded to whole patches.
    pub(super) fn plant(kind: CohortKind, latent: &Latent, lattice: &Lattice, rng: &mut ChaCha8Rng) -> Self {
        match kind {
            CohortKind::Additive => Self::plant_additive(latent, lattice, rng),
            CohortKind::Interaction => Self::plant_interaction(latent, lattice, rng),
        }
    }

    fn plant_additive(latent: &Latent, lattice: &Lattice, rng: &mut ChaCha8Rng) -> Self {
        let [n5, n10, n20] = [&lattice.x5, &lattice.x10, &lattice.x20].map(|level| level.n_patches());
        let [share5, share10, share20] = latent.parts.map(additive_share);
        let region = lattice.draw_region(rounded(share5 * n5 as f64), rng);
        let x10 = draw_members(n10, rounded(share10 * n10 as f64), rng);
        let x20 = draw_members(n20, rounded(share20 * n20 as f64), rng);
        Self { region, x10: x10.into_iter().map(|member| f64::from(u8::from(member))).collect(), x20 }
    }

    /// A is half of every slide's 20x patches. Inside B its share is `0.5 + (1 - p) c` and outside
    /// `0.5 - p c`, where p is the share of B and c the contrast: their difference is c, and their mean,
    /// weighted by area, is 0.5 whatever c is.
    fn plant_interaction(latent: &Latent, lattice: &Lattice, rng: &mut ChaCha8Rng) -> Self {
        let n5 = lattice.x5.n_patches();
        let n20 = lattice.x20.n_patches();
        let n_region = rounded(rng.random_range(REGION_SHARE) * n5 as f64).clamp(1, n5 - 1);
        let region = lattice.draw_region(n_region, rng);
        let region_share = n_region as f64 / n5 as f64;

        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..n20).partition(|patch| region[lattice.x20.cell[*patch]]);
        let share_inside = 0.5 + (1.0 - region_share) * contrast(latent.z);
        let n_inside = rounded(share_inside * inside.len() as f64);
        // The rest of the slide's half, so that rounding, too, leaves the share of A at one half.
        let n_outside = n20 / 2 - n_inside;
        let mut x20 = vec![false; n20];
        for (place, n_members) in [(inside, n_inside), (outside, n_outside)] {
            for (patch, member) in place.iter().zip(draw_members(place.len(), n_members, rng)) {
                x20[*patch] = member;
            }
        }
        let mut x10 = vec![0.0; lattice.x10.n_patches()];
        for (patch, parent) in lattice.x20.parent.iter().enumerate() {
            x10[*parent] += if x20[patch] { 0.25 } else { 0.0 };
        }
        Self { region, x10, x20 }
    }
}

/// `n_members` of `n` places, all subsets equally likely (partial Fisher-Yates).
fn draw_members(n: usize, n_members: usize, rng: &mut ChaCha8Rng) -> Vec<bool> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut members = vec![false; n];
    for k in 0..n_members.min(n) {
        let other = rng.random_range(k..n);
        order.swap(k, other);
        members[order[k]] = true;
    }
    members
}

fn rounded(count: f64) -> usize {
    count.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;

    #[test]
    fn morphology_is_half_of_every_slide_at_any_risk() {
        let mut rng = stream(2, "half");
        for n_cells in [2, 3, 9, 40] {
            for z in [-6.0, -1.0, 0.0, 0.4, 6.0] {
                let lattice = Lattice::grow(n_cells, &mut rng);
                let latent = Latent::given(z, &mut rng);
                let classes = Classes::plant(CohortKind::Interaction, &latent, &lattice, &mut rng);
                let n_members = classes.x20.iter().filter(|member| **member).count();
                assert_eq!(2 * n_members, lattice.x20.n_patches(), "{n_cells} cells, z {z}");
            }
        }
    }

    #[test]
    fn members_are_drawn_evenly() {
        let mut rng = stream(4, "even");
        let mut counts = [0_u32; 5];
        for _ in 0..10_000 {
            for (place, member) in draw_members(5, 2, &mut rng).into_iter().enumerate() {
                counts[place] += u32::from(member);
            }
        }
        // Binomial standard deviation 49.
        assert!(counts.iter().all(|count| count.abs_diff(4_000) < 250), "{counts:?}");
    }
}
