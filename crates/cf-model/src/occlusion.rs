//! What the risk of a slide loses when a part of it is removed: an effect, to hold maps of attention against.
//!
//! Parts are the cells of the 5x lattice with all patches in them, or squares of several cells where a slide has more cells than
//! passes are to be made. A patch's number is that of its part. Of a slide that lies in one cell, no part has a number.
//!
//! A model that draws patches in evaluation draws once, of the whole slide: a part that no draw took has no effect.

use std::collections::BTreeMap;

use cf_layers::ForwardCtx;
use wsi_bags::Magnification;

use crate::attribution::{AttributionLayer, Module};
use crate::error::{Error, Result};
use crate::families::PatchIndices;
use crate::input::BagTensors;
use crate::model::SurvivalModel;
use crate::needs::Need;
use crate::patches::Patches;

const NAME: &str = "occlusion";

/// The part of each patch, by magnification, and how many parts there are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    of: BTreeMap<Magnification, Vec<u32>>,
    n: usize,
}

/// For each patch the risk of the slide minus its risk without the patch's part: above 0 where the part raises the risk. A layer
/// for each magnification that `bag` holds, from coarse to fine.
///
/// Makes a pass for each of at most `max_parts` parts, and tells `progress` (done, all) after each. A part whose removal would
/// leave a magnification without patches, or a model that draws patches without any that it drew, has no number: NaN.
///
/// # Errors
/// If `max_parts` is too few for the patches, which squares of more cells put in one part; if it cannot be known which 5x cell a patch
/// is in, or there are more cells than `max_parts` and no coordinates; and those of the forward pass.
pub fn occlude(
    model: &dyn SurvivalModel,
    bag: &BagTensors,
    max_parts: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<AttributionLayer>> {
    let parts = parts(bag, max_parts)?;
    let risk = |bag: &BagTensors| model.forward(bag, &mut ForwardCtx::eval())?.risk();
    let whole = risk(bag)?;
    let mut falls = Vec::with_capacity(parts.n);
    for part in 0..parts.n as u32 {
        falls.push(match without(bag, &parts, part)?.map(|rest| risk(&rest)) {
            None | Some(Err(Error::NothingDrawn { .. })) => f64::NAN,
            Some(rest) => whole - rest?,
        });
        progress(falls.len(), parts.n);
    }
    let layer = |(magnification, of): (Magnification, Vec<u32>)| AttributionLayer {
        module: Module::Occlusion,
        magnification,
        scores: of.into_iter().map(|part| falls[part as usize]).collect(),
    };
    Ok(parts.of.into_iter().map(layer).collect())
}

/// The magnifications that are there, coarse to fine, with their numbers of patches.
fn present(bag: &BagTensors) -> Result<Vec<(Magnification, usize)>> {
    let there = Magnification::ALL.into_iter().filter_map(|at| Some((at, bag.at(at).ok()?)));
    there.map(|(at, features)| Ok((at, features.dim(0)?))).collect()
}

fn parts(bag: &BagTensors, max_parts: usize) -> Result<Parts> {
    let fault = |reason: String| Error::Bag { slide_id: bag.patches.slide_id.clone(), reason };
    let present = present(bag)?;
    let Some(&(coarsest, n)) = present.first() else {
        return Err(fault("no patches".to_owned()));
    };
    let (of_coarsest, n_parts) = match squares(&bag.patches, coarsest, max_parts) {
        Some(Ok(squares)) => squares,
        Some(Err(least)) => {
            return Err(fault(format!(
                "occlusion with at most {max_parts} parts puts all {n} {coarsest} patches in one part: squares of them make one \
                 part or at least {least}; ask for {least} or more"
            )));
        }
        None if coarsest == Magnification::X5 && n <= max_parts => ((0..n as u32).collect(), n),
        None => {
            return Err(Error::MissingFact {
                slide_id: bag.patches.slide_id.clone(),
                model: NAME,
                magnification: coarsest,
                need: Need::Squares,
            });
        }
    };
    let mut of = BTreeMap::new();
    for &(at, _) in present.iter().skip(1) {
        let parents = bag.patches.parents(at, coarsest, NAME)?;
        of.insert(at, parents.iter().map(|&parent| of_coarsest[parent as usize]).collect());
    }
    of.insert(coarsest, of_coarsest);
    Ok(Parts { of, n: n_parts })
}

/// The part of each patch by its place: the smallest squares of whole 5x cells of which there are at most `max_parts`, numbered
/// row by row. One of several cells has to be one of two or more; else the fewest of these are the error. None without coordinates
/// and size.
fn squares(
    patches: &Patches,
    at: Magnification,
    max_parts: usize,
) -> Option<std::result::Result<(Vec<u32>, usize), usize>> {
    let facts = patches.at(at);
    let (coords, side) = (facts.coords.as_deref()?, i64::from(facts.side?));
    let cell = side
        * match at {
            Magnification::X5 => 1,
            Magnification::X10 => 2,
            Magnification::X20 => 4,
        };
    // Cells count from the first corner: grids of contours do not start at the slide's.
    let origin = [0, 1].map(|axis| coords.iter().map(|corner| corner[axis]).min().unwrap_or(0));
    let numbered = |cells: i64| {
        let place = |corner: &[i64; 2]| {
            [1, 0].map(|axis| (corner[axis] - origin[axis] + side / 2).div_euclid(cell * cells))
        };
        let mut numbers: BTreeMap<[i64; 2], u32> = coords.iter().map(|corner| (place(corner), 0)).collect();
        numbers.values_mut().zip(0..).for_each(|(number, index)| *number = index);
        let of_patches: Vec<u32> = coords.iter().map(|corner| numbers[&place(corner)]).collect();
        (of_patches, numbers.len())
    };
    let mut fewest = None;
    for (of_patches, n) in (1..).map(numbered) {
        match fewest {
            // From the square that holds all on, there is one part, whatever the side.
            Some(fewest) if n < 2 => return Some(Err(fewest)),
            _ if n <= max_parts || n < 2 => return Some(Ok((of_patches, n))),
            _ => fewest = Some(fewest.map_or(n, |fewest: usize| fewest.min(n))),
        }
    }
    None
}

/// The bag without one part; none if that leaves a magnification empty.
fn without(bag: &BagTensors, parts: &Parts, part: u32) -> Result<Option<BagTensors>> {
    let kept: PatchIndices = parts
        .of
        .iter()
        .map(|(&at, of)| (at, (0_u32..).zip(of).filter(|(_, of)| **of != part).map(|(at, _)| at).collect()))
        .collect();
    if kept.values().any(Vec::is_empty) {
        return Ok(None);
    }
    Ok(Some(bag.select(&kept, bag.patches.select(&kept))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SurvivalOutput;
    use crate::patches::PatchFacts;
    use candle_core::{DType, Device, Tensor};
    use std::sync::Arc;

    /// Sums the features of all patches and notes how many it saw: a model whose effects are known.
    struct Sum;

    impl SurvivalModel for Sum {
        fn forward(&self, bag: &BagTensors, _: &mut ForwardCtx) -> Result<SurvivalOutput> {
            let sums = present(bag)?.into_iter().map(|(at, _)| Ok(bag.at(at)?.sum_all()?));
            let total = Tensor::stack(&sums.collect::<Result<Vec<_>>>()?, 0)?.sum_all()?;
            Ok(SurvivalOutput::new(total.broadcast_as(4)?.contiguous()?))
        }

        fn magnifications(&self) -> &'static [Magnification] {
            &Magnification::ALL
        }
    }

    /// 3 x 2 cells of 64 pixels, each with its four 10x patches; the feature of cell `(x, y)` and its patches is 1 at (1, 1), else 0.
    fn bag() -> BagTensors {
        let lattice = |side: i64| -> Vec<[i64; 2]> {
            (0..128 / side)
                .flat_map(|y| (0..192 / side).map(move |x| [100 + x * side, 40 + y * side]))
                .collect()
        };
        let (x5, x10) = (lattice(64), lattice(32));
        let features = |coords: &[[i64; 2]]| {
            let of = |&[x, y]: &[i64; 2]| f64::from(u8::from((164..228).contains(&x) && y >= 104));
            let values: Vec<f64> = coords.iter().map(of).collect();
            Some(Tensor::from_vec(values, (coords.len(), 1), &Device::Cpu).unwrap())
        };
        let (features_5, features_10) = (features(&x5), features(&x10));
        let facts =
            |coords, side| PatchFacts { coords: Some(coords), side: Some(side), ..PatchFacts::default() };
        let patches = Patches { x5: facts(x5, 64), x10: facts(x10, 32), ..Patches::default() };
        BagTensors { x5: features_5, x10: features_10, x20: None, patches: Arc::new(patches) }
    }

    #[test]
    fn only_the_cell_that_counts_has_an_effect_and_its_patches_share_it() {
        let mut calls = Vec::new();
        let layers = occlude(&Sum, &bag(), 100, |done, all| calls.push((done, all))).unwrap();
        assert_eq!(calls, (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
        assert_eq!(
            layers.iter().map(|layer| layer.magnification).collect::<Vec<_>>(),
            [Magnification::X5, Magnification::X10]
        );
        let effect = layers[0].scores[4];
        assert!(effect > 0.01, "higher features are a higher risk: {effect}");
        assert_eq!(layers[0].scores, [0.0, 0.0, 0.0, 0.0, effect, 0.0]);
        let planted = bag().x10.unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(layers[1].scores, planted.iter().map(|is| is * effect).collect::<Vec<_>>());
    }

    #[test]
    fn more_cells_than_passes_are_joined_to_squares() {
        // 2 x 2 cells make two squares: the third column is the second.
        let layers = occlude(&Sum, &bag(), 5, |_, _| ()).unwrap();
        let scores = &layers[0].scores;
        assert!(scores[0] > 0.01 && [0, 1, 3, 4].iter().all(|&at| scores[at] == scores[0]));
        assert_eq!((scores[2], scores[5]), (0.0, 0.0));
    }

    #[test]
    fn without_coordinates_the_patches_at_5x_are_the_parts() {
        let mut bag = bag();
        let parents = (0..24).map(|at| Some((at / 12) * 3 + at % 6 / 2)).collect();
        bag.patches = Arc::new(Patches {
            x10: PatchFacts { parents: Some(parents), ..PatchFacts::default() },
            ..Patches::default()
        });
        let layers = occlude(&Sum, &bag, 6, |_, _| ()).unwrap();
        assert!(
            layers[0].scores[4] > 0.01 && layers[1].scores.iter().filter(|score| **score != 0.0).count() == 4
        );
        let error = occlude(&Sum, &bag, 5, |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("coordinates with a patch size"), "{error}");
    }

    #[test]
    fn one_part_cannot_be_compared_with_the_rest() {
        let error = occlude(&Sum, &bag(), 1, |_, _| ()).unwrap_err().to_string();
        assert!(error.contains("one part"), "{error}");
    }

    /// `side` x `side` cells of one patch each, with features 0, 1, 2 ...
    fn square_bag(side: i64) -> BagTensors {
        let coords: Vec<[i64; 2]> =
            (0..side * side).map(|at| [7 + at % side * 64, 300 + at / side * 64]).collect();
        let values: Vec<f64> = (0..coords.len()).map(|at| at as f64).collect();
        let x5 = Tensor::from_vec(values, (coords.len(), 1), &Device::Cpu).unwrap();
        let facts = PatchFacts { coords: Some(coords), side: Some(64), ..PatchFacts::default() };
        let patches = Patches { x5: facts, ..Patches::default() };
        BagTensors { x5: Some(x5), x10: None, x20: None, patches: Arc::new(patches) }
    }

    #[test]
    fn where_no_squares_are_few_enough_the_error_says_how_many_there_must_be() {
        // 3 x 3 cells make 9, 4 and 1 squares; 5 x 5 make 25, 9, 4, 4 and 1.
        for (side, few, n_parts) in
            [(3, [2, 3], vec![(4, 4), (8, 4), (9, 9)]), (5, [2, 3], vec![(4, 4), (8, 4), (9, 9), (24, 9)])]
        {
            let bag = square_bag(side);
            for max_parts in few {
                let error = occlude(&Sum, &bag, max_parts, |_, _| ()).unwrap_err().to_string();
                assert!(error.contains("ask for 4 or more"), "{side} {max_parts}: {error}");
            }
            for (max_parts, wanted) in n_parts {
                let mut n = 0;
                occlude(&Sum, &bag, max_parts, |_, all| n = all).unwrap();
                assert_eq!(n, wanted, "{side} {max_parts}");
            }
        }
    }

    #[test]
    fn a_slide_in_one_cell_has_no_numbers_and_no_error() {
        for max_parts in [1, 2, 100] {
            let layers = occlude(&Sum, &square_bag(1), max_parts, |_, _| ()).unwrap();
            assert!(layers.iter().all(|layer| layer.scores.iter().all(|score| score.is_nan())));
        }
        // Nor where it is not known where its one patch lies.
        let mut bag = square_bag(1);
        bag.patches = Arc::new(Patches::default());
        assert!(occlude(&Sum, &bag, 2, |_, _| ()).unwrap()[0].scores[0].is_nan());
    }

    #[test]
    fn a_part_that_holds_all_of_a_magnification_has_no_number() {
        let mut bag = bag();
        let (coords, side) = (vec![[100, 40]], Some(32));
        bag.x10 = Some(Tensor::ones((1, 1), DType::F64, &Device::Cpu).unwrap());
        bag.patches = Arc::new(Patches {
            x5: bag.patches.x5.clone(),
            x10: PatchFacts { coords: Some(coords), side, ..PatchFacts::default() },
            ..Patches::default()
        });
        let layers = occlude(&Sum, &bag, 10, |_, _| ()).unwrap();
        assert!(layers[0].scores[0].is_nan() && layers[1].scores[0].is_nan());
        assert!(layers[0].scores[1..].iter().all(|score| score.is_finite()));
    }
}
