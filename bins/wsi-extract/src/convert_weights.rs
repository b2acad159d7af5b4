//! `wsi-extract convert-weights`: published weights as safetensors.

use serde::Serialize;

use crate::args::ConvertWeightsArguments;
use crate::error::CliError;
use crate::output::{print, print_json};

#[derive(Serialize)]
struct Report {
    tensors: usize,
    out: String,
}

pub(crate) fn run(arguments: &ConvertWeightsArguments) -> Result<(), CliError> {
    let converted = patch_encoders::convert_weights(&arguments.input, &arguments.output)?;
    let report = Report { tensors: converted.n_tensors, out: arguments.output.display().to_string() };
    if arguments.json {
        print_json(&report)
    } else {
        print(&format!("{}: {} tensors\n", report.out, report.tensors))
    }
}
