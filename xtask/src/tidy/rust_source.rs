//! Telling code from comments and literals in Rust source, so that a rule does not trip over a word in a string.

/// What a byte of source belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Code,
    Comment,
    Literal,
}

/// The class of every byte of `source`.
pub(super) fn classify(source: &str) -> Vec<Class> {
    let bytes = source.as_bytes();
    let mut classes = vec![Class::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let (class, end) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => (Class::Comment, end_of_line(bytes, at)),
            b'/' if bytes[at..].starts_with(b"/*") => (Class::Comment, end_of_block(bytes, at)),
            b'"' => (Class::Literal, end_of_string(bytes, at)),
            b'r' if !follows_word(bytes, at) => match end_of_raw_string(bytes, at) {
                Some(end) => (Class::Literal, end),
                None => (Class::Code, at + 1),
            },
            b'\'' => match end_of_char(source, at) {
                Some(end) => (Class::Literal, end),
                None => (Class::Code, at + 1),
            },
            _ => (Class::Code, at + 1),
        };
        classes[at..end].fill(class);
        at = end;
    }
    classes
}

/// The source with comments and literals blanked; line numbers stay.
pub(super) fn code_only(source: &str) -> String {
    let classes = classify(source);
    let bytes = source.bytes().zip(classes);
    let kept: Vec<u8> =
        bytes.map(|(byte, class)| if class == Class::Code || byte == b'\n' { byte } else { b' ' }).collect();
    String::from_utf8_lossy(&kept).into_owned()
}

/// Lines of `source` outside items marked `#[cfg(test)]`.
pub(super) fn lines_without_tests(source: &str) -> usize {
    const MARK: &str = "#[cfg(test)]";
    let code = code_only(source);
    let mut lines = code.lines().count();
    let mut at = 0;
    while let Some(found) = code[at..].find(MARK) {
        let start = at + found;
        let end = end_of_item(&code, start + MARK.len());
        lines -= code[start..end].matches('\n').count().min(lines);
        at = end;
    }
    lines
}

/// Where the whole word `word` starts in `line`.
pub(super) fn find_word(line: &str, word: &str) -> Option<usize> {
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Just past the item that starts at `from`: its closing brace, or its semicolon where no brace comes first.
fn end_of_item(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[from..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return from + offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |length| at + length)
}

fn end_of_block(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = at;
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn end_of_raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &bytes[open + 1..];
    let found = body.windows(close.len()).position(|window| window == close);
    Some(found.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// Past a character literal; `None` for a lifetime.
fn end_of_char(source: &str, at: usize) -> Option<usize> {
    let rest = &source[at + 1..];
    let first = rest.chars().next()?;
    if first == '\\' {
        let escaped = rest.char_indices().nth(2)?.0;
        return rest[escaped..].find('\'').map(|close| at + 1 + escaped + close + 1);
    }
    let close = first.len_utf8();
    rest[close..].starts_with('\'').then_some(at + 1 + close + 1)
}

/// Whether the byte before continues an identifier, `br` and `cr` prefixes of raw strings aside.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let part = |i: usize| bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_';
    match at {
        0 => false,
        1 => part(0) && !matches!(bytes[0], b'b' | b'c'),
        _ => part(at - 1) && (!matches!(bytes[at - 1], b'b' | b'c') || part(at - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let source = "let a = \"unsafe \\\" x\"; // unsafe\nlet b = r#\"un\"safe\"#; /* a /* b */ c */ done";
        let code = code_only(source);
        assert_eq!(find_word(&code, "unsafe"), None);
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>(),
            ["let", "a", "=", ";", "let", "b", "=", ";", "done"]
        );
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        let code = code_only("fn f<'a>(x: &'a str) { g('{', '\\'', '\\u{7b}', 'é') }");
        assert_eq!(code.matches('{').count(), 1);
        assert!(code.contains("&'a str"));
    }

    #[test]
    fn a_word_inside_a_longer_name_is_not_found() {
        assert_eq!(find_word("#![deny(unsafe_code)]", "unsafe"), None);
        assert_eq!(find_word("let x = unsafe { y };", "unsafe"), Some(8));
        assert_eq!(find_word("error\"", "r"), None);
    }

    #[test]
    fn test_modules_are_not_counted() {
        let source = "//! Docs.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\n";
        assert_eq!(lines_without_tests(source), 4);
        assert_eq!(lines_without_tests("#[cfg(test)]\nuse x;\nfn a() {}\n"), 2);
    }
}
