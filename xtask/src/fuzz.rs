//! `cargo xtask fuzz`: tries every reader of foreign bytes with made-up ones.

use std::path::Path;

use crate::failure::Failure;
use crate::step::Step;

/// How long a target runs where no time is given.
const SECONDS: u32 = 600;
/// Runs after which a target stops before its time.
const MOST_RUNS: &str = "10000000";
/// Longest input; seeds are no longer, either.
const LONGEST: &str = "49152";

/// Which targets, and for how long each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    target: Option<String>,
    seconds: u32,
}

impl Options {
    /// Reads `[TARGET] [--seconds N]`.
    pub(crate) fn parse(args: &[String]) -> Result<Self, Failure> {
        let mut options = Self { target: None, seconds: SECONDS };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--seconds" {
                let number = args.next().and_then(|number| number.parse().ok());
                options.seconds =
                    number.ok_or_else(|| Failure::usage("`fuzz --seconds` wants a number of seconds"))?;
            } else if arg.starts_with('-') || options.target.is_some() {
                return Err(Failure::usage(format!("`fuzz` does not take `{arg}`")));
            } else {
                options.target = Some(arg.clone());
            }
        }
        Ok(options)
    }
}

/// Writes the seeds, then runs one target after another, each on one core; stops at the first finding.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    let known = targets(root)?;
    let wanted: Vec<&str> = match &options.target {
        None => known.iter().map(String::as_str).collect(),
        Some(target) if known.contains(target) => vec![target],
        Some(target) => {
            return Err(Failure::usage(format!(
                "no target `{target}`, expected one of {}",
                known.join(", ")
            )));
        }
    };
    if !fuzzer(root, &["--version"]).succeeds() {
        let line = "rustup toolchain install nightly && cargo install cargo-fuzz";
        return Err(Failure::new("no `cargo fuzz` under a nightly toolchain").with_next(line));
    }
    Step::new(root, "python3", &["fuzz/seeds.py", "fuzz/corpus"]).run()?;
    for target in wanted {
        println!("== {target}");
        let [time, runs, longest] = [
            format!("-max_total_time={}", options.seconds),
            format!("-runs={MOST_RUNS}"),
            format!("-max_len={LONGEST}"),
        ];
        // The harness has the bounds of one input; these end what never comes back, and single blocks that are too large.
        let bounds = ["-timeout=30", "-malloc_limit_mb=65", "-rss_limit_mb=3072", "-print_final_stats=1"];
        let run = ["run", target, "--", &time, &runs, &longest];
        // Safe code cannot return a pointer into its frame, and looking for one takes a fifth of the time.
        let run = fuzzer(root, &[&run[..], &bounds].concat());
        run.env("ASAN_OPTIONS", "detect_stack_use_after_return=0").run()?;
    }
    Ok(())
}

/// `cargo fuzz` of the nightly toolchain, whatever toolchain runs this.
fn fuzzer(root: &Path, args: &[&str]) -> Step {
    Step::new(root, "cargo", &[&["+nightly", "fuzz"], args].concat())
}

/// The targets by name, in order.
fn targets(root: &Path) -> Result<Vec<String>, Failure> {
    let folder = root.join("fuzz/fuzz_targets");
    let failed = |error: std::io::Error| Failure::io("read", &folder, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        found.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_a_time_may_come_in_any_order() {
        let parse =
            |words: &[&str]| Options::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        let wanted = Options { target: Some("pt".to_owned()), seconds: 30 };
        assert_eq!(parse(&["pt", "--seconds", "30"]).unwrap(), wanted);
        assert_eq!(parse(&["--seconds", "30", "pt"]).unwrap(), wanted);
        assert_eq!(parse(&[]).unwrap(), Options { target: None, seconds: SECONDS });
        assert!(parse(&["pt", "hdf5"]).unwrap_err().is_usage());
        assert!(parse(&["--seconds", "soon"]).unwrap_err().is_usage());
    }
}
