//! What enters a Cox model: columns of numbers, and the levels of columns of labels against a reference.

use std::collections::BTreeSet;

use crate::args::CoxArguments;
use crate::error::CliError;
use crate::sample::each_once;
use crate::table::Table;

/// Levels of a column, beyond which it is one of numbers or of names.
const MOST_LEVELS: usize = 50;

/// One coefficient.
pub(crate) struct Term<'a> {
    /// The column.
    pub(crate) column: &'a str,
    /// Of a column of labels, the level and the reference.
    pub(crate) level: Option<(&'a str, &'a str)>,
    /// One per row.
    pub(crate) values: Vec<f64>,
}

impl Term<'_> {
    /// As tables and figures name it.
    pub(crate) fn label(&self) -> String {
        match self.level {
            None => self.column.to_owned(),
            Some((level, reference)) => format!("{} {level} vs {reference}", self.column),
        }
    }
}

/// The terms of all columns that are asked for: those of numbers, then those of labels.
pub(crate) fn terms<'a>(table: &'a Table, arguments: &'a CoxArguments) -> Result<Vec<Term<'a>>, CliError> {
    each_once("--covariate", &arguments.covariate)?;
    let number =
        |column: &'a String| Ok::<_, CliError>(Term { column, level: None, values: table.numbers(column)? });
    let mut terms: Vec<Term<'a>> = arguments.covariate.iter().map(number).collect::<Result<_, _>>()?;
    for factor in &arguments.factor {
        let of_factor = of_factor(table, factor)?;
        if let Some(twice) = of_factor.iter().find(|term| terms.iter().any(|of| of.column == term.column)) {
            let problem = format!("--covariate and --factor name the column `{}` twice", twice.column);
            return Err(CliError::Usage { problem, hint: "name each column once" });
        }
        terms.extend(of_factor);
    }
    Ok(terms)
}

/// The terms of `COL` or `COL=REFERENCE`; a column may itself have the sign in its name.
fn of_factor<'a>(table: &'a Table, factor: &'a str) -> Result<Vec<Term<'a>>, CliError> {
    let splits = factor.match_indices('=').map(|(at, sign)| (&factor[..at], &factor[at + sign.len()..]));
    let named = splits.rev().find(|(column, _)| table.has_column(column)).or_else(|| factor.rsplit_once('='));
    let (column, reference) = match named {
        Some((column, reference)) if !table.has_column(factor) => (column, Some(reference)),
        _ => (factor, None),
    };
    let labels = table.labels(column)?;
    let mut levels: Vec<&str> = labels.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if let Some(mut numbers) = levels
        .iter()
        .map(|level| level.parse::<f64>().ok().map(|number| (number, *level)))
        .collect::<Option<Vec<_>>>()
    {
        numbers.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        levels = numbers.into_iter().map(|(_, level)| level).collect();
    }
    let fault = |problem: String, hint: &str| CliError::in_file(table.path(), problem, hint);
    let reference = match reference {
        None => levels.first().copied().unwrap_or_default(),
        Some(asked) => levels.iter().copied().find(|level| *level == asked).ok_or_else(|| {
            let found = cf_cli::listed(&levels);
            fault(
                format!("column `{column}` has no level `{asked}`; its levels are {found}"),
                "name one of them as the reference",
            )
        })?,
    };
    if levels.len() < 2 {
        let problem = format!("column `{column}` has one level, `{reference}`, expected two or more");
        return Err(fault(problem, "leave it out"));
    }
    if levels.len() > MOST_LEVELS {
        let problem =
            format!("column `{column}` has {} levels, expected at most {MOST_LEVELS}", levels.len());
        return Err(fault(problem, "--covariate takes a column of numbers, --strata one of many sites"));
    }
    let term = |level: &'a str| Term {
        column,
        level: Some((level, reference)),
        values: labels.iter().map(|label| f64::from(u8::from(*label == level))).collect(),
    };
    Ok(levels.into_iter().filter(|level| *level != reference).map(term).collect())
}
