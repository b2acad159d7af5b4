//! CrossFusion and its ablations against the PyTorch oracle: logits, losses and every gradient, in f32 and f64.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracle;

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use cf_model::kernels::{self, Retention};
use cf_model::{
    BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ModelName, Module, ParamStore,
    SingleMagnification, SurvivalModel, SurvivalOutput, attribute,
};
use oracle::{fingerprint, flat, nll};

struct Oracle {
    tensors: HashMap<String, Tensor>,
    config: ModelConfig,
    backbone_dim: usize,
}

impl Oracle {
    fn read(file: &str) -> Self {
        let path = format!("{}/../../fixtures/reference/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let mut config: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
        let backbone_dim = config.remove("backbone_dim").unwrap().as_u64().unwrap() as usize;
        assert_eq!(config.remove("n_bins").unwrap(), 4);
        let name: ModelName = config.remove("variant").unwrap().as_str().unwrap().parse().unwrap();
        let settings: CrossFusionConfig = serde_json::from_value(config.into()).unwrap();
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        let config = ModelConfig::crossfusion(name.variant().unwrap(), settings);
        Self { tensors, config, backbone_dim }
    }

    fn params(&self) -> BTreeMap<String, Tensor> {
        let params = self.tensors.iter();
        params.filter_map(|(key, t)| Some((key.strip_prefix("param/")?.to_owned(), t.clone()))).collect()
    }

    fn cases(&self) -> Vec<String> {
        let ends = "/logits";
        let keys = self.tensors.keys();
        keys.filter_map(|key| Some(key.strip_prefix("case/")?.strip_suffix(ends)?.to_owned())).collect()
    }

    fn build(&self, dtype: DType) -> (ParamStore, Box<dyn SurvivalModel>) {
        let store = ParamStore::from_values(self.params(), dtype, &Device::Cpu);
        let model = self.config.build(self.backbone_dim, store.builder()).unwrap();
        (store, model)
    }

    fn values(&self, key: &str) -> Vec<f64> {
        flat(self.tensors.get(key).unwrap_or_else(|| panic!("oracle has no {key}")))
    }
}

struct Tolerance {
    logits: f64,
    /// Relative to the largest value of the tensor.
    gradient: f64,
    floor: f64,
}

const F32: Tolerance = Tolerance { logits: 1e-5, gradient: 1e-3, floor: 1e-6 };
const F64: Tolerance = Tolerance { logits: 1e-11, gradient: 1e-6, floor: 1e-9 };

/// Compares everything that the oracle knows of one file and returns how many gradient tensors that were.
fn compare(file: &str, dtype: DType, tolerance: &Tolerance) -> usize {
    let oracle = Oracle::read(file);
    let (store, model) = oracle.build(dtype);
    let mut n_compared = 0;
    for case in oracle.cases() {
        let inputs: Vec<(&str, Var)> = ["x5", "x10", "x20"]
            .into_iter()
            .map(|name| {
                let values = &oracle.tensors[&format!("case/{case}/input/{name}")];
                (name, Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap())
            })
            .collect();
        let input = |name: &str| inputs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_tensor().clone());
        let bag =
            BagTensors { x5: input("x5"), x10: input("x10"), x20: input("x20"), ..BagTensors::default() };
        for (target, bin, censored) in [("1_event", 1, false), ("3_censored", 3, true)] {
            let output = model.forward(&bag, &mut ForwardCtx::eval()).unwrap();
            let logits = output.logit_values().unwrap();
            for (found, wanted) in logits.iter().zip(oracle.values(&format!("case/{case}/logits"))) {
                assert!(
                    (found - wanted).abs() < tolerance.logits,
                    "{file} {case} logit {found}, oracle {wanted}"
                );
            }
            let survival = output.survival().unwrap();
            for (found, wanted) in survival.iter().zip(oracle.values(&format!("case/{case}/survival"))) {
                assert!(
                    (found - wanted).abs() < tolerance.logits,
                    "{file} {case} S {found}, oracle {wanted}"
                );
            }
            let loss = nll(&output.values, bin, censored);
            let wanted = oracle.values(&format!("case/{case}/loss"))[2 * bin + usize::from(censored)];
            assert!((flat(&loss)[0] - wanted).abs() < 1e-5, "{file} {case} {target} loss");

            let grads = loss.backward().unwrap();
            let params = store.params();
            let all = params
                .iter()
                .map(|(name, var)| (name.clone(), var))
                .chain(inputs.iter().map(|(name, var)| (format!("input/{name}"), var)));
            for (name, var) in all {
                let key = format!("case/{case}/grad_fingerprint/{target}/{name}");
                let Some(gradient) = grads.get(var) else {
                    assert!(!oracle.tensors.contains_key(&key), "{file} {case}: no gradient reaches {name}");
                    continue;
                };
                let gradient = flat(gradient);
                // Three sums over n elements: their rounding grows with the norm, not with the sums.
                let wanted = oracle.values(&key);
                for (found, wanted_sum) in fingerprint(&gradient).iter().zip(&wanted) {
                    let allowed = (tolerance.gradient * wanted[0]).max(tolerance.floor);
                    assert!(
                        (found - wanted_sum).abs() <= allowed,
                        "{file} {case} {name}: {found}, oracle {wanted_sum}"
                    );
                }
                if let Some(full) = oracle.tensors.get(&format!("case/{case}/grad/{target}/{name}")) {
                    let full = flat(full);
                    let largest = full.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
                    let allowed = (tolerance.gradient * largest).max(tolerance.floor);
                    for (i, (found, wanted)) in gradient.iter().zip(&full).enumerate() {
                        assert!(
                            (found - wanted).abs() <= allowed,
                            "{file} {case} {name}[{i}]: {found}, oracle {wanted}"
                        );
                    }
                }
                n_compared += 1;
            }
        }
    }
    n_compared
}

