//! `cargo xtask bench`: timed cases against the Python stack, in one run on one machine.

mod cuda;
mod host;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::host::Host;
use crate::demo::{release_binary, target_directory};
use crate::failure::Failure;
use crate::step::Step;
use crate::tidy;

/// What runs here, what runs there, and how the first is built.
struct Bench {
    script: &'static str,
    requirements: &'static str,
    build: &'static [&'static str],
    /// Below the folder of release binaries.
    binary: &'static str,
    /// The script's name for it.
    flag: &'static str,
    /// Folder of the Python packages, below the target folder.
    python: &'static str,
}

/// Everything that needs tensors.
const MODELS: Bench = Bench {
    script: "fixtures/generate/bench.py",
    requirements: "fixtures/generate/requirements.txt",
    build: &["build", "--release", "-p", "cf-bench"],
    binary: "cf-bench",
    flag: "--cf-bench",
    python: "bench-python",
};

/// `survival-metrics` alone, which builds in seconds and so does its peers' Python.
const METRICS: Bench = Bench {
    script: "fixtures/generate/bench_metrics.py",
    requirements: "fixtures/generate/requirements-metrics.txt",
    build: &["build", "--release", "-p", "survival-metrics", "--example", "timed"],
    binary: "examples/timed",
    flag: "--binary",
    python: "bench-metrics-python",
};

/// Slides: the peer has its own Python, without what trains models.
const EXTRACT: Bench = Bench {
    script: "fixtures/generate/bench_extract.py",
    requirements: "fixtures/generate/requirements-extract.txt",
    python: "bench-extract-python",
    ..MODELS
};

/// What to measure and what to do with the result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    name: String,
    /// Print JSON instead of a table.
    json: bool,
    /// Write `docs/benchmarks/<name>-<vendor of the processor>.json` and the page made from it.
    record: bool,
    /// Only these cases, comma-separated.
    cases: Option<String>,
    /// A Python with the required packages; otherwise one is made below the target folder.
    python: Option<String>,
    /// A GPU, as `cuda:N`; the CPU where none is named.
    gpu: Option<String>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .map(str::to_owned)
                    .ok_or_else(|| Failure::usage(format!("`{arg}` lacks its value")))
            };
            match arg {
                "--json" => options.json = true,
                "--record" => options.record = true,
                // Every benchmark is a comparison.
                "--against-pytorch" => {}
                "--cases" => options.cases = Some(value()?),
                "--python" => options.python = Some(value()?),
                "--device" => {
                    let device = value()?;
                    let ordinal = device.strip_prefix("cuda:").map(str::parse::<usize>);
                    match ordinal {
                        Some(Ok(_)) => options.gpu = Some(device),
                        _ if device == "cpu" => options.gpu = None,
                        _ => {
                            return Err(Failure::usage(format!("device `{device}`, expected cpu or cuda:N")));
                        }
                    }
                }
                "model" | "baselines" | "kernels" | "bags" | "metrics" | "extract"
                    if options.name.is_empty() =>
                {
                    arg.clone_into(&mut options.name)
                }
                other => return Err(Failure::usage(format!("`bench` does not take `{other}`"))),
            }
        }
        if options.name.is_empty() {
            return Err(Failure::usage("bench what? model, baselines, kernels, bags, metrics or extract"));
        }
        if options.gpu.is_some() && options.name != "model" {
            return Err(Failure::usage(format!("`{}` has no cases for a GPU; `model` has", options.name)));
        }
        Ok(options)
    }
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    if let Some(device) = &options.gpu {
        return cuda::run(root, device, options);
    }
    let bench = match options.name.as_str() {
        "metrics" => METRICS,
        "extract" => EXTRACT,
        _ => MODELS,
    };
    Step::cargo(root, bench.build).run()?;
    let binary = release_binary(root, bench.binary)?;
    let target = target_directory(root)?;
    let python = match &options.python {
        Some(python) => PathBuf::from(python),
        None => own_python(root, &target.join(bench.python), bench.requirements)?,
    };
    let (binary, work) = (binary.display().to_string(), target.join("bench").display().to_string());
    let mut args = vec![bench.script];
    // The scripts of one subject need no name.
    if bench.script == MODELS.script {
        args.push(&options.name);
    }
    args.extend([bench.flag, &binary, "--work", &work]);
    if let Some(cases) = &options.cases {
        args.extend(["--cases", cases]);
    }
    let text = Step::new(root, &python, &args).stdout()?;
    let fault =
        |error: &dyn std::fmt::Display| Failure::new(format!("{} printed no result: {error}", bench.script));
    let cases: Vec<Value> = serde_json::from_str(&text).map_err(|error| fault(&error))?;
    if options.json {
        println!("{}", text.trim_end());
    } else {
        for case in &cases {
            println!("{}", cells(case).join("  "));
        }
    }
    if !options.record {
        return Ok(());
    }
    // Ratios depend on the processor: those of one vendor do not replace those of another.
    let host = Host::read();
    recorded(&options.name, &cases, &host).write(root, &format!("{}-{}", options.name, host.file_part()))
}

