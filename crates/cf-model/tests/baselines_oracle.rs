//! The ten compared methods at their published widths against PyTorch oracles written from their description: intermediate
//! values, logits, losses and the gradient of every parameter and input, in f32 and f64.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod formula;
mod oracle;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use cf_model::{
    BagTensors, CsMil, DeepGraphSurvConfig, DeepGraphSurvForm, Derived, ForwardCtx, HeadOutput, ModelConfig,
    ParamStore, PatchFacts, Patches, ProtoSurvConfig, RiskHead, Scmil, ScmilConfig, ScmilHead,
    SpectralGraphSurv, SurvivalOutput, ZoomMil,
};
use formula::formula;
use oracle::{fingerprint, flat, nll};
use serde_json::Value;

/// A file of the oracle: `fixtures/reference/baselines/<name>.json`.
fn read(name: &str) -> Value {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/baselines");
    let text = std::fs::read_to_string(format!("{dir}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn indices(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| u32::try_from(x.as_i64().unwrap().rem_euclid(1 << 32)).unwrap())
        .collect()
}

/// How far a result may be from the oracle, relative to the norm of the tensor that it is in.
#[derive(Clone, Copy)]
struct Tolerance {
    value: f64,
    /// A tap of one number may be a sum that cancels: its rounding is that of its terms. The protocol allows 1e-5 in f32.
    absolute: f64,
    gradient: f64,
    /// Relative to the largest gradient of the case: what is zero in exact arithmetic is rounding of the others.
    floor: f64,
}

/// The Nystrom pseudo-inverse amplifies rounding.
fn tolerance(name: &str, dtype: DType) -> Tolerance {
    match (name, dtype) {
        (_, DType::F64) => Tolerance { value: 1e-9, absolute: 1e-12, gradient: 1e-7, floor: 1e-9 },
        ("transmil", _) => Tolerance { value: 1e-4, absolute: 1e-6, gradient: 1e-3, floor: 1e-5 },
        _ => Tolerance { value: 1e-5, absolute: 1e-6, gradient: 1e-3, floor: 1e-6 },
    }
}

/// One case of the oracle as a bag whose features record gradients.
struct Case<'a> {
    facts: &'a Value,
    name: String,
    inputs: Vec<(String, Var)>,
    bag: BagTensors,
}

impl<'a> Case<'a> {
    fn new(facts: &'a Value, dim: usize, dtype: DType) -> Self {
        let name = facts["case"].as_str().unwrap().to_owned();
        let mut inputs = Vec::new();
        for (scale, n) in facts["sizes"].as_object().unwrap() {
            let mut values = formula(&format!("input/{name}/{scale}"), &[n.as_u64().unwrap() as usize, dim]);
            if let Some(rows) = facts.get("rows") {
                values = values.index_select(&Tensor::new(indices(rows), &Device::Cpu).unwrap(), 0).unwrap();
            }
            inputs.push((scale.clone(), Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()));
        }
        let of = |scale: &str| PatchFacts {
            coords: facts["coords"].get(scale).map(|coords| serde_json::from_value(coords.clone()).unwrap()),
            side: facts["side"].get(scale).map(|side| side.as_u64().unwrap() as u32),
            parents: None,
            tissue: facts
                .get("tissue")
                .filter(|_| scale == "x20")
                .map(|t| serde_json::from_value(t.clone()).unwrap()),
        };
        let patches = Patches {
            slide_id: name.clone(),
            x5: of("x5"),
            x10: of("x10"),
            x20: of("x20"),
            ..Patches::default()
        };
        let input = |scale: &str| inputs.iter().find(|(s, _)| s == scale).map(|(_, v)| v.as_tensor().clone());
        let bag =
            BagTensors { x5: input("x5"), x10: input("x10"), x20: input("x20"), patches: Arc::new(patches) };
        Self { facts, name, inputs, bag }
    }

    /// The forward pass, with what is random in the model taken from the case.
    fn run(
        &self,
        config: &ModelConfig,
        dim: usize,
        store: &ParamStore,
        ctx: &mut ForwardCtx,
    ) -> SurvivalOutput {
        let vb = store.builder();
        match config {
            ModelConfig::Scmil(settings) => {
                let labels = self.facts["integers"].get("labels").map(indices).unwrap_or_default();
                let model = Scmil::new(settings, dim, vb).unwrap();
                model.forward_with_clusters(&self.bag, ctx, |_, _, _| Ok(labels)).unwrap()
            }
            ModelConfig::DeepGraphSurv(settings) if self.facts.get("sampled").is_some() => {
                let model = SpectralGraphSurv::new(settings, dim, vb).unwrap();
                model.forward_on(&self.bag, &indices(&self.facts["sampled"]), ctx).unwrap()
            }
            ModelConfig::CsMil(settings) => {
                let model = CsMil::new(settings, dim, vb).unwrap();
                let triples = indices(&self.facts["triples"]);
                SurvivalOutput::new(model.forward_triples(&self.bag, &triples, ctx).unwrap())
            }
            ModelConfig::ZoomMil(settings) if self.facts.get("noise").is_some() => {
                let model = ZoomMil::new(settings, dim, vb).unwrap();
                let mut step = 0;
                model
                    .forward_selecting(&self.bag, ctx, |weights, k, _| {
                        step += 1;
                        let n = weights.dim(0)?;
                        let noise = formula(&format!("noise/{}/E{step}", self.name), &[100, n]);
                        let noise: Vec<f32> =
                            flat(&noise).iter().map(|v| (v * 3_f64.sqrt()) as f32).collect();
                        Ok(cf_layers::perturbed_selection(weights, k, &noise, settings.sigma)?)
                    })
                    .unwrap()
            }
            _ => config.build(dim, vb).unwrap().forward(&self.bag, ctx).unwrap(),
        }
    }

    fn check_integers(&self, config: &ModelConfig, ctx: &ForwardCtx) {
        let derived: BTreeMap<Derived, Vec<u32>> =
            self.bag.patches.derived.lists().into_iter().map(|(name, list)| (name, list.to_vec())).collect();
        let of_kind = |wanted: &dyn Fn(&Derived) -> bool| {
            derived.iter().find(|(name, _)| wanted(name)).map(|(_, list)| list.clone()).unwrap_or_default()
        };
        let tap = |name: &str| flat(&ctx.record().unwrap().taps[name]);
        let wanted = self.facts["integers"].as_object().unwrap();
        for (name, wanted) in wanted {
            let wanted = indices(wanted);
            let found = match name.as_str() {
                "neighbours" => {
                    of_kind(&|d| matches!(d, Derived::NearestPlaces { .. } | Derived::NearestFeatures { .. }))
                }
                "slots10" => {
                    of_kind(&|d| matches!(d, Derived::Places { fine: wsi_bags::Magnification::X10 }))
                }
                "slots20" => {
                    of_kind(&|d| matches!(d, Derived::Places { fine: wsi_bags::Magnification::X20 }))
                }
                "parents_x10" => {
                    of_kind(&|d| matches!(d, Derived::Parents { coarse: wsi_bags::Magnification::X10, .. }))
                }
                "parents_x5" => {
                    of_kind(&|d| matches!(d, Derived::Parents { coarse: wsi_bags::Magnification::X5, .. }))
                }
                "n_edges" => tap("n_edges").iter().map(|&n| n as u32).collect(),
                "m" => tap("m").iter().map(|&m| m as u32).collect(),
                "passed" => (0..).zip(tap("w")).filter(|(_, w)| *w > 0.5).map(|(index, _)| index).collect(),
                "windows" => {
                    let windows = cf_layers::cluster_windows(
                        &indices(&self.facts["integers"]["labels"]),
                        (self.facts["integers"]["labels"].as_array().unwrap().len() / 64).max(1),
                        64,
                    );
                    windows.into_iter().map(|size| size as u32).collect()
                }
                "E1" | "E2" => {
                    let selection = &ctx.record().unwrap().taps[name];
                    let n = selection.dim(1).unwrap();
                    let ones = flat(selection).into_iter().enumerate().filter(|(_, one)| *one == 1.0);
                    ones.map(|(index, _)| (index % n) as u32).collect()
                }
                // Given.
                "labels" => continue,
                other => panic!("{config:?}: nothing to compare `{other}` with"),
            };
            assert_eq!(found, wanted, "{} {name}", self.name);
        }
    }
}

/// Three sums over a tensor's elements: their rounding grows with its norm, not with the sums.
#[track_caller]
fn assert_near(what: &str, found: &[f64], wanted: &[f64], relative: f64, floor: f64) {
    let allowed = (relative * wanted[0].abs()).max(floor);
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= allowed, "{what}: {found}, oracle {wanted}, allowed {allowed:.1e}");
    }
}

