//! What a study found, in sentences.

use super::report::{CohortEstimates, PairedNumbers, StudyComparison, StudyReport};
use crate::number::{count, counted, fixed};
use crate::wording::validated_twice;

/// Below it, after adjustment, a difference is called one.
const LEVEL: f64 = 0.05;

/// Below this number the normal approximation of the tests is worth a warning.
const FEW_PATIENTS: usize = 100;

/// The findings: a sentence or more for each cohort, then how certain they are.
pub(super) fn findings(report: &StudyReport) -> Vec<String> {
    let mut sentences: Vec<String> = report.cohorts.iter().filter_map(best_of).collect();
    for family in report.comparisons.chunk_by(|a, b| a.heading == b.heading && a.reference == b.reference) {
        sentences.extend(family_sentence(family));
    }
    sentences.extend(report.undefined.iter().map(|heading| {
        format!("{heading}: a method has no C-index, as none of its finished folds has two patients who can be compared.")
    }));
    if sentences.is_empty() {
        let nothing = if report.unfinished.len() >= report.n_tasks {
            "no task is finished"
        } else {
            "no two methods have all of their folds"
        };
        sentences.push(format!("Nothing can be said yet: {nothing}."));
    }
    sentences
}

/// How much the findings can bear.
pub(super) fn certainty(report: &StudyReport) -> Vec<String> {
    let mut sentences = vec![if report.n_seeds > 1 {
        format!(
            "Each cell is a mean over {}. The intervals resample patients, alike for all seeds; they do not cover that other seeds \
             would have trained other models.",
            counted(report.n_seeds, "seed", "seeds")
        )
    } else {
        "There is one seed: how much another seed would change a number is not known, and differences of a hundredth or two often \
         come from it."
            .to_owned()
    }];
    sentences.extend(report.cohorts.iter().filter_map(|cohort| {
        let fact = validated_twice(cohort.n_validated_twice, cohort.n_patients)?;
        Some(format!(
            "{}: {fact}, so that the folds are no independent tests; each patient is resampled once for all of them.",
            cohort.heading
        ))
    }));
    if report.reference_is_best && !report.comparisons.is_empty() {
        sentences.push(
            "No reference was named, so that methods are compared with the one that came out best here: that choice is not adjusted for, and \
             makes differences look more certain than they are. `reference` in the study's file names one before it runs."
                .to_owned(),
        );
    }
    if !report.comparisons.is_empty() {
        sentences.push(
            "A difference that is not significant is not an equality: with this many patients a small one cannot be told from none. \
             P-values are adjusted for the number of methods that are compared in one cohort, not for the number of cohorts."
                .to_owned(),
        );
    }
    let fewest = report.comparisons.iter().filter_map(|c| Some(c.result.as_ref().ok()?.n_patients)).min();
    if let Some(n) = fewest.filter(|&n| n < FEW_PATIENTS) {
        sentences.push(format!(
            "The tests are those of large samples; with {} they are rough, and differences come out too certain.",
            counted(n, "patient", "patients")
        ));
    }
    if !report.unfinished.is_empty() {
        let n_missing = report.unfinished.len();
        sentences.push(format!(
            "{} of {} tasks are missing; numbers that lack folds or seeds are marked and may change.",
            count(n_missing),
            count(report.n_tasks)
        ));
    }
    sentences
}

fn best_of(cohort: &CohortEstimates) -> Option<String> {
    let complete = || cohort.methods.iter().filter(|method| method.is_complete);
    let best = complete().reduce(|best, method| if method.mean > best.mean { method } else { best })?;
    if complete().count() < 2 {
        return None;
    }
    if cohort.complete_differ() {
        let scored = complete().map(|method| format!("{} on {}", method.label, count(method.n_patients)));
        return Some(format!(
            "{}: methods were scored on different patients ({}), so that their C-indices can't be ranked; slides that lack what a method reads \
             are left out for it alone. The tests compare methods on the patients that both have.",
            cohort.heading,
            scored.collect::<Vec<_>>().join(", ")
        ));
    }
    let interval = best.ci95.map_or_else(String::new, |(low, high)| {
        format!(" (95 % interval {} to {})", fixed(low, 3), fixed(high, 3))
    });
    let labels: Vec<&str> =
        complete().filter(|method| method.mean == best.mean).map(|method| method.label.as_str()).collect();
    let found = match labels.as_slice() {
        [first @ .., last] if !first.is_empty() => {
            format!(
                "{} and {last} have the same and highest C-index of patients, {}",
                first.join(", "),
                fixed(best.mean, 3)
            )
        }
        _ => format!("{} has the highest C-index of patients, {}{interval}", best.label, fixed(best.mean, 3)),
    };
    Some(format!(
        "{}: of {} with all their folds, {found}.",
        cohort.heading,
        counted(complete().count(), "method", "methods"),
    ))
}

