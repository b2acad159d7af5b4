//! Every compared method learns eight slides by heart, and what is documented as dead stays as it was drawn.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use cf_model::{
    BagTensors, CsMilConfig, DeepGraphSurvConfig, DeepGraphSurvForm, ForwardCtx, GraphMetric, ModelConfig,
    ModelName, ParamStore, PatchFacts, Patches, TripleSampling, ZoomMilConfig,
};
use cf_train::adam::Adam;
use cf_train::loss;
use rand::Rng;
use survival_metrics::Status;

const DIM: usize = 16;
const MAX_EPOCHS: usize = 200;
/// The mean loss that counts as learnt: chance is above 1.
const LEARNT: f64 = 0.35;

/// A slide of one 5x patch with all its children.
fn slide(index: usize) -> BagTensors {
    let mut rng = cf_model::random::stream(11, &format!("overfit/{index}"));
    let mut facts = |per_side: i64| {
        let step = 1024 / per_side;
        let coords: Vec<[i64; 2]> =
            (0..per_side * per_side).map(|i| [i % per_side * step, i / per_side * step]).collect();
        let n = coords.len();
        let values: Vec<f32> = (0..n * DIM).map(|_| rng.random_range(-1.0..1.0)).collect();
        let tissue = Some((0..n).map(|i| (i % 5) as u8).collect());
        let facts = PatchFacts { coords: Some(coords), side: Some(step as u32), parents: None, tissue };
        (Some(Tensor::from_vec(values, (n, DIM), &Device::Cpu).unwrap()), facts)
    };
    let ((x5, of_x5), (x10, of_x10), (x20, of_x20)) = (facts(1), facts(2), facts(4));
    let patches = Patches {
        slide_id: format!("slide-{index}"),
        x5: of_x5,
        x10: of_x10,
        x20: of_x20,
        ..Patches::default()
    };
    BagTensors { x5, x10, x20, patches: Arc::new(patches) }
}

/// Trains without dropout until the mean loss is [`LEARNT`]; returns the epochs that took.
fn overfit(config: &ModelConfig) -> usize {
    overfit_in(config, |_| ForwardCtx::eval())
}

fn overfit_in(config: &ModelConfig, ctx: impl Fn(usize) -> ForwardCtx) -> usize {
    let slides: Vec<BagTensors> = (0..8).map(slide).collect();
    let outcome = |index: usize| (index % 4, if index < 5 { Status::Event } else { Status::Censored });
    let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
    let model = config.build(DIM, store.builder()).unwrap();
    let dead = |store: &ParamStore| -> Vec<(String, Vec<f32>)> {
        let dead = store.params().into_iter().filter(|(name, _)| config.is_dead(name));
        dead.map(|(name, var)| (name, var.flatten_all().unwrap().to_vec1().unwrap())).collect()
    };
    let before = dead(&store);
    let mut adam = Adam::new(&store, 0.0).unwrap().without(|name| config.is_dead(name));
    for epoch in 1..=MAX_EPOCHS {
        let mut total = 0.0;
        for (index, slide) in slides.iter().enumerate() {
            let (bin, status) = outcome(index);
            let output = model.forward(slide, &mut ctx(epoch)).unwrap();
            total += loss::nll(output.logit_values().unwrap(), bin, status, 0.2).loss;
            let of_logits = |logits: [f64; 4]| {
                let at = loss::nll(logits, bin, status, 0.2);
                (at.loss, at.gradient)
            };
            let (_, scalar) = output.training_loss(1.0, of_logits).unwrap();
            adam.accumulate(scalar.backward().unwrap()).unwrap();
            adam.step(1e-3).unwrap();
        }
        if total / 8.0 < LEARNT {
            assert_eq!(dead(&store), before, "{} moved what is dead", config.name());
            return epoch;
        }
    }
    panic!("{} did not learn eight slides in {MAX_EPOCHS} epochs", config.name());
}

macro_rules! overfits {
    ($($test:ident: $name:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let config = ModelConfig::default_of(ModelName::$name);
                println!("{}: {} epochs", config.name(), overfit(&config));
            }
        )*
    };
}

overfits! {
    amil_learns_by_heart: Amil;
    dsmil_learns_by_heart_with_its_instance_stream_at_rest: Dsmil;
    deepgraphsurv_learns_by_heart: DeepGraphSurv;
    patchgcn_learns_by_heart: PatchGcn;
    scmil_learns_by_heart: Scmil;
    mustmil_learns_by_heart: MustMil;
    protosurv_learns_by_heart: ProtoSurv;
    transmil_learns_by_heart: TransMil;
}

#[test]
fn deepgraphsurv_learns_by_heart_in_its_spectral_form() {
    for metric in [GraphMetric::AsPublished, GraphMetric::Mahalanobis] {
        let form = DeepGraphSurvForm::Spectral;
        let config = DeepGraphSurvConfig { form, metric, ..DeepGraphSurvConfig::default() };
        println!("deepgraphsurv {metric:?}: {} epochs", overfit(&ModelConfig::DeepGraphSurv(config)));
    }
}

#[test]
fn csmil_learns_all_triples_by_heart() {
    let config = CsMilConfig { sampling: TripleSampling::Full, ..CsMilConfig::default() };
    println!("csmil: {} epochs", overfit(&ModelConfig::CsMil(config)));
}

#[test]
fn csmil_learns_by_heart_from_means_of_bags() {
    let config = CsMilConfig { num_eval_bags: 10, ..CsMilConfig::default() };
    println!("csmil of bags: {} epochs", overfit(&ModelConfig::CsMil(config)));
}

/// Its zoom heads steer a choice that only training relaxes.
#[test]
fn zoommil_learns_by_heart_in_training_mode() {
    let config = ModelConfig::ZoomMil(ZoomMilConfig { dropout: 0.0, ..ZoomMilConfig::default() });
    let epochs = overfit_in(&config, |epoch| ForwardCtx::train(7, &format!("overfit/{epoch}")));
    println!("zoommil: {epochs} epochs");
}
