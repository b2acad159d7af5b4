//! What a report says of the protocol: how epochs were selected, what was fitted on what, how intervals were made.

use cf_report::FoldReport;

use crate::config::{InnerValidation, RunConfig};
use crate::evaluate::Summary;
use crate::fold_state::HistoryRow;
use crate::protocol::{Protocol, UNSELECTABLE_EPOCHS};
use crate::visit::{counts_in_words, rule};

/// The epoch that the protocol selects from a history, told again from `history.csv`; `None` where no epoch that it may select has
/// a score, so that the trainer took the last.
pub(super) fn chosen_epoch(history: &[HistoryRow], protocol: Protocol) -> Option<usize> {
    let score = |row: &HistoryRow| match protocol {
        Protocol::Paper => row.validation_c_index.filter(|_| row.epoch > UNSELECTABLE_EPOCHS),
        Protocol::Sound => row.inner_c_index,
    };
    let mut best: Option<(usize, f64)> = None;
    for row in history {
        if let Some(c_index) = score(row)
            && best.is_none_or(|(_, best)| c_index > best)
        {
            best = Some((row.epoch, c_index));
        }
    }
    best.map(|(epoch, _)| epoch)
}

/// What a reader has to know of the protocol of a run. In the folds `unchosen` no epoch had a score to be chosen by; `drawn`: of how
/// many of its training slides each fold saw a part at a time.
pub(super) fn notes(
    config: &RunConfig,
    summary: &Summary,
    folds: &[FoldReport],
    (unchosen, drawn): (&[usize], &[(usize, usize)]),
) -> Vec<String> {
    let training = &config.training;
    let mut notes = Vec::new();
    let first = UNSELECTABLE_EPOCHS + 1;
    let is_chosen = unchosen.len() < folds.len();
    match training.protocol {
        Protocol::Paper => {
            let has_ended_before = folds.iter().all(|fold| fold.history.len() < first);
            notes.push(if has_ended_before {
                format!(
                    "The run ended before epoch {first}, the first that this protocol may select, so the last epoch is selected."
                )
            } else if is_chosen {
                format!(
                    "The epoch with the best C-index on the validation fold itself is selected, from epoch {first} on; that \
                     C-index is optimistic. The last epoch stands beside it."
                )
            } else {
                "No validation fold has a C-index to select an epoch by, so the last epoch is selected.".to_owned()
            });
            notes.push(
                "Time bins are quartiles of the uncensored slides of the whole table, validation slides included."
                    .to_owned(),
            );
            notes.push(
                "Epochs are scored per slide; a patient with several slides counts several times.".to_owned(),
            );
        }
        Protocol::Sound => {
            notes.push(sound_selection(training.inner_validation, is_chosen));
            notes.push("Time bins are quartiles of the uncensored slides that were trained on.".to_owned());
            notes.push("Epochs are scored per patient, by the mean risk of the patient's slides.".to_owned());
            notes.push(
                "Risk groups are cut at the median risk of each fold's own training part, so that no cut is fitted on those \
                 tested."
                    .to_owned(),
            );
        }
    }
    if is_chosen && !unchosen.is_empty() {
        notes.push(format!(
            "In {} no epoch has a C-index to be selected by, so the last one is selected there.",
            listed(unchosen)
        ));
    }
    notes.extend(training.max_patches.map(|max_patches| format!("{}.", patch_draws(max_patches, drawn))));
    let substitutes = summary.substitutes.iter();
    notes.extend(substitutes.map(|row| format!("In place of what bags lack: {}.", row.text())));
    let resampled = match summary.validated_twice() {
        None => "patients resampled within each fold",
        Some(validated_twice) => {
            notes.push(format!(
                "{validated_twice}, as the splits say. What is said of a fold is of all patients whom it validates; risk groups and \
                 calibration count every patient once, with the mean of what the models of these folds predict."
            ));
            "each patient resampled once for all folds that validate them"
        }
    };
    notes.push(format!("95 % intervals of a mean C-index: percentile bootstrap, {resampled}."));
    if config.model.random_at_eval() {
        notes.push(
            "Attention dropout is active in evaluation, as in the released code: the scores are random, drawn from a \
             seeded stream."
                .to_owned(),
        );
    }
    notes
}

/// How the epoch is selected by the protocol `sound`; `is_chosen` where any fold had an epoch to choose.
fn sound_selection(inner: InnerValidation, is_chosen: bool) -> String {
    let on = match inner {
        InnerValidation::Share(0.0) => {
            return "The last epoch is selected: nothing is selected on the validation fold.".to_owned();
        }
        InnerValidation::Share(share) => {
            format!("on {:.0} % of the training patients, held out of training", 100.0 * share)
        }
        InnerValidation::Val => {
            "on the part val of each fold, which is neither trained on nor reported; the part test, on which nothing is selected, is the \
             validation fold that is reported"
                .to_owned()
        }
    };
    if is_chosen {
        return format!("The epoch is selected {on}.");
    }
    let these = match inner {
        InnerValidation::Share(_) => "have these",
        InnerValidation::Val => "has val",
    };
    format!("The epoch was to be selected {on}; in no fold {these} a C-index, so the last epoch is selected.")
}

/// The rule of `training.max_patches` and how many training slides of a fold it touches.
fn patch_draws(max_patches: usize, drawn: &[(usize, usize)]) -> String {
    let rule = rule(max_patches);
    let (first, rest) = rule.split_at(1);
    let counts = if drawn.is_empty() {
        String::new()
    } else {
        format!(". Of a fold's training slides {} have more", counts_in_words(drawn))
    };
    format!("{}{rest}{counts}", first.to_uppercase())
}

/// `fold 2`, `folds 0 and 2`, `folds 0, 1 and 2`.
fn listed(folds: &[usize]) -> String {
    let names: Vec<String> = folds.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("folds {} and {last}", first.join(", ")),
        names => format!("fold {}", names.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_without_a_score_is_not_chosen() {
        let row = |epoch: usize, score: Option<f64>| HistoryRow {
            epoch,
            learning_rate: Some(1e-4),
            train_loss: None,
            validation_loss: 1.0,
            validation_c_index: score,
            inner_c_index: score,
            seconds: 1.0,
        };
        let history: Vec<HistoryRow> = (1..=8).map(|epoch| row(epoch, Some(0.5))).collect();
        assert_eq!(chosen_epoch(&history, Protocol::Paper), Some(6));
        assert_eq!(chosen_epoch(&history, Protocol::Sound), Some(1));
        let history: Vec<HistoryRow> = (1..=8).map(|epoch| row(epoch, None)).collect();
        assert_eq!(chosen_epoch(&history, Protocol::Paper), None);
        assert_eq!(chosen_epoch(&history, Protocol::Sound), None);
        assert_eq!(
            [&[2][..], &[0, 2], &[0, 1, 2]].map(listed),
            ["fold 2", "folds 0 and 2", "folds 0, 1 and 2"]
        );
    }
}
