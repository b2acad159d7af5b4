//! What the recipes of images do, read from them so that it can be done without Docker or Apptainer.

/// Files that come into an image, commands that are run in it, and its search path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    /// Name beside the recipe, place in the image.
    pub(super) files: Vec<(String, String)>,
    /// Commands that make the image, in order.
    pub(super) commands: Vec<String>,
    /// `PATH` in the image.
    pub(super) path: String,
    /// Commands that test the finished image.
    pub(super) tests: Vec<String>,
}

impl Recipe {
    /// Of a `Dockerfile` whose instructions take a line each.
    pub(super) fn of_dockerfile(text: &str) -> Self {
        let mut recipe = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("COPY", rest)) => recipe.files.extend(pair(rest)),
                Some(("RUN", rest)) => recipe.commands.push(rest.to_owned()),
                Some(("ENV", rest)) => recipe.set_path(rest),
                _ => {}
            }
        }
        recipe
    }

    /// Of an Apptainer definition.
    pub(super) fn of_definition(text: &str) -> Self {
        let mut recipe = Self::default();
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match (line.strip_prefix('%'), section) {
                (Some(name), _) => section = name,
                (None, "files") => recipe.files.extend(pair(line)),
                (None, "post") => recipe.commands.push(line.to_owned()),
                (None, "environment") => recipe.set_path(line.trim_start_matches("export ")),
                (None, "test") => recipe.tests.push(line.to_owned()),
                _ => {}
            }
        }
        recipe
    }

    fn set_path(&mut self, assignment: &str) {
        if let Some(path) = assignment.strip_prefix("PATH=") {
            self.path = path.to_owned();
        }
    }
}

fn pair(words: &str) -> Option<(String, String)> {
    let (from, to) = words.split_once(' ')?;
    Some((from.to_owned(), to.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_recipe_say_the_same() {
        let docker =
            "FROM debian\nCOPY a.tar.gz /tmp/a\nRUN tar -xf /tmp/a\nENV PATH=/opt/bin:/bin\nCMD [\"a\"]\n";
        let definition = "Bootstrap: docker\n%files\n    a.tar.gz /tmp/a\n\n%post\n    tar -xf /tmp/a\n\
                          %environment\n    export PATH=/opt/bin:/bin\n%runscript\n    exec a\n";
        let found = Recipe::of_dockerfile(docker);
        assert_eq!(found.files, [("a.tar.gz".to_owned(), "/tmp/a".to_owned())]);
        assert_eq!(found.commands, ["tar -xf /tmp/a"]);
        assert_eq!(found.path, "/opt/bin:/bin");
        assert_eq!(found, Recipe::of_definition(definition));
    }
}
