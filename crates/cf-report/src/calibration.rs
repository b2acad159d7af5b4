//! Whether the predicted probabilities come true: groups at stated horizons, and D-calibration.

use survival_metrics::{
    CalibrationGroup, CiType, DCalibration, KaplanMeier, Outcome, calibration_groups, d_calibration,
};

use crate::c_index_intervals::LEVEL;
use crate::error::Result;
use crate::fold_patients::FoldPatients;
use crate::number::{self, fixed};
use crate::patients::grouped;

/// Horizons that clinicians ask for, months; those that the follow-up supports are shown.
const HORIZONS: [f64; 3] = [12.0, 36.0, 60.0];
/// Fewer patients in a group would leave nothing but noise.
const FEWEST_IN_GROUP: usize = 10;
/// Two groups.
const FEWEST_FOR_A_HORIZON: usize = 2 * FEWEST_IN_GROUP;
const MOST_GROUPS: usize = 5;
const N_BINS: usize = 10;

/// Calibration of the patients of all folds, each predicted by a model that was not trained on them. A patient whom several folds validate
/// counts once, with the mean of their predicted probabilities.
#[derive(Debug)]
pub(crate) struct Calibration {
    pub(crate) n_patients: usize,
    pub(crate) horizons: Vec<Horizon>,
    /// Why there is no horizon.
    pub(crate) no_horizon: Option<String>,
    pub(crate) d: DCalibration,
}

/// Predicted against observed risk at one time.
#[derive(Debug)]
pub(crate) struct Horizon {
    pub(crate) months: f64,
    /// Mean predicted probability of an event by then.
    pub(crate) predicted: f64,
    /// Observed share, by Kaplan-Meier.
    pub(crate) observed: f64,
    /// 95 % log-log limits of the observed share.
    pub(crate) limits: Option<(f64, f64)>,
    /// Groups of equal size by predicted risk, highest first.
    pub(crate) groups: Vec<CalibrationGroup>,
}

