//! Cells of tables that people and their tools wrote.

/// Whether a cell is a word for a value that is missing, in any case: those of TCGA, GDC, pandas, R, Excel, SAS and Weka. A single
/// hyphen is none: it is the other one of `+`.
#[must_use]
pub fn is_missing(cell: &str) -> bool {
    const WORDS: [&str; 18] = [
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
        "<na>",
        "#n/a",
        ".",
        "?",
    ];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(cell))
}
