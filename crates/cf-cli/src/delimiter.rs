//! What separates the cells of a table.

use crate::rows::without_mark;

const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// The separator that the header of a table has most of, outside quotes: a comma, a semicolon or a tab; a comma where it has none.
///
/// - `comment`: what begins a line that is no row, as for [`Records`](crate::Records).
#[must_use]
pub fn delimiter_of(text: &[u8], comment: Option<u8>) -> u8 {
    let mut counts = DELIMITERS.map(|delimiter| (delimiter, 0));
    let mut is_quoted = false;
    let mut before = None;
    for &byte in header_on(without_mark(text), comment) {
        if is_quoted {
            is_quoted = byte != b'"';
        } else if matches!(byte, b'\n' | b'\r') {
            break;
        } else if byte == b'"' {
            // Elsewhere it is a letter of the cell, or, after another one, one that is written twice.
            is_quoted = before.is_none_or(|before| before == b'"' || DELIMITERS.contains(&before));
        } else if let Some((_, n)) = counts.iter_mut().find(|(delimiter, _)| *delimiter == byte) {
            *n += 1;
        }
        before = Some(byte);
    }
    // The first of equals wins, so a comma beats a semicolon.
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(b',', |(delimiter, _)| *delimiter)
}

/// What begins lines that are no rows: a `#`, where the first line is a comment, as in tables of cBioPortal. A `#` of its own is the name
/// of an index column.
#[must_use]
pub fn comment_of(text: &[u8]) -> Option<u8> {
    let next = without_mark(text).strip_prefix(b"#")?.first()?;
    (!matches!(next, b',' | b';' | b'\t' | b'\r' | b'\n')).then_some(b'#')
}

/// The text from its header on.
fn header_on(text: &[u8], comment: Option<u8>) -> &[u8] {
    let mut rest = text;
    loop {
        rest = match rest {
            [b'\n' | b'\r', after @ ..] => after,
            [first, ..] if Some(*first) == comment => {
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                rest.get(end..).unwrap_or_default()
            }
            _ => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_column_called_by_a_hash_is_no_comment() {
        let opens_with_comments = |text: &str| comment_of(text.as_bytes()) == Some(b'#');
        assert!(opens_with_comments("#Patient Identifier\tMonths\n"));
        assert!(opens_with_comments("\u{feff}#Patient Identifier\tMonths\n"));
        assert!(!opens_with_comments("#,case_id\n0,a\n"));
        assert!(!opens_with_comments("case_id\n#1\n"));
    }

    #[test]
    fn the_delimiter_is_the_one_that_the_header_has_most_of() {
        let of = |text: &str| delimiter_of(text.as_bytes(), None);
        assert_eq!(of("case_id,slide_id"), b',');
        assert_eq!(of("case_id;\"time, in months; total\";slide_id"), b';');
        assert_eq!(of("PATIENT_ID\tOS_MONTHS\na,b,c,d\n"), b'\t');
        assert_eq!(of("train\na;b\n"), b',');
        assert_eq!(of("a,b;c"), b',');
        assert_eq!(of("\r\n\n\u{feff}"), b',');
    }

    #[test]
    fn a_header_may_have_line_ends_and_quotes_in_its_cells() {
        let of = |text: &str| delimiter_of(text.as_bytes(), None);
        assert_eq!(of("\u{feff}\"time\n(months)\";e;x\n1;1;3\n"), b';');
        assert_eq!(of("\"time\r\n(\"\"months\"\", d,e,f)\";e\r\n1;1\r\n"), b';');
        assert_eq!(of("scar 5\";event;x\n1,\"1,3\n"), b';');
        assert_eq!(delimiter_of(b"#a;b;c\r\n#d\r\n\r\ne,f;g\th\ti\r\n", Some(b'#')), b'\t');
    }
}
