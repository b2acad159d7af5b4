//! The model on a GPU, against PyTorch on the same GPU in the same run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::record::Recorded;
use super::{Options, own_python, seconds};
use crate::cuda_toolkit::{self, Parts};
use crate::demo::{release_binary, target_directory};
use crate::failure::Failure;
use crate::step::Step;

const SCRIPT: &str = "fixtures/generate/bench_cuda.py";
const REQUIREMENTS: &str = "fixtures/generate/requirements.txt";
const BUILD: [&str; 6] = ["build", "--release", "-p", "cf-bench", "--features", "cuda"];

/// Measures on `device`, or takes what was measured elsewhere, and prints or records it.
pub(super) fn run(root: &Path, device: &str, options: &Options) -> Result<(), Failure> {
    let file = match &options.measured {
        Some(file) => PathBuf::from(file),
        None => measure(root, device, options)?,
    };
    let text = std::fs::read_to_string(&file).map_err(|error| Failure::io("read", &file, &error))?;
    if options.json {
        println!("{}", text.trim_end());
    }
    let measured = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{} is no JSON: {error}", file.display())))?;
    if !options.record {
        return Ok(());
    }
    let mut recorded = recorded(&measured);
    if options.measured.is_some() {
        let said = |key: &str| measured[key].as_str().unwrap_or("not recorded").to_owned();
        recorded.command = said("command");
        recorded.commit = Some(said("commit"));
    }
    recorded.write(root, "cuda")
}

/// Builds with feature `cuda` and measures; fails where there is no GPU. Returns the file of results.
fn measure(root: &Path, device: &str, options: &Options) -> Result<PathBuf, Failure> {
    cuda_toolkit::need_gpu(root)?;
    let toolkit = cuda_toolkit::provide(root, Parts::All)?;
    toolkit.around(root, Step::cargo(root, &BUILD))?.run()?;
    let binary = release_binary(root, "cf-bench")?.display().to_string();
    let target = target_directory(root)?;
    let python = match &options.python {
        Some(python) => PathBuf::from(python),
        None => own_python(root, &target.join("bench-python"), REQUIREMENTS)?,
    };
    let out = target.join("bench");
    std::fs::create_dir_all(&out).map_err(|error| Failure::io("make", &out, &error))?;
    let out = out.join("cuda.json");
    let out_text = out.display().to_string();
    let libraries = toolkit.libraries().display().to_string();
    let mut args = vec![SCRIPT, "--cf-bench", &binary, "--libraries", &libraries, "--device", device];
    args.extend(["--attention", "--limit", "600", "--out", &out_text]);
    if let Some(cases) = &options.cases {
        args.extend(["--cases", cases]);
    }
    let step = Step::new(root, &python, &args);
    if options.json {
        step.stdout()?;
    } else {
        step.run()?;
    }
    Ok(out)
}

/// What `docs/benchmarks/cuda.json` says of a run's output.
fn recorded(measured: &Value) -> Recorded {
    let list = |key: &str| measured[key].as_array().map_or(&[][..], Vec::as_slice);
    let forms = forms(list("cases"));
    let mut columns = vec!["case".to_owned(), "ours, s".to_owned(), "ours, MiB".to_owned()];
    columns.extend(forms.iter().flat_map(|form| ["s", "MiB"].map(|unit| format!("PyTorch {form}, {unit}"))));
    columns.push("ratio to the best".to_owned());

    let host = &measured["host"];
    let text = |key: &str| host[key].as_str().unwrap_or("?").to_owned();
    let mut notes = vec![
        "Embedding 512, backbone 2048; 13,496/3,449/895 patches (mean), a tenth of it, or 137,990/35,000/9,000 (largest), features on \
         the GPU; training is forward, backward and optimiser step. Attention dropout 0, except `published`: 0.2, as released."
            .to_owned(),
        "Medians; every step ends with a synchronisation. Memory is what tensors take at most. f32 is f32 here and TF32 in PyTorch."
            .to_owned(),
        format!(
            "PyTorch: bf16 by autocast; `scaled_dot_product_attention` by the backend of its choice ({}); convolutions in the layout and \
             precision that is faster; fused Adam; compiled for each size on its own.",
            backends(list("cases")).join(", ")
        ),
    ];
    notes.extend(list("attention").iter().map(attention_note));
    Recorded {
        title: "CrossFusion on a GPU: cf-bench and PyTorch".to_owned(),
        commit: None,
        command: "cargo xtask bench model --device cuda:0 --record".to_owned(),
        host: format!("{}, driver {}", text("device"), text("driver")),
        versions: json!({
            "cf-bench": env!("CARGO_PKG_VERSION"),
            "torch": text("torch"),
            "cuDNN": host["cudnn"].to_string(),
        }),
        columns,
        rows: list("cases").iter().map(|case| cells(case, &forms)).collect(),
        notes,
    }
}

