//! Survival of two groups from a CSV file: curves with limits, medians, the log-rank test, a hazard ratio, a figure.
//!
//! ```text
//! cargo run -p examples --bin kaplan_meier                              leukaemia remission, as committed here
//! cargo run -p examples --bin kaplan_meier -- FILE.csv GROUP_COLUMN     any file with the columns `time` and `event`
//! ```

use std::error::Error;
use std::path::Path;

use cf_report::{SurvivalCurve, survival_curves};
use survival_metrics::{
    CiType, CoxTies, CoxVariance, KaplanMeier, Outcome, QuantileRule, SurvivalData, cox_model, log_rank_test,
};

fn read(path: &Path, group_column: &str) -> Result<(Vec<Outcome>, Vec<String>), Box<dyn Error>> {
    let mut reader = csv::Reader::from_path(path)?;
    let header = reader.headers()?.clone();
    let position = |name: &str| {
        header.iter().position(|title| title == name).ok_or_else(|| format!("no column `{name}`"))
    };
    let (time, event, group) = (position("time")?, position("event")?, position(group_column)?);
    let (mut outcomes, mut groups) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let time: f64 = cell(time).parse()?;
        outcomes.push(match cell(event) {
            "1" => Outcome::event(time)?,
            "0" => Outcome::censored(time)?,
            other => return Err(format!("event is `{other}`, expected 0 or 1").into()),
        });
        groups.push(cell(group).to_owned());
    }
    Ok((outcomes, groups))
}

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/leukemia.csv");
    let (path, column) = match arguments.as_slice() {
        [] => (committed.as_path(), "Rx"),
        [file, column] => (Path::new(file), column.as_str()),
        _ => return Err("expected: kaplan_meier [FILE.csv GROUP_COLUMN]".into()),
    };
    let (outcomes, groups) = read(path, column)?;
    let test = log_rank_test(&outcomes, &groups)?;

    let mut curves = Vec::new();
    for group in &test.groups {
        let members = outcomes.iter().zip(&groups).filter(|(_, label)| **label == group.level);
        let km = KaplanMeier::fit(&members.map(|(outcome, _)| *outcome).collect::<Vec<_>>())?;
        let median = km.quantile_with_limits(0.5, 0.95, CiType::LogLog, QuantileRule::Midpoint)?;
        let text = |time: Option<f64>| time.map_or_else(|| "not reached".to_owned(), |t| t.to_string());
        println!(
            "{column} = {}: {} subjects, {} events (expected {:.1}), median {} (95% interval {} to {})",
            group.level,
            group.n,
            group.observed,
            group.expected,
            text(median.time),
            text(median.lower),
            text(median.upper)
        );
        curves.push((km, group.level.as_str()));
    }
    println!("log-rank chi-square {:.3}, p = {:.3e}", test.chi_square, test.p_value);

    if let [first, _] = test.groups.as_slice() {
        let second: Vec<f64> = groups.iter().map(|g| f64::from(u8::from(*g != first.level))).collect();
        let model = cox_model(&SurvivalData::new(&outcomes)?, &[&second], CoxTies::Efron)?;
        let ratio = model.hazard_ratio(0, 0.95, CoxVariance::Model)?;
        let (hazard, lower, upper) = (ratio.hazard_ratio, ratio.lower, ratio.upper);
        println!("hazard ratio {hazard:.2} (95% interval {lower:.2} to {upper:.2})");
    }

    let limits: Vec<_> =
        curves.iter().map(|(km, _)| km.confidence_limits(0.95, CiType::LogLog)).collect::<Result<_, _>>()?;
    let drawn: Vec<SurvivalCurve<'_>> =
        curves.iter().zip(&limits).map(|((km, name), limits)| SurvivalCurve { name, km, limits }).collect();
    let note = format!("log-rank p = {:.2e}", test.p_value);
    let figure = survival_curves("Kaplan-Meier estimate of survival", &note, "Time", &drawn)?;
    std::fs::write("kaplan_meier.svg", figure.svg)?;
    println!("curves in kaplan_meier.svg");
    Ok(())
}