/// A Python below the target folder with what `requirements` lists, made if it is not there.
pub(crate) fn own_python(root: &Path, folder: &Path, requirements: &str) -> Result<PathBuf, Failure> {
    let python = folder.join("bin/python");
    if !python.is_file() {
        Step::new(root, "python3", &["-m", "venv", &folder.display().to_string()]).run()?;
        Step::new(root, &python, &["-m", "pip", "install", "--quiet", "-r", requirements]).run()?;
    }
    Ok(python)
}

const COLUMNS: [&str; 7] =
    ["case", "ours, s", "peer", "peer, s", "ratio", "ours, MiB at most", "peer, MiB at most"];

fn cells(case: &Value) -> Vec<String> {
    // A case without a peer leaves its cells empty.
    let text = |key: &str| case[key].as_str().unwrap_or("-").to_owned();
    let shown =
        |key: &str, format: &dyn Fn(f64) -> String| case[key].as_f64().map_or_else(|| "-".to_owned(), format);
    let mib = |key: &str| shown(key, &|bytes| format!("{:.0}", bytes / f64::from(1 << 20)));
    vec![
        text("case"),
        shown("ours_seconds", &seconds),
        text("peer"),
        shown("peer_seconds", &seconds),
        shown("ratio", &|ratio| if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }),
        mib("ours_peak_rss_bytes"),
        mib("peer_peak_rss_bytes"),
    ]
}

/// To a millisecond, or to a microsecond below ten of the former.
fn seconds(value: f64) -> String {
    if value < 0.01 { format!("{value:.6}") } else { format!("{value:.3}") }
}

