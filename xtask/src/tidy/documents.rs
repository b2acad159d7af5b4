//! Rules that keep the pages true: what they name exists, and what exists is named.

use std::collections::BTreeSet;

use super::Finding;
use super::rust_source::find_word;
use super::tree::Tree;

pub(super) const ARCHITECTURE: &str = "docs/architecture.md";
const CODE_MAP: &str = "Code map";
const REFERENCE: &str = "fixtures/reference/";
const FIXTURES_PAGE: &str = "fixtures/README.md";
const CONFIGS: &str = "examples/configs/";
const CONFIGS_PAGE: &str = "examples/configs/README.md";
/// A code span that starts with one of these is a path of this repository.
const ROOTS: [&str; 6] = ["crates/", "bins/", "xtask/", "docs/", "fixtures/", "examples/"];

pub(super) fn code_map_lists_every_crate(tree: &Tree) -> Vec<Finding> {
    let listed: BTreeSet<&str> = section(tree.text(ARCHITECTURE).unwrap_or(""), CODE_MAP)
        .filter(|(_, line)| line.starts_with("### "))
        .flat_map(|(_, line)| code_spans(line))
        .collect();
    let members = tree.members();
    let missing = members.difference(&listed).map(|name| (format!("no heading `{name}`"), "one per crate"));
    let stale =
        listed.difference(&members).map(|name| (format!("a heading `{name}`"), "only crates that exist"));
    missing
        .chain(stale)
        .map(|(found, rule)| Finding::new(ARCHITECTURE, 0, found, format!("{rule} under `{CODE_MAP}`")))
        .collect()
}

/// A file that the code map names under a crate's heading is a file of that crate.
pub(super) fn code_map_names_files_that_exist(tree: &Tree) -> Vec<Finding> {
    let mut home = "";
    let mut findings = Vec::new();
    for (line_number, line) in section(tree.text(ARCHITECTURE).unwrap_or(""), CODE_MAP) {
        if line.starts_with('#') {
            home = code_spans(line).first().copied().unwrap_or("");
            continue;
        }
        for span in code_spans(line).into_iter().filter(|span| span.ends_with(".rs") && !is_path(span)) {
            let below =
                |path: &str| path.strip_prefix(home).is_some_and(|rest| rest.ends_with(&format!("/{span}")));
            if !tree.paths().any(below) {
                findings.push(Finding::new(
                    ARCHITECTURE,
                    line_number,
                    format!("`{span}`"),
                    format!("a file of that name below {home}"),
                ));
            }
        }
    }
    findings
}

/// `path/file.rs` must exist, and in `path/file.rs::name` the file must have the word `name`.
pub(super) fn named_paths_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (page, text) in tree.with_extension("md") {
        for (index, line) in text.lines().enumerate() {
            for span in code_spans(line).into_iter().filter(|span| is_path(span)) {
                if let Err(wanted) = resolve(tree, span) {
                    findings.push(Finding::new(page, index + 1, format!("`{span}`"), wanted));
                }
            }
        }
    }
    findings
}

pub(super) fn every_reference_file_is_explained(tree: &Tree) -> Vec<Finding> {
    unlisted(tree, REFERENCE, "", FIXTURES_PAGE)
        .map(|path| Finding::new(path, 0, "no word about it", format!("its origin in {FIXTURES_PAGE}")))
        .collect()
}

pub(super) fn every_example_config_is_listed(tree: &Tree) -> Vec<Finding> {
    unlisted(tree, CONFIGS, ".toml", CONFIGS_PAGE)
        .map(|path| {
            Finding::new(path, 0, "no word about it", format!("its name or pattern in {CONFIGS_PAGE}"))
        })
        .collect()
}

/// Files below `folder` that no code span of `page` names: by file name, by path from the page, or by a pattern.
fn unlisted<'a>(
    tree: &'a Tree,
    folder: &'a str,
    ending: &'a str,
    page: &str,
) -> impl Iterator<Item = &'a str> {
    let spans = code_spans_of_page(tree.text(page).unwrap_or(""));
    let home = page.rsplit_once('/').map_or("", |(home, _)| home).to_owned();
    tree.paths().filter(move |path| path.starts_with(folder) && path.ends_with(ending)).filter(move |path| {
        let below = path.strip_prefix(&home).unwrap_or(path).trim_start_matches('/');
        let name = path.rsplit('/').next().unwrap_or(path);
        !spans.iter().any(|span| matches(span, below) || matches(span, name) || matches(span, path))
    })
}

fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    ROOTS.iter().any(|root| span.starts_with(root)) && span.chars().all(plain)
}

fn resolve(tree: &Tree, span: &str) -> Result<(), String> {
    let (path, name) = match span.split_once("::") {
        Some((path, name)) => (path, name.rsplit("::").next()),
        None => (span, None),
    };
    if !tree.contains(path) {
        return Err("a file or folder that exists".to_owned());
    }
    match (name, tree.text(path)) {
        (Some(name), Some(text)) if !text.lines().any(|line| find_word(line, name).is_some()) => {
            Err(format!("a name that {path} has"))
        }
        _ => Ok(()),
    }
}