fn family_sentence(family: &[StudyComparison]) -> Option<String> {
    let first = family.first()?;
    let compared: Vec<(&str, &PairedNumbers)> =
        family.iter().filter_map(|c| Some((c.method.as_str(), c.result.as_ref().ok()?))).collect();
    if compared.is_empty() {
        return None;
    }
    let named = |wanted: &dyn Fn(&PairedNumbers) -> bool| -> Vec<&str> {
        compared.iter().filter(|(_, numbers)| wanted(numbers)).map(|(method, _)| *method).collect()
    };
    let lower = named(&|numbers| numbers.p_holm < LEVEL && numbers.mean_difference < 0.0);
    let higher = named(&|numbers| numbers.p_holm < LEVEL && numbers.mean_difference > 0.0);
    let list = |methods: &[&str], word: &str| match methods {
        [] => None,
        methods => Some(format!("{} {} significantly {word}", methods.join(", "), verb(methods.len()))),
    };
    let found: Vec<String> = [list(&lower, "lower"), list(&higher, "higher")].into_iter().flatten().collect();
    let n_others = compared.len() - lower.len() - higher.len();
    let found = match (found.is_empty(), n_others) {
        (true, _) => "none differs significantly".to_owned(),
        (false, 0) => found.join("; "),
        (false, 1) => format!("{}; the other cannot be told from it", found.join("; ")),
        (false, n) => format!("{}; the other {n} cannot be told from it", found.join("; ")),
    };
    Some(format!(
        "{}, compared with {} on the same patients (Holm-adjusted p below {LEVEL}): {found}.",
        first.heading, first.reference
    ))
}

fn verb(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::super::report::MethodEstimate;
    use super::*;

    fn comparison(method: &str, mean_difference: f64, p_holm: f64) -> StudyComparison {
        let numbers = PairedNumbers {
            n_patients: 9,
            mean_difference,
            ci95: None,
            p_value: p_holm,
            p_holm,
            p_folds: None,
        };
        StudyComparison {
            heading: "BLCA".to_owned(),
            method: method.to_owned(),
            reference: "CrossFusion".to_owned(),
            result: Ok(numbers),
        }
    }

    #[test]
    fn methods_that_share_the_highest_mean_are_all_named() {
        let method = |label: &str, mean: f64| MethodEstimate {
            label: label.to_owned(),
            mean,
            n_patients: 9,
            ci95: Some((0.5, 0.75)),
            is_complete: true,
        };
        let cohort = |methods: Vec<MethodEstimate>| CohortEstimates {
            heading: "BLCA".to_owned(),
            n_patients: 9,
            n_event_patients: 5,
            n_validated_twice: 0,
            methods,
        };
        let best = best_of(&cohort(vec![method("AMIL", 0.625), method("DSMIL", 0.5)])).unwrap();
        let one = "BLCA: of 2 methods with all their folds, AMIL has the highest C-index of patients, 0.625 (95 % interval 0.500 \
                   to 0.750).";
        assert_eq!(best, one);
        let methods = ["AMIL", "DSMIL", "TransMIL"].map(|label| method(label, 0.625)).to_vec();
        let best = best_of(&cohort(methods)).unwrap();
        let all = "BLCA: of 3 methods with all their folds, AMIL, DSMIL and TransMIL have the same and highest C-index of \
                   patients, 0.625.";
        assert_eq!(best, all);
    }

    #[test]
    fn a_family_says_which_methods_differ_and_in_which_direction() {
        let family = [
            comparison("AMIL", -0.1, 0.01),
            comparison("DSMIL", 0.1, 0.04),
            comparison("SCMIL", -0.1, 0.3),
            comparison("CSMIL", -0.01, 1.0),
        ];
        assert_eq!(
            family_sentence(&family).unwrap(),
            "BLCA, compared with CrossFusion on the same patients (Holm-adjusted p below 0.05): AMIL is significantly lower; \
             DSMIL is significantly higher; the other 2 cannot be told from it."
        );
        assert!(family_sentence(&family[2..]).unwrap().ends_with(": none differs significantly."));
        let undefined =
            StudyComparison { result: Err("no events".to_owned()), ..comparison("AMIL", 0.0, 1.0) };
        assert_eq!(family_sentence(&[undefined]), None);
    }
}
