//! The spectral form of DeepGraphSurv: which patches make the graph, and bags in which no graph is to be seen.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use cf_model::{
    BagTensors, DeepGraphSurvConfig, DeepGraphSurvForm, ForwardCtx, GraphMetric, ModelConfig, Module,
    ParamStore, Patches, SpectralGraphSurv, SurvivalModel, attribute,
};
use rand::Rng;

const DIM: usize = 19;
const METRICS: [GraphMetric; 2] = [GraphMetric::AsPublished, GraphMetric::Mahalanobis];

fn config(max_nodes: usize, metric: GraphMetric) -> DeepGraphSurvConfig {
    DeepGraphSurvConfig { form: DeepGraphSurvForm::Spectral, max_nodes, metric, ..Default::default() }
}

fn model(max_nodes: usize, metric: GraphMetric) -> SpectralGraphSurv {
    let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
    SpectralGraphSurv::new(&config(max_nodes, metric), DIM, store.builder()).unwrap()
}

fn bag_of(slide_id: &str, n: usize, value: impl FnMut() -> f32) -> BagTensors {
    let values: Vec<f32> = std::iter::repeat_with(value).take(n * DIM).collect();
    let patches = Patches { slide_id: slide_id.to_owned(), ..Patches::default() };
    let x20 = Some(Tensor::from_vec(values, (n, DIM), &Device::Cpu).unwrap());
    BagTensors { x20, patches: Arc::new(patches), ..BagTensors::default() }
}

fn bag(slide_id: &str, n: usize) -> BagTensors {
    let mut rng = cf_model::random::stream(5, "spectral");
    bag_of(slide_id, n, || rng.random_range(-1.0..1.0))
}

/// The patches that make the graph, and the logits.
fn pass(model: &SpectralGraphSurv, bag: &BagTensors, ctx: ForwardCtx) -> (Vec<u32>, [f64; 4]) {
    let mut ctx = ctx.recording();
    let logits = model.forward(bag, &mut ctx).unwrap().logit_values().unwrap();
    let nodes = ctx.record().unwrap().taps.get("nodes").map(|nodes| nodes.to_vec1().unwrap());
    (nodes.unwrap_or_default(), logits)
}

#[test]
fn a_slide_has_the_same_nodes_in_every_evaluation_and_others_in_training() {
    let (model, bag) = (model(20, GraphMetric::AsPublished), bag("slide-1", 60));
    let (nodes, logits) = pass(&model, &bag, ForwardCtx::eval());
    assert_eq!(nodes.len(), 20);
    assert!(nodes.is_sorted_by(|a, b| a < b), "rising, none twice: {nodes:?}");
    assert!(nodes.iter().all(|node| *node < 60));
    assert_eq!((nodes.clone(), logits), pass(&model, &bag, ForwardCtx::eval()));
    let (other, _) = pass(&model, &self::bag("slide-2", 60), ForwardCtx::eval());
    assert_ne!(nodes, other, "another slide");
    let train = |label| pass(&model, &bag, ForwardCtx::train(7, label));
    assert_eq!(train("a"), train("a"));
    assert_ne!(train("a").0, train("b").0, "drawn anew at each visit");
    assert_ne!(train("a").0, nodes);
    let given = model.forward_on(&bag, &nodes, &mut ForwardCtx::eval()).unwrap();
    assert_eq!(given.logit_values().unwrap(), logits);
}

#[test]
fn a_bag_within_the_limit_is_taken_whole() {
    let bag = bag("slide-1", 20);
    let (nodes, logits) = pass(&model(20, GraphMetric::AsPublished), &bag, ForwardCtx::eval());
    assert!(nodes.is_empty(), "nothing was drawn");
    assert_eq!(logits, pass(&model(1000, GraphMetric::AsPublished), &bag, ForwardCtx::eval()).1);
    assert_ne!(logits, pass(&model(19, GraphMetric::AsPublished), &bag, ForwardCtx::eval()).1);
    let (_, trained) = pass(&model(20, GraphMetric::AsPublished), &bag, ForwardCtx::train(7, "dropout"));
    assert_ne!(logits, trained);
}