#[test]
fn logits_and_gradients_equal_the_oracle() {
    // Parameters and inputs read, times five sizes and two targets (one size for the special cases).
    for (file, n_gradients) in [
        ("crossfusion", 1500),
        ("crossfusion-wo-cp", 1500),
        ("crossfusion-wo-fc", 600),
        ("crossfusion-prenorm", 200),
        ("crossfusion-2-layers", 200),
        ("crossfusion-identity", 200),
    ] {
        for (dtype, tolerance) in [(DType::F32, &F32), (DType::F64, &F64)] {
            let n_compared = compare(file, dtype, tolerance);
            println!("{file} {dtype:?}: {n_compared} gradient tensors compared");
            assert!(n_compared >= n_gradients, "{file}: only {n_compared} gradient tensors compared");
        }
    }
}

#[test]
fn every_parameter_gets_a_gradient_except_what_softmax_cannot_see() {
    for file in ["crossfusion", "crossfusion-wo-cp", "crossfusion-wo-fc"] {
        let oracle = Oracle::read(file);
        // The training initialisation, in training mode: zero biases and dropout must not hide a cut graph.
        let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
        let model = oracle.config.build(oracle.backbone_dim, store.builder()).unwrap();
        let input = |name: &str| Some(oracle.tensors[&format!("case/5_17_70/input/{name}")].clone());
        let bag =
            BagTensors { x5: input("x5"), x10: input("x10"), x20: input("x20"), ..BagTensors::default() };
        let output = model.forward(&bag, &mut ForwardCtx::train(7, "gradient invariant")).unwrap();
        let grads = nll(&output.values, 1, false).backward().unwrap();
        let norms: Vec<(String, f64)> = store
            .params()
            .iter()
            .map(|(name, var)| {
                let grad = grads.get(var).unwrap_or_else(|| panic!("{file}: {name} got no gradient"));
                (name.clone(), fingerprint(&flat(grad))[0])
            })
            .collect();
        let largest = norms.iter().fold(0.0_f64, |a, (_, norm)| a.max(*norm));
        for (name, norm) in norms {
            if name.ends_with("k_proj.bias") {
                assert!(norm < 1e-6 * largest, "{file}: {name} has a gradient of {norm}, largest {largest}");
            } else {
                assert!(norm > 0.0, "{file}: {name} has a zero gradient");
            }
        }
    }
}

#[test]
fn training_mode_draws_from_its_stream_and_evaluation_does_not() {
    let oracle = Oracle::read("crossfusion");
    let (_, model) = oracle.build(DType::F32);
    let input = |name: &str| Some(oracle.tensors[&format!("case/9_16_64/input/{name}")].clone());
    let bag = BagTensors { x5: input("x5"), x10: input("x10"), x20: input("x20"), ..BagTensors::default() };
    let run = |mut ctx: ForwardCtx| model.forward(&bag, &mut ctx).unwrap().logit_values().unwrap();
    assert_eq!(run(ForwardCtx::eval()), run(ForwardCtx::eval()));
    assert_eq!(run(ForwardCtx::eval()), run(ForwardCtx::eval_with_stream(1, "unused")));
    assert_eq!(run(ForwardCtx::train(7, "a")), run(ForwardCtx::train(7, "a")));
    assert_ne!(run(ForwardCtx::train(7, "a")), run(ForwardCtx::train(7, "b")));
    assert_ne!(run(ForwardCtx::train(7, "a")), run(ForwardCtx::eval()));
}

