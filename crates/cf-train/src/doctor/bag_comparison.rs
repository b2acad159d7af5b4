//! The bags against each other: widths, orders of rows, how features were made, proportions of the magnifications.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::bag_scan::BagFacts;
use super::fault::Fault;
use super::finding::{Finding, Severity, listed, place};

/// Patches per patch of the next coarser magnification: 4 inside tissue, fewer at its edge.
const PLAUSIBLE_RATIO: std::ops::RangeInclusive<f64> = 1.5..=8.0;

/// What most bags are like.
pub(super) struct UsualBag {
    /// Columns of the features.
    pub(super) dim: usize,
    pub(super) row_order: Option<&'static str>,
}

/// Compares bags; `path_of` names the file of a slide, `directory` that of all. `None` without bags.
pub(super) fn examine(
    bags: &[BagFacts],
    directory: &str,
    path_of: impl Fn(&str) -> PathBuf,
    findings: &mut Vec<Finding>,
) -> Option<UsualBag> {
    let dim = most_frequent(bags.iter().map(|bag| bag.dim))?;
    for bag in bags.iter().filter(|bag| bag.dim != dim) {
        let found =
            format!("slide {} has features of {} columns, most slides have {dim}", bag.slide_id, bag.dim);
        let place = place(&path_of(&bag.slide_id), &format!("slide {}", bag.slide_id));
        findings.push(Finding::new(Severity::Error, Fault::FeatureWidth, place, found));
    }
    let row_order = most_frequent(bags.iter().filter_map(|bag| bag.row_order));
    let others: Vec<String> = bags
        .iter()
        .filter(|bag| bag.row_order.is_some() && bag.row_order != row_order)
        .map(|bag| bag.slide_id.clone())
        .collect();
    if let (Some(usual), false) = (row_order, others.is_empty()) {
        let found = format!(
            "most slides have rows in order `{usual}`, and {} have not: {}",
            others.len(),
            listed(&others)
        );
        findings.push(Finding::new(Severity::Warning, Fault::RowOrderMixed, directory, found));
    }
    let stating = || bags.iter().filter(|bag| !bag.made.is_empty());
    if let Some(usual) = most_frequent(stating().map(|bag| &bag.made)) {
        let others: Vec<&BagFacts> = stating().filter(|bag| bag.made != *usual).collect();
        if let Some(other) = others.first() {
            let ids: Vec<String> = others.iter().map(|bag| bag.slide_id.clone()).collect();
            let found = format!(
                "most slides that state it have features by {}, and {} by others, such as {}: {}",
                usual.join(" and "),
                others.len(),
                other.made.join(" and "),
                listed(&ids)
            );
            findings.push(Finding::new(Severity::Warning, Fault::FeaturesMixed, directory, found));
        }
    }
    findings.extend(same_features(bags, directory));
    for bag in bags {
        for (coarse_name, coarse, fine_name, fine) in bag.size.neighbours() {
            let ratio = fine as f64 / coarse as f64;
            if !PLAUSIBLE_RATIO.contains(&ratio) {
                let found = format!(
                    "slide {} has {fine} patches at {fine_name} and {coarse} at {coarse_name}: {ratio:.2} to one",
                    bag.slide_id
                );
                let place = place(&path_of(&bag.slide_id), &format!("slide {}", bag.slide_id));
                findings.push(Finding::new(Severity::Warning, Fault::ScaleProportion, place, found));
            }
        }
    }
    Some(UsualBag { dim, row_order })
}

/// Slides that share their features: one's bag was written or copied under the name of another.
fn same_features(bags: &[BagFacts], directory: &str) -> Vec<Finding> {
    let mut slides: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for bag in bags {
        slides.entry(bag.features_hash).or_default().push(bag.slide_id.clone());
    }
    let shared = slides.into_values().filter(|ids| ids.len() > 1);
    shared
        .map(|ids| {
            let found = format!("{} slides have the same features: {}", ids.len(), listed(&ids));
            Finding::new(Severity::Error, Fault::SameFeatures, directory, found)
        })
        .collect()
}

/// The most frequent value; of equally frequent ones the smallest.
fn most_frequent<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(value, _)| value)
}
