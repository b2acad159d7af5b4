//! One patient among the others: on the Kaplan-Meier curve of the risk group that the model puts them in.

use survival_metrics::RiskGroup as Side;

use super::{Figure, kaplan_meier};
use crate::error::Result;
use crate::patients::patients;
use crate::report::PredictionRow;
use crate::risk_groups::{Level, RiskGroups};

/// Draws the curves of the patients at high and at low risk, cut at the median, with one patient marked at their time and on the
/// curve of their group. `None` if no prediction is of that patient.
///
/// # Errors
/// If the slides of a patient have different outcomes, or a curve cannot be estimated.
pub fn patient_in_cohort(predictions: &[PredictionRow], patient_id: &str) -> Result<Option<Figure>> {
    let subjects = patients(predictions)?;
    let Some(subject) = subjects.iter().find(|subject| subject.patient_id == patient_id) else {
        return Ok(None);
    };
    let Some(groups) = RiskGroups::split(Level::Patient, predictions)? else { return Ok(None) };
    let side = if subject.risk >= groups.threshold { Side::High } else { Side::Low };
    let marked = kaplan_meier::Marked { side, outcome: subject.outcome };
    let name = "kaplan-meier-patient";
    Ok(Some(Figure { name, svg: kaplan_meier::draw_marking(name, &groups, Some(marked)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use survival_metrics::Outcome;

    #[test]
    fn the_patient_is_on_the_curve_of_their_group() {
        let rows: Vec<PredictionRow> = (0..6_u8)
            .map(|at| PredictionRow {
                case_id: format!("p{at}"),
                slide_id: format!("s{at}"),
                patient_id: format!("p{at}"),
                fold: 0,
                outcome: Outcome::event(f64::from(at) + 1.0).expect("a valid time"),
                risk: -f64::from(at),
                survival: Vec::new(),
            })
            .collect();
        let svg = |patient| patient_in_cohort(&rows, patient).expect("valid").map(|figure| figure.svg);
        let worst = svg("p0").expect("is there");
        assert!(worst.contains("Marked patient: high risk, event at 1.0 months."), "{worst}");
        assert!(svg("p5").expect("is there").contains("low risk, event at 6.0 months"));
        assert_eq!(svg("p9"), None);
    }
}