#[test]
fn attention_dropout_at_eval_is_random_as_released_and_off_by_default() {
    let mut oracle = Oracle::read("crossfusion");
    let settings = CrossFusionConfig {
        attention_dropout_at_eval: true,
        ..oracle.config.as_crossfusion().unwrap().1.clone()
    };
    oracle.config = ModelConfig::Crossfusion(settings);
    let (_, model) = oracle.build(DType::F32);
    let input = |name: &str| Some(oracle.tensors[&format!("case/9_16_64/input/{name}")].clone());
    let bag = BagTensors { x5: input("x5"), x10: input("x10"), x20: input("x20"), ..BagTensors::default() };
    let run = |label| {
        model.forward(&bag, &mut ForwardCtx::eval_with_stream(7, label)).unwrap().logit_values().unwrap()
    };
    assert_eq!(run("a"), run("a"));
    assert_ne!(run("a"), run("b"));
    // Without a stream nothing is dropped: maps, effects and gradients are those of the model itself.
    let (_, plain) = Oracle::read("crossfusion").build(DType::F32);
    let plain = plain.forward(&bag, &mut ForwardCtx::eval()).unwrap().logit_values().unwrap();
    let logits = |output: SurvivalOutput| output.logit_values().unwrap();
    assert_eq!(logits(model.forward(&bag, &mut ForwardCtx::eval()).unwrap()), plain);
    assert_eq!(logits(attribute(&*model, &bag).unwrap().output), plain);
}

/// What the oracle calls the maps.
const MAPS: [(Module, &str); 4] = [
    (Module::CoarseCab, "cab_coarse"),
    (Module::FineCab, "cab_fine"),
    (Module::SourcePt, "source_post"),
    (Module::FinalPt, "final_post"),
];

#[test]
fn maps_of_attention_are_the_oracles_and_move_no_logit() {
    let mut n_compared = 0;
    for file in [
        "crossfusion",
        "crossfusion-wo-cp",
        "crossfusion-wo-fc",
        "crossfusion-prenorm",
        "crossfusion-2-layers",
        "crossfusion-identity",
    ] {
        let oracle = Oracle::read(file);
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-12)] {
            let (_, model) = oracle.build(dtype);
            for case in oracle.cases() {
                let input = |name: &str| {
                    Some(oracle.tensors[&format!("case/{case}/input/{name}")].to_dtype(dtype).unwrap())
                };
                let bag = BagTensors {
                    x5: input("x5"),
                    x10: input("x10"),
                    x20: input("x20"),
                    ..BagTensors::default()
                };
                let attribution = attribute(model.as_ref(), &bag).unwrap();
                let plain = model.forward(&bag, &mut ForwardCtx::eval()).unwrap();
                assert_eq!(attribution.output.logit_values().unwrap(), plain.logit_values().unwrap());
                let mut wanted = oracle
                    .tensors
                    .keys()
                    .filter(|key| key.starts_with(&format!("case/{case}/heat/")))
                    .count();
                for layer in attribution.layers {
                    let (_, name) = MAPS.iter().find(|(module, _)| *module == layer.module).unwrap();
                    let map = oracle.values(&format!("case/{case}/heat/{name}"));
                    assert_eq!(layer.scores.len(), map.len(), "{file} {case} {name}");
                    for (found, wanted) in layer.scores.iter().zip(&map) {
                        assert!(
                            (found - wanted).abs() < tolerance,
                            "{file} {case} {name}: {found}, {wanted}"
                        );
                    }
                    let patches = bag.at(layer.magnification).unwrap().dim(0).unwrap();
                    assert_eq!(patches, map.len(), "{file} {name} is drawn on {}", layer.magnification);
                    wanted -= 1;
                    n_compared += 1;
                }
                assert_eq!(wanted, 0, "{file} {case}: the oracle has maps that the model lacks");
            }
        }
    }
    assert!(n_compared > 100, "{n_compared}");
}

