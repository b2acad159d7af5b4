//! The families of clinical tables that users have, by name: which columns they have, in which unit, with which sign.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use survival_metrics::Status;

use super::time_cells::TimeUnit;

/// A family of clinical tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Preset {
    /// MCAT, Patch-GCN and the released tables: `survival_months`, `censorship` (1 = censored).
    Mcat,
    /// SurvPath: the same with columns per endpoint, `survival_months_dss`, `censorship_dss`.
    Survpath,
    /// MMP and PANTHER: `os_survival_days`, `os_censorship` (1 = censored), also in folders of split files.
    Mmp,
    /// STAMP: `PATIENT` and columns that the user names; slides in a table `PATIENT, FILENAME`.
    Stamp,
    /// cBioPortal: `PATIENT_ID`, `OS_MONTHS`, `OS_STATUS` (`0:LIVING`, `1:DECEASED`); no slides.
    Cbioportal,
    /// GDC's `clinical.tsv`: `case_submitter_id`, `vital_status`, `days_to_death`, `days_to_last_follow_up`; no slides, and
    /// a row for every diagnosis and treatment of a case.
    Gdc,
    /// Patho-Bench: `OS_days`, `OS_event` (1 = event).
    PathoBench,
}

/// Names that configurations may use; the first one of a preset is written back.
const NAMES: [(&str, Preset); 12] = [
    ("mcat", Preset::Mcat),
    ("patch-gcn", Preset::Mcat),
    ("crossfusion", Preset::Mcat),
    ("released", Preset::Mcat),
    ("survpath", Preset::Survpath),
    ("mmp", Preset::Mmp),
    ("panther", Preset::Mmp),
    ("stamp", Preset::Stamp),
    ("cbioportal", Preset::Cbioportal),
    ("gdc", Preset::Gdc),
    ("patho-bench", Preset::PathoBench),
    ("pathobench", Preset::PathoBench),
];

/// What a time is the time to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// Overall survival.
    #[default]
    Os,
    /// Disease-specific survival.
    Dss,
    /// Disease-free interval.
    Dfi,
    /// Disease-free survival.
    Dfs,
    /// Progression-free interval.
    Pfi,
    /// Progression-free survival.
    Pfs,
}

impl Endpoint {
    /// As configurations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::Dss => "dss",
            Self::Dfi => "dfi",
            Self::Dfs => "dfs",
            Self::Pfi => "pfi",
            Self::Pfs => "pfs",
        }
    }
}

/// What becomes of a row whose time or status was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingOutcome {
    /// The table is refused, with the line.
    Error,
    /// The row is left out and listed.
    Skip,
}

/// The columns of a family.
///
/// Where there are several names for a column, the first found is read.
pub(crate) struct PresetColumns {
    pub(crate) case_id: &'static [&'static str],
    /// None where rows are patients.
    pub(crate) slide_id: &'static [&'static str],
    pub(crate) rows: RowsPerCase,
    /// `None` where every user names his own.
    pub(crate) outcome: Option<OutcomeColumns>,
    pub(crate) missing: MissingOutcome,
}

/// How many rows a patient has in a table without slides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsPerCase {
    One,
    /// Any number, which agree where they state an outcome.
    Several,
}

/// Time and status of one endpoint. The columns may have several names, of which the first found is read.
pub(crate) struct OutcomeColumns {
    pub(crate) time: Vec<String>,
    /// The column of the times of who is censored, where these stand apart.
    pub(crate) censored_time: &'static [&'static str],
    pub(crate) unit: TimeUnit,
    pub(crate) status: Vec<String>,
    /// What a 1 in the status column means.
    pub(crate) one: Status,
}

impl Preset {
    /// Every family once.
    pub const ALL: [Self; 7] =
        [Self::Mcat, Self::Survpath, Self::Mmp, Self::Stamp, Self::Cbioportal, Self::Gdc, Self::PathoBench];

