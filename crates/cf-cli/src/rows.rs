//! Where the rows of a delimited table lie in its text, and quotes that take rows for text of a cell.

/// The place and the size of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowPlace {
    /// The line on which it begins, from 1. Lines end at `\n`, `\r\n` or a `\r` of its own.
    pub(crate) line: u64,
    /// How many cells it has.
    pub(crate) n_cells: usize,
}

/// A quote that takes the rows below it for text of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StrayQuote {
    /// The line on which it opens, from 1.
    pub(crate) line: u64,
    is_closed: bool,
}

impl StrayQuote {
    /// What is wrong, without the line.
    pub(crate) fn problem(self) -> &'static str {
        if self.is_closed {
            "the quote that opens here closes on a later line, and all lines that it takes look like rows"
        } else {
            "the quote that opens here is never closed, so that all rows below are text of its value"
        }
    }
}

/// The rows of a table in their order, the header first, as the crate `csv` reads them: lines without anything are passed over, and
/// a quote opens at the start of a cell only. That crate does not tell the line of a row that follows an empty one, nor of any
/// row where lines do not end at `\n` alone, and takes the end of the file for the end of a quote.
///
/// - `header_at`: where the header begins in the text; what is above it is no row.
///
/// Every item is a row, also one with a [`StrayQuote`].
pub(crate) fn rows(text: &[u8], delimiter: u8, header_at: usize) -> Rows<'_> {
    let mut rows = Rows { text, at: 0, line: 1, delimiter, header: None };
    let header_at = header_at.max(text.len() - without_mark(text).len());
    while rows.at < header_at && rows.step().is_some() {}
    rows
}

/// See [`rows`].
#[derive(Debug, Clone)]
pub(crate) struct Rows<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
    delimiter: u8,
    /// Delimiters of the first row.
    header: Option<usize>,
}

/// What is known of the lines that a row takes.
struct Lines {
    /// Delimiters of the line so far, within quotes or not.
    n_delimiters: usize,
    /// Whether each of them has as many as the header.
    are_like_rows: bool,
}

