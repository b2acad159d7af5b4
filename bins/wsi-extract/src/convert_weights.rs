//! `wsi-extract convert-weights`: published weights as safetensors.

use patch_encoders::Converted;
use serde::Serialize;

use crate::args::ConvertWeightsArguments;
use crate::error::CliError;
use crate::output::{print, print_json};

#[derive(Serialize)]
struct Report {
    tensors: usize,
    /// Tensors of integers, which no encoder uses.
    left_out: Vec<String>,
    /// The activation that the file states, of QuiltNet.
    hidden_act: Option<String>,
    warnings: Vec<String>,
    out: String,
}

pub(crate) fn run(arguments: &ConvertWeightsArguments) -> Result<(), CliError> {
    let Converted { n_tensors, left_out, hidden_act, warnings, .. } =
        patch_encoders::convert_weights(&arguments.input, &arguments.output)?;
    let out = arguments.output.display().to_string();
    let report = Report { tensors: n_tensors, left_out, hidden_act, warnings, out };
    if arguments.json { print_json(&report) } else { print(&text(&report)) }
}

fn text(report: &Report) -> String {
    let mut text = format!("{}: {} tensors", report.out, report.tensors);
    if let Some(activation) = &report.hidden_act {
        text += &format!(", hidden_act = {activation}");
    }
    match report.left_out.as_slice() {
        [] => {}
        [first, ..] => text += &format!("; {} of integers left out, such as {first}", report.left_out.len()),
    }
    text.push('\n');
    for warning in &report.warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_and_what_was_taken_is_said() {
        let report = |left_out: &[&str], hidden_act: Option<&str>, warnings: &[&str]| Report {
            tensors: 267,
            left_out: left_out.iter().map(ToString::to_string).collect(),
            hidden_act: hidden_act.map(str::to_owned),
            warnings: warnings.iter().map(ToString::to_string).collect(),
            out: "w.safetensors".to_owned(),
        };
        assert_eq!(text(&report(&[], None, &[])), "w.safetensors: 267 tensors\n");
        assert_eq!(
            text(&report(&["bn1.num_batches_tracked", "x"], Some("gelu"), &["`model` is taken"])),
            "w.safetensors: 267 tensors, hidden_act = gelu; 2 of integers left out, such as bn1.num_batches_tracked\n\
             warning: `model` is taken\n"
        );
    }
}
