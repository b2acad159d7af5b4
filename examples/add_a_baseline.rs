//! An eleventh method to compare with: mean pooling of 20x patches, the floor that every model should beat.
//!
//! A model is a struct with a `SurvivalModel` implementation. This one lives outside the library and is trained on eight made-up
//! slides; to run one through `cf-train cv`, follow "How to add a model" in `docs/architecture.md`.
//!
//! ```text
//! cargo run --release -p cf-train --example add_a_baseline
//! ```

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use cf_model::kernels::{self, Compute, linear};
use cf_model::{BagTensors, ForwardCtx, ParamStore, SurvivalModel, SurvivalOutput, random};
use cf_train::adam::Adam;
use cf_train::loss;
use rand::Rng;
use survival_metrics::Status;
use wsi_bags::Magnification;

/// Columns of the features.
const BACKBONE_DIM: usize = 32;

/// `W mean(x) + b`.
struct MeanPool {
    weight: Tensor,
    bias: Tensor,
}

impl MeanPool {
    /// Parameters are asked for by name; the store draws each from its own stream of the seed.
    fn new(vb: VarBuilder<'_>) -> candle_core::Result<Self> {
        let init = candle_nn::Init::Randn { mean: 0.0, stdev: 0.02 };
        let zero = candle_nn::Init::Const(0.0);
        Ok(Self {
            weight: vb.get_with_hints((cf_model::N_BINS, BACKBONE_DIM), "head.weight", init)?,
            bias: vb.get_with_hints(cf_model::N_BINS, "head.bias", zero)?,
        })
    }
}

impl SurvivalModel for MeanPool {
    fn forward(&self, bag: &BagTensors, ctx: &mut ForwardCtx) -> cf_model::Result<SurvivalOutput> {
        let x = bag.features(Magnification::X20, BACKBONE_DIM)?;
        let mean = x.mean_keepdim(0)?;
        ctx.tap("mean", &mean);
        Ok(SurvivalOutput::new(linear(&mean, &self.weight, &self.bias, Compute::AsStored)?.squeeze(0)?))
    }

    fn magnifications(&self) -> &'static [Magnification] {
        &[Magnification::X20]
    }
}

/// A slide whose patches all lean one way in its early bins and the other way in its late ones.
fn slide(index: usize) -> Result<BagTensors, candle_core::Error> {
    let mut rng = random::stream(7, &format!("slide {index}"));
    let n_patches = rng.random_range(5..50);
    let lean = if index % 4 < 2 { 0.5 } else { -0.5 };
    let values: Vec<f32> =
        (0..n_patches * BACKBONE_DIM).map(|_| lean + rng.random_range(-1.0..1.0f32)).collect();
    let x20 = Some(Tensor::from_vec(values, (n_patches, BACKBONE_DIM), &Device::Cpu)?);
    Ok(BagTensors { x20, ..BagTensors::default() })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let slides: Vec<BagTensors> = (0..8).map(slide).collect::<Result<_, _>>()?;
    let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
    let model = MeanPool::new(store.builder())?;
    let mut adam = Adam::new(&store, 4e-6)?;
    let mut history = Vec::new();
    for _ in 0..60 {
        let mut total = 0.0;
        for (index, slide) in slides.iter().enumerate() {
            let output = model.forward(slide, &mut ForwardCtx::eval())?;
            let share = 1.0 / slides.len() as f64;
            let (loss, scalar) = output.training_loss(share, |logits| {
                let at = loss::nll(logits, index % 4, Status::Event, 0.2);
                (at.loss, at.gradient)
            })?;
            adam.accumulate(kernels::backward(&scalar)?)?;
            total += loss * share;
        }
        adam.step(1e-2)?;
        history.push(total);
    }
    let (first, last) = (history[0], history[history.len() - 1]);
    let risk = |index: usize| model.forward(&slides[index], &mut ForwardCtx::eval())?.risk();
    let (early, late) = (risk(0)?, risk(3)?);
    #[allow(clippy::print_stdout, reason = "an example shows its result")]
    {
        println!("mean loss: {first:.3} at first, {last:.3} after 60 steps");
        println!("risk of a slide with an early event: {early:.3}, with a late one: {late:.3}");
    }
    assert!(last < first && early > late, "the floor has to learn this");
    Ok(())
}
