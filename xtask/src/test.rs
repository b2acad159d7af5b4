//! `cargo xtask test`: every test of the default build.

use std::path::Path;

use crate::failure::Failure;
use crate::step::Step;

/// Runs unit and integration tests (nextest where installed, plain `cargo test` otherwise), then doc tests.
///
/// `extra` goes to the test runner; the arguments among it that choose packages and features go to the doc tests,
/// too, which know no other.
pub(crate) fn run(root: &Path, extra: &[String]) -> Result<(), Failure> {
    let nextest = Step::cargo(root, &["nextest", "--version"]).succeeds();
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    let selection = Selection::of(&extra);

    let mut tests = if nextest { vec!["nextest", "run"] } else { vec!["test", "--lib", "--bins", "--tests"] };
    if selection.packages.is_empty() {
        tests.push("--workspace");
    }
    tests.extend(&extra);
    spoken(Step::cargo(root, &tests))?;

    if selection.packages.is_empty() || selection.packages.iter().any(|package| has_library(root, package)) {
        let mut doc_tests = vec!["test", "--doc"];
        if selection.packages.is_empty() {
            doc_tests.push("--workspace");
        }
        doc_tests.extend(&selection.args);
        spoken(Step::cargo(root, &doc_tests))?;
    }
    Ok(())
}

fn spoken(step: Step) -> Result<(), Failure> {
    println!("$ {}", step.line());
    step.run()
}

/// Cargo refuses `--doc` for a package without a library.
fn has_library(root: &Path, package: &str) -> bool {
    ["crates", "bins"].iter().any(|group| root.join(group).join(package).join("src/lib.rs").is_file())
}

/// The arguments that say what is built, whatever runs it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection<'a> {
    args: Vec<&'a str>,
    packages: Vec<&'a str>,
}

impl<'a> Selection<'a> {
    fn of(extra: &[&'a str]) -> Self {
        let mut found = Self::default();
        let mut rest = extra.iter().copied();
        while let Some(arg) = rest.next() {
            let (name, attached) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (arg, None),
            };
            match name {
                "--all-features" | "--no-default-features" | "--release" => found.args.push(arg),
                "-p" | "--package" | "-F" | "--features" => {
                    found.args.push(arg);
                    let value = attached.or_else(|| rest.next().inspect(|value| found.args.push(value)));
                    if matches!(name, "-p" | "--package") {
                        found.packages.extend(value);
                    }
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_features_reach_the_doc_tests_and_filters_do_not() {
        let selection =
            Selection::of(&["-p", "cf-layers", "--features", "pt", "-E", "test(ppeg)", "--release"]);
        assert_eq!(selection.args, ["-p", "cf-layers", "--features", "pt", "--release"]);
        assert_eq!(selection.packages, ["cf-layers"]);
    }

    #[test]
    fn an_attached_package_name_counts() {
        let selection = Selection::of(&["--package=survstat", "loss"]);
        assert_eq!(selection.args, ["--package=survstat"]);
        assert_eq!(selection.packages, ["survstat"]);
    }
}
