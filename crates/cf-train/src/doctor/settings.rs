//! The configuration: every faulty key at once.

use std::path::Path;

use super::fault::Fault;
use super::finding::{Finding, Severity};
use crate::config::{ConfigFaultKind, Examined, RunConfig};

/// Reads the configuration as far as it can be read.
pub(super) fn examine(path: &Path, overrides: &[(String, String)], findings: &mut Vec<Finding>) -> Examined {
    let examined = RunConfig::examine(path, overrides);
    for fault in &examined.faults {
        let name = match fault.kind {
            ConfigFaultKind::Unreadable => Fault::ConfigUnreadable,
            ConfigFaultKind::Syntax => Fault::ConfigSyntax,
            ConfigFaultKind::UnknownKey => Fault::UnknownKey,
            ConfigFaultKind::Missing => Fault::MissingKey,
            ConfigFaultKind::Value => Fault::BadValue,
        };
        let place = path.display().to_string();
        findings.push(Finding::new(Severity::Error, name, place, &fault.reason));
    }
    examined
}