#[test]
fn where_all_tokens_get_the_same_the_copied_patches_have_twice_the_score_and_no_other() {
    let mut oracle = Oracle::read("crossfusion");
    // Without keys, all logits of attention are equal.
    for (name, tensor) in &mut oracle.tensors {
        if name.contains("post_layers") && name.contains("k_proj") {
            *tensor = tensor.zeros_like().unwrap();
        }
    }
    let (_, model) = oracle.build(DType::F64);
    let (mut n_filled, mut n_square) = (0, 0);
    for case in oracle.cases() {
        let input = |name: &str| {
            Some(oracle.tensors[&format!("case/{case}/input/{name}")].to_dtype(DType::F64).unwrap())
        };
        let bag =
            BagTensors { x5: input("x5"), x10: input("x10"), x20: input("x20"), ..BagTensors::default() };
        for layer in attribute(model.as_ref(), &bag).unwrap().layers {
            let n_tokens = match layer.module {
                Module::SourcePt => layer.scores.len() + layer.n_copied(),
                // The class token attends to itself, too.
                Module::FinalPt => layer.scores.len() + layer.n_copied() + 1,
                _ => {
                    assert_eq!(layer.n_copied(), 0);
                    continue;
                }
            };
            for (at, score) in layer.scores.iter().enumerate() {
                let n_stood_for = if at < layer.n_copied() { 2.0 } else { 1.0 };
                let per_token = score / n_stood_for;
                assert!((per_token * n_tokens as f64 - 1.0).abs() < 1e-12, "{case} {at}: {per_token}");
            }
            *(if layer.n_copied() > 0 { &mut n_filled } else { &mut n_square }) += 1;
        }
    }
    assert!(n_filled > 0 && n_square > 0, "{n_filled} {n_square}");
}

#[test]
fn bags_that_do_not_fit_are_errors_that_say_how() {
    let oracle = Oracle::read("crossfusion");
    let (_, model) = oracle.build(DType::F32);
    let patches = |dim: usize| Some(Tensor::ones((4, dim), DType::F32, &Device::Cpu).unwrap());
    let run = |bag: &BagTensors| model.forward(bag, &mut ForwardCtx::eval()).unwrap_err().to_string();
    let missing = run(&BagTensors { x5: patches(48), x10: patches(48), x20: None, ..BagTensors::default() });
    assert!(missing.contains("no x20"), "{missing}");
    let narrow =
        run(&BagTensors { x5: patches(47), x10: patches(48), x20: patches(48), ..BagTensors::default() });
    assert!(narrow.contains("x5 features have 47 columns, expected 48"), "{narrow}");
}

