//! Cells of tables that people and their tools wrote.

/// Whether a cell is a word for a value that is missing, in any case: those of TCGA, GDC, pandas and R.
#[must_use]
pub fn is_missing(cell: &str) -> bool {
    const WORDS: [&str; 14] = [
        "na",
        "n/a",
        "nan",
        "none",
        "null",
        "[not available]",
        "[not applicable]",
        "[unknown]",
        "unknown",
        "not reported",
        "unspecified",
        "not allowed to collect",
        "'--",
        "--",
    ];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(cell))
}