impl Calibration {
    /// Compares predictions with outcomes; `None` without patients, or where no survival is predicted.
    ///
    /// # Errors
    /// If a predicted survival is no probability.
    pub(crate) fn of(folds: &[FoldPatients<'_>]) -> Result<Option<Self>> {
        let in_folds: Vec<(&str, Outcome, usize)> = folds
            .iter()
            .flat_map(|fold| fold.patient_ids.iter().zip(&fold.outcomes))
            .enumerate()
            .map(|(at, (patient, outcome))| (*patient, *outcome, at))
            .collect();
        let patients = grouped(&in_folds, |(patient, ..)| *patient);
        let outcomes: Vec<Outcome> = patients.iter().filter_map(|of| Some(of.first()?.1)).collect();
        if outcomes.is_empty() || folds.iter().any(|fold| fold.curves.is_none()) {
            return Ok(None);
        }
        // Mean of each patient over the folds, of values of all folds.
        let once = |values: Vec<f64>| -> Vec<f64> {
            let mean = |of: &Vec<&(&str, Outcome, usize)>| {
                of.iter().filter_map(|&&(.., at)| values.get(at)).sum::<f64>() / of.len() as f64
            };
            patients.iter().map(mean).collect()
        };
        let own = once(folds.iter().flat_map(FoldPatients::survival_at_own_time).collect());
        let curve = KaplanMeier::fit(&outcomes)?;
        let horizons: Vec<f64> = horizons(&outcomes);
        let is_cut = folds.iter().any(|fold| fold.n_followed_longer > 0);
        let no_horizon = horizons.is_empty().then(|| no_horizon(outcomes.len(), is_cut));
        let horizon = |&months: &f64| -> Result<Horizon> {
            let predicted: Vec<f64> = once(folds.iter().flat_map(|fold| fold.survival_at(months)).collect())
                .into_iter()
                .map(|s| 1.0 - s)
                .collect();
            let n_groups = (outcomes.len() / FEWEST_IN_GROUP).clamp(2, MOST_GROUPS);
            let (observed, limits) = observed(&curve, months)?;
            Ok(Horizon {
                months,
                predicted: predicted.iter().sum::<f64>() / predicted.len() as f64,
                observed,
                limits,
                groups: calibration_groups(&outcomes, &predicted, months, n_groups)?,
            })
        };
        Ok(Some(Self {
            n_patients: outcomes.len(),
            horizons: horizons.iter().map(horizon).collect::<Result<_>>()?,
            no_horizon,
            d: d_calibration(&outcomes, &own, N_BINS)?,
        }))
    }

    /// What the test of D-calibration says, and where the mean prediction lies outside the interval of what was observed.
    pub(crate) fn verdict(&self) -> String {
        let outside = self.horizons.iter().filter_map(Horizon::outside);
        std::iter::once(self.d_verdict()).chain(outside).collect::<Vec<_>>().join(" ")
    }

    fn d_verdict(&self) -> String {
        let p = number::p_value(self.d.p_value, self.d.log10_p);
        let test = format!("χ² = {}, {} df, p = {p}", fixed(self.d.chi_square, 2), self.d.df);
        if self.d.p_value < 0.05 {
            format!(
                "The predicted curves as a whole are not calibrated (D-calibration: {test}): the predicted probabilities of \
                 surviving to one’s own time should be spread evenly, and they are not."
            )
        } else {
            format!(
                "The predicted curves as a whole are compatible with being calibrated (D-calibration: {test}); with few \
                 patients, large faults pass this test, too."
            )
        }
    }
}

impl Horizon {
    fn outside(&self) -> Option<String> {
        let (low, high) = self.limits?;
        let side = if self.predicted < low {
            "too low"
        } else if self.predicted > high {
            "too high"
        } else {
            return None;
        };
        let percent = |share: f64| fixed(100.0 * share, 0);
        Some(format!(
            "The mean predicted risk of an event within {} months, {}\u{a0}%, is {side}: observed are {}\u{a0}% ({} to {}\u{a0}%).",
            fixed(self.months, 0),
            percent(self.predicted),
            percent(self.observed),
            percent(low),
            percent(high)
        ))
    }
}

/// A sentence for a cohort without a horizon.
fn no_horizon(n_patients: usize, is_cut: bool) -> String {
    let patients = number::counted(n_patients, "patient is", "patients are");
    if n_patients < FEWEST_FOR_A_HORIZON {
        return format!(
            "No horizon can be shown: {patients} too few, expected at least {FEWEST_FOR_A_HORIZON}."
        );
    }
    if is_cut {
        return "No horizon can be shown: before predictions end, nobody has the event while a tenth of the patients is still followed."
            .to_owned();
    }
    "No horizon can be shown: nobody has the event before less than a tenth of the patients is still followed.".to_owned()
}

/// The stated horizons by which somebody had the event and after which a tenth of the patients is followed; where there
/// is none of them, the whole month at which half of the events was seen.
fn horizons(outcomes: &[Outcome]) -> Vec<f64> {
    if outcomes.len() < FEWEST_FOR_A_HORIZON {
        return Vec::new();
    }
    let supported = |&months: &f64| {
        let n_after = outcomes.iter().filter(|o| o.time() > months).count();
        outcomes.iter().any(|o| o.is_event() && o.time() <= months) && 10 * n_after >= outcomes.len()
    };
    let stated: Vec<f64> = HORIZONS.into_iter().filter(supported).collect();
    if !stated.is_empty() {
        return stated;
    }
    let mut events: Vec<f64> = outcomes.iter().filter(|o| o.is_event()).map(|o| o.time()).collect();
    events.sort_by(f64::total_cmp);
    events.get(events.len() / 2).map(|middle| middle.floor()).filter(supported).into_iter().collect()
}

/// Share with an event by `months`, with its limits.
fn observed(curve: &KaplanMeier, months: f64) -> Result<(f64, Option<(f64, f64)>)> {
    let last = curve.times().partition_point(|&time| time <= months).checked_sub(1);
    let limits = curve.confidence_limits(LEVEL, CiType::LogLog)?;
    let limits = last.and_then(|last| limits.get(last).copied().flatten());
    Ok((1.0 - curve.survival_at(months), limits.map(|(low, high)| (1.0 - high, 1.0 - low))))
}

#[cfg(test)]
mod tests {
    use survival_metrics::{CurveLookup, PredictedSurvival, Risk};

    use super::*;
    use crate::fold_patients::FollowUp;

