//! Words of a command line.

/// As a POSIX shell takes it literally.
pub(crate) fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(shell("/a/b-1.2"), "/a/b-1.2");
        assert_eq!(shell("/a b/it's $x"), r"'/a b/it'\''s $x'");
        assert_eq!(shell(""), "''");
    }
}
