//! The rows of a fold's files.

use cf_model::{Head, HeadOutput, N_BINS};

use crate::error::Result;
use crate::evaluate::Prediction;
use crate::fold_data::LabelledSlide;

/// The row of one slide with the given model output.
pub(crate) fn prediction(labelled: &LabelledSlide, fold: usize, output: &HeadOutput) -> Result<Prediction> {
    let [s1, s2, s3, s4] = match output.head {
        // What training selects by is the risk; the curve is known when it ends, before any row is written.
        Head::LogRisk { baseline: None } => [f64::NAN; N_BINS],
        Head::Hazards | Head::LogRisk { .. } | Head::TimeMixture { .. } => output.distribution()?.survival,
    };
    Ok(Prediction {
        case_id: labelled.slide.case_id.clone(),
        slide_id: labelled.slide.slide_id.clone(),
        fold,
        event_time_months: labelled.slide.outcome.time(),
        status: labelled.status().into(),
        risk: output.risk()?,
        s1,
        s2,
        s3,
        s4,
    })
}

/// A row of `order.csv`.
#[derive(serde::Serialize)]
pub(crate) struct OrderRow<'a> {
    pub(crate) epoch: usize,
    pub(crate) position: usize,
    pub(crate) slide_id: &'a str,
}

/// A row of `train.csv`.
#[derive(serde::Serialize)]
pub(crate) struct TrainRow<'a> {
    slide_id: &'a str,
    event_time_months: f64,
    status: crate::evaluate::StatusName,
    time_bin: usize,
}

impl<'a> From<&'a LabelledSlide> for TrainRow<'a> {
    fn from(labelled: &'a LabelledSlide) -> Self {
        Self {
            slide_id: &labelled.slide.slide_id,
            event_time_months: labelled.slide.outcome.time(),
            status: labelled.status().into(),
            time_bin: labelled.bin,
        }
    }
}
