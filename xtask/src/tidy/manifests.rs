//! Rules on `Cargo.toml` files: who may depend on whom.
//!
//! The allowed edges are the table of `docs/architecture.md`, so that a new edge is argued on that page.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::documents::{ARCHITECTURE, code_spans, section};
use super::tree::Tree;

const EDGE_SECTION: &str = "Allowed dependencies";

/// Crates from outside that only these members may use; tests may use any.
const CONFINED: [(&str, &[&str]); 5] = [
    (
        "candle-",
        &["cf-layers", "cf-model", "cf-train", "patch-encoders", "cf-viewer", "cf-bench", "examples"],
    ),
    ("csv", &["cf-cli", "cf-train", "wsi-features", "wsi-extract", "examples"]),
    ("hdf5", &["wsi-bags"]),
    ("polars", &["cf-train"]),
    ("rust-hdf5", &["wsi-bags"]),
];

/// One dependency of a manifest.
#[derive(Debug, PartialEq, Eq)]
struct Dependency<'a> {
    name: &'a str,
    line: usize,
    for_tests: bool,
}

/// What a member may depend on, among the members.
#[derive(Debug, PartialEq, Eq)]
enum Allowed<'a> {
    Any,
    Only(BTreeSet<&'a str>),
}

pub(super) fn edges_are_allowed(tree: &Tree) -> Vec<Finding> {
    let members: BTreeSet<&str> = tree.members().into_iter().map(crate_name).collect();
    let table = edge_table(tree);
    let mut findings = Vec::new();
    for folder in tree.members() {
        let Some(Allowed::Only(allowed)) = table.get(crate_name(folder)) else {
            continue;
        };
        let path = format!("{folder}/Cargo.toml");
        for dependency in dependencies(tree.text(&path).unwrap_or("")) {
            if members.contains(dependency.name) && !allowed.contains(dependency.name) {
                let found = format!("a dependency on `{}`", dependency.name);
                findings.push(Finding::new(&path, dependency.line, found, wanted(allowed)));
            }
        }
    }
    findings
}

pub(super) fn edge_table_names_every_crate(tree: &Tree) -> Vec<Finding> {
    let table: BTreeSet<&str> = edge_table(tree).into_keys().collect();
    let members: BTreeSet<&str> = tree.members().into_iter().map(crate_name).collect();
    let missing =
        members.difference(&table).map(|name| (format!("no row for `{name}`"), "one row per crate"));
    let stale =
        table.difference(&members).map(|name| (format!("a row for `{name}`"), "only crates that exist"));
    missing
        .chain(stale)
        .map(|(found, rule)| {
            Finding::new(ARCHITECTURE, 0, found, format!("{rule} in the table of `{EDGE_SECTION}`"))
        })
        .collect()
}

pub(super) fn outside_crates_stay_where_they_belong(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in tree.members() {
        let path = format!("{folder}/Cargo.toml");
        for dependency in dependencies(tree.text(&path).unwrap_or("")) {
            let confined = CONFINED.iter().find(|(name, _)| is_named(dependency.name, name));
            let Some((_, homes)) = confined else { continue };
            if !dependency.for_tests && !homes.contains(&crate_name(folder)) {
                let found = format!("a dependency on `{}`", dependency.name);
                findings.push(Finding::new(
                    &path,
                    dependency.line,
                    found,
                    format!("it in {} only", homes.join(", ")),
                ));
            }
        }
    }
    findings
}

pub(super) fn members_take_the_workspace_lints(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.members().into_iter().map(|folder| format!("{folder}/Cargo.toml"));
    manifests
        .filter(|path| {
            let entries = entries(tree.text(path).unwrap_or(""));
            !entries.iter().any(|e| (e.table, e.key, e.value) == ("lints", "workspace", "true"))
        })
        .map(|path| Finding::new(&path, 0, "lints of its own", "`[lints] workspace = true`"))
        .collect()
}

fn crate_name(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

/// Equal, or within the family when the name ends in a dash.
fn is_named(dependency: &str, name: &str) -> bool {
    dependency == name || (name.ends_with('-') && dependency.starts_with(name))
}

fn wanted(allowed: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = allowed.iter().copied().collect();
    let names = if names.is_empty() { "none of the workspace".to_owned() } else { names.join(", ") };
    format!("{names} (the table of {ARCHITECTURE})")
}

/// The table of the architecture page: `| \`crate\` | \`crate\`, \`crate\` |`, or `none`, or `any`.
fn edge_table(tree: &Tree) -> BTreeMap<&str, Allowed<'_>> {
    let mut table = BTreeMap::new();
    for (_, line) in section(tree.text(ARCHITECTURE).unwrap_or(""), EDGE_SECTION) {
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        let (Some(from), Some(to)) = (cells.next(), cells.next()) else {
            continue;
        };
        if let [name] = code_spans(from).as_slice() {
            let allowed =
                if to == "any" { Allowed::Any } else { Allowed::Only(code_spans(to).into_iter().collect()) };
            table.insert(*name, allowed);
        }
    }
    table
}

fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut found: Vec<Dependency<'_>> = Vec::new();
    for entry in entries(manifest) {
        let (table, name) = match entry.table.rsplit_once("dependencies.") {
            Some((kind, name)) => (format!("{kind}dependencies"), name),
            None => (entry.table.to_owned(), entry.key),
        };
        if table.ends_with("dependencies") && found.last().is_none_or(|last| last.name != name) {
            found.push(Dependency { name, line: entry.line, for_tests: table.ends_with("dev-dependencies") });
        }
    }
    found
}

/// One `key = value` line of a manifest, with the table it stands in.
struct Entry<'a> {
    table: &'a str,
    key: &'a str,
    value: &'a str,
    line: usize,
}

/// The entries that manifests here have; dotted keys count as their first part.
fn entries(manifest: &str) -> Vec<Entry<'_>> {
    let mut table = "";
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = name.trim_matches(['[', ']']);
        } else if let Some((key, value)) = line.split_once('=')
            && !line.starts_with('#')
        {
            let key = key.trim().split('.').next().unwrap_or("").trim_matches('"');
            found.push(Entry { table, key, value: value.trim(), line: index + 1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n\n## Allowed dependencies\n\n| Crate | May use |\n|---|---|\n\
        | `cf-model` | `wsi-bags` |\n| `wsi-bags` | none |\n| `survstat` | any |\n\n## Next\n\n| `other` | any |\n";

    fn workspace(model: &str) -> Tree {
        Tree::of(&[
            (ARCHITECTURE, PAGE),
            ("crates/cf-model/Cargo.toml", model),
            ("crates/wsi-bags/Cargo.toml", "[dependencies]\nzip = \"9\"\n"),
            ("bins/survstat/Cargo.toml", "[dependencies]\ncf-model.workspace = true\n"),
        ])
    }

    #[test]
    fn the_three_ways_to_write_a_dependency_are_read() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\n# old = 1\nb = \"1\"\nc.workspace = true\n\
            [dev-dependencies.d]\npath = \"x\"\nfeatures = []\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n";
        let found: Vec<_> =
            dependencies(manifest).into_iter().map(|d| (d.name, d.line, d.for_tests)).collect();
        assert_eq!(found, [("b", 5, false), ("c", 6, false), ("d", 8, true), ("e", 11, false)]);
    }

    #[test]
    fn an_edge_outside_the_table_is_found_with_its_line() {
        assert_eq!(edges_are_allowed(&workspace("[dependencies]\nwsi-bags = { workspace = true }\n")), []);
        let findings = edges_are_allowed(&workspace("[dev-dependencies]\nsurvstat = { workspace = true }\n"));
        assert_eq!(
            findings[0].to_string(),
            "crates/cf-model/Cargo.toml:2: found a dependency on `survstat`, \
             wanted wsi-bags (the table of docs/architecture.md)"
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let tree = Tree::of(&[
            (ARCHITECTURE, PAGE),
            ("crates/cf-model/Cargo.toml", ""),
            ("crates/wsi-bags/Cargo.toml", ""),
            ("crates/cf-layers/Cargo.toml", ""),
        ]);
        let found: Vec<_> = edge_table_names_every_crate(&tree).into_iter().map(|f| f.found).collect();
        assert_eq!(found, ["no row for `cf-layers`", "a row for `survstat`"]);
    }

    #[test]
    fn candle_does_not_reach_the_bags() {
        let tree = Tree::of(&[
            (
                "crates/wsi-bags/Cargo.toml",
                "[dependencies]\ncandle-core = \"1\"\n[dev-dependencies]\ncsv = \"1\"\n",
            ),
            ("crates/cf-model/Cargo.toml", "[dependencies]\ncandle-core = \"1\"\n"),
        ]);
        let findings = outside_crates_stay_where_they_belong(&tree);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("crates/wsi-bags/Cargo.toml", 2));
    }

    #[test]
    fn a_member_without_the_workspace_lints_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/b/Cargo.toml", "[lints]\nworkspace = true\n"),
        ]);
        assert_eq!(members_take_the_workspace_lints(&tree).len(), 1);
    }
}
