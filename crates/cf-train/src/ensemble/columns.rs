//! What models say of slides, or of patients, as columns of a table.

use super::scoring::Scores;
use crate::evaluate::patient_means;

/// A column for the risk by each model, one for the risk, and one for survival at each time that was asked for.
pub(crate) struct Columns {
    /// Folds of the models.
    folds: Vec<usize>,
    months: Vec<f64>,
    by_model: Vec<Vec<f64>>,
    risk: Vec<f64>,
    survival: Vec<Vec<f64>>,
}

impl Columns {
    /// Of slides; survival is asked for at `months`, which [`Ensemble::check_months`](super::Ensemble::check_months) let pass.
    pub(crate) fn of_slides(scores: &Scores, months: &[f64]) -> Self {
        let n_slides = scores.averaged.len();
        let survival_at =
            |month: &f64| (0..n_slides).flat_map(|slide| scores.survival_at(slide, &[*month])).collect();
        Self {
            folds: scores.folds.clone(),
            months: months.to_vec(),
            by_model: scores.by_model.clone(),
            risk: scores.averaged.clone(),
            survival: months.iter().map(survival_at).collect(),
        }
    }

    /// The means over the slides of each patient, patients sorted; `patients` says whose each slide is.
    pub(crate) fn of_patients(&self, patients: &[String]) -> Self {
        let means = |column: &Vec<f64>| patient_means(patients, column).into_values().collect();
        Self {
            folds: self.folds.clone(),
            months: self.months.clone(),
            by_model: self.by_model.iter().map(means).collect(),
            risk: means(&self.risk),
            survival: self.survival.iter().map(means).collect(),
        }
    }

    /// Mean over the models, of each row.
    pub(crate) fn risk(&self) -> &[f64] {
        &self.risk
    }

    /// When survival was asked for.
    pub(crate) fn months(&self) -> &[f64] {
        &self.months
    }

    /// Names of what [`Columns::risks_of`] gives.
    pub(crate) fn risk_names(&self) -> impl Iterator<Item = String> {
        self.folds.iter().map(|fold| format!("risk_fold_{fold}")).chain(["risk".to_owned()])
    }

    /// Names of what [`Columns::survival_of`] gives.
    pub(crate) fn survival_names(&self) -> impl Iterator<Item = String> {
        self.months.iter().map(|month| format!("survival_{month}_months"))
    }

    /// The risks of a row, by each model and averaged.
    pub(crate) fn risks_of(&self, row: usize) -> Vec<f64> {
        self.by_model.iter().chain([&self.risk]).filter_map(|column| column.get(row).copied()).collect()
    }

    /// Survival of a row at each time.
    pub(crate) fn survival_of(&self, row: usize) -> Vec<f64> {
        self.survival.iter().filter_map(|column| column.get(row).copied()).collect()
    }
}