/// Compares all cases of one model; returns the number of gradients compared.
fn compare(name: &str, dtype: DType) -> usize {
    let oracle = read(name);
    let tolerance = tolerance(name, dtype);
    let dim = oracle["backbone_dim"].as_u64().unwrap() as usize;
    let mut n_compared = 0;
    for form in oracle["forms"].as_array().unwrap() {
        let config: ModelConfig = serde_json::from_value(form["config"].clone()).unwrap();
        let store = formula::store(&config, dim, dtype);
        for facts in form["cases"].as_array().unwrap() {
            let case = Case::new(facts, dim, dtype);
            let mut ctx = ForwardCtx::eval().recording();
            let output = case.run(&config, dim, &store, &mut ctx);
            let what = format!("{dtype:?} {} {}", form["config"], case.name);
            case.check_integers(&config, &ctx);
            let taps = facts["taps"].as_object().unwrap();
            for (tap, wanted) in taps {
                let found = &ctx.record().unwrap().taps.get(tap);
                let found = found.unwrap_or_else(|| panic!("{what}: no tap {tap}"));
                let wanted = numbers(wanted);
                assert_near(
                    &format!("{what} {tap}"),
                    &fingerprint(&flat(found)),
                    &wanted,
                    tolerance.value,
                    tolerance.absolute,
                );
            }
            let logits = output.logit_values().unwrap();
            let scale = tolerance.value.max(1e-9);
            for (found, wanted) in logits.iter().zip(numbers(&facts["logits"])) {
                assert!(
                    (found - wanted).abs() <= scale * wanted.abs().max(1.0),
                    "{what}: {found}, oracle {wanted}"
                );
            }
            for (found, wanted) in output.survival().unwrap().iter().zip(numbers(&facts["survival"])) {
                assert!(
                    (found - wanted).abs() < tolerance.value.max(1e-9),
                    "{what} survival: {found}, oracle {wanted}"
                );
            }
            assert!((output.risk().unwrap() - facts["risk"].as_f64().unwrap()).abs() < scale, "{what} risk");
            for (bin, by_status) in facts["loss"].as_array().unwrap().iter().enumerate() {
                for (censored, wanted) in [false, true].into_iter().zip(numbers(by_status)) {
                    let (found, _) = training_loss(&output, bin, censored);
                    assert!(
                        (found - wanted).abs() < 1e-5 * wanted.max(1.0),
                        "{what} loss: {found}, oracle {wanted}"
                    );
                }
            }
            for (target, bin, censored) in [("1_event", 1, false), ("3_censored", 3, true)] {
                let (_, scalar) = training_loss(&output, bin, censored);
                let grads = cf_model::kernels::backward(&scalar).unwrap();
                let wanted = &facts["gradients"][target];
                let of = format!("{what} {target}");
                n_compared += compare_gradients(&of, &grads, wanted, (&store, &case), tolerance);
            }
        }
    }
    n_compared
}

