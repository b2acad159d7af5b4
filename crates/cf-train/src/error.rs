//! What can go wrong in a run, and which of it a retry can mend.

use std::path::{Path, PathBuf};

use cf_model::kernels::device::{self, DeviceName};

use crate::byte_size::ByteSize;
use crate::memory::BagSize;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that can't be used.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Place, what was found and what was wanted.
        reason: String,
    },
    /// A table, fold file or bag that contradicts itself or the others.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file or directory.
        path: PathBuf,
        /// Place, what was found and what was wanted.
        reason: String,
    },
    /// A file operation that the system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A signal asked the run to stop; its state is saved.
    #[error("interrupted in fold {fold}, epoch {epoch}; the state is saved in {}", path.display())]
    Interrupted {
        /// Fold in progress.
        fold: usize,
        /// Epoch in progress, from 1.
        epoch: usize,
        /// The run directory.
        path: PathBuf,
    },
    /// A fold that another process trains.
    #[error("{}: {reason}", claim.display())]
    FoldElsewhere {
        /// The file by which that process holds it.
        claim: PathBuf,
        /// Which fold, by whom, and the way out.
        reason: String,
    },
    /// A bag whose training step takes more memory than the run may use.
    #[error(
        "slide {slide_id} has {}, whose training step takes {}; {}",
        seen_in_words(*n_patches, *n_seen), ByteSize(*needed_bytes), budget_in_words(*needed_bytes, *budget_bytes, *n_fitting)
    )]
    DoesNotFit {
        /// The slide.
        slide_id: String,
        /// Its patches over all magnifications that the model reads.
        n_patches: usize,
        /// Those that a step sees: with `training.max_patches`, about.
        n_seen: usize,
        /// The least that its step takes.
        needed_bytes: u64,
        /// What the run may use.
        budget_bytes: u64,
        /// Patches of a bag of such proportions that would fit.
        n_fitting: usize,
        /// The `training.max_patches` with which all bags would fit, if one does.
        fitting_max_patches: Option<usize>,
    },
    /// A bag whose evaluation, which sees all of its patches, takes more memory than the run may use.
    #[error(
        "slide {slide_id} has {n_patches} patches, all of which evaluation sees, and it takes {}; the memory budget is {}",
        ByteSize(*needed_bytes), ByteSize(*budget_bytes)
    )]
    EvaluationDoesNotFit {
        /// The slide.
        slide_id: String,
        /// Its patches over all magnifications that the model reads.
        n_patches: usize,
        /// What the evaluation takes.
        needed_bytes: u64,
        /// What the run may use.
        budget_bytes: u64,
    },
    /// A bag whose pass by trained models takes more memory than they may use.
    #[error(
        "slide {slide_id} has {n_patches} patches, a pass over which by {n_models} models takes {}; the memory budget is {}",
        ByteSize(*needed_bytes), ByteSize(*budget_bytes)
    )]
    PassesDoNotFit {
        /// The slide.
        slide_id: String,
        /// Its patches over all magnifications that the models read.
        n_patches: usize,
        /// Models that are in memory together.
        n_models: usize,
        /// What the pass takes.
        needed_bytes: u64,
        /// What it may take.
        budget_bytes: u64,
    },
    /// A signal asked to stop while trained models were applied to slides.
    #[error("interrupted after {n_done} of {n_slides} slides; nothing was written")]
    ScoringInterrupted {
        /// Slides that were scored.
        n_done: usize,
        /// Of how many.
        n_slides: usize,
    },
    /// A precision that a GPU does not compute in.
    #[error("training.precision is f64, which is computed on the CPU only, expected f32 or bf16 on {device}")]
    PrecisionOfCpu {
        /// What it was to be computed on.
        device: DeviceName,
    },
    /// A bag whose pass filled the memory of the device.
    #[error(
        "slide {slide_id} has {} + {} + {} patches at 5x, 10x and 20x, a pass over which takes more than the {} that are free of \
         the device's {}",
        n_patches.x5, n_patches.x10, n_patches.x20, ByteSize(*free_bytes), ByteSize(*total_bytes)
    )]
    DeviceFull {
        /// The slide.
        slide_id: String,
        /// Its patches.
        n_patches: BagSize,
        /// What the pass could have had.
        free_bytes: u64,
        /// All memory of the device.
        total_bytes: u64,
    },
    /// A number that left its range in training.
    #[error(
        "fold {fold}, epoch {epoch}, slide {slide_id}: {reason}; lower training.learning_rate, or leave the slide out if its \
         features are far larger than those of others"
    )]
    Diverged {
        /// Fold in progress.
        fold: usize,
        /// Epoch in progress, from 1.
        epoch: usize,
        /// The slide whose pass it was.
        slide_id: String,
        /// What happened.
        reason: String,
    },
    /// A parameter that left its range in training.
    #[error(
        "fold {fold}, epoch {epoch}: parameter `{name}` or the mean of its squared gradients is NaN or infinite after the epoch; \
         lower training.learning_rate, or leave slides out whose features are far larger than those of others"
    )]
    DivergedParameter {
        /// Fold in progress.
        fold: usize,
        /// Epoch in progress, from 1.
        epoch: usize,
        /// The parameter.
        name: String,
    },
    /// A parameter that training would silently leave as it is.
    #[error("no gradient reaches parameter `{name}`: its graph is cut")]
    NoGradient {
        /// The parameter.
        name: String,
    },
    /// A bag that can't be read.
    #[error("slide {slide_id}: {source}")]
    Bag {
        /// The slide.
        slide_id: String,
        /// Why not; its text names the file.
        source: wsi_bags::Error,
    },
    /// A bag that lacks something beside features.
    #[error("{fault}; {way_out}")]
    BagLacks {
        /// Which bag, what it lacks, and who needs it.
        fault: Box<cf_model::Error>,
        /// What would give it that.
        way_out: String,
    },
    /// A directory of bags that can't be opened.
    #[error(transparent)]
    BagStore(wsi_bags::Error),
    /// A model or checkpoint that can't be built or read.
    #[error(transparent)]
    Model(#[from] cf_model::Error),
    /// A tensor operation that failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A statistic of unusable numbers.
    #[error(transparent)]
    Metrics(#[from] survival_metrics::Error),
    /// A report that can't be drawn.
    #[error(transparent)]
    Report(#[from] cf_report::Error),
    /// A cohort that can't be simulated.
    #[error(transparent)]
    Simulate(#[from] crate::simulate::Error),
    /// Runs of a study that cannot start.
    #[error("{}: the study cannot run:\n  {}", path.display(), faults.join("\n  "))]
    Study {
        /// The study's file.
        path: PathBuf,
        /// Each: which runs, what was found and what was wanted.
        faults: Vec<String>,
    },
    /// A task of a study that stopped.
    #[error("task {id}")]
    Task {
        /// The task.
        id: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Tasks of a study that failed while the others went on.
    #[error("{n_failed} of {n_tasks} tasks failed, such as: {}", one.with_causes())]
    FailedTasks {
        /// How many.
        n_failed: usize,
        /// Of how many that were asked for.
        n_tasks: usize,
        /// The first temporary failure, or else the first, an [`Error::Task`].
        one: Box<Error>,
    },
    /// Tasks of a study that other processes are at.
    #[error(
        "{n_elsewhere} of {n_tasks} tasks are not finished: other processes are at them, such as {first}"
    )]
    TasksElsewhere {
        /// How many.
        n_elsewhere: usize,
        /// Of how many that were asked for.
        n_tasks: usize,
        /// The first, and who is at it.
        first: String,
    },
    /// A study that was to be complete and is not.
    #[error("{}: {n_missing} tasks are missing, such as {first}", path.display())]
    Incomplete {
        /// The study's directory.
        path: PathBuf,
        /// How many.
        n_missing: usize,
        /// The first, and how it stands.
        first: String,
    },
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Mend the data or the configuration; a retry fails again.
    FixInput,
    /// Try again: interrupted, or the disk is full.
    Retry,
    /// Give the run more memory, or a smaller bag or model.
    LessMemory,
    /// Neither: a fault of the program or of the machine.
    Unknown,
}

impl Error {
    /// What a caller can do about this error.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Interrupted { .. }
            | Self::ScoringInterrupted { .. }
            | Self::FoldElsewhere { .. }
            | Self::TasksElsewhere { .. }
            | Self::Incomplete { .. } => Remedy::Retry,
            Self::DoesNotFit { .. }
            | Self::EvaluationDoesNotFit { .. }
            | Self::PassesDoNotFit { .. }
            | Self::DeviceFull { .. } => Remedy::LessMemory,
            error if error.is_full_device() => Remedy::LessMemory,
            error if cf_cli::is_temporary(error) => Remedy::Retry,
            Self::Io { source, .. } | Self::Simulate(crate::simulate::Error::Io { source, .. }) => {
                io_remedy(source)
            }
            Self::Simulate(crate::simulate::Error::Table(source)) => source.remedy(),
            Self::Model(cf_model::Error::Tensor(_)) => Remedy::Unknown,
            Self::Config { .. }
            | Self::Data { .. }
            | Self::Bag { .. }
            | Self::BagLacks { .. }
            | Self::BagStore(_)
            | Self::Model(_)
            | Self::Metrics(_)
            | Self::Simulate(_)
            | Self::PrecisionOfCpu { .. }
            | Self::Diverged { .. }
            | Self::DivergedParameter { .. }
            | Self::Study { .. } => Remedy::FixInput,
            Self::Task { source, .. } => source.remedy(),
            Self::FailedTasks { one, .. } => one.remedy(),
            Self::NoGradient { .. } | Self::Tensor(_) | Self::Report(_) => Remedy::Unknown,
        }
    }

    /// Whether an operation found the memory of the device full.
    pub(crate) fn is_full_device(&self) -> bool {
        match self {
            Self::Tensor(error) | Self::Model(cf_model::Error::Tensor(error)) => {
                device::is_out_of_memory(error)
            }
            _ => false,
        }
    }

    /// The error and its causes on one line, but for causes that are told already.
    #[must_use]
    pub fn with_causes(&self) -> String {
        cf_cli::with_causes(self)
    }

    pub(crate) fn data(path: &Path, reason: impl Into<String>) -> Self {
        Self::Data { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// `90 patches`, or how many of them a step sees.
fn seen_in_words(n_patches: usize, n_seen: usize) -> String {
    if n_seen == n_patches {
        format!("{n_patches} patches")
    } else {
        format!("{n_patches} patches, of which training sees about {n_seen} at a time")
    }
}

/// The memory budget that a step exceeds, and what would fit into it.
fn budget_in_words(needed_bytes: u64, budget_bytes: u64, n_fitting: usize) -> String {
    let (needed, budget) = (ByteSize(needed_bytes), ByteSize(budget_bytes));
    let fitting = fitting_in_words(n_fitting);
    if needed.to_string() == budget.to_string() {
        format!(
            "the memory budget is {} KiB less, {fitting}",
            (needed_bytes - budget_bytes).div_ceil(1 << 10)
        )
    } else {
        format!("the memory budget is {budget}, {fitting}")
    }
}

/// How many patches of a bag fit into a memory.
pub(crate) fn fitting_in_words(n_fitting: usize) -> String {
    match n_fitting {
        0 => "which is less than the model takes with any bag".to_owned(),
        n => format!("in which about {n} patches fit"),
    }
}

fn io_remedy(source: &std::io::Error) -> Remedy {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::InvalidData => Remedy::FixInput,
        _ => Remedy::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_device_is_told_with_the_bag_and_asks_for_less_memory() {
        let n_patches = BagSize { x5: 9_000, x10: 35_000, x20: 137_990 };
        let slide_id = "slide-1".to_owned();
        let error = Error::DeviceFull { slide_id, n_patches, free_bytes: 40 << 30, total_bytes: 80 << 30 };
        let text = error.to_string();
        for part in ["slide-1", "9000 + 35000 + 137990", "40", "80"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert_eq!(error.remedy(), Remedy::LessMemory);
        let other = Error::Tensor(candle_core::Error::Msg("out of memory".to_owned()));
        assert_eq!(other.remedy(), Remedy::Unknown);
        assert_eq!(Error::PrecisionOfCpu { device: DeviceName::Cuda(0) }.remedy(), Remedy::FixInput);
    }

    #[test]
    fn a_budget_that_is_missed_by_little_or_holds_nothing_is_told_so() {
        let text = |needed_bytes, budget_bytes, n_fitting| {
            let slide_id = "slide-1".to_owned();
            let n_patches = 90;
            let fitting_max_patches = None;
            Error::DoesNotFit {
                slide_id,
                n_patches,
                n_seen: n_patches,
                needed_bytes,
                budget_bytes,
                n_fitting,
                fitting_max_patches,
            }
            .to_string()
        };
        assert_eq!(super::seen_in_words(90, 1), "90 patches, of which training sees about 1 at a time");
        let few = text(64 << 20, 32 << 20, 40);
        assert!(
            few.ends_with("takes 64 MiB; the memory budget is 32 MiB, in which about 40 patches fit"),
            "{few}"
        );
        let none = text((64 << 20) + 2000, 64 << 20, 0);
        let expected =
            "takes 64 MiB; the memory budget is 2 KiB less, which is less than the model takes with any bag";
        assert!(none.ends_with(expected), "{none}");
    }

    #[test]
    fn the_same_fault_asks_for_the_same_wherever_it_is_met() {
        let refused = |kind: std::io::ErrorKind| {
            wsi_bags::Error::from(wsi_bags::ErrorKind::Io { action: "read the file", source: kind.into() })
        };
        let errors = |kind| {
            [
                Error::Bag { slide_id: "slide-1".to_owned(), source: refused(kind) },
                Error::BagStore(refused(kind)),
                Error::Model(refused(kind).into()),
                Error::io("read", Path::new("slide-1.h5"))(kind.into()),
            ]
        };
        use std::io::ErrorKind::{Interrupted, PermissionDenied, StorageFull, TimedOut};
        for (kind, remedy) in [
            (TimedOut, Remedy::Retry),
            (Interrupted, Remedy::Retry),
            (StorageFull, Remedy::Retry),
            (PermissionDenied, Remedy::FixInput),
        ] {
            for error in errors(kind) {
                assert_eq!(error.remedy(), remedy, "{error:?}");
            }
        }
        let shapes = || candle_core::Error::Msg("shape mismatch".to_owned());
        assert_eq!(Error::Model(shapes().into()).remedy(), Error::Tensor(shapes()).remedy());
        assert_eq!(Error::Model(shapes().into()).remedy(), Remedy::Unknown);
    }
}
