//! The losses and their gradients against the PyTorch oracle, the specification's table, and finite differences.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use cf_train::loss::{self, LossGradient};
use survival_metrics::Status;

const STATUS: [Status; 2] = [Status::Event, Status::Censored];

fn oracle() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/layers.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

type Loss = fn([f64; 4], usize, Status, f64) -> LossGradient;

#[test]
fn discrete_losses_equal_the_oracle_where_logs_are_clamped_too() {
    let oracle = oracle();
    let logits: Vec<Vec<f64>> = oracle["discrete/logits"].to_vec2().unwrap();
    let mut n_compared = 0;
    for (name, loss) in [("nll", loss::nll as Loss), ("cross_entropy", loss::cross_entropy as Loss)] {
        for alpha in [0.0, 0.2, 0.5] {
            let losses = flat(&oracle[&format!("{name}/{alpha:.1}/loss")]);
            let grads = flat(&oracle[&format!("{name}/{alpha:.1}/grad")]);
            for (row, logits) in logits.iter().enumerate() {
                let z = <[f64; 4]>::try_from(logits.as_slice()).unwrap();
                for bin in 0..4 {
                    for (s, status) in STATUS.into_iter().enumerate() {
                        let at = (row * 4 + bin) * 2 + s;
                        let found = loss(z, bin, status, alpha);
                        let what = format!("{name} alpha {alpha} row {row} bin {bin} {status:?}");
                        assert!(
                            (found.loss - losses[at]).abs() < 1e-10,
                            "{what}: {}, oracle {}",
                            found.loss,
                            losses[at]
                        );
                        for (g, wanted) in found.gradient.iter().zip(&grads[4 * at..]) {
                            assert!((g - wanted).abs() < 1e-9, "{what}: gradient {g}, oracle {wanted}");
                        }
                        n_compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(n_compared, 6 * 8 * logits.len());
}

#[test]
fn the_nll_gives_the_specification_s_table() {
    let z = [0.2, -0.4, 0.1, 0.9];
    let table = [
        [0.598139, 0.638511, 0.798139],
        [1.711154, 1.048923, 1.311154],
        [1.955551, 1.644441, 2.055551],
        [2.396705, 2.637364, 3.296704],
    ];
    for (bin, [event, censored, censored_alpha_0]) in table.into_iter().enumerate() {
        for (status, alpha, wanted) in [
            (Status::Event, 0.2, event),
            (Status::Event, 0.0, event),
            (Status::Censored, 0.2, censored),
            (Status::Censored, 0.0, censored_alpha_0),
        ] {
            let found = loss::nll(z, bin, status, alpha).loss;
            assert!(
                (found - wanted).abs() < 1e-6,
                "bin {bin} {status:?} alpha {alpha}: {found}, table {wanted}"
            );
        }
    }
}

#[test]
fn the_cox_loss_equals_the_oracle_with_ties() {
    let oracle = oracle();
    let mut n_compared = 0;
    for name in ["untied", "tied", "all_events_one_time", "one_event", "no_event", "large_risks"] {
        let get = |field: &str| flat(&oracle[&format!("cox/{name}/{field}")]);
        let (risk, time, event) = (get("risk"), get("time"), get("event"));
        let status: Vec<Status> =
            event.iter().map(|&e| if e == 1.0 { Status::Event } else { Status::Censored }).collect();
        let n_events = event.iter().sum::<f64>().max(1.0);
        let (found, gradient) = loss::cox(&risk, &time, &status);
        // The oracle sums over events; ours is their mean.
        let wanted = get("loss_breslow")[0] / n_events;
        assert!((found - wanted).abs() < 1e-10 * wanted.abs().max(1.0), "{name}: {found}, oracle {wanted}");
        for (g, wanted) in gradient.iter().zip(get("grad_breslow")) {
            assert!(
                (g - wanted / n_events).abs() < 1e-10,
                "{name}: gradient {g}, oracle {}",
                wanted / n_events
            );
        }
        n_compared += 1;
    }
    assert_eq!(n_compared, 6);
}

#[test]
fn the_risk_gradient_is_the_finite_difference() {
    let z = [0.2, -1.4, 0.1, 2.9];
    let step = 1e-6;
    for (j, found) in loss::risk_gradient(z).into_iter().enumerate() {
        let at = |by: f64| {
            let mut z = z;
            z[j] += by;
            cf_model::DiscreteSurvival::from_logits(z).risk()
        };
        let wanted = (at(step) - at(-step)) / (2.0 * step);
        assert!((found - wanted).abs() < 1e-9, "logit {j}: {found}, difference {wanted}");
    }
}
