//! What a program needs of the system that it runs on.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::failure::Failure;
use crate::step::Step;

/// The newest glibc that a release may need, as docs/releases.md promises.
const NEWEST_GLIBC: [u32; 2] = [2, 35];
/// Libraries that are there on every system with that glibc.
const LIBRARIES: [&str; 5] =
    ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libgcc_s.so.1", "libm.so.6"];

/// The newest symbol version of glibc, and the libraries that are loaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    glibc: [u32; 2],
    libraries: BTreeSet<String>,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let libraries: Vec<&str> = self.libraries.iter().map(String::as_str).collect();
        write!(f, "glibc {}.{}; {}", self.glibc[0], self.glibc[1], libraries.join(", "))
    }
}

/// Reads a program's needs, and refuses one that needs more than a release promises.
pub(super) fn inspect(root: &Path, program: &Path) -> Result<Needs, Failure> {
    let name = program.to_str().ok_or_else(|| Failure::new(format!("{} is not UTF-8", program.display())))?;
    let needs = needs_of(&Step::new(root, "objdump", &["-p", "-T", name]).stdout()?)
        .ok_or_else(|| Failure::new(format!("objdump shows no glibc symbol of {name}")))?;
    let stranger = needs.libraries.iter().find(|library| !LIBRARIES.contains(&library.as_str()));
    match stranger {
        Some(library) => Err(Failure::new(format!("{name} needs {library}, which not every system has"))),
        None if needs.glibc > NEWEST_GLIBC => {
            let [major, minor] = NEWEST_GLIBC;
            Err(Failure::new(format!("{name} needs {needs}, expected glibc {major}.{minor} at most")))
        }
        None => Ok(needs),
    }
}

fn needs_of(listing: &str) -> Option<Needs> {
    let words = || listing.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    let version = |word: &str| {
        let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some([major.parse().ok()?, minor.parse().ok()?])
    };
    let glibc = words().filter_map(version).max()?;
    let needed = |line: &str| line.trim().strip_prefix("NEEDED").map(|name| name.trim().to_owned());
    Some(Needs { glibc, libraries: listing.lines().filter_map(needed).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_counts_and_versions_are_numbers() {
        let listing = "\
Dynamic Section:
  NEEDED               libgcc_s.so.1
  NEEDED               libc.so.6
Version References:
  required from libc.so.6:
    0x06969189 0x00 09 GLIBC_2.9
DYNAMIC SYMBOL TABLE:
0000000000000000      DF *UND*  0000000000000000 (GLIBC_2.34) __libc_start_main
0000000000000000      DF *UND*  0000000000000000 (GLIBC_2.2.5) free
";
        let needs = needs_of(listing).unwrap();
        assert_eq!(needs.to_string(), "glibc 2.34; libc.so.6, libgcc_s.so.1");
        assert_eq!(needs_of("a static program"), None);
    }
}
