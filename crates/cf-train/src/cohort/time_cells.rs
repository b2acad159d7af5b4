//! Times of the clinical table: units, and cells that say nothing was recorded.

use serde::{Deserialize, Serialize};

/// Days of a month: 365.25 / 12.
const DAYS_PER_MONTH: f64 = 30.4375;

/// The unit of a time column; times leave the table in months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// 30.4375 to a month.
    Days,
    /// 7 days each.
    Weeks,
    /// As they are.
    Months,
    /// 12 months each.
    Years,
}

impl TimeUnit {
    /// As configurations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Days => "days",
            Self::Weeks => "weeks",
            Self::Months => "months",
            Self::Years => "years",
        }
    }

    /// A time of this unit in months.
    pub fn to_months(self, time: f64) -> f64 {
        match self {
            Self::Days => time / DAYS_PER_MONTH,
            Self::Weeks => time * 7.0 / DAYS_PER_MONTH,
            Self::Months => time,
            Self::Years => time * 12.0,
        }
    }

    /// The unit that a column's name says, such as `OS_days` or `survival_months`.
    pub fn named_by(column: &str) -> Option<Self> {
        let column = column.to_ascii_lowercase();
        let has = |unit: &str| {
            column
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(|part| part == unit || format!("{part}s") == unit)
        };
        [Self::Days, Self::Weeks, Self::Months, Self::Years].into_iter().find(|unit| has(unit.as_str()))
    }
}

/// Whether a cell says that nothing was recorded: it is empty, or has a word for that.
pub(crate) fn is_missing(cell: &str) -> bool {
    cell.is_empty() || cf_cli::is_missing(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_units_as_whole_words() {
        assert_eq!(TimeUnit::named_by("OS_days"), Some(TimeUnit::Days));
        assert_eq!(TimeUnit::named_by("survival_months_dss"), Some(TimeUnit::Months));
        assert_eq!(TimeUnit::named_by("days_to_death"), Some(TimeUnit::Days));
        assert_eq!(TimeUnit::named_by("Time (year)"), Some(TimeUnit::Years));
        assert_eq!(TimeUnit::named_by("birthdays"), None);
        assert_eq!(TimeUnit::named_by("time"), None);
    }

    #[test]
    fn a_year_is_twelve_months_in_every_unit() {
        assert!((TimeUnit::Days.to_months(365.25) - 12.0).abs() < 1e-12);
        assert!((TimeUnit::Weeks.to_months(365.25 / 7.0) - 12.0).abs() < 1e-12);
        assert_eq!(TimeUnit::Years.to_months(1.0), 12.0);
        assert_eq!(TimeUnit::Months.to_months(24.11), 24.11);
    }
}