impl Rows<'_> {
    /// Passes over all rows that are left.
    pub(crate) fn finish(&mut self) {
        self.at = self.text.len();
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn step(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        if self.ends_line(byte) {
            self.line += 1;
        }
        self.at += 1;
        Some(byte)
    }

    /// Whether a byte at this place is the first of a line end.
    fn ends_line(&self, byte: u8) -> bool {
        let is_second = || self.at.checked_sub(1).and_then(|at| self.text.get(at)) == Some(&b'\r');
        byte == b'\r' || byte == b'\n' && !is_second()
    }

    /// Passes over empty lines.
    fn skip(&mut self) {
        while self.peek().is_some_and(is_line_end) {
            self.step();
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RowPlace, StrayQuote>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip();
        self.peek()?;
        let (line, mut n_cells) = (self.line, 1);
        let mut lines = Lines { n_delimiters: 0, are_like_rows: true };
        // Lines on which the quote that is open began, and the first that took more than a line.
        let (mut open, mut first_long) = (None, None);
        let mut starts_cell = true;
        while let Some(byte) = self.peek() {
            let (is_delimiter, ends_line) = (byte == self.delimiter, self.ends_line(byte));
            if open.is_none() && is_line_end(byte) {
                break;
            }
            if open.is_none() && byte == b'"' && starts_cell {
                open = Some(self.line);
            } else if open.is_some() && byte == b'"' {
                self.step();
                // Written twice, it is one of the cell's.
                if self.peek() != Some(b'"') {
                    open = None;
                    continue;
                }
            }
            if open.is_some() && ends_line {
                first_long = first_long.or(open);
                lines.end(self.header);
            }
            lines.n_delimiters += usize::from(is_delimiter);
            starts_cell = is_delimiter && open.is_none();
            n_cells += usize::from(starts_cell);
            self.step();
        }
        if let Some(line) = open {
            return Some(Err(StrayQuote { line, is_closed: false }));
        }
        lines.end(self.header);
        self.header = self.header.or(Some(n_cells - 1));
        // With two columns, a note of several lines may have one comma in each.
        match (first_long, self.header) {
            (Some(line), Some(2..)) if lines.are_like_rows => Some(Err(StrayQuote { line, is_closed: true })),
            _ => Some(Ok(RowPlace { line, n_cells })),
        }
    }
}

impl Lines {
    fn end(&mut self, header: Option<usize>) {
        self.are_like_rows &= header == Some(self.n_delimiters);
        self.n_delimiters = 0;
    }
}

pub(crate) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Text without the byte order mark before it.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(u64, usize)> {
        rows(text.as_bytes(), b',', 0).map(|row| row.map(|row| (row.line, row.n_cells)).unwrap()).collect()
    }

    fn stray(text: &str) -> Option<u64> {
        rows(text.as_bytes(), b',', 0).find_map(|row| row.err().map(|quote| quote.line))
    }

    #[test]
    fn lines_are_those_of_an_editor_whatever_ends_them() {
        let wanted = [(1, 2), (2, 2), (5, 2), (7, 1)];
        for end in ["\n", "\r\n", "\r"] {
            let text = "a,b\n1,2\n\n\n3,\"4\n5\"\n6\n".replace('\n', end);
            assert_eq!(places(&text), wanted, "{text:?}");
            assert_eq!(places(&format!("\u{feff}{text}")), wanted);
        }
        for text in
            ["#one\n#two\na\tb\n#1\t2\n", "#one\r\n#two\r\na\tb\r\n#1\t2", "#one\r#two\ra\tb\r#1\t2\r"]
        {
            let header_at = text.find('a').unwrap();
            let lines: Vec<u64> =
                rows(text.as_bytes(), b'\t', header_at).map(|row| row.unwrap().line).collect();
            assert_eq!(lines, [3, 4], "{text:?}");
        }
    }

    #[test]
    fn rows_and_cells_are_those_of_the_reader() {
        const LETTERS: [char; 6] = [',', '"', '\n', '\r', 'a', '#'];
        for length in 0..=6_u32 {
            for number in 0..LETTERS.len().pow(length) {
                let letter = |at: u32| LETTERS[number / LETTERS.len().pow(at) % LETTERS.len()];
                let text: String = (0..length).map(letter).collect();
                let ours: Vec<Option<usize>> =
                    rows(text.as_bytes(), b',', 0).map(|row| row.ok().map(|row| row.n_cells)).collect();
                let mut reader = csv::ReaderBuilder::new();
                reader.has_headers(false).flexible(true).buffer_capacity(16);
                let theirs: Vec<usize> =
                    reader.from_reader(text.as_bytes()).records().map(|row| row.unwrap().len()).collect();
                assert_eq!(ours.len(), theirs.len(), "{text:?}");
                let agree = |(ours, theirs): (&Option<usize>, &usize)| ours.is_none_or(|n| n == *theirs);
                assert!(ours.iter().zip(&theirs).all(agree), "{text:?}: {ours:?}, not {theirs:?}");
            }
        }
    }

    #[test]
    fn a_quote_that_takes_rows_is_named_by_the_line_on_which_it_opens() {
        let table = |rows: &str| stray(&format!("t,e,x\n1,1,a\n{rows}"));
        assert_eq!(table("2,1,\"b\n3,0,c\n"), Some(3));
        assert_eq!(table("2,1,\"b\n3,0,c\n4,1,d\"\n5,0,e\n"), Some(3));
        assert_eq!(table("2,1,\"b\"\n\"3,0,c\r\n4,1,\"d\n"), Some(4));
        assert_eq!(stray("\"t,e,x\n1,1,a\n"), Some(1));
        // Text of several lines, quotes within cells, and quotes written twice take none.
        assert_eq!(table("2,1,\"b\nand, as well, c\nd\"\n3,0,5\" scar\n4,1,\"5\"\" scar\"\n"), None);
        assert_eq!(stray("t,note\n1,\"a, b\nc, d\"\n"), None);
        let quotes: Vec<&str> = ["t\n\"1\n", "a,b,c\n1,2,\"3\n4,5,6\"\n"]
            .map(|text| rows(text.as_bytes(), b',', 0).find_map(Result::err).unwrap().problem())
            .into();
        assert!(quotes[0].starts_with("the quote that opens here is never closed"), "{quotes:?}");
        assert!(quotes[1].starts_with("the quote that opens here closes on a later line"), "{quotes:?}");
    }
}
