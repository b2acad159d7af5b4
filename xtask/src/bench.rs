//! `cargo xtask bench`: timed cases against the Python stack, in one run on one machine.

mod cuda;
mod host;
mod record;
mod subjects;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::host::Host;
use self::record::Recorded;
use self::subjects::{Bench, ON_GPU};
use crate::demo::{release_binary, target_directory};
use crate::failure::Failure;
use crate::step::Step;

/// What to measure and what to do with the result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    bench: &'static Bench,
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
    /// What the script for a GPU wrote on another machine, instead of a run of it here.
    measured: Option<String>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, Failure> {
        let (mut bench, mut json, mut record) = (None, false, false);
        let (mut cases, mut python, mut gpu, mut measured) = (None, None, None, None);
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .map(str::to_owned)
                    .ok_or_else(|| Failure::usage(format!("`{arg}` lacks its value")))
            };
            match arg {
                "--json" => json = true,
                "--record" => record = true,
                // Every benchmark is a comparison.
                "--against-pytorch" => {}
                "--cases" => cases = Some(value()?),
                "--python" => python = Some(value()?),
                "--measured" => measured = Some(value()?),
                "--device" => {
                    let device = value()?;
                    let ordinal = device.strip_prefix("cuda:").map(str::parse::<usize>);
                    match ordinal {
                        Some(Ok(_)) => gpu = Some(device),
                        _ if device == "cpu" => gpu = None,
                        _ => {
                            return Err(Failure::usage(format!("device `{device}`, expected cpu or cuda:N")));
                        }
                    }
                }
                name => match subjects::of_name(name).filter(|_| bench.is_none()) {
                    Some(named) => bench = Some(named),
                    None => return Err(Failure::usage(format!("`bench` does not take `{name}`"))),
                },
            }
        }
        let what = || Failure::usage(format!("bench what? {}", subjects::names()));
        let bench = bench.ok_or_else(what)?;
        if gpu.is_some() && bench.name != ON_GPU {
            return Err(Failure::usage(format!("`{}` has no cases for a GPU; `{ON_GPU}` has", bench.name)));
        }
        if measured.is_some() && gpu.is_none() {
            return Err(Failure::usage(
                "`--measured` is for a GPU: name it with `--device cuda:N`".to_owned(),
            ));
        }
        if measured.is_some() && (cases.is_some() || python.is_some() || !(record || json)) {
            return Err(Failure::usage(
                "`--measured` goes with `--record` or `--json`; it measures nothing that `--cases` or `--python` could be for",
            ));
        }
        Ok(Self { bench, json, record, cases, python, gpu, measured })
    }
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    if let Some(device) = &options.gpu {
        return cuda::run(root, device, options);
    }
    let bench = options.bench;
    Step::cargo(root, bench.build).run()?;
    let binary = release_binary(root, bench.binary)?;
    let target = target_directory(root)?;
    let python = match &options.python {
        Some(python) => PathBuf::from(python),
        None => own_python(root, &target.join(bench.python), bench.requirements)?,
    };
    let (binary, work) = (binary.display().to_string(), target.join("bench").display().to_string());
    let mut args = vec![bench.script];
    if bench.script_takes_name {
        args.push(bench.name);
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
    recorded(bench, &cases, &host).write(root, &format!("{}-{}", bench.name, host.file_part()))
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

fn recorded(bench: &Bench, cases: &[Value], host: &Host) -> Recorded {
    Recorded {
        commit: None,
        title: format!("{}, on {}", bench.title, host.vendor()),
        command: format!("cargo xtask bench {} --record", bench.name),
        host: host.to_string(),
        versions: json!({ "cf-bench": env!("CARGO_PKG_VERSION") }),
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows: cases.iter().map(cells).collect(),
        notes: vec![bench.note.to_owned(), bench.times.to_owned()],
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
            bench: subjects::of_name("bags").unwrap(),
            json: true,
            record: false,
            cases: Some("clam/f32/warm".to_owned()),
            python: None,
            gpu: None,
            measured: None,
        };
        assert_eq!(options, wanted);
        for line in ["model model", "model kernels", "modle"] {
            let text = parse(line).unwrap_err().to_string();
            assert!(text.contains(&format!("`{}`", line.rsplit(' ').next().unwrap())), "{text}");
        }
        assert_eq!(parse("bags --python model").unwrap().bench.name, "bags");
        assert!(parse("model --csv").unwrap_err().to_string().contains("`--csv`"));
        assert_eq!(parse("model --device cuda:1").unwrap().gpu.as_deref(), Some("cuda:1"));
        assert!(parse("model --device cuda").unwrap_err().to_string().contains("expected cpu or cuda:N"));
        let elsewhere = parse("model --device cuda:0 --measured cuda.json --record").unwrap();
        assert!(elsewhere.record && elsewhere.measured.as_deref() == Some("cuda.json"));
        assert!(parse("model --measured cuda.json").unwrap_err().to_string().contains("--device"));
        assert!(parse("bags --device cuda:0").unwrap_err().to_string().contains("no cases for a GPU"));
        assert!(
            parse("--json")
                .unwrap_err()
                .to_string()
                .contains("model, baselines, kernels, bags, metrics or extract")
        );
    }
}
