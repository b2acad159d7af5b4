//! One patient among the others: on the Kaplan-Meier curve of the risk group that the model puts them in.

use super::{Figure, kaplan_meier};
use crate::error::Result;
use crate::patients::patients;
use crate::report::PredictionRow;
use crate::risk_cut::RiskCut;
use crate::risk_groups::{Level, RiskGroups};

/// Draws the curves of the patients at high and at low risk, with one patient marked at their time and on the curve of their group.
/// `None` if no prediction is of that patient.
///
/// # Errors
/// If the slides of a patient have different outcomes, a fold has no finite cut, or a curve cannot be estimated.
pub fn patient_in_cohort(
    predictions: &[PredictionRow],
    cut: &RiskCut,
    patient_id: &str,
) -> Result<Option<Figure>> {
    let subjects = patients(predictions)?;
    let Some(groups) = RiskGroups::split(Level::Patient, predictions, cut)? else { return Ok(None) };
    let mut members = subjects.iter().zip(&groups.sides);
    let Some((subject, &side)) = members.find(|(subject, _)| subject.patient_id == patient_id) else {
        return Ok(None);
    };
    let marked = kaplan_meier::Marked { side, outcome: subject.outcome };
    let name = "kaplan-meier-patient";
    Ok(Some(Figure { name, svg: kaplan_meier::draw_marking(name, &groups, Some(marked)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk_cut::TrainingCut;
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
        let svg_at = |cut: &RiskCut, patient: &str| {
            patient_in_cohort(&rows, cut, patient).expect("valid").map(|figure| figure.svg)
        };
        let svg = |patient| svg_at(&RiskCut::PooledMedian, patient);
        let worst = svg("p0").expect("is there");
        assert!(worst.contains("Marked patient: high risk, event at 1.0 months."), "{worst}");
        assert!(svg("p5").expect("is there").contains("low risk, event at 6.0 months"));
        assert_eq!(svg("p9"), None);
        // The median of these patients has a part in the one cut and none in the other.
        let cut = RiskCut::Training(vec![TrainingCut { fold: 0, slides: 0.0, patients: -4.5 }]);
        let fourth = svg_at(&cut, "p4").expect("is there");
        assert!(fourth.contains("Marked patient: high risk, event at 5.0 months."), "{fourth}");
        assert!(svg("p4").expect("is there").contains("low risk, event at 5.0 months"));
    }
}