/// A table of `docs/benchmarks.md`.
struct Recorded {
    title: String,
    command: String,
    host: String,
    versions: Value,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Recorded {
    /// Writes `docs/benchmarks/<file>.json` and the page made from it.
    fn write(&self, root: &Path, file: &str) -> Result<(), Failure> {
        let commit = Step::new(root, "git", &["rev-parse", "--short", "HEAD"]).stdout()?;
        let document = json!({
            "title": self.title,
            "command": self.command,
            "commit": commit.trim(),
            "host": self.host,
            "versions": self.versions,
            "columns": self.columns,
            "rows": self.rows,
            "notes": self.notes,
        });
        let path = root.join(format!("docs/benchmarks/{file}.json"));
        std::fs::write(&path, format!("{document:#}\n"))
            .map_err(|error| Failure::io("write", &path, &error))?;
        tidy::run(root, tidy::Mode::Write)
    }
}

fn recorded(name: &str, cases: &[Value], host: &Host) -> Recorded {
    let (title, note) = match name {
        "model" => (
            "CrossFusion at full width: cf-train and PyTorch",
            "Embedding 512, backbone 2048; a bag of 13,496/3,449/895 patches (mean) or a tenth of it; training is forward, backward \
             and optimiser step. Attention dropout 0, except `published`: 0.2, as released. The peer is the faster of PyTorch eager and \
             `torch.compile`, which compiles for this one size of bag before the clock starts.",
        ),
        "baselines" => (
            "The compared methods: a training step on the mean bag",
            "Backbone 2048, the bag of 13,496/3,449/895 patches; forward, backward and optimiser step of each method as it is by default. \
             The peer is the method's PyTorch oracle with graphs, windows and distances in PyTorch's fast forms \
             (`fixtures/generate/baselines/timed.py`) and without dropout. Neighbours, parents and CSMIL's clusters follow from the bag \
             and are there before the clock starts on both sides; SCMIL's clusters are made anew in every pass on both. `neighbours`: \
             finding the eight nearest of 137,990 patches by place, and of 13,496 by 2048 features, exactly.",
        ),
        "kernels" => (
            "Kernels: forward and backward, against PyTorch and plain Candle",
            "Sizes of a training step on the mean bag: 3,481 tokens of 512 channels, 4 heads, 3,449 queries over 13,496 keys. `plain` is the \
             kernel's reference on Candle's operations, which tests compare it with. The peer is PyTorch eager, reads convolutions in the \
             layout that suits it better, and has bf16 by autocast; its memory includes PyTorch itself. `adam`: one step of 24.5 million parameters.",
        ),
        "metrics" => (
            "Survival statistics: survival-metrics, scikit-survival and lifelines",
            "Simulated outcomes in months with two decimals, half of them censored; both sides read the same arrays and must give the same \
             number to 1e-9. `bootstrap-1000/1000`: 1,000 resamples of 1,000 subjects.",
        ),
        "extract" => (
            "From slides to features: wsi-features and the Python stack",
            "Drawn slides (JPEG tiles, levels of 1, 4 and 16); 8 cells of tissue, `large` 32; patches of 5x, 10x and 20x. `read`: read and resized \
             to 256 pixels, bicubic. `resnet50`: then encoded by ResNet50 (2048 features), the same random weights on both sides, loaded before the \
             clock starts. Our side finds tissue and lays the lattice in its time; the peer is given the coordinates, reads the same \
             levels, on a pool of threads or on one, whichever is quicker, with torch in channels-last.",
        ),
        _ => (
            "Reading a bag of the mean size",
            "All three magnifications, width 2048; what is read is checked to be finite here and returned as f32. `clam` is uncompressed \
             HDF5 in chunks of 32 rows. h5py and torch.load check nothing, and return f16 as it is. `warm`: bag after bag in one \
             process, as in training, where memory is used again here; `cold`: the first read of a process, the files evicted \
             from the page cache.",
        ),
    };
    let threads = if name == "metrics" {
        "Medians of calls, one thread on both sides, one process per case."
    } else {
        "Medians, as many threads as cores on both sides, one process per case."
    };
    Recorded {
        title: format!("{title}, on {}", host.vendor()),
        command: format!("cargo xtask bench {name} --record"),
        host: host.to_string(),
        versions: json!({ "cf-bench": env!("CARGO_PKG_VERSION") }),
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows: cases.iter().map(cells).collect(),
        notes: vec![note.to_owned(), threads.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Failure> {
        Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_taken_in_any_order_and_unknown_ones_are_named() {
        let options = parse("--json bags --cases clam/f32/warm --against-pytorch").unwrap();
        let wanted = Options {
            name: "bags".to_owned(),
            json: true,
            cases: Some("clam/f32/warm".to_owned()),
            ..Options::default()
        };
        assert_eq!(options, wanted);
        assert!(parse("model --csv").unwrap_err().to_string().contains("`--csv`"));
        assert_eq!(parse("model --device cuda:1").unwrap().gpu.as_deref(), Some("cuda:1"));
        assert!(parse("model --device cuda").unwrap_err().to_string().contains("expected cpu or cuda:N"));
        assert!(parse("bags --device cuda:0").unwrap_err().to_string().contains("no cases for a GPU"));
        assert!(
            parse("--json")
                .unwrap_err()
                .to_string()
                .contains("model, baselines, kernels, bags, metrics or extract")
        );
    }
}
