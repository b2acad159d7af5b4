//! What separates the cells of a table.

/// The separator that a header line has most of, outside quotes: a comma, a semicolon or a tab; a comma where it has none.
#[must_use]
pub fn delimiter_of(header: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in header.bytes() {
        if byte == b'"' {
            quoted = !quoted;
        } else if !quoted && let Some((_, n)) = counts.iter_mut().find(|(delimiter, _)| *delimiter == byte) {
            *n += 1;
        }
    }
    // The first of equals wins, so a comma beats a semicolon.
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(b',', |(delimiter, _)| *delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_the_header_has_most_of() {
        assert_eq!(delimiter_of("case_id,slide_id"), b',');
        assert_eq!(delimiter_of("case_id;\"time, in months; total\";slide_id"), b';');
        assert_eq!(delimiter_of("PATIENT_ID\tOS_MONTHS"), b'\t');
        assert_eq!(delimiter_of("train"), b',');
        assert_eq!(delimiter_of("a,b;c"), b',');
    }
}
