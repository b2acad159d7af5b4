//! One timed statistic of a CSV file with the columns `time`, `event`, `risk` and `group`, as JSON: `cargo xtask bench metrics`
//! runs this beside the Python libraries, which read the same file.

use std::time::Instant;

use survival_metrics::{
    BootstrapConfig, FoldRisks, Outcome, RiskTies, Status, cluster_bootstrap_mean_c_index, concordance_index,
    log_rank_test,
};

struct Rows {
    outcomes: Vec<Outcome>,
    risk: Vec<f64>,
    group: Vec<u8>,
}

fn read(path: &str) -> Result<Rows, Box<dyn std::error::Error>> {
    let mut rows = Rows { outcomes: Vec::new(), risk: Vec::new(), group: Vec::new() };
    for record in csv::Reader::from_path(path)?.deserialize() {
        let (time, event, risk, group): (f64, u8, f64, u8) = record?;
        let status = if event == 1 { Status::Event } else { Status::Censored };
        rows.outcomes.push(Outcome::new(time, status)?);
        rows.risk.push(risk);
        rows.group.push(group);
    }
    Ok(rows)
}

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, path, repeats] = arguments.as_slice() else {
        return Err("expected: timed c-index|log-rank|bootstrap FILE.csv REPEATS".into());
    };
    let Rows { outcomes, risk, group } = read(path)?;
    let subjects: Vec<usize> = (0..outcomes.len()).collect();
    let call = || -> Result<f64, survival_metrics::Error> {
        match case.as_str() {
            "c-index" => Ok(concordance_index(&outcomes, &risk, RiskTies::default())?.c_index()),
            "log-rank" => Ok(log_rank_test(&outcomes, &group)?.chi_square),
            _ => {
                let fold = FoldRisks { outcomes: &outcomes, risk: &risk, clusters: &subjects };
                let config = BootstrapConfig { replicates: 1000, ..BootstrapConfig::default() };
                Ok(cluster_bootstrap_mean_c_index(&[fold], config)?.estimate)
            }
        }
    };
    // The first call is not timed.
    let value = call()?;
    let mut seconds = Vec::new();
    for _ in 0..repeats.parse::<usize>()?.max(1) {
        let started = Instant::now();
        call()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    println!("{{\"seconds\": {median}, \"value\": {value}}}");
    Ok(())
}
