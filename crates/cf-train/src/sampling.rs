//! In which order an epoch sees its slides.

use rand::Rng;
use rand::seq::SliceRandom;
use survival_metrics::Status;

use crate::protocol::Protocol;
use crate::seed::stream;

/// Positions in the training list for one epoch, drawn from the stream (seed, fold, epoch).
///
/// - `paper`: as many draws as slides, with replacement, weighted by N over the size of the slide's class, the pair (time
///   bin, status).
/// - `sound`: every slide once, shuffled.
///
/// `classes`: time bin and status of each training slide. `epoch` counts from 1.
pub fn order(
    protocol: Protocol,
    classes: &[(usize, Status)],
    seed: u64,
    fold: usize,
    epoch: usize,
) -> Vec<usize> {
    let mut rng = stream(seed, &format!("order/fold {fold}/epoch {epoch}"));
    match protocol {
        Protocol::Paper => {
            let mut cumulative = Vec::with_capacity(classes.len());
            let mut total = 0.0;
            for class in classes {
                let size = classes.iter().filter(|other| *other == class).count();
                total += classes.len() as f64 / size as f64;
                cumulative.push(total);
            }
            let last = classes.len().saturating_sub(1);
            let draw = |_| {
                let at = rng.random::<f64>() * total;
                cumulative.partition_point(|&edge| edge <= at).min(last)
            };
            (0..classes.len()).map(draw).collect()
        }
        Protocol::Sound => {
            let mut order: Vec<usize> = (0..classes.len()).collect();
            order.shuffle(&mut rng);
            order
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_are_drawn_as_often_as_common_ones() {
        let mut classes = vec![(0, Status::Censored); 900];
        classes.extend([(1, Status::Event); 100]);
        let n_rare: usize = (1..=20)
            .map(|epoch| {
                order(Protocol::Paper, &classes, 7, 0, epoch).iter().filter(|&&index| index >= 900).count()
            })
            .sum();
        // 20,000 draws at probability 1/2: five standard deviations are 354.
        assert!((n_rare as f64 - 10_000.0).abs() < 354.0, "{n_rare}");
    }

    #[test]
    fn the_sound_order_holds_every_slide_once_and_changes_with_fold_and_epoch() {
        let classes = vec![(0, Status::Event); 50];
        let first = order(Protocol::Sound, &classes, 7, 0, 1);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(first, order(Protocol::Sound, &classes, 7, 0, 1));
        assert_ne!(first, order(Protocol::Sound, &classes, 7, 0, 2));
        assert_ne!(first, order(Protocol::Sound, &classes, 7, 1, 1));
        assert_ne!(first, order(Protocol::Sound, &classes, 8, 0, 1));
    }
}
