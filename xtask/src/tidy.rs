//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! A rule is a function from the files of the checkout to its findings; the values it compares with are constants
//! at the head of its file. Nothing here reads the disk but [`Tree::read`], so each rule is tested on snippets.

mod benchmarks;
mod documents;
mod manifests;
mod rust_files;
mod rust_source;
mod text_files;
mod tree;

use std::fmt;
use std::path::Path;

use crate::failure::Failure;
use tree::Tree;

/// Compare generated files, or rewrite them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    Write,
}

/// One broken rule: where, what is there, what should be.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 stands for the file as a whole.
    line: usize,
    found: String,
    wanted: String,
}

impl Finding {
    fn new(path: &str, line: usize, found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, found: found.into(), wanted: wanted.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": found {}, wanted {}", self.found, self.wanted)
    }
}

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [Rule; 20] = [
    manifests::edges_are_allowed,
    manifests::edge_table_names_every_crate,
    manifests::outside_crates_stay_where_they_belong,
    manifests::members_take_the_workspace_lints,
    rust_files::module_docs_open_every_file,
    rust_files::names_say_something,
    rust_files::files_stay_short,
    rust_files::unsafe_stays_in_its_places,
    rust_files::unsafe_has_a_safety_line,
    rust_files::cuda_is_chosen_in_the_kernels,
    text_files::lines_end_with_text,
    text_files::no_machine_paths,
    text_files::notebooks_hold_no_output,
    documents::code_map_lists_every_crate,
    documents::code_map_names_files_that_exist,
    documents::named_paths_exist,
    documents::every_reference_file_is_explained,
    documents::every_example_config_is_listed,
    benchmarks::files_are_complete,
    benchmarks::page_is_current,
];

/// Checks every rule; in write mode, first brings the generated page up to date.
pub(crate) fn run(root: &Path, mode: Mode) -> Result<(), Failure> {
    let mut tree = Tree::read(root)?;
    if mode == Mode::Write {
        let page = benchmarks::page(&tree);
        let path = root.join(benchmarks::PAGE);
        std::fs::write(&path, &page).map_err(|error| Failure::io("write", &path, &error))?;
        tree.insert(benchmarks::PAGE, page);
    }
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} rules hold for {} files", RULES.len(), tree.len());
        Ok(())
    } else {
        Err(Failure::new(format!("tidy: {} findings", findings.len())))
    }
}
