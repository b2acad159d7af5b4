//! Text that all commands share: JSON, aligned tables, p-values.

use std::path::Path;

use cf_report::{Figure, percent};
use serde::Serialize;

use crate::error::CliError;

/// One line of JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, CliError> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// Writes a figure, if a file was asked for: beside its name, then renamed. Where that fails, nothing is left beside.
pub(crate) fn svg(
    path: Option<&Path>,
    draw: impl FnOnce() -> cf_report::Result<Figure>,
) -> Result<(), CliError> {
    let Some(path) = path else { return Ok(()) };
    let figure = draw().map_err(|source| CliError::Figure { path: path.to_owned(), source })?;
    let write_error = |source| CliError::WriteFile { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let written = std::fs::write(&beside, figure.svg).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| {
        // What went wrong is worth more than that the rest could not be removed, too.
        let _ = std::fs::remove_file(&beside);
        write_error(source)
    })
}

/// Columns as wide as their widest cell; the first is aligned left, the others right.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns)
        .map(|at| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A number of a table, or a dash where there is none.
pub(crate) fn limit(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"))
}

/// Titles of the limits of an interval.
pub(crate) fn limit_titles(level: f64) -> [String; 2] {
    let percent = percent(level);
    [format!("lower {percent}"), format!("upper {percent}")]
}

/// A p-value as C's `%.2e` prints it, from its logarithm where it is too small for an f64.
pub(crate) fn p_value(p: f64, log10_p: f64) -> String {
    if p >= 1e-300 {
        let text = format!("{p:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let exponent = log10_p.floor();
    let mantissa = format!("{:.2}", 10_f64.powf(log10_p - exponent));
    let (mantissa, exponent) =
        if mantissa == "10.00" { ("1.00", exponent + 1.0) } else { (&*mantissa, exponent) };
    format!("{mantissa}e{exponent:.0} (log10 p = {log10_p:.3})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_look_as_in_the_paper() {
        assert_eq!(p_value(0.0149, -1.83), "1.49e-02");
        assert_eq!(p_value(2.3e-39, -38.64), "2.30e-39");
        assert_eq!(p_value(1.0, 0.0), "1.00e+00");
        assert_eq!(p_value(0.0, -877.472_768), "3.37e-878 (log10 p = -877.473)");
        assert_eq!(p_value(0.0, -400.000_01), "1.00e-400 (log10 p = -400.000)");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "1".to_owned()]];
        assert_eq!(aligned(&rows), "a     10\nlong   1\n");
    }
}