/// Logits, and the gradient of every parameter by name, of a training pass.
fn trained(
    oracle: &Oracle,
    dtype: DType,
    sizes: [usize; 3],
    retention: Retention,
) -> (Vec<f64>, BTreeMap<String, Vec<f64>>) {
    let (store, model) = oracle.build(dtype);
    let features = |n: usize, salt: usize| {
        let values: Vec<f32> = (0..n * oracle.backbone_dim)
            .map(|at| ((at * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0)
            .collect();
        Some(Tensor::from_vec(values, (n, oracle.backbone_dim), &Device::Cpu).unwrap())
    };
    let [n5, n10, n20] = sizes;
    let bag = BagTensors {
        x5: features(n5, 1),
        x10: features(n10, 2),
        x20: features(n20, 3),
        ..BagTensors::default()
    };
    let mut ctx = ForwardCtx::train(7, "kernels and references").with_retention(retention);
    let logits = model.forward(&bag, &mut ctx).unwrap().values;
    let upstream = Tensor::new(&[0.7f32, -1.1, 0.4, 0.9], &Device::Cpu).unwrap();
    let grads = (&logits * upstream).unwrap().sum_all().unwrap().backward().unwrap();
    let params = store.params();
    (flat(&logits), params.iter().map(|(name, var)| (name.clone(), flat(grads.get(var).unwrap()))).collect())
}

#[test]
fn the_whole_model_on_reference_ops_is_the_model_on_kernels() {
    for file in ["crossfusion", "crossfusion-wo-cp", "crossfusion-wo-fc", "crossfusion-prenorm"] {
        let mut oracle = Oracle::read(file);
        let mut settings = oracle.config.as_crossfusion().unwrap().1.clone();
        (settings.dropout, settings.attention_dropout) = (0.3, 0.2);
        oracle.config = ModelConfig::crossfusion(oracle.config.as_crossfusion().unwrap().0, settings);
        for sizes in [[1, 1, 1], [7, 26, 130], [40, 131, 420]] {
            let (logits, grads) = trained(&oracle, DType::F32, sizes, Retention::Keep);
            let again = trained(&oracle, DType::F32, sizes, Retention::Recompute);
            assert!(
                (&logits, &grads) == (&again.0, &again.1),
                "{file} {sizes:?}: what is made again differs"
            );
            let (plain, plain_grads) = kernels::reference::in_place_of_kernels(|| {
                trained(&oracle, DType::F32, sizes, Retention::Keep)
            });
            assert_ne!(grads, plain_grads, "the switch changes nothing");
            for (a, b) in logits.iter().zip(&plain) {
                assert!((a - b).abs() < 1e-5, "{file} {sizes:?}: logits {logits:?} and {plain:?}");
            }
            let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
            let largest = plain_grads.values().map(|grad| norm(grad)).fold(0.0, f64::max);
            for (name, grad) in &grads {
                let plain = &plain_grads[name];
                let difference: Vec<f64> = grad.iter().zip(plain).map(|(a, b)| a - b).collect();
                // Gradients that softmax cannot see are rounding noise on both sides.
                let allowed = 1e-3 * norm(plain) + 1e-6 * largest;
                assert!(norm(&difference) <= allowed, "{file} {sizes:?} {name}: {} off", norm(&difference));
            }
        }
    }
}

/// Widths need be even, and a multiple of the heads: heads of an odd width are served.
#[test]
fn heads_of_odd_widths_give_what_reference_ops_give() {
    let patches = |n: usize, salt: usize| {
        let values: Vec<f32> =
            (0..n * 9).map(|at| ((at * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect();
        Some(Tensor::from_vec(values, (n, 9), &Device::Cpu).unwrap())
    };
    let bag =
        BagTensors { x5: patches(7, 1), x10: patches(26, 2), x20: patches(130, 3), ..BagTensors::default() };
    let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let apart = |a: &[f64], b: &[f64]| norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
    for (embed_dim, num_heads) in [(12, 4), (10, 2), (6, 6), (14, 1), (66, 6)] {
        for name in [ModelName::Crossfusion, ModelName::CrossfusionWoFc] {
            let settings = CrossFusionConfig { embed_dim, num_heads, ..CrossFusionConfig::default() };
            let config = ModelConfig::crossfusion(name.variant().unwrap(), settings);
            let trained = |dtype| {
                let store = ParamStore::seeded(7, dtype, &Device::Cpu);
                let model = config.build(9, store.builder()).unwrap();
                let logits = model.forward(&bag, &mut ForwardCtx::train(7, "odd heads")).unwrap().values;
                let grads = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let grads = store.params().into_iter().map(|(_, var)| flat(grads.get(&var).unwrap()));
                (flat(&logits), grads.flatten().collect::<Vec<f64>>())
            };
            let (wanted, wanted_grads) = kernels::reference::in_place_of_kernels(|| trained(DType::F32));
            for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::BF16, 0.15)] {
                let (found, grads) = trained(dtype);
                let what = format!("{name}, {num_heads} heads in {embed_dim} channels, {dtype:?}");
                assert!(apart(&found, &wanted) <= tolerance * norm(&wanted), "{what}: {found:?}, {wanted:?}");
                assert!(apart(&grads, &wanted_grads) <= tolerance * norm(&wanted_grads), "{what}");
            }
        }
    }
}

/// Without fine and coarse scales the published code reads 20x; its name suggests 10x.
#[test]
fn the_form_of_one_scale_reads_the_magnification_that_it_is_told_to() {
    let config = |single_magnification| {
        ModelConfig::CrossfusionWoFc(CrossFusionConfig {
            embed_dim: 8,
            num_heads: 2,
            single_magnification,
            ..CrossFusionConfig::default()
        })
    };
    let patches = |n: usize| {
        Tensor::arange(0.0_f32, (n * 6) as f32, &Device::Cpu).unwrap().cos().unwrap().reshape((n, 6)).unwrap()
    };
    let (few, many) = (patches(5), patches(20));
    let run = |single_magnification, x10: Option<&Tensor>, x20: Option<&Tensor>| {
        let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
        let model = config(single_magnification).build(6, store.builder()).unwrap();
        let bag = BagTensors { x10: x10.cloned(), x20: x20.cloned(), ..BagTensors::default() };
        model.forward(&bag, &mut ForwardCtx::eval()).map(|output| output.logit_values().unwrap())
    };
    let at_20x = run(SingleMagnification::X20, Some(&many), Some(&few)).unwrap();
    let at_10x = run(SingleMagnification::X10, Some(&few), Some(&many)).unwrap();
    assert_eq!(at_20x, at_10x, "the same patches under another name");
    assert!(run(SingleMagnification::X10, None, Some(&few)).is_err(), "20x patches are no 10x patches");
    assert_eq!(config(SingleMagnification::X10).magnifications(), [wsi_bags::Magnification::X10]);
    let settings =
        CrossFusionConfig { single_magnification: SingleMagnification::X10, ..CrossFusionConfig::default() };
    let refused = ModelConfig::Crossfusion(settings).check().unwrap_err().to_string();
    assert!(refused.contains("single_magnification"), "{refused}");
}
