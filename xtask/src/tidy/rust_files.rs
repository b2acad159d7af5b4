//! Rules on Rust files.

use super::Finding;
use super::rust_source::{Class, classify, code_only, find_word, lines_without_tests};
use super::tree::Tree;

const MAX_LINES: usize = 400;
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "common", "helpers", "helper", "base", "core", "misc", "imp", "types"];
const KERNELS: &str = "crates/cf-layers/src/kernels/";
const MMAP_FILE: &str = "crates/wsi-bags/src/mmap.rs";
/// How far above an `unsafe` its reason may stand.
const SAFETY_LINES: usize = 12;

pub(super) fn module_docs_open_every_file(tree: &Tree) -> Vec<Finding> {
    let opening = |text: &str| text.lines().find(|line| !line.trim().is_empty()).unwrap_or("").to_owned();
    tree.with_extension("rs")
        .map(|(path, text)| (path, opening(text)))
        .filter(|(_, line)| !line.starts_with("//!"))
        .map(|(path, line)| Finding::new(path, 1, format!("`{}`", line.trim()), "module docs (`//! ...`)"))
        .collect()
}

pub(super) fn names_say_something(tree: &Tree) -> Vec<Finding> {
    let said = |part: &str| !EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    tree.with_extension("rs")
        .filter_map(|(path, _)| Some((path, path.split('/').find(|part| !said(part))?)))
        .map(|(path, part)| {
            Finding::new(path, 0, format!("the name `{part}`"), "a word of the field or an op")
        })
        .collect()
}

pub(super) fn files_stay_short(tree: &Tree) -> Vec<Finding> {
    let is_test = |path: &str| path.split('/').any(|part| matches!(part, "tests" | "benches"));
    tree.with_extension("rs")
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, lines_without_tests(text)))
        .filter(|&(_, lines)| lines > MAX_LINES)
        .map(|(path, lines)| {
            let found = format!("{lines} lines without tests");
            Finding::new(path, 0, found, format!("at most {MAX_LINES}: the second idea in its own file"))
        })
        .collect()
}

pub(super) fn unsafe_stays_in_its_places(tree: &Tree) -> Vec<Finding> {
    let allowed = |path: &str| path.starts_with(KERNELS) || path == MMAP_FILE;
    unsafe_lines(tree)
        .into_iter()
        .filter(|(path, _)| !allowed(path))
        .map(|(path, line)| {
            Finding::new(
                path,
                line,
                "`unsafe`",
                format!("safe code; `unsafe` lives under {KERNELS} and in {MMAP_FILE}"),
            )
        })
        .collect()
}

pub(super) fn unsafe_has_a_safety_line(tree: &Tree) -> Vec<Finding> {
    let reasoned = |path: &str, line: usize| {
        let lines: Vec<&str> = tree.text(path).unwrap_or("").lines().take(line).collect();
        lines
            .iter()
            .rev()
            .take(SAFETY_LINES)
            .any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
    };
    unsafe_lines(tree)
        .into_iter()
        .filter(|&(path, line)| !reasoned(path, line))
        .map(|(path, line)| {
            Finding::new(
                path,
                line,
                "`unsafe` without a reason",
                "`// SAFETY: ...` (bounds, aliasing) above it",
            )
        })
        .collect()
}

pub(super) fn cuda_is_chosen_in_the_kernels(tree: &Tree) -> Vec<Finding> {
    tree.with_extension("rs")
        .filter(|(path, _)| !path.starts_with(KERNELS) && !path.ends_with("build.rs"))
        .flat_map(|(path, text)| cuda_lines(text).into_iter().map(move |line| (path, line)))
        .map(|(path, line)| {
            Finding::new(
                path,
                line,
                "feature `cuda` in code",
                format!("device choice under {KERNELS} or in build.rs"),
            )
        })
        .collect()
}

/// Path and line of every `unsafe` in code.
fn unsafe_lines(tree: &Tree) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        for (index, line) in code_only(text).lines().enumerate() {
            if find_word(line, "unsafe").is_some() {
                found.push((path, index + 1));
            }
        }
    }
    found
}

/// Lines whose code asks for the feature; text about it in comments and strings does not count.
fn cuda_lines(text: &str) -> Vec<usize> {
    const QUOTED: &str = "\"cuda\"";
    let classes = classify(text);
    let asks = |at: usize| {
        let before = text[..at].trim_end().strip_suffix('=').unwrap_or("").trim_end();
        before.ends_with("feature") && classes[before.len() - 1] == Class::Code
    };
    text.match_indices(QUOTED)
        .filter(|&(at, _)| asks(at))
        .map(|(at, _)| text[..at].matches('\n').count() + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<(&str, usize)> {
        findings.iter().map(|finding| (finding.path.as_str(), finding.line)).collect()
    }

    #[test]
    fn a_file_without_module_docs_is_found() {
        let tree =
            Tree::of(&[("a.rs", "\n//! Docs.\n"), ("b.rs", "use x;\n"), ("c.rs", "/// Item.\nfn f() {}\n")]);
        assert_eq!(lines(&module_docs_open_every_file(&tree)), [("b.rs", 1), ("c.rs", 1)]);
    }

    #[test]
    fn names_that_say_nothing_are_found_as_file_and_as_folder() {
        let tree = Tree::of(&[
            ("crates/a/src/utils.rs", ""),
            ("crates/a/tests/common/mod.rs", ""),
            ("crates/a/src/encore.rs", ""),
        ]);
        assert_eq!(
            lines(&names_say_something(&tree)),
            [("crates/a/src/utils.rs", 0), ("crates/a/tests/common/mod.rs", 0)]
        );
    }

    #[test]
    fn only_lines_outside_tests_count_towards_the_limit() {
        let long = "fn f() {}\n".repeat(401);
        let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let tree = Tree::of(&[("a.rs", &long), ("tests/b.rs", &long), ("c.rs", &tested)]);
        assert_eq!(lines(&files_stay_short(&tree)), [("a.rs", 0)]);
    }

    #[test]
    fn unsafe_is_found_outside_its_places_and_without_a_reason() {
        let bare = "//! A.\n\nfn f() { unsafe { g() } }\n";
        let reasoned = "//! A. unsafe is a word here.\n// SAFETY: in bounds.\nlet x = unsafe { g() };\n";
        let tree = Tree::of(&[
            ("crates/cf-layers/src/kernels/attention.rs", reasoned),
            ("crates/cf-layers/src/ppeg.rs", reasoned),
            ("crates/wsi-bags/src/mmap.rs", bare),
        ]);
        assert_eq!(lines(&unsafe_stays_in_its_places(&tree)), [("crates/cf-layers/src/ppeg.rs", 3)]);
        assert_eq!(lines(&unsafe_has_a_safety_line(&tree)), [("crates/wsi-bags/src/mmap.rs", 3)]);
    }

    #[test]
    fn the_cuda_feature_is_found_outside_the_kernels() {
        let asks = "//! A.\n#[cfg(feature = \"cuda\")]\nfn f() {}\n";
        let talks = "//! `feature = \"cuda\"`\nlet device = \"cuda\";\n";
        let tree = Tree::of(&[
            ("crates/cf-layers/src/kernels/mod.rs", asks),
            ("crates/cf-layers/build.rs", asks),
            ("crates/cf-model/src/model.rs", asks),
            ("crates/cf-train/src/device.rs", talks),
        ]);
        assert_eq!(lines(&cuda_is_chosen_in_the_kernels(&tree)), [("crates/cf-model/src/model.rs", 2)]);
    }
}
