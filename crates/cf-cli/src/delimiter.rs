//! What separates the cells of a table.

use crate::rows::{is_line_end, without_mark};

const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// The separator that the header of a table has most of, outside quotes: a comma, a semicolon or a tab; a comma where it has none.
///
/// - `header_at`: where its header begins, as for [`Records`](crate::Records).
#[must_use]
pub fn delimiter_of(text: &[u8], header_at: usize) -> u8 {
    let mut counts = DELIMITERS.map(|delimiter| (delimiter, 0));
    let mut is_quoted = false;
    let mut before = None;
    let header = without_mark(text.get(header_at..).unwrap_or_default());
    for &byte in header.iter().skip_while(|byte| is_line_end(**byte)) {
        if is_quoted {
            is_quoted = byte != b'"';
        } else if is_line_end(byte) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_the_header_has_most_of() {
        let of = |text: &str| delimiter_of(text.as_bytes(), 0);
        assert_eq!(of("case_id,slide_id"), b',');
        assert_eq!(of("case_id;\"time, in months; total\";slide_id"), b';');
        assert_eq!(of("PATIENT_ID\tOS_MONTHS\na,b,c,d\n"), b'\t');
        assert_eq!(of("train\na;b\n"), b',');
        assert_eq!(of("a,b;c"), b',');
        assert_eq!(of("\r\n\n\u{feff}"), b',');
    }

    #[test]
    fn a_header_may_have_line_ends_and_quotes_in_its_cells() {
        let of = |text: &str| delimiter_of(text.as_bytes(), 0);
        assert_eq!(of("\u{feff}\"time\n(months)\";e;x\n1;1;3\n"), b';');
        assert_eq!(of("\"time\r\n(\"\"months\"\", d,e,f)\";e\r\n1;1\r\n"), b';');
        assert_eq!(of("scar 5\";event;x\n1,\"1,3\n"), b';');
        assert_eq!(delimiter_of(b"#a;b;c\r\n#d\r\n\r\ne,f;g\th\ti\r\n", 14), b'\t');
    }
}
