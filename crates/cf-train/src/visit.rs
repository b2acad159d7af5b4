//! What of a slide is read at a visit: all of it or, in training with `training.max_patches`, some of its patches.

use std::collections::BTreeMap;

use cf_model::{PatchIndices, Patches};
use wsi_bags::Magnification;

use crate::config::TrainingConfig;
use crate::error::Result;
use crate::fold_state::Draw;
use crate::memory::BagSize;
use crate::seed::stream;

/// What `training.max_patches` does, in a sentence.
pub fn rule(max_patches: usize) -> String {
    let patches = if max_patches == 1 { "patch" } else { "patches" };
    format!(
        "training sees at most {max_patches} {patches} of a slide per magnification: each visit draws patches of the coarsest \
         magnification at random, each with all finer patches in it, until the next would make more; evaluation sees every patch"
    )
}

/// The way out of a memory that is too small for whole slides.
pub fn way_out(fitting_max_patches: usize) -> String {
    format!(
        "let visits in training see some of a slide's patches (training.max_patches = {fitting_max_patches} fits)"
    )
}

/// A slide that is read.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// The slide.
    pub(crate) slide_id: String,
    /// Which of its patches; all where there is none.
    pub(crate) draw: Option<PatchDraw>,
}

/// A draw of at most so many patches of each magnification, from a stream of its own.
#[derive(Debug, Clone)]
pub(crate) struct PatchDraw {
    at_most: usize,
    seed: u64,
    label: String,
}

impl Visit {
    /// Of the whole slide.
    pub(crate) fn of_all(slide_id: String) -> Self {
        Self { slide_id, draw: None }
    }

    /// In training: the stream is named by fold, epoch and position, so the same visit draws the same patches however it is reached.
    pub(crate) fn in_training(training: &TrainingConfig, fold: usize, draw: Draw, slide_id: &str) -> Self {
        let Draw { epoch, position, .. } = draw;
        let draw = training.max_patches.map(|at_most| PatchDraw {
            at_most,
            seed: training.seed,
            label: format!("patches/fold {fold}/epoch {epoch}/draw {position}/{slide_id}"),
        });
        Self { slide_id: slide_id.to_owned(), draw }
    }
}

impl PatchDraw {
    /// The patches of a bag of this size; `None` where that is all.
    ///
    /// # Errors
    /// If its coordinates are such as no slide has.
    pub(crate) fn of(&self, size: BagSize, patches: &Patches) -> Result<Option<PatchIndices>> {
        let there = Magnification::ALL.into_iter().map(|at| (at, size.at(at))).filter(|(_, n)| *n > 0);
        let n_patches: BTreeMap<Magnification, usize> = there.collect();
        Ok(patches.draw_families(&n_patches, self.at_most, &mut stream(self.seed, &self.label))?)
    }
}

