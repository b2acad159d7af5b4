//! Why a report, a figure or a picture could not be made.

/// Short for a result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a report, a figure or a picture could not be made.
///
/// Results that are undefined (one risk group is empty, a fold has no event) are not errors: the report says
/// so in a sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A prediction is not a number.
    #[error("risk of slide {slide_id} is {risk}, expected a finite number")]
    NonFiniteRisk {
        /// Slide of the prediction.
        slide_id: String,
        /// The value found.
        risk: f64,
    },
    /// A fold with predictions has no cut between high and low risk.
    #[error(
        "fold {fold} has {}, expected the median risk of its training part",
        found.map_or_else(|| "no cut between high and low risk".to_owned(), |cut| format!("the cut {cut} between high and low risk"))
    )]
    NoCut {
        /// The fold.
        fold: usize,
        /// What stands in its place, which is not finite.
        found: Option<f64>,
    },
    /// Two slides of one patient disagree about event time or status.
    #[error("slides {first_slide_id} and {second_slide_id} of patient {patient_id} have different outcomes")]
    ConflictingOutcomes {
        /// Patient of both slides.
        patient_id: String,
        /// First slide, in the order of the predictions.
        first_slide_id: String,
        /// First slide that disagrees with it.
        second_slide_id: String,
    },
    /// A prediction has another number of survival values than its fold has time bins.
    #[error(
        "slide {slide_id} has {found} survival probabilities, expected {expected}, one per time bin of fold {fold}"
    )]
    SurvivalBins {
        /// Slide of the prediction.
        slide_id: String,
        /// Its fold.
        fold: usize,
        /// Values of the prediction.
        found: usize,
        /// Time bins of the fold; 0 for a fold that is not reported.
        expected: usize,
    },
    /// A summary does not have one C-index per fold report.
    #[error("`{field}` has {found} folds, expected {expected}, one per fold report")]
    FoldCount {
        /// Field of the report.
        field: &'static str,
        /// Folds in that field.
        found: usize,
        /// Fold reports.
        expected: usize,
    },
    /// A survival statistic could not be computed, for another reason than those that the report puts into words.
    #[error("survival statistics of the pooled predictions could not be computed")]
    Statistics(#[from] survival_metrics::Error),
    /// A figure cannot show what it was given.
    #[error("figure `{figure}`: {reason}")]
    Figure {
        /// File stem of the figure.
        figure: &'static str,
        /// What is wrong with its data.
        reason: String,
    },
    /// The page template could not be filled.
    #[error("page template could not be filled")]
    Template(#[source] askama::Error),
    /// The text given as a figure is not SVG.
    #[cfg(feature = "png")]
    #[error("figure is not valid SVG")]
    Svg(#[source] resvg::usvg::Error),
    /// The picture would have no pixel, or more than memory can address.
    #[cfg(feature = "png")]
    #[error("figure of {width} x {height} at scale {scale} does not make a picture")]
    PictureSize {
        /// Width of the figure, user units.
        width: f32,
        /// Height of the figure, user units.
        height: f32,
        /// Pixels per user unit that were asked for.
        scale: f32,
    },
    /// The pixels could not be encoded.
    #[cfg(feature = "png")]
    #[error("picture could not be encoded as PNG")]
    Png(#[source] Box<dyn std::error::Error + Send + Sync>),
}
