//! Names of encoders as tools spell them.

/// Whether `wanted` names the encoder that a file or folder calls `stated`: the same letters in either case, `-` and
/// `_` alike, and STAMP's code hash at the end of either left out.
pub(crate) fn is_name_of(wanted: &str, stated: &str) -> bool {
    let (wanted, stated) = (folded(wanted), folded(stated));
    wanted == stated
        || without_hash(&wanted) == Some(stated.as_str())
        || without_hash(&stated) == Some(wanted.as_str())
}

fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// The name before `_` and eight or more hexadecimal digits.
fn without_hash(name: &str) -> Option<&str> {
    const SHORTEST: usize = 8;
    let (name, hash) = name.rsplit_once('_')?;
    let is_hash = hash.len() >= SHORTEST && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_and_hashes_do_not_tell_encoders_apart() {
        for (wanted, stated) in [
            ("uni", "uni"),
            ("uni_v1", "UNI-v1"),
            ("uni2", "uni2-0a1b2c3d"),
            ("uni2-0a1b2c3d", "uni2"),
            ("uni2-0a1b2c3d", "uni2-0a1b2c3d"),
        ] {
            assert!(is_name_of(wanted, stated), "{wanted} {stated}");
        }
        for (wanted, stated) in [
            ("uni", "uni_v1"),
            ("uni2-0a1b2c3d", "uni2-11111111"),
            ("uni2", "uni2-0a1b"),
            ("uni2", "uni2-0a1b2c3g"),
            ("", "0a1b2c3d"),
        ] {
            assert!(!is_name_of(wanted, stated), "{wanted} {stated}");
        }
    }
}
