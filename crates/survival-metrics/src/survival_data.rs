//! A sample of subjects, checked and sorted once for every statistic of it.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::outcome::{Outcome, Status, check_length};

/// Outcomes of a sample with what belongs to each subject: a case weight, a time of entry, a stratum, a cluster.
///
/// Everything is checked at construction; the statistics check nothing twice. Results do not depend on the order of
/// subjects, up to rounding of weighted sums. Which of the attributes a statistic uses is said in its docs; one
/// that it cannot honour is an error ([`Error::Unsupported`]), never ignored.
///
/// ```
/// use survival_metrics::{Status, SurvivalData};
///
/// let data = SurvivalData::from_columns(&[5.0, 8.0, 3.0], &[Status::Event, Status::Censored, Status::Event])?
///     .with_strata(&["site A", "site B", "site A"])?;
/// assert_eq!((data.len(), data.n_events(), data.n_strata()), (3, 2, 2));
/// assert!(data.with_weights(&[1.0, -1.0, 1.0]).is_err());
/// # Ok::<(), survival_metrics::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SurvivalData {
    outcomes: Vec<Outcome>,
    /// By stratum, then time ascending, events before censorings, then the caller's order.
    order: Vec<u32>,
    weights: Option<Vec<f64>>,
    entry: Option<Vec<f64>>,
    strata: Option<Vec<u32>>,
    n_strata: usize,
    clusters: Option<Vec<u32>>,
}

impl SurvivalData {
    /// A sample without weights, entry times, strata or clusters. O(n log n) time.
    ///
    /// # Errors
    /// [`Error::Empty`] without outcomes; [`Error::OutOfRange`] for 2^32 subjects or more.
    pub fn new(outcomes: &[Outcome]) -> Result<Self> {
        if outcomes.is_empty() {
            return Err(Error::Empty { what: "outcomes" });
        }
        if u32::try_from(outcomes.len()).is_err() {
            return Err(Error::OutOfRange {
                what: "number of subjects",
                value: outcomes.len() as f64,
                expected: "less than 2^32, so that pair counts fit 64 bits",
            });
        }
        let mut data = Self {
            outcomes: outcomes.to_vec(),
            order: Vec::new(),
            weights: None,
            entry: None,
            strata: None,
            n_strata: 1,
            clusters: None,
        };
        data.sort();
        Ok(data)
    }

    /// A sample from a column of times and one of statuses.
    ///
    /// # Errors
    /// As [`SurvivalData::new`]; [`Error::LengthMismatch`]; [`Error::InvalidTime`].
    pub fn from_columns(times: &[f64], statuses: &[Status]) -> Result<Self> {
        check_length("statuses", statuses.len(), times.len())?;
        let outcomes: Vec<Outcome> =
            times.iter().zip(statuses).map(|(&t, &s)| Outcome::new(t, s)).collect::<Result<_>>()?;
        Self::new(&outcomes)
    }