    fn fold(n: u32, survival_at_100: f64) -> Vec<FoldPatients<'static>> {
        let outcomes: Vec<Outcome> =
            (0..n).map(|i| Outcome::event(f64::from(i) + 0.5).expect("a valid time")).collect();
        let values = vec![survival_at_100; n as usize];
        let curves = PredictedSurvival::new(&[100.0], values, CurveLookup::Linear).expect("probabilities");
        let risk = Risk::new(&vec![0.0; n as usize]).expect("finite");
        let patient_ids = (0..n).map(|i| &*format!("p{i}").leak()).collect();
        vec![FoldPatients {
            fold: 0,
            patient_ids,
            outcomes,
            risk,
            curves: Some(curves),
            train: &[],
            follow_up: FollowUp::Trained,
            n_followed_longer: 0,
        }]
    }

    #[test]
    fn a_patient_a_month_dying_as_predicted_is_calibrated() {
        // One of 100 dies a month, and every curve falls straight from 1 at 0 to 0 at 100 months.
        let calibration = Calibration::of(&fold(100, 0.0)).expect("valid").expect("patients");
        let months: Vec<f64> = calibration.horizons.iter().map(|horizon| horizon.months).collect();
        assert_eq!(months, [12.0, 36.0, 60.0]);
        for horizon in &calibration.horizons {
            assert!((horizon.predicted - horizon.months / 100.0).abs() < 1e-12);
            assert!((horizon.observed - horizon.predicted).abs() < 1e-12, "{horizon:?}");
            let (low, high) = horizon.limits.expect("limits");
            assert!(low < horizon.observed && horizon.observed < high);
            assert_eq!(horizon.groups.len(), 5);
        }
        assert!(calibration.d.bins.iter().all(|bin| (bin - 10.0).abs() < 1e-12), "{:?}", calibration.d);
        let verdict = calibration.verdict();
        assert!(
            verdict.contains("compatible with being calibrated") && !verdict.contains("too "),
            "{verdict}"
        );
    }

    #[test]
    fn a_patient_of_two_folds_counts_once_with_the_mean_of_their_probabilities() {
        // Of 100 patients, each predicted twice: the mean of 0.8 and 0.2 is what half as steep a curve predicts.
        let both = [fold(100, 0.8), fold(100, 0.2)].concat();
        let (both, mean) =
            (Calibration::of(&both).expect("valid"), Calibration::of(&fold(100, 0.5)).expect("valid"));
        let (both, mean) = (both.expect("patients"), mean.expect("patients"));
        assert_eq!(both.n_patients, 100);
        for (both, mean) in both.horizons.iter().zip(&mean.horizons) {
            assert_eq!((both.months, both.observed, both.limits), (mean.months, mean.observed, mean.limits));
            assert!((both.predicted - mean.predicted).abs() < 1e-12, "{both:?}, {mean:?}");
        }
        assert!((both.d.chi_square - mean.d.chi_square).abs() < 1e-9, "{:?}, {:?}", both.d, mean.d);
    }

    #[test]
    fn curves_that_stay_high_are_found_out() {
        let calibration = Calibration::of(&fold(100, 0.8)).expect("valid").expect("patients");
        assert!(calibration.d.p_value < 1e-6);
        let verdict = calibration.verdict();
        assert!(verdict.contains("are not calibrated"), "{verdict}");
        assert!(
            verdict.contains("within 60 months, 12\u{a0}%, is too low: observed are 60\u{a0}% ("),
            "{verdict}"
        );
    }

    #[test]
    fn too_few_patients_have_no_horizon_but_a_sentence() {
        let calibration = Calibration::of(&fold(19, 0.0)).expect("valid").expect("patients");
        assert!(calibration.horizons.is_empty());
        assert!(calibration.no_horizon.is_some_and(|reason| reason.contains("19 patients are too few")));
        assert!(Calibration::of(&[]).expect("valid").is_none());
    }

    #[test]
    fn a_short_study_has_the_month_of_its_middle_event() {
        let outcomes: Vec<Outcome> =
            (0..40).map(|i| Outcome::event(2.0 + f64::from(i) * 0.2).expect("valid")).collect();
        assert_eq!(horizons(&outcomes), [6.0]);
    }
}
