//! Shell completions and man pages of a program, made from its own arguments.
//!
//! Every program answers to `PROGRAM pages FOLDER`, which its help does not list: releases are packed with what it writes.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate_to};

/// Shells that people of the field use.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

/// Writes the pages of `command` where the program was called as `PROGRAM pages FOLDER`, and says how that ended; `None` for any
/// other call.
#[must_use]
pub fn write_if_asked(command: Command) -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [word, folder] = arguments.as_slice() else { return None };
    if word != "pages" {
        return None;
    }
    Some(match write(command, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is closed.
            let _ =
                writeln!(std::io::stderr(), "error: {}: cannot write: {error}", Path::new(folder).display());
            ExitCode::from(3)
        }
    })
}

/// Writes completions for Bash, Fish and Zsh to `completions` below `folder`, and a page per command to `man1`.
///
/// # Errors
/// If a folder or a file cannot be written.
pub fn write(command: Command, folder: &Path) -> std::io::Result<()> {
    let (completions, man) = (folder.join("completions"), folder.join("man1"));
    std::fs::create_dir_all(&completions)?;
    std::fs::create_dir_all(&man)?;
    let name = command.get_name().to_owned();
    for shell in SHELLS {
        // A copy, since completions add the command `help`, and with it a page for each command once more.
        generate_to(shell, &mut command.clone(), &name, &completions)?;
    }
    clap_mangen::generate_to(command.disable_help_subcommand(true), &man)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn every_command_has_its_page_and_every_shell_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let cut = Command::new("cut").about("Cuts the tissue").arg(Arg::new("mpp").long("mpp"));
        let cut = cut.subcommand(Command::new("again"));
        write(Command::new("tool").version("1.2").subcommand(cut), folder.path()).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for file in ["tool.bash", "tool.fish", "_tool"] {
            assert!(text(&format!("completions/{file}")).contains("mpp"), "{file}");
        }
        assert!(text("man1/tool.1").contains("tool 1.2"));
        assert!(text("man1/tool-cut.1").contains("Cuts the tissue"));
        assert_eq!(
            std::fs::read_dir(folder.path().join("man1")).unwrap().count(),
            3,
            "tool, its command, and its"
        );
    }
}