/// The loss as it is trained: that of every output with its weight and the penalty, and a scalar in the graph with its gradient.
fn training_loss(output: &SurvivalOutput, bin: usize, censored: bool) -> (f64, Tensor) {
    let of_head = |output: &HeadOutput| {
        let logits = Var::new(&output.logits()?, &Device::Cpu)?;
        let loss = nll(&logits, bin, censored);
        let gradient = loss.backward()?.get(&logits).map(flat).unwrap_or_default();
        Ok::<_, cf_model::Error>((flat(&loss)[0], gradient))
    };
    output.training_loss_of(1.0, of_head).unwrap()
}

macro_rules! oracle_tests {
    ($($test:ident: $name:literal, $n_gradients:literal;)*) => {
        $(
            #[test]
            fn $test() {
                for dtype in [DType::F64, DType::F32] {
                    let n_compared = compare($name, dtype);
                    assert!(n_compared >= $n_gradients, "only {n_compared} gradients compared");
                }
            }
        )*
    };
}

oracle_tests! {
    amil_equals_the_oracle: "amil", 110;
    dsmil_equals_the_oracle: "dsmil", 90;
    transmil_equals_the_oracle: "transmil", 400;
    deepgraphsurv_equals_the_oracle: "deepgraphsurv", 530;
    patchgcn_equals_the_oracle: "patchgcn", 480;
    scmil_equals_the_oracle: "scmil", 320;
    protosurv_equals_the_oracle: "protosurv", 2400;
    zoommil_equals_the_oracle: "zoommil", 450;
    mustmil_equals_the_oracle: "mustmil", 160;
    csmil_equals_the_oracle: "csmil", 80;
}

