//! A child process, the line a person would type for it, and the time it took.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::failure::Failure;

/// One command to run from the workspace root.
pub(crate) struct Step {
    line: String,
    command: Command,
}

impl Step {
    /// `program` with `args`, run in `root`.
    pub(crate) fn new(root: &Path, program: impl AsRef<Path>, args: &[&str]) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.args(args).current_dir(root);
        Self { line: shown(&program.display().to_string(), args), command }
    }

    /// The Cargo that runs this program, with `args`.
    pub(crate) fn cargo(root: &Path, args: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut step = Self::new(root, Path::new(&cargo), args);
        step.line = shown("cargo", args);
        step
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.line = format!("{} {}", shown_assignment(name, value), self.line);
        self
    }

    /// The line to type to run this by hand.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Runs it with the terminal's own streams.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let status = self.command.status();
        self.judge(status)
    }

    /// Runs it with both streams going to a file, whose last lines are quoted if it fails.
    pub(crate) fn run_logged(mut self, log: &Path) -> Result<(), Failure> {
        let out = File::create(log).map_err(|error| Failure::io("write", log, &error))?;
        let err = out.try_clone().map_err(|error| Failure::io("write", log, &error))?;
        let status = self.command.stdin(Stdio::null()).stdout(out).stderr(err).status();
        self.judge(status).map_err(|failure| {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(15)..];
            Failure::new(format!("{failure}\n{}\n(whole output: {})", tail.join("\n"), log.display()))
        })
    }

    /// Whether it runs and succeeds; its output is dropped.
    pub(crate) fn succeeds(mut self) -> bool {
        let status = self.command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// What it prints on stdout.
    pub(crate) fn stdout(mut self) -> Result<String, Failure> {
        let output = self.command.stderr(Stdio::inherit()).output();
        match output {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                self.judge(Ok(output.status)).map(|()| text)
            }
            Err(error) => self.judge(Err(error)).map(|()| String::new()),
        }
    }

    /// What it prints on stdout if it succeeds; what it says on stderr is dropped.
    pub(crate) fn stdout_quietly(mut self) -> Option<String> {
        let output = self.command.stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn judge(&self, status: std::io::Result<ExitStatus>) -> Result<(), Failure> {
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(Failure::new(format!("a command failed ({status})")).with_next(self.line.clone()))
            }
            Err(error) => {
                Err(Failure::new(format!("a command did not start: {error}")).with_next(self.line.clone()))
            }
        }
    }
}

/// Seconds with one decimal, or minutes and seconds.
pub(crate) fn shown_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

fn shown(program: &str, args: &[&str]) -> String {
    let mut line = String::from(program);
    for arg in args {
        line.push(' ');
        line.push_str(&quoted(arg));
    }
    line
}

fn shown_assignment(name: &str, value: &str) -> String {
    format!("{name}={}", quoted(value))
}

fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=,:".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_line_can_be_pasted_into_a_shell() {
        assert_eq!(shown("cargo", &["test", "--doc"]), "cargo test --doc");
        assert_eq!(shown("cargo", &["nextest", "-E", "test(a b)"]), "cargo nextest -E 'test(a b)'");
        assert_eq!(shown_assignment("RUSTDOCFLAGS", "-D warnings"), "RUSTDOCFLAGS='-D warnings'");
    }

    #[test]
    fn times_read_as_seconds_then_minutes() {
        assert_eq!(shown_time(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(shown_time(Duration::from_secs(125)), "2 min 05 s");
    }
}
