//! From scores to shades, the 256 steps of a colour map.

use std::str::FromStr;

use crate::error::{Error, Result};

/// How scores are spread over the colour map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// By rank within the layer: the colour tells which share of the patches scores lower. A few patches with most of
    /// the attention do not turn the others cold.
    #[default]
    Rank,
    /// By value, from the lowest score to the highest.
    Raw,
    /// By value about 0, which is in the middle of the colours, as far on both sides as the score that is farthest from it.
    Signed,
}

impl FromStr for Scaling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "rank" => Ok(Self::Rank),
            "raw" => Ok(Self::Raw),
            _ => Err(Error::UnknownName {
                what: "scaling",
                found: text.to_owned(),
                known: vec!["rank", "raw"],
            }),
        }
    }
}

impl Scaling {
    /// The name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Raw => "raw",
            Self::Signed => "signed",
        }
    }

    /// The scores in `[0, 1]`. Where all are equal, each is 0.5.
    ///
    /// By rank, it is the share of the other patches that score lower, those that score the same counting half.
    ///
    /// - `scores`: finite.
    #[must_use]
    pub fn fractions(self, scores: &[f32]) -> Vec<f32> {
        match self {
            Self::Rank => ranks(scores),
            Self::Raw => {
                let [low, high] = range(scores).map(f64::from);
                if high > low {
                    scores.iter().map(|score| ((f64::from(*score) - low) / (high - low)) as f32).collect()
                } else {
                    vec![0.5; scores.len()]
                }
            }
            Self::Signed => {
                let farthest = f64::from(farthest(scores));
                let fraction = |score: &f32| {
                    if farthest > 0.0 { (0.5 + f64::from(*score) / farthest / 2.0) as f32 } else { 0.5 }
                };
                scores.iter().map(fraction).collect()
            }
        }
    }

    /// The scores as steps of a colour map.
    #[must_use]
    pub fn shades(self, scores: &[f32]) -> Vec<u8> {
        self.fractions(scores).into_iter().map(|fraction| (fraction * 255.0).round() as u8).collect()
    }
}

/// The lowest and the highest score; both 0 without scores.
#[must_use]
pub fn range(scores: &[f32]) -> [f32; 2] {
    match scores.iter().copied().min_by(f32::total_cmp).zip(scores.iter().copied().max_by(f32::total_cmp)) {
        Some((low, high)) => [low, high],
        None => [0.0; 2],
    }
}

/// How far from 0 the score lies that is farthest from it; 0 without scores.
pub(crate) fn farthest(scores: &[f32]) -> f32 {
    let [low, high] = range(scores);
    low.abs().max(high.abs())
}

fn ranks(scores: &[f32]) -> Vec<f32> {
    let n_others = scores.len().saturating_sub(1);
    if n_others == 0 {
        return vec![0.5; scores.len()];
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let mut out = vec![0.0; scores.len()];
    let mut start = 0;
    while start < order.len() {
        let score = scores[order[start]];
        let equals = order[start..].iter().take_while(|idx| scores[**idx] == score).count();
        let rank = (start as f64 + (equals - 1) as f64 / 2.0) / n_others as f64;
        for idx in &order[start..start + equals] {
            out[*idx] = rank as f32;
        }
        start += equals;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_shares_of_the_others_and_ties_share_theirs() {
        assert_eq!(Scaling::Rank.fractions(&[3.0, 1.0, 100.0, 2.0, 2.0]), [0.75, 0.0, 1.0, 0.375, 0.375]);
        assert_eq!(Scaling::Rank.fractions(&[7.0]), [0.5]);
        assert_eq!(Scaling::Rank.fractions(&[-0.0, 0.0]), [0.5, 0.5], "zeros are equal, whatever their sign");
        assert!(Scaling::Rank.fractions(&[]).is_empty());
    }

    #[test]
    fn raw_scores_run_from_the_lowest_to_the_highest() {
        assert_eq!(Scaling::Raw.fractions(&[1.0, 3.0, 2.0]), [0.0, 1.0, 0.5]);
        assert_eq!(Scaling::Raw.fractions(&[2.0, 2.0]), [0.5, 0.5]);
        assert_eq!(Scaling::Raw.shades(&[-1.0, 0.0, 1.0]), [0, 128, 255]);
        assert_eq!(Scaling::Raw.fractions(&[-f32::MAX, f32::MAX]), [0.0, 1.0]);
    }

    #[test]
    fn signed_scores_have_zero_in_the_middle_and_equal_limits() {
        assert_eq!(Scaling::Signed.fractions(&[-4.0, -1.0, 0.0, 2.0]), [0.0, 0.375, 0.5, 0.75]);
        assert_eq!(Scaling::Signed.fractions(&[1.0, 4.0]), [0.625, 1.0]);
        assert_eq!(Scaling::Signed.fractions(&[0.0, -0.0]), [0.5, 0.5]);
        // All are negative: none gets a colour of the upper half.
        assert!(Scaling::Signed.shades(&[-1.06e-4, -5e-5, -6.9e-6]).iter().all(|shade| *shade < 128));
        assert_eq!(Scaling::Signed.fractions(&[-f32::MAX, f32::MAX]), [0.0, 1.0]);
    }
}
