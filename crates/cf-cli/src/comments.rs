//! Comment lines above the header of a table.

use crate::delimiter::delimiter_of;
use crate::rows::{is_line_end, without_mark};

/// Where the header of a table begins: below the lines above it that begin with `#`, as in tables of cBioPortal, of a text that opens with
/// one. Below the header, a row may begin with `#`.
///
/// The header itself may begin with `#`, and its first name is then what follows without a blank: where nothing else is above a row with a number in it, and the
/// last of these lines has a name for each cell of the row; or where all lines begin so. A `#` of its own is the name of an index column.
///
/// ```
/// use cf_cli::header_at;
///
/// assert_eq!(header_at(b"# made by hand\ncase_id,months\nA,1\n"), 15);
/// assert_eq!(header_at(b"#case_id,months\nA,1\n"), 1);
/// assert_eq!(header_at(b"case_id,months\n#A,1\n"), 0);
/// ```
#[must_use]
pub fn header_at(text: &[u8]) -> usize {
    let start = text.len() - without_mark(text).len();
    match without_mark(text) {
        [b'#', next, ..] if !matches!(next, b',' | b';' | b'\t' | b'\r' | b'\n') => {}
        _ => return 0,
    }
    let (mut at, mut last) = (start, start);
    loop {
        match text.get(at) {
            Some(b'#') => {
                last = at;
                at += line_of(text, at).len();
            }
            Some(byte) if is_line_end(*byte) => at += 1,
            Some(_) if names_the_cells(line_of(text, last), text, at) => return last + 1,
            Some(_) => return at,
            None => return start + 1,
        }
    }
}

/// The rest of the line from `at` on, without its end.
fn line_of(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.iter().position(|byte| is_line_end(*byte)).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

/// Whether a comment has a name for each cell of the row at `row_at`, which has numbers.
fn names_the_cells(comment: &[u8], text: &[u8], row_at: usize) -> bool {
    let delimiter = delimiter_of(text, row_at);
    let cells_of = |text: &[u8]| {
        let mut reader = csv::ReaderBuilder::new();
        reader.has_headers(false).delimiter(delimiter).trim(csv::Trim::All);
        let mut cells = csv::StringRecord::new();
        reader.from_reader(text).read_record(&mut cells).is_ok_and(|is_there| is_there).then_some(cells)
    };
    let names = comment.strip_prefix(b"#").filter(|rest| !rest.starts_with(b" ")).and_then(cells_of);
    let (Some(names), Some(row)) = (names, text.get(row_at..).and_then(cells_of)) else { return false };
    let is_name = |cell: &str| !cell.is_empty() && !is_number(cell);
    names.len() > 1 && names.len() == row.len() && names.iter().all(is_name) && row.iter().any(is_number)
}

fn is_number(cell: &str) -> bool {
    cell.bytes().any(|byte| byte.is_ascii_digit()) && cell.replacen(',', ".", 1).parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn header(text: &str, wanted: &str) {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{text}");
            let at = header_at(text.as_bytes());
            let found = text[at..].trim_start_matches('\u{feff}');
            assert!(found.starts_with(wanted), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn comments_end_where_the_header_begins() {
        header("#Patient Identifier\tMonths\n#STRING\tNUMBER\n#1\t1\nID\tOS\nA\t1\n", "ID\tOS");
        header("# made by hand\r\n\r\nid,time\r\n#1,2\r\n", "id,time");
        header("# made by hand\rid,time\r1,2\r", "id,time");
        header("case_id\n#1\n", "case_id");
        header("#,case_id\n0,a\n", "#,case_id");
        // A comment with a comma too few, and one above a header.
        header("# id, time\nid,12,24\na,1,2\n", "id,12,24");
        header("# id, time\nid,time\na,1\n", "id,time");
        // Words above a header one of whose names is a number.
        header("# patient, dead, at 12 months\nid,dead,12\na,1,2\n", "id,dead,12");
    }

    #[test]
    fn a_header_may_begin_with_a_hash() {
        header("#id,time,event\na,1,1\n", "id,time,event\na");
        header("# made by hand\n#id;time;event\na;1,5;dead\n", "id;time;event\na");
        header("#id\t\"time\"\n\na\t1\n", "id\t\"time\"");
        header("#id,time\n#a,1\n#b,2\n", "id,time\n#a");
        // Types and numbers are no names.
        header("#id,12\na,1\n", "a,1");
        header("#id,\na,1\n", "a,1");
    }
}