    /// As configurations spell it.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(_, preset)| *preset == self).map_or("", |(name, _)| name)
    }

    /// The endpoints that the family has columns for; none where the user names the columns.
    pub fn endpoints(self) -> &'static [Endpoint] {
        use Endpoint::{Dfi, Dfs, Dss, Os, Pfi, Pfs};
        match self {
            Self::Mcat | Self::Gdc => &[Os],
            Self::Survpath => &[Os, Dss, Pfi],
            Self::Mmp => &[Os, Dss, Dfi, Pfi, Pfs],
            Self::Stamp => &[],
            Self::Cbioportal | Self::PathoBench => &[Os, Dss, Dfs, Dfi, Pfs, Pfi],
        }
    }

    /// The columns of the family for an endpoint that it has.
    pub(crate) fn columns(self, endpoint: Endpoint) -> PresetColumns {
        let lower = endpoint.as_str();
        let upper = lower.to_ascii_uppercase();
        let outcome = |time: String, unit: TimeUnit, status: String, one: Status| {
            Some(OutcomeColumns { time: vec![time], censored_time: &[], unit, status: vec![status], one })
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        // Overall survival has no suffix in SurvPath's tables.
        let suffix = if endpoint == Endpoint::Os { String::new() } else { format!("_{lower}") };
        let slide_id: &[&str] = &["slide_id"];
        match self {
            Self::Mcat => PresetColumns {
                case_id: &["case_id"],
                slide_id,
                rows: RowsPerCase::One,
                outcome: outcome(
                    "survival_months".to_owned(),
                    TimeUnit::Months,
                    "censorship".to_owned(),
                    Status::Censored,
                ),
                missing: MissingOutcome::Error,
            },
            Self::Survpath => PresetColumns {
                case_id: &["case_id"],
                slide_id,
                rows: RowsPerCase::One,
                outcome: outcome(
                    format!("survival_months{suffix}"),
                    TimeUnit::Months,
                    format!("censorship{suffix}"),
                    Status::Censored,
                ),
                missing: MissingOutcome::Skip,
            },
            Self::Mmp => PresetColumns {
                case_id: &["case_id"],
                slide_id,
                rows: RowsPerCase::One,
                outcome: outcome(
                    format!("{lower}_survival_days"),
                    TimeUnit::Days,
                    format!("{lower}_censorship"),
                    Status::Censored,
                ),
                missing: MissingOutcome::Skip,
            },
            Self::Stamp => PresetColumns {
                case_id: &["PATIENT"],
                slide_id: &[],
                rows: RowsPerCase::One,
                outcome: None,
                missing: MissingOutcome::Skip,
            },
            Self::Cbioportal => PresetColumns {
                case_id: &["PATIENT_ID"],
                slide_id: &[],
                rows: RowsPerCase::One,
                outcome: outcome(
                    format!("{upper}_MONTHS"),
                    TimeUnit::Months,
                    format!("{upper}_STATUS"),
                    Status::Event,
                ),
                missing: MissingOutcome::Skip,
            },
            // Names of exports before and since the columns bear the entity that they are of.
            Self::Gdc => PresetColumns {
                case_id: &["case_submitter_id", "cases.submitter_id"],
                slide_id: &[],
                rows: RowsPerCase::Several,
                outcome: Some(OutcomeColumns {
                    time: names(&["days_to_death", "demographic.days_to_death"]),
                    censored_time: &["days_to_last_follow_up", "diagnoses.days_to_last_follow_up"],
                    unit: TimeUnit::Days,
                    status: names(&["vital_status", "demographic.vital_status"]),
                    one: Status::Event,
                }),
                missing: MissingOutcome::Skip,
            },
            Self::PathoBench => PresetColumns {
                case_id: &["case_id"],
                slide_id: &["slide_id", "filename"],
                rows: RowsPerCase::One,
                outcome: outcome(
                    format!("{upper}_days"),
                    TimeUnit::Days,
                    format!("{upper}_event"),
                    Status::Event,
                ),
                missing: MissingOutcome::Skip,
            },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, preset)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*preset);
        }
        let likeness = |name: &str| strsim::jaro_winkler(name, text);
        let nearest = NAMES.iter().max_by(|(a, _), (b, _)| likeness(a).total_cmp(&likeness(b)));
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        Err(format!(
            "unknown preset `{text}`; the nearest is `{}`; there are {}",
            nearest.map_or("", |(name, _)| name),
            known.join(", ")
        ))
    }
}

impl TryFrom<String> for Preset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Preset> for String {
    fn from(preset: Preset) -> Self {
        preset.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back_as_the_first_of_a_family() {
        for preset in Preset::ALL {
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
        assert_eq!("panther".parse::<Preset>().unwrap().as_str(), "mmp");
        let error = "survpaht".parse::<Preset>().unwrap_err();
        assert!(error.contains("`survpaht`") && error.contains("the nearest is `survpath`"), "{error}");
    }
}
