//! Writes what a training run needs beside the bags: clinical table, splits, `config.toml`.

use std::fs;
use std::path::Path;

use super::Error;
use super::options::{CohortForm, CohortKind, OutcomeSource};
use super::roster::{Roster, split_files};

/// Name of the encoder under which simulated features are stored.
pub(super) const ENCODER: &str = "simulated";
/// Name of the encoder that needs no weights, for slides that are drawn.
const SLIDE_ENCODER: &str = "stain-texture";

/// Writes `clinical.csv` and `splits/`, drawn or copied byte for byte.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn write_tables(dir: &Path, outcomes: &OutcomeSource, roster: &Roster) -> Result<(), Error> {
    let clinical_out = dir.join("clinical.csv");
    let splits_out = dir.join("splits");
    fs::create_dir(&splits_out).map_err(Error::io("create", &splits_out))?;
    match outcomes {
        OutcomeSource::Drawn => {
            write_clinical(&clinical_out, roster)?;
            for (fold, validated) in roster.validation.iter().enumerate() {
                write_split(&splits_out.join(format!("splits_{fold}.csv")), roster, validated)?;
            }
        }
        OutcomeSource::Table { clinical, splits } => {
            fs::copy(clinical, &clinical_out).map_err(Error::io("copy", clinical))?;
            for (fold, path) in split_files(splits)?.iter().enumerate() {
                fs::copy(path, splits_out.join(format!("splits_{fold}.csv")))
                    .map_err(Error::io("copy", path))?;
            }
        }
    }
    Ok(())
}

/// The released form: 1 = censored, time in months.
fn write_clinical(path: &Path, roster: &Roster) -> Result<(), Error> {
    let mut text = String::from("case_id,slide_id,survival_months,censorship\n");
    for slide in &roster.slides {
        let outcome = roster.patients[slide.patient].outcome;
        let censorship = u8::from(!outcome.is_event());
        text += &format!("{},{},{},{censorship}\n", slide.case_id, slide.slide_id, outcome.time());
    }
    fs::write(path, text).map_err(Error::io("write", path))
}

/// The released form: an index without a name, then the two columns of case ids, the shorter one blank at
/// its end.
fn write_split(path: &Path, roster: &Roster, validated: &[usize]) -> Result<(), Error> {
    // `validated` is sorted, and a drawn cohort has one slide per case.
    let (val, train): (Vec<usize>, Vec<usize>) =
        (0..roster.slides.len()).partition(|slide| validated.binary_search(slide).is_ok());
    let mut text = String::from(",train,val\n");
    for row in 0..train.len().max(val.len()) {
        let case = |side: &[usize]| side.get(row).map_or("", |slide| roster.slides[*slide].case_id.as_str());
        text += &format!("{row},{},{}\n", case(&train), case(&val));
    }
    fs::write(path, text).map_err(Error::io("write", path))
}

/// Writes `config.toml`: the settings under which the published model was seen to learn these cohorts. Drawn slides want a
/// smaller learning rate: features of `stain-texture` have larger steps, and at 3e-3 training may fall back to its start.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write_config(dir: &Path, kind: CohortKind, form: CohortForm) -> Result<(), Error> {
    let path = dir.join("config.toml");
    let (encoder, learning_rate) = match form {
        CohortForm::Bags => (ENCODER, "3e-3"),
        CohortForm::Slides => (SLIDE_ENCODER, "1e-3"),
    };
    let text = format!(
        r#"# Cross-validation of CrossFusion on this simulated cohort; the truth is in truth.json.

[cohort]
name = "simulated-{kind}"
clinical = "clinical.csv"
preset = "mcat" # case_id, slide_id, survival_months, censorship (1 = censored)
splits = "splits"

[features]
dir = "bags"
layout = "native"
backbone = "{encoder}"

[model]
name = "crossfusion"
embed_dim = 32
num_heads = 4
num_layers = 1
mlp_ratio = 2.0
dropout = 0.3
attention_dropout = 0.0
residual = "released"

[training]
protocol = "sound"
max_epochs = 16
learning_rate = {learning_rate}
weight_decay = 4e-6
accumulation = 16
alpha = 0.2
seed = 7
"#,
        kind = kind.name(),
    );
    fs::write(&path, text).map_err(Error::io("write", &path))
}