#[test]
fn patches_that_were_not_drawn_get_no_attention() {
    let (model, bag) = (model(20, GraphMetric::AsPublished), bag("slide-1", 60));
    let (nodes, _) = pass(&model, &bag, ForwardCtx::eval());
    let layers = attribute(&model, &bag).unwrap().layers;
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0].module, Module::Pooling);
    assert_eq!(layers[0].scores.len(), 60);
    for (patch, score) in (0_u32..).zip(&layers[0].scores) {
        assert_eq!(nodes.contains(&patch), *score > 0.0, "patch {patch}: {score}");
    }
    assert!((layers[0].scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);
}

#[test]
fn bags_without_edges_have_finite_logits_and_gradients() {
    for metric in METRICS {
        let bags = [
            bag_of("alike", 12, || 0.7),
            bag_of("nothing", 12, || 0.0),
            bag_of("large", 12, || 300.0),
            bag("one", 1),
            bag("few", 4),
        ];
        for bag in bags {
            let slide = &bag.patches.slide_id;
            let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
            let model = ModelConfig::DeepGraphSurv(config(1000, metric)).build(DIM, store.builder()).unwrap();
            for ctx in [ForwardCtx::eval(), ForwardCtx::train(7, "no edges")] {
                let mut ctx = ctx.recording();
                let output = model.forward(&bag, &mut ctx).unwrap();
                assert!(output.logit_values().unwrap().iter().all(|z| z.is_finite()), "{slide}");
                let taps = &ctx.record().unwrap().taps;
                assert_eq!(taps["n_edges"].to_vec1::<i64>().unwrap(), [0], "{slide}");
                assert_eq!(taps["threshold"].to_vec1::<f64>().unwrap(), [0.0], "{slide}");
                let largest = taps["L"].abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert_eq!(largest, 0.0, "{slide}");
                let grads = output.values.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                for (name, var) in store.params() {
                    let norm = grads.get(&var).unwrap().sqr().unwrap().sum_all().unwrap();
                    assert!(norm.to_scalar::<f32>().unwrap().is_finite(), "{slide} {metric:?} {name}");
                }
            }
        }
    }
}

#[test]
fn without_a_difference_the_distance_learns_a_graph_of_equal_edges() {
    let bag = bag_of("alike", 12, || 0.7);
    let mut ctx = ForwardCtx::eval().recording();
    model(1000, GraphMetric::Mahalanobis).forward(&bag, &mut ctx).unwrap();
    let graph: Vec<f32> = ctx.record().unwrap().taps["layer1_G"].flatten_all().unwrap().to_vec1().unwrap();
    assert!(graph.iter().all(|edge| (edge - 0.01).abs() < 1e-7), "{graph:?}");
}

#[test]
fn nodes_that_are_not_there_and_bags_without_patches_are_errors() {
    let (model, filled) = (model(20, GraphMetric::AsPublished), bag("slide-1", 5));
    let eval = || ForwardCtx::eval();
    for nodes in [&[][..], &[5]] {
        let error = model.forward_on(&filled, nodes, &mut eval()).unwrap_err().to_string();
        assert!(error.contains("slide-1") && error.contains("of 5 patches"), "{error}");
    }
    let error = model.forward(&bag("slide-1", 0), &mut eval()).unwrap_err().to_string();
    assert!(error.contains("no x20 patches, expected at least 1"), "{error}");
}

#[test]
fn settings_are_read_as_they_are_documented() {
    let text = r#"{"name":"deepgraphsurv","form":"spectral","max_nodes":500,"metric":"mahalanobis"}"#;
    let read: ModelConfig = serde_json::from_str(text).unwrap();
    assert_eq!(read, ModelConfig::DeepGraphSurv(config(500, GraphMetric::Mahalanobis)));
    let read: ModelConfig =
        serde_json::from_str(r#"{"name":"deepgraphsurv","form":"spectral","metric":"as-published"}"#)
            .unwrap();
    assert_eq!(read, ModelConfig::DeepGraphSurv(config(1000, GraphMetric::AsPublished)));
    assert!(read.needs().is_empty());
    let plain: ModelConfig = serde_json::from_str(r#"{"name":"deepgraphsurv"}"#).unwrap();
    assert_eq!(plain, ModelConfig::DeepGraphSurv(DeepGraphSurvConfig::default()));
}
