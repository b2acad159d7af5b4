//! What a run tells its observer, such as a progress bar.

/// What a run reports while it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// What the training step that takes most memory is predicted to take; told before the first.
    Memory {
        /// Patches of its bag.
        n_patches: usize,
        /// All that the program takes then.
        predicted_bytes: u64,
        /// What it may take, where that is known.
        budget_bytes: Option<u64>,
    },
    /// What the pass of trained models that takes most memory is predicted to take; told before the first.
    Passes {
        /// Patches of its bag.
        n_patches: usize,
        /// Models in memory.
        n_models: usize,
        /// All that the program takes then.
        predicted_bytes: u64,
        /// What it may take, where that is known.
        budget_bytes: Option<u64>,
    },
    /// `training.max_patches` leaves patches out of training visits; told before the first.
    Drawn {
        /// Patches of any magnification that a visit sees, at most.
        max_patches: usize,
        /// Training slides with more.
        n_drawn: usize,
        /// Training slides in all.
        n_slides: usize,
    },
    /// What the evaluation that takes most memory is predicted to take, where training steps see less; told before the first.
    Evaluation {
        /// Patches of its bag.
        n_patches: usize,
        /// All that the program takes then.
        predicted_bytes: u64,
        /// What it may take, where that is known.
        budget_bytes: Option<u64>,
    },
    /// Slides went through trained models.
    Scored {
        /// How many.
        n_done: usize,
        /// Of how many.
        n_slides: usize,
    },
    /// Which bags stay on a GPU from epoch to epoch; told before the first.
    Resident {
        /// How many.
        n_resident: usize,
        /// Of how many that the run reads.
        n_bags: usize,
        /// What they take of its memory.
        bytes: u64,
    },
    /// An epoch begins or goes on.
    Epoch {
        /// Fold in progress.
        fold: usize,
        /// From 1.
        epoch: usize,
        /// Epochs at most.
        n_epochs: usize,
        /// Bags to train on.
        n_bags: usize,
    },
    /// A bag was trained on.
    Bag {
        /// Bags of the epoch that are done.
        n_done: usize,
        /// Mean loss of the epoch so far; `None` while there is none, as before the first group of a Cox loss.
        mean_loss: Option<f64>,
    },
    /// An epoch was evaluated.
    EpochDone {
        /// Mean training loss; `None` where no group of a Cox loss was filled.
        train_loss: Option<f64>,
        /// C-index of the validation fold.
        validation_c_index: Option<f64>,
    },
}
