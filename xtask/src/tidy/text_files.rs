//! Rules on every text file.

use super::Finding;
use super::tree::Tree;

/// First folders of paths that exist on one machine only.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "Users", "work"];

pub(super) fn lines_end_with_text(tree: &Tree) -> Vec<Finding> {
    each_line(tree)
        .filter(|(_, _, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(path, number, _)| Finding::new(path, number, "white space at the end of a line", "none"))
        .collect()
}

pub(super) fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    each_line(tree)
        .filter_map(|(path, number, line)| Some((path, number, machine_path(line)?)))
        .map(|(path, number, machine)| {
            Finding::new(
                path,
                number,
                format!("the machine path `{machine}`"),
                "a path relative to the repository",
            )
        })
        .collect()
}

/// Outputs of notebooks are made by `cargo xtask notebooks`; committed, they would go stale unseen.
pub(super) fn notebooks_hold_no_output(tree: &Tree) -> Vec<Finding> {
    let output = |line: &str| {
        let line = line.trim_start();
        let empty = |key: &str, value: &str| {
            line.strip_prefix(key).is_some_and(|rest| rest.trim().trim_end_matches(',') != value)
        };
        empty("\"outputs\":", "[]") || empty("\"execution_count\":", "null")
    };
    each_line(tree)
        .filter(|(path, _, line)| path.ends_with(".ipynb") && output(line))
        .map(|(path, number, _)| Finding::new(path, number, "the output of a cell", "none"))
        .collect()
}

fn each_line(tree: &Tree) -> impl Iterator<Item = (&str, usize, &str)> {
    tree.texts().flat_map(|(path, text)| {
        text.split('\n').enumerate().map(move |(index, line)| (path, index + 1, line))
    })
}

/// The first absolute path into a folder of one machine.
fn machine_path(line: &str) -> Option<&str> {
    MACHINE_FOLDERS.iter().find_map(|folder| {
        let needle = format!("/{folder}/");
        line.match_indices(&needle).map(|(at, _)| at).find_map(|at| {
            let before = line[..at].chars().next_back();
            let starts = !before.is_some_and(|c| c.is_alphanumeric() || "._-/<>{}$*".contains(c));
            let path = line[at..].split(|c: char| c.is_whitespace() || "\"'`)>,;".contains(c)).next()?;
            (starts && path.len() > needle.len()).then_some(path)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_notebooks_are_found() {
        let tree = Tree::of(&[
            ("run.ipynb", " \"execution_count\": 3,\n \"outputs\": [\n"),
            ("fresh.ipynb", " \"execution_count\": null,\n \"outputs\": [],\n"),
        ]);
        let found = notebooks_hold_no_output(&tree);
        assert_eq!(
            found.iter().map(|finding| (&*finding.path, finding.line)).collect::<Vec<_>>(),
            [("run.ipynb", 1), ("run.ipynb", 2)]
        );
    }

    #[test]
    fn trailing_white_space_is_found_with_its_line() {
        let tree = Tree::of(&[("a.md", "one\ntwo \nthree\t\n"), ("b.md", "fine\n")]);
        let found: Vec<usize> = lines_end_with_text(&tree).iter().map(|finding| finding.line).collect();
        assert_eq!(found, [2, 3]);
    }

    #[test]
    fn absolute_paths_of_one_machine_are_found() {
        let home = format!("dir = \"/{}/someone/data\"", "home");
        assert_eq!(machine_path(&home), Some(&home[7..home.len() - 1]));
        assert_eq!(machine_path(&format!("docs/{}/page.md", "work")), None);
        assert_eq!(machine_path(&format!("https://example.org/{}/page", "home")), None);
        assert_eq!(machine_path("features/blca"), None);
    }
}