/// The lines under a `## title` heading, numbered from 1, up to the next such heading.
pub(super) fn section<'a>(page: &'a str, title: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    page.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(move |(_, line)| line.strip_prefix("## ") != Some(title))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
}

/// The texts between single backticks of a line.
pub(super) fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

fn code_spans_of_page(page: &str) -> Vec<String> {
    page.lines().flat_map(code_spans).map(str::to_owned).collect()
}

/// Whether `name` is `pattern`, in which `*` stands for any text and `<word>` for a placeholder of any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '<']) {
        parts.push(&rest[..at]);
        let skipped =
            if rest[at..].starts_with('<') { rest[at..].find('>').map_or(1, |end| end + 1) } else { 1 };
        rest = &rest[at + skipped..];
    }
    let Some((first, middle)) = parts.split_first() else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_star_and_by_placeholder() {
        assert!(matches("a.toml", "a.toml") && !matches("a.toml", "b.toml"));
        assert!(matches("<cohort>-crossfusion.toml", "blca-crossfusion.toml"));
        assert!(matches("layers/*.json", "layers/ppeg.json") && !matches("layers/*.json", "layers/ppeg.npz"));
        assert!(matches("*-x-*.toml", "a-x-b.toml") && !matches("*-x-*.toml", "a-y-b.toml"));
    }

    #[test]
    fn a_page_that_names_a_lost_file_or_function_is_found() {
        let tree = Tree::of(&[
            ("crates/a/src/loss.rs", "pub fn nll() {}\n"),
            (
                "docs/paper-map.md",
                "| `crates/a/src/loss.rs::nll` |\n| `crates/a/src/loss.rs::cox` `crates/a/src/b.rs` |\n",
            ),
            ("README.md", "see `docs/` and `docs/*.json` and `examples/configs`\n"),
        ]);
        let found: Vec<_> = named_paths_exist(&tree).iter().map(Finding::to_string).collect();
        assert_eq!(
            found,
            [
                "README.md:1: found `examples/configs`, wanted a file or folder that exists",
                "docs/paper-map.md:2: found `crates/a/src/loss.rs::cox`, wanted a name that crates/a/src/loss.rs has",
                "docs/paper-map.md:2: found `crates/a/src/b.rs`, wanted a file or folder that exists",
            ]
        );
    }

    #[test]
    fn the_code_map_and_the_workspace_are_compared_both_ways() {
        let page = "## Code map\n\n### `crates/a`\n\ntext `x`\n\n### `crates/gone`\n\n## Other\n\n### `no`\n";
        let tree =
            Tree::of(&[(ARCHITECTURE, page), ("crates/a/Cargo.toml", ""), ("crates/b/Cargo.toml", "")]);
        let found: Vec<_> = code_map_lists_every_crate(&tree).into_iter().map(|f| f.found).collect();
        assert_eq!(found, ["no heading `crates/b`", "a heading `crates/gone`"]);
    }

    #[test]
    fn a_file_of_the_code_map_belongs_to_its_heading() {
        let page = "## Code map\n\n### `crates/a`\n\n`loss.rs` and `kernels/gelu.rs`\n`gone.rs`\n\n### `crates/b`\n\n`loss.rs`\n";
        let tree = Tree::of(&[
            (ARCHITECTURE, page),
            ("crates/a/src/loss.rs", ""),
            ("crates/a/src/kernels/gelu.rs", ""),
            ("crates/b/src/xloss.rs", ""),
        ]);
        let found: Vec<_> = code_map_names_files_that_exist(&tree).iter().map(Finding::to_string).collect();
        assert_eq!(
            found,
            [
                "docs/architecture.md:6: found `gone.rs`, wanted a file of that name below crates/a",
                "docs/architecture.md:10: found `loss.rs`, wanted a file of that name below crates/b",
            ]
        );
    }

    #[test]
    fn fixtures_and_configs_nobody_explains_are_found() {
        let tree = Tree::of(&[
            (FIXTURES_PAGE, "| `reference/model/*.json` |\n| `trace.json` |\n"),
            ("fixtures/reference/model/a.json", ""),
            ("fixtures/reference/trace.json", ""),
            ("fixtures/reference/other.json", ""),
            (CONFIGS_PAGE, "`<cohort>-crossfusion.toml`\n"),
            ("examples/configs/blca-crossfusion.toml", ""),
            ("examples/configs/blca-amil.toml", ""),
        ]);
        let paths = |findings: Vec<Finding>| findings.into_iter().map(|f| f.path).collect::<Vec<_>>();
        assert_eq!(paths(every_reference_file_is_explained(&tree)), ["fixtures/reference/other.json"]);
        assert_eq!(paths(every_example_config_is_listed(&tree)), ["examples/configs/blca-amil.toml"]);
    }
}
