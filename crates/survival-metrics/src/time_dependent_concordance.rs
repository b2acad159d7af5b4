//! Concordance of predicted survival curves, after Antolini.

use crate::concordance::{PairCounts, RiskTies};
use crate::error::{Error, Result};
use crate::outcome::{Outcome, check_length};
use crate::pair_sweep::PairSweep;
use crate::predicted_survival::{Place, PredictedSurvival};

/// What a pair with equal survival probabilities counts.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CurveTies {
    /// One half, as in Harrell's C.
    #[default]
    Half,
    /// Nothing (Antolini 2005; pycox `antolini`).
    Zero,
    /// One half, and pairs of equal times count too, once from each side: two events count 1 if their survival is equal and
    /// 1/2 if not (pycox `adj_antolini`).
    AdjustedForTime,
}

/// Time-dependent C-index: a pair is concordant if, at the earlier event, the one who had it was predicted less survival.
///
/// With curves that do not cross it is Harrell's C of any of their values. O(g n log n) time for g distinct places of the
/// grid at which events fall, O(n) memory.
///
/// Source: Antolini, Boracchi & Biganzoli, Stat. Med. 24 (2005) 3927-3944.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::AllCensored`]; [`Error::NoComparablePairs`].
///
/// ```
/// use survival_metrics::{CurveLookup, CurveTies, Outcome, PredictedSurvival, time_dependent_concordance};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(2.0)?, Outcome::censored(3.0)?];
/// // The curves cross: at 1 the first is lowest, at 2 the second is lower than the third.
/// let curves = PredictedSurvival::new(&[1.0, 2.0], vec![0.5, 0.45, 0.6, 0.1, 0.7, 0.3], CurveLookup::Post)?;
/// assert_eq!(time_dependent_concordance(&outcomes, &curves, CurveTies::Half)?, 1.0);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn time_dependent_concordance(
    outcomes: &[Outcome],
    curves: &PredictedSurvival,
    ties: CurveTies,
) -> Result<f64> {
    check_length("curves", curves.n_subjects(), outcomes.len())?;
    let mut events: Vec<(f64, usize)> =
        outcomes.iter().enumerate().filter(|(_, o)| o.is_event()).map(|(i, o)| (o.time(), i)).collect();
    events.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut places: Vec<(Place, f64, f64)> = Vec::new();
    for &(time, _) in &events {
        let place = curves.locate(time);
        match places.last_mut() {
            Some((known, _, until)) if *known == place => *until = time,
            _ => places.push((place, time, time)),
        }
    }
    let (mut counts, mut same_time) = (PairCounts::default(), PairCounts::default());
    for (place, from, until) in places {
        // Of one place, the values are a risk like any other.
        let risk: Vec<f64> = (0..outcomes.len()).map(|i| -curves.read(i, place)).collect();
        let here = |t: f64| from <= t && t <= until;
        let sweep = PairSweep::new(outcomes, &risk, RiskTies::Exact)?;
        counts += sweep
            .counts_of_anchors(&|i| outcomes.get(i).is_some_and(|o| o.is_event() && here(o.time())), &here);
        if ties == CurveTies::AdjustedForTime {
            same_time += events_with_censorings(&sweep, &here);
        }
    }
    let twice = match ties {
        CurveTies::Half => 2 * counts.concordant + counts.tied_risk,
        CurveTies::Zero => 2 * counts.concordant,
        // What the other side of each pair of one time adds.
        CurveTies::AdjustedForTime => {
            let events = 4 * counts.tied_both + 2 * counts.tied_time_event_event;
            2 * (counts.concordant + same_time.concordant) + counts.tied_risk + same_time.tied_risk + events
        }
    };
    let comparable = match ties {
        CurveTies::AdjustedForTime => {
            let events = 2 * (counts.tied_both + counts.tied_time_event_event);
            counts.comparable() + same_time.comparable() + events
        }
        _ => counts.comparable(),
    };
    let n = outcomes.len();
    match comparable {
        0 if n > 0 && events.is_empty() => Err(Error::AllCensored { n }),
        0 => Err(Error::NoComparablePairs { n }),
        _ => Ok(twice as f64 / (2 * comparable) as f64),
    }
}

/// Pairs of an event and a censoring at one time.
fn events_with_censorings(sweep: &PairSweep, here: &dyn Fn(f64) -> bool) -> PairCounts {
    let mut counts = PairCounts::default();
    for same_time in sweep.subjects.chunk_by(|a, b| a.time == b.time) {
        let (censored, dying) = same_time.split_at(same_time.partition_point(|s| !s.is_event));
        if !same_time.first().is_some_and(|s| here(s.time)) {
            continue;
        }
        for event in dying {
            for other in censored {
                match event.rank.cmp(&other.rank) {
                    std::cmp::Ordering::Greater => counts.concordant += 1,
                    std::cmp::Ordering::Less => counts.discordant += 1,
                    std::cmp::Ordering::Equal => counts.tied_risk += 1,
                }
            }
        }
    }
    counts
}