/// The forms of PyTorch that were run, in the order of the first case that has one.
fn forms(cases: &[Value]) -> Vec<String> {
    let mut forms: Vec<String> = Vec::new();
    for form in cases.iter().filter_map(|case| case["forms"].as_object()).flat_map(serde_json::Map::keys) {
        if !forms.contains(form) {
            forms.push(form.clone());
        }
    }
    forms
}

/// What attention ran by, in all forms.
fn backends(cases: &[Value]) -> Vec<&str> {
    let forms = cases.iter().filter_map(|case| case["forms"].as_object()).flat_map(serde_json::Map::values);
    let mut found: Vec<&str> = forms.filter_map(|form| form["sdpa"].as_str()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn cells(case: &Value, forms: &[String]) -> Vec<String> {
    let shown =
        |value: &Value, format: fn(f64) -> String| value.as_f64().map_or_else(|| "-".to_owned(), format);
    let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1 << 20));
    let mut cells = vec![
        case["case"].as_str().unwrap_or("-").to_owned(),
        shown(&case["ours_seconds"], seconds),
        shown(&case["ours_peak_device_bytes"], mib),
    ];
    for form in forms {
        let measured = &case["forms"][form];
        cells.push(shown(&measured["seconds"], seconds));
        cells.push(shown(&measured["peak_device_bytes"], mib));
    }
    cells.push(shown(&case["ratio"], |ratio| format!("{ratio:.2}")));
    cells
}

fn attention_note(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("?");
    let head = format!(
        "Attention alone, 4 heads of 128 channels, bf16, by {}, {} tokens, dropout {}",
        text("backend"),
        row["tokens"],
        row["dropout"]
    );
    match (row["forward_tflops"].as_f64(), row["backward_tflops"].as_f64()) {
        (Some(forward), Some(backward)) => {
            format!("{head}: forward {forward:.0} TFLOP/s, backward {backward:.0} TFLOP/s.")
        }
        _ => format!("{head}: none ({}).", text("error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gets_its_columns_and_what_was_not_measured_a_dash() {
        let measured = json!({
            "host": {"device": "A GPU", "driver": "580.1", "torch": "2.11", "cudnn": 91_900},
            "cases": [
                {"case": "mean/train/bf16", "ours_seconds": 0.005, "ours_peak_device_bytes": 1_048_576, "ratio": 0.25,
                 "forms": {"eager": {"seconds": 0.02, "peak_device_bytes": 3_145_728, "sdpa": "math"}}},
                {"case": "mean/infer/bf16", "ours_seconds": null, "ratio": null,
                 "forms": {"compile": {"error": "not ready in 90 s"}, "eager": {"seconds": 0.01}}},
            ],
            "attention": [
                {"tokens": 9, "backend": "flash_attention", "dropout": 0.2, "forward_tflops": 300.4, "backward_tflops": 250.0},
                {"tokens": 9, "backend": "cudnn_attention", "dropout": 0.2, "error": "no kernel"},
            ],
        });
        let recorded = recorded(&measured);
        assert_eq!(
            recorded.rows,
            [
                ["mean/train/bf16", "0.005000", "1", "0.020", "3", "-", "-", "0.25"],
                ["mean/infer/bf16", "-", "-", "0.010", "-", "-", "-", "-"],
            ]
        );
        assert_eq!(recorded.columns.len(), recorded.rows[0].len());
        assert_eq!(recorded.columns[5], "PyTorch compile, s");
        assert_eq!(recorded.host, "A GPU, driver 580.1");
        let said = "Attention alone, 4 heads of 128 channels, bf16, by flash_attention, 9 tokens, dropout 0.2: forward 300 TFLOP/s, backward 250 TFLOP/s.";
        assert!(recorded.notes[2].contains("(math)"));
        assert_eq!(recorded.notes[3], said);
        assert!(recorded.notes[4].ends_with("none (no kernel)."));
    }
}