    /// The sample with a case weight per subject.
    ///
    /// A weight of 2 stands for two such subjects, except in variances that say otherwise.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`]; [`Error::OutOfRange`] for a weight that is negative, infinite or NaN, or if all are 0.
    pub fn with_weights(mut self, weights: &[f64]) -> Result<Self> {
        check_length("weights", weights.len(), self.len())?;
        let expected = "a finite number of at least 0, and not all 0";
        if let Some(&value) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
            return Err(Error::OutOfRange { what: "weight", value, expected });
        }
        if weights.iter().all(|&w| w == 0.0) {
            return Err(Error::OutOfRange { what: "weight", value: 0.0, expected });
        }
        self.weights = Some(weights.to_vec());
        Ok(self)
    }

    /// The sample with the time at which each subject came under observation (left truncation).
    ///
    /// A subject is at risk at `t` if `entry < t <= time`.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`]; [`Error::OutOfRange`] for an entry that is not finite or not before the subject's time.
    pub fn with_entry(mut self, entry: &[f64]) -> Result<Self> {
        check_length("entry", entry.len(), self.len())?;
        let faulty = entry.iter().zip(&self.outcomes).find(|(e, o)| !e.is_finite() || **e >= o.time());
        if let Some((&value, _)) = faulty {
            let expected = "a finite time before the subject's event or censoring";
            return Err(Error::OutOfRange { what: "entry", value, expected });
        }
        self.entry = Some(entry.to_vec());
        Ok(self)
    }

    /// The sample in strata: only subjects with equal labels are compared with each other.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`].
    pub fn with_strata<S: Ord>(mut self, strata: &[S]) -> Result<Self> {
        check_length("strata", strata.len(), self.len())?;
        let (numbers, n_strata) = number_labels(strata);
        self.strata = Some(numbers);
        self.n_strata = n_strata;
        self.sort();
        Ok(self)
    }

    /// The sample in clusters: subjects with equal labels are not independent, such as slides of one patient.
    ///
    /// A statistic with a variance over clusters wants at least two of them.
    ///
    /// # Errors
    /// [`Error::LengthMismatch`].
    pub fn with_clusters<C: Ord>(mut self, clusters: &[C]) -> Result<Self> {
        check_length("clusters", clusters.len(), self.len())?;
        self.clusters = Some(number_labels(clusters).0);
        Ok(self)
    }

    /// Number of subjects, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a sample is never empty")]
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Outcomes in the caller's order.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Number of subjects with an event.
    pub fn n_events(&self) -> usize {
        self.outcomes.iter().filter(|o| o.is_event()).count()
    }

    /// Number of distinct strata; 1 without strata.
    pub fn n_strata(&self) -> usize {
        self.n_strata
    }

    /// Case weights in the caller's order, if any were given.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Entry times in the caller's order, if any were given.
    pub fn entry(&self) -> Option<&[f64]> {
        self.entry.as_deref()
    }

    /// Largest observed time.
    pub fn last_time(&self) -> f64 {
        self.outcomes.iter().map(|o| o.time()).fold(0.0, f64::max)
    }

    pub(crate) fn weight(&self, index: usize) -> f64 {
        self.weights.as_ref().and_then(|w| w.get(index)).copied().unwrap_or(1.0)
    }

    /// Cluster numbers in the caller's order, if clusters were given.
    pub(crate) fn clusters(&self) -> Option<&[u32]> {
        self.clusters.as_deref()
    }

    /// The cluster of each subject, without clusters one of its own, and how many there are.
    pub(crate) fn cluster_numbers(&self) -> (Cow<'_, [u32]>, usize) {
        let own = || Cow::Owned((0..self.len() as u32).collect());
        let cluster_of = self.clusters().map_or_else(own, Cow::Borrowed);
        let n_clusters = cluster_of.iter().max().map_or(0, |&cluster| cluster as usize + 1);
        (cluster_of, n_clusters)
    }

    /// Positions of the subjects of each stratum, by time ascending, events before censorings.
    pub(crate) fn stratum_orders(&self) -> impl Iterator<Item = &[u32]> {
        self.order.chunk_by(|&a, &b| self.stratum(a) == self.stratum(b))
    }

    /// All subjects by time, strata disregarded, as positions in the caller's order.
    pub(crate) fn time_order(&self) -> Vec<u32> {
        let mut order = self.order.clone();
        if self.n_strata > 1 {
            order.sort_by(|&a, &b| self.compare_times(a, b));
        }
        order
    }

    /// Fails if the sample has an attribute that `statistic` cannot honour.
    pub(crate) fn refuse(&self, statistic: &'static str, attributes: &[Attribute]) -> Result<()> {
        for attribute in attributes {
            let (given, name) = match attribute {
                Attribute::Weights => (self.weights.is_some(), "case weights"),
                Attribute::Entry => (self.entry.is_some(), "entry times"),
            };
            if given {
                return Err(Error::Unsupported { statistic, attribute: name });
            }
        }
        Ok(())
    }

    /// Fails if all subjects are in one cluster, whose influences sum to a constant that says nothing of their spread.
    pub(crate) fn check_clusters(&self) -> Result<()> {
        let is_single = self.clusters().is_some_and(|clusters| clusters.iter().all(|&number| number == 0));
        if is_single { Err(Error::SingleCluster) } else { Ok(()) }
    }

    /// Outcome at a position of the orders, which hold valid positions only.
    pub(crate) fn outcome(&self, index: u32) -> Outcome {
        self.outcomes[index as usize]
    }

    fn stratum(&self, index: u32) -> u32 {
        self.strata.as_ref().and_then(|s| s.get(index as usize)).copied().unwrap_or(0)
    }

    fn compare_times(&self, a: u32, b: u32) -> std::cmp::Ordering {
        let (first, second) = (self.outcome(a), self.outcome(b));
        let by_time = first.time().total_cmp(&second.time());
        by_time.then(second.is_event().cmp(&first.is_event())).then(a.cmp(&b))
    }

    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.outcomes.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            self.stratum(a).cmp(&self.stratum(b)).then_with(|| self.compare_times(a, b))
        });
        self.order = order;
    }
}

/// What a sample may carry besides outcomes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute {
    Weights,
    Entry,
}

/// Positions of labels among the sorted distinct ones, and how many of these there are.
pub(crate) fn number_labels<L: Ord>(labels: &[L]) -> (Vec<u32>, usize) {
    let mut levels: Vec<&L> = labels.iter().collect();
    levels.sort_unstable();
    levels.dedup();
    let number = |label: &L| levels.partition_point(|level| *level < label) as u32;
    (labels.iter().map(number).collect(), levels.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SurvivalData {
        let statuses = [Status::Censored, Status::Event, Status::Event];
        SurvivalData::from_columns(&[2.0, 2.0, 1.0], &statuses).expect("valid")
    }

    #[test]
    fn events_come_before_censorings_of_the_same_time() {
        assert_eq!(sample().time_order(), [2, 1, 0]);
        let strata = sample().with_strata(&["b", "a", "b"]).expect("three");
        assert_eq!(strata.stratum_orders().collect::<Vec<_>>(), [&[1][..], &[2, 0]]);
        assert_eq!(strata.time_order(), [2, 1, 0]);
    }

    #[test]
    fn faulty_attributes_are_named() {
        let message = |result: Result<SurvivalData>| result.expect_err("faulty").to_string();
        assert_eq!(message(SurvivalData::new(&[])), "`outcomes` is empty, expected at least one value");
        assert_eq!(
            message(sample().with_entry(&[0.0, 0.0, 1.0])),
            "`entry` is 1, expected a finite time before the subject's event or censoring"
        );
        assert!(message(sample().with_weights(&[0.0; 3])).starts_with("`weight` is 0"));
        assert!(message(sample().with_weights(&[1.0, f64::NAN, 1.0])).starts_with("`weight` is NaN"));
        assert_eq!(message(sample().with_strata(&[1])), "`strata` has 1 values, expected 3, one per subject");
    }
}