#[test]
fn parameter_counts_are_the_oracles() {
    for name in cf_model::ModelName::ALL.into_iter().filter(|name| name.variant().is_none()) {
        let wanted = &read(name.as_str())["parameters"];
        let config = ModelConfig::default_of(name);
        for dim in [1024, 2048] {
            let wanted = wanted[dim.to_string()].as_u64().unwrap();
            assert_eq!(config.n_parameters(dim).unwrap() as u64, wanted, "{name} at {dim}");
        }
    }
}

/// Compares gradients by every parameter and input with the oracle's fingerprints; returns how many.
fn compare_gradients(
    what: &str,
    grads: &GradStore,
    wanted: &Value,
    (store, case): (&ParamStore, &Case<'_>),
    tolerance: Tolerance,
) -> usize {
    let wanted = wanted.as_object().unwrap();
    let largest = wanted.values().filter(|norm| !norm.is_null()).map(|norm| numbers(norm)[0]);
    let floor = tolerance.floor * largest.fold(1.0, f64::max);
    let inputs = case.inputs.iter().map(|(scale, var)| (format!("input/{scale}"), var.clone()));
    let all: Vec<(String, Var)> = store.params().into_iter().chain(inputs).collect();
    assert_eq!(all.len(), wanted.len(), "{what}: other parameters than the oracle's");
    for (parameter, var) in &all {
        let what = format!("{what} {parameter}");
        let wanted = wanted.get(parameter).unwrap_or_else(|| panic!("{what} is not the oracle's"));
        let found = grads.get(var).map(|grad| fingerprint(&flat(grad)));
        match (found, wanted) {
            (None, Value::Null) => {}
            (Some(found), Value::Null) => assert_eq!(found, [0.0; 3], "{what}"),
            (None, wanted) => assert_eq!(numbers(wanted)[0], 0.0, "{what}: no gradient"),
            (Some(found), wanted) => assert_near(&what, &found, &numbers(wanted), tolerance.gradient, floor),
        }
    }
    all.len()
}

#[test]
fn the_mixture_of_times_equals_the_oracle() {
    let oracle = read("scmil_native");
    let dim = oracle["backbone_dim"].as_u64().unwrap() as usize;
    let ends = [1.0, 12.5, 87.0, 220.0];
    let settings =
        ScmilConfig { head: ScmilHead::Mixture, bin_ends_months: Some(ends), ..ScmilConfig::default() };
    let config = ModelConfig::Scmil(settings);
    for dtype in [DType::F64, DType::F32] {
        let store = formula::store(&config, dim, dtype);
        for facts in oracle["cases"].as_array().unwrap() {
            let case = Case::new(facts, dim, dtype);
            let output = case.run(&config, dim, &store, &mut ForwardCtx::eval().recording());
            let what = format!("{dtype:?} {}", case.name);
            let values = output.numbers().unwrap();
            let (near, parts) = (if dtype == DType::F64 { 1e-9 } else { 1e-5 }, &facts["mixture"]);
            let weights: Vec<f64> = values.values[..100].iter().map(|log_weight| log_weight.exp()).collect();
            for (found, wanted) in [
                (&weights[..], &parts["weights"]),
                (&values.values[100..200], &parts["mu"]),
                (&values.values[200..], &parts["sg"]),
            ] {
                for (found, wanted) in found.iter().zip(numbers(wanted)) {
                    assert!(
                        (found - wanted).abs() <= near * wanted.abs().max(1.0),
                        "{what}: {found} {wanted}"
                    );
                }
            }
            let mixture = values.mixture().unwrap();
            for at in facts["times"].as_array().unwrap() {
                let of = |key: &str| at[key].as_f64().unwrap();
                let time = of("time");
                let close = |found: f64, wanted: f64, what: &str| {
                    assert!(
                        (found - wanted).abs() <= 10.0 * near * wanted.abs().max(1.0),
                        "{what} at {time}: {found} {wanted}"
                    );
                };
                close(mixture.survival(time), of("S"), "survival");
                close(mixture.log_density(time), of("ln_f"), "density");
                for (is_event, wanted) in [true, false].into_iter().zip(numbers(&at["loss"])) {
                    close(mixture.loss(time, is_event).loss, wanted, "loss");
                }
                if let Some(bin) = ends.iter().position(|&end| end == time) {
                    close(output.survival().unwrap()[bin], of("S"), "curve");
                }
            }
            for (target, time, is_event) in [("12.5 event", 12.5, true), ("89 censored", 89.0, false)] {
                let (_, scalar) = output
                    .training_loss_of(1.0, |output| {
                        let at = output.mixture().unwrap().loss(time, is_event);
                        Ok::<_, cf_model::Error>((at.loss, at.gradient))
                    })
                    .unwrap();
                let grads = cf_model::kernels::backward(&scalar).unwrap();
                let wanted = &facts["gradients"][target];
                let of = format!("{what} {target}");
                compare_gradients(&of, &grads, wanted, (&store, &case), tolerance("native", dtype));
            }
        }
    }
}

/// A model that ends with a log risk: the risk, its survival curve over a baseline, and the gradient of a share of it.
fn compare_log_risk(name: &str, config: impl Fn([f64; 4]) -> ModelConfig) {
    let oracle = read(name);
    let dim = oracle["backbone_dim"].as_u64().unwrap() as usize;
    let baseline = [0.1, 0.2, 0.4, 0.8];
    let config = config(baseline);
    for dtype in [DType::F64, DType::F32] {
        let store = formula::store(&config, dim, dtype);
        for facts in oracle["cases"].as_array().unwrap() {
            let case = Case::new(facts, dim, dtype);
            let output = case.run(&config, dim, &store, &mut ForwardCtx::eval());
            let (risk, wanted) = (output.risk().unwrap(), facts["log_risk"].as_f64().unwrap());
            let near = if dtype == DType::F64 { 1e-9 } else { 1e-5 };
            assert!((risk - wanted).abs() < near, "{name}: {risk}, oracle {wanted}");
            let survival = output.survival().unwrap();
            for (found, hazard) in survival.into_iter().zip(baseline) {
                assert!((found - (-hazard * risk.exp()).exp()).abs() < 1e-12);
            }
            let (_, scalar) =
                output.training_loss_of(1.0, |_| Ok::<_, cf_model::Error>((0.0, vec![0.7]))).unwrap();
            let grads = cf_model::kernels::backward(&scalar).unwrap();
            let wanted = &facts["gradients"]["0.7"];
            compare_gradients(name, &grads, wanted, (&store, &case), tolerance("native", dtype));
        }
    }
}

#[test]
fn the_log_risk_of_prototypes_equals_the_oracle() {
    compare_log_risk("protosurv_native", |baseline| {
        let settings = ProtoSurvConfig {
            head: RiskHead::LogRisk,
            baseline: Some(baseline),
            ..ProtoSurvConfig::default()
        };
        ModelConfig::ProtoSurv(settings)
    });
}

#[test]
fn the_log_risk_of_spectral_convolutions_equals_the_oracle() {
    compare_log_risk("deepgraphsurv_native", |baseline| {
        let settings = DeepGraphSurvConfig {
            form: DeepGraphSurvForm::Spectral,
            head: RiskHead::LogRisk,
            baseline: Some(baseline),
            ..DeepGraphSurvConfig::default()
        };
        ModelConfig::DeepGraphSurv(settings)
    });
}

#[test]
fn parameter_counts_of_native_heads_are_the_oracles() {
    for (name, config) in [
        ("scmil_native", r#"{"name":"scmil","head":"mixture"}"#),
        ("protosurv_native", r#"{"name":"protosurv","head":"log-risk"}"#),
        ("deepgraphsurv_native", r#"{"name":"deepgraphsurv","form":"spectral","head":"log-risk"}"#),
    ] {
        let config: ModelConfig = serde_json::from_str(config).unwrap();
        for dim in [1024, 2048] {
            let wanted = read(name)["parameters"][dim.to_string()].as_u64().unwrap();
            assert_eq!(config.n_parameters(dim).unwrap() as u64, wanted, "{name} at {dim}");
        }
    }
}