/// `12 of 40`, or `11 to 13 of 40 to 41` over the folds of a run.
pub(crate) fn counts_in_words(counts: &[(usize, usize)]) -> String {
    let range = |numbers: &mut dyn Iterator<Item = usize>| {
        let numbers: Vec<usize> = numbers.collect();
        match (numbers.iter().min(), numbers.iter().max()) {
            (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
            (least, _) => least.unwrap_or(&0).to_string(),
        }
    };
    let drawn = range(&mut counts.iter().map(|count| count.0));
    format!("{drawn} of {}", range(&mut counts.iter().map(|count| count.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use cf_model::BagTensors;

    use crate::config::RunConfig;
    use crate::plan::Plan;
    use crate::simulate::{CohortKind, SimulateOptions, simulate};

    /// Coordinates and features of a patch.
    type Row = ([i64; 2], Vec<f32>);

    /// Each patch, and the side.
    fn rows(bag: &BagTensors, at: Magnification) -> (Vec<Row>, i64) {
        let facts = bag.patches.at(at);
        let features = bag.at(at).unwrap().to_vec2::<f32>().unwrap();
        let coords = facts.coords.as_ref().unwrap();
        assert_eq!(coords.len(), features.len());
        (coords.iter().copied().zip(features).collect(), facts.side.unwrap().into())
    }

    fn same(a: &BagTensors, b: &BagTensors) -> bool {
        let values = |tensor: &Option<Tensor>| tensor.as_ref().unwrap().to_vec2::<f32>().unwrap();
        values(&a.x5) == values(&b.x5)
            && values(&a.x10) == values(&b.x10)
            && values(&a.x20) == values(&b.x20)
            && Magnification::ALL.into_iter().all(|at| a.patches.at(at).coords == b.patches.at(at).coords)
    }

    #[test]
    fn a_visit_sees_whole_families_of_rows_and_nothing_derived_of_all_wherever_the_bag_is() {
        let dir = tempfile::tempdir().unwrap();
        let cohort = dir.path().join("cohort");
        let options = SimulateOptions {
            n_patients: 20,
            backbone_dim: 6,
            scale: 0.008,
            ..SimulateOptions::new(cohort.clone(), CohortKind::Additive)
        };
        simulate(&options, &mut |_, _| {}).unwrap();
        let limit = 50;
        let settings = [("training.max_patches".to_owned(), limit.to_string())];
        let config = RunConfig::read(&cohort.join("config.toml"), &settings).unwrap();
        let plan = Plan::new(&config, &Device::Cpu, &[0]).unwrap();
        let fold = &plan.folds[0];
        let whole: BTreeMap<String, BagTensors> = plan
            .bags
            .load(fold.train.iter().map(|labelled| labelled.slide.slide_id.clone()).collect())
            .collect::<Result<_>>()
            .unwrap();
        for bag in whole.values() {
            bag.patches.nearest_places(3, "test").unwrap();
        }
        let visits = |epoch: usize| -> Vec<Visit> {
            let draw = |slide| Draw { epoch, position: slide, slide };
            let visit = |slide: usize| {
                Visit::in_training(&config.training, 0, draw(slide), &fold.train[slide].slide.slide_id)
            };
            (0..fold.train.len()).map(visit).collect()
        };
        let seen = |epoch| plan.bags.load_visits(visits(epoch)).collect::<Result<Vec<_>>>().unwrap();
        let (first, again, next) = (seen(1), seen(1), seen(2));

        let mut n_drawn = 0;
        for (((slide_id, part), (_, again)), (_, next)) in first.iter().zip(&again).zip(&next) {
            assert!(same(part, again));
            let all = &whole[slide_id];
            let n = |bag: &BagTensors| bag.at(Magnification::X20).unwrap().dim(0).unwrap();
            let neighbours = part.patches.nearest_places(3, "test").unwrap();
            if n(all) <= limit {
                assert!(same(part, all) && same(next, all));
                assert_eq!(neighbours, all.patches.nearest_places(3, "test").unwrap());
                continue;
            }
            n_drawn += 1;
            assert!(!same(part, next), "each visit draws anew");
            let (cells, side) = rows(part, Magnification::X5);
            let holds = |[x, y]: [i64; 2]| {
                cells.iter().any(|([left, top], _)| {
                    (*left..left + side).contains(&x) && (*top..top + side).contains(&y)
                })
            };
            for at in Magnification::ALL {
                let (mut expected, _) = rows(all, at);
                expected.retain(|(corner, _)| holds(*corner));
                assert_eq!(rows(part, at).0, expected, "{slide_id} at {at}");
                assert!(expected.len() <= limit);
            }
            assert!(n(part) > limit - 16, "one more cell would not have fitted");
            let coords = part.patches.x20.coords.as_ref().unwrap();
            assert_eq!(*neighbours, nearest(coords, 3));
        }
        assert!(n_drawn > 5 && n_drawn < first.len(), "{n_drawn}");
        assert_eq!(plan.record.folds[0].n_train_drawn, Some(n_drawn));

        // Bags that stay on the device are whole there, at the first visit and after it.
        let sizes: Vec<(String, BagSize)> =
            whole.iter().map(|(slide_id, bag)| (slide_id.clone(), BagSize::of(bag))).collect();
        plan.bags.keep_resident(u64::MAX, &sizes);
        for _ in 0..2 {
            let there = seen(1);
            assert!(there.iter().zip(&first).all(|((_, there), (_, read))| same(there, read)));
        }
        for bag in plan.bags.load(whole.keys().cloned().collect()) {
            let (slide_id, bag) = bag.unwrap();
            assert!(same(&bag, &whole[&slide_id]));
            let of_all = whole[&slide_id].patches.nearest_places(3, "test").unwrap();
            assert_eq!(bag.patches.nearest_places(3, "test").unwrap(), of_all);
        }
    }

    /// The three nearest by squared distance, the first of equals first.
    fn nearest(coords: &[[i64; 2]], k: usize) -> Vec<u32> {
        let apart = |a: [i64; 2], b: [i64; 2]| (a[0] - b[0]).pow(2) + (a[1] - b[1]).pow(2);
        let of_patch = |(at, corner): (usize, &[i64; 2])| {
            let mut others: Vec<usize> = (0..coords.len()).filter(|&other| other != at).collect();
            others.sort_by_key(|&other| (apart(*corner, coords[other]), other));
            others.into_iter().take(k).map(|other| other as u32)
        };
        coords.iter().enumerate().flat_map(of_patch).collect()
    }

    #[test]
    fn counts_of_folds_are_told_as_a_range() {
        assert_eq!(counts_in_words(&[(12, 40)]), "12 of 40");
        assert_eq!(counts_in_words(&[(12, 40), (11, 41), (13, 41)]), "11 to 13 of 40 to 41");
        assert_eq!(counts_in_words(&[(0, 40), (0, 40)]), "0 of 40");
    }
}
