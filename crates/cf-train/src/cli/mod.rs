//! The command line: what is asked, how progress and errors are shown, and which exit code says what.

mod apply;
mod assemble;
mod cv;
mod device;
mod doctor;
mod ensemble;
mod evaluate;
mod external;
mod models;
mod number_list;
mod predict;
mod progress;
mod simulate;
mod splits;
mod study;
mod threads;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use cf_cli::LogFormat;
use cf_train::{Error, Remedy};
use clap::{CommandFactory, Parser, Subcommand};

/// Cancer survival prediction from whole slide images: CrossFusion and its ablations on bags of patch features.
#[derive(Debug, Parser)]
#[command(
    name = "cf-train",
    version,
    after_help = "Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data or configuration (do not retry), \
                  4 does not fit in the memory budget or the device, \
                  75 interrupted or disk full (retry; `cv --resume` goes on)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Show errors only: no progress bar, no log.
    #[arg(long, global = true)]
    quiet: bool,
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cross-validate a model into a run directory, with a report.
    Cv(cv::Arguments),
    /// Predict the survival curve of one slide.
    Predict(predict::PredictArguments),
    /// Test the models of a run on another cohort: an external validation.
    Test(external::Arguments),
    /// Apply the models of a run to slides without outcomes: a risk for each slide and patient.
    #[command(visible_alias = "deploy")]
    Apply(apply::Arguments),
    /// Gradient norms of one slide's loss, by parameter; all dropout off, alpha 0.2.
    Grad(predict::GradArguments),
    /// Compute the metrics of a run again from its predictions.
    Evaluate(evaluate::EvaluateArguments),
    /// Write the report of a run again.
    Report(evaluate::ReportArguments),
    /// List the models with their size and needs.
    Models(models::Arguments),
    /// Make a simulated cohort with a known answer, ready to run.
    Simulate(simulate::Arguments),
    /// Make folds, or check those that are there, against the clinical table.
    #[command(subcommand)]
    Splits(splits::Action),
    /// Check configuration, tables, folds and bags before a run.
    Doctor(doctor::Arguments),
    /// Many models on many cohorts: planned, run task by task, collected into tables.
    #[command(subcommand)]
    Study(study::Action),
}

/// The exit code of what may succeed if it is tried again, as `sysexits.h` has it.
const TEMPORARY: u8 = 75;

/// What a command failed with.
enum Failure {
    /// The arguments make no sense together.
    Usage(String),
    /// Anything that the library reports.
    Library(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            Error::Simulate(error @ cf_train::simulate::Error::Option { .. }) => {
                Self::Usage(error.to_string())
            }
            error => Self::Library(error),
        }
    }
}

/// Parses the arguments, runs the command, and tells how it ended.
pub(crate) fn run() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Cli::command()) {
        return ended;
    }
    let cli = Cli::parse();
    let show_bars = !cli.quiet && std::io::stderr().is_terminal();
    // Bars say what info lines would say; a log file has no bars.
    cli.log_format.start(match (cli.quiet, show_bars) {
        (true, _) => "error",
        (false, true) => "warn",
        (false, false) => "info",
    });
    let result = match &cli.command {
        Command::Cv(arguments) => cv::run(arguments, show_bars),
        Command::Predict(arguments) => predict::run(arguments),
        Command::Test(arguments) => external::run(arguments, show_bars),
        Command::Apply(arguments) => apply::run(arguments, show_bars),
        Command::Grad(arguments) => predict::run_gradients(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Report(arguments) => evaluate::run_report(arguments),
        Command::Models(arguments) => models::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments, show_bars),
        Command::Splits(action) => splits::run(action),
        Command::Doctor(arguments) => doctor::run(arguments, show_bars),
        Command::Study(action) => study::run(action, show_bars),
    };
    match result.and_then(|()| printed()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (text, code) = explain(&failure);
            cli.log_format.say_error(&text, code);
            ExitCode::from(code)
        }
    }
}

fn explain(failure: &Failure) -> (String, u8) {
    let error = match failure {
        Failure::Usage(text) => return (text.clone(), 2),
        Failure::Library(error) => error,
    };
    let mut text = error.with_causes();
    if matches!(error, Error::Interrupted { .. }) {
        text.push_str("\n  continue with the same command and --resume");
    }
    if matches!(error, Error::ScoringInterrupted { .. }) {
        text.push_str("\n  nothing is kept: start again with the same command");
    }
    if matches!(error, Error::Task { .. }) && error.remedy() == Remedy::Retry {
        text.push_str("\n  continue with the same command");
    }
    if let Error::DoesNotFit { .. } | Error::EvaluationDoesNotFit { .. } = error {
        text.push_str("\n  raise training.memory_budget, ");
        if let Error::DoesNotFit { fitting_max_patches: Some(fitting), .. } = error {
            text.push_str(&format!("{}, ", cf_train::visit::way_out(*fitting)));
        }
        text.push_str("leave the slide out, or choose a model with fewer channels (model.embed_dim)");
    }
    if matches!(error, Error::PassesDoNotFit { .. }) {
        text.push_str("\n  take fewer folds at once (--folds), or say how much there is where it is more (`test`: --set training.memory_budget=SIZE, `apply`: --memory-budget SIZE)");
    }
    if matches!(error, Error::DeviceFull { .. }) {
        text.push_str(
            "\n  lower training.memory_budget, so that more is made again than kept, let visits in training see some of a slide's patches \
             (training.max_patches), leave the slide out, or choose a model with fewer channels (model.embed_dim) or a larger device",
        );
    }
    let code = match error.remedy() {
        Remedy::FixInput => 3,
        Remedy::LessMemory => 4,
        Remedy::Retry => TEMPORARY,
        Remedy::Unknown => 1,
    };
    (text, code)
}

fn print_error(text: &str) {
    // Nowhere is left to report that stderr is closed or full.
    _ = writeln!(std::io::stderr(), "error: {text}");
}

/// Why something was not printed.
static UNPRINTED: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line of results. That nobody reads on, as in `.. | head`, is no error; another is told at the end, by [`printed`].
fn print(text: &str) {
    if let Err(error) = cf_cli::print(&format!("{text}\n")) {
        // The first is the one to report.
        let _ = UNPRINTED.set(error);
    }
}

/// Whether all results were printed.
fn printed() -> Result<(), Failure> {
    match UNPRINTED.get() {
        None => Ok(()),
        Some(error) => {
            let source = std::io::Error::new(error.kind(), error.to_string());
            Err(Error::Io { action: "write to", path: "stdout".into(), source }.into())
        }
    }
}

/// `1 slide`, `2 slides`.
fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Usage(error.to_string()))?;
    print(&text);
    Ok(())
}
