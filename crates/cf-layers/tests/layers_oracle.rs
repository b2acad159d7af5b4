//! Every layer and kernel against the PyTorch oracle in f64 (`fixtures/reference/layers.safetensors`), values and
//! gradients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use cf_layers::kernels::{self, Compute};
use cf_layers::{ParamStore, Ppeg, square_pad};

fn oracle() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/layers.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// The names of the entries under `group/`, such as `63x65` under `attention/`.
fn entries(oracle: &HashMap<String, Tensor>, group: &str) -> Vec<String> {
    let prefix = format!("{group}/");
    let mut names: Vec<String> = oracle
        .keys()
        .filter_map(|key| Some(key.strip_prefix(&prefix)?.split('/').next()?.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(what: &str, found: &Tensor, wanted: &Tensor, tolerance: f64) {
    assert_eq!(found.elem_count(), wanted.elem_count(), "{what}: number of values");
    let wanted = flat(wanted);
    let scale = wanted.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    for (i, (found, wanted)) in flat(found).iter().zip(&wanted).enumerate() {
        assert!((found - wanted).abs() <= tolerance * scale, "{what}[{i}]: {found}, oracle {wanted}");
    }
}

/// `[heads, n, d]` to `[n, heads * d]`, our layout.
fn side_by_side(tensor: &Tensor) -> Tensor {
    let (heads, n, d) = tensor.dims3().unwrap();
    tensor.transpose(0, 1).unwrap().contiguous().unwrap().reshape((n, heads * d)).unwrap()
}

fn var(tensor: &Tensor, dtype: DType) -> Var {
    Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
}

/// Gradients of `sum(output * weights)`.
fn gradients(output: &Tensor, weights: &Tensor) -> candle_core::backprop::GradStore {
    let weights = weights.to_dtype(output.dtype()).unwrap().reshape(output.shape()).unwrap();
    (output * weights).unwrap().sum_all().unwrap().backward().unwrap()
}

#[test]
fn attention_and_its_gradients_equal_the_oracle_at_every_tile_edge() {
    let oracle = oracle();
    let names = entries(&oracle, "attention");
    assert_eq!(names.len(), 9, "{names:?}");
    for name in names {
        let get = |field: &str| &oracle[&format!("attention/{name}/{field}")];
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
            let [q, k, v] = ["q", "k", "v"].map(|field| var(&side_by_side(get(field)), dtype));
            let kv = Tensor::cat(&[k.as_tensor(), v.as_tensor()], 1).unwrap();
            let output =
                kernels::attention(&q, &kv, get("q").dim(0).unwrap(), None, Compute::AsStored).unwrap();
            assert_close(&format!("{name} out"), &output, &side_by_side(get("out")), tolerance);
            let grads = gradients(&output, &side_by_side(get("grad_out")));
            for (field, var) in [("grad_q", &q), ("grad_k", &k), ("grad_v", &v)] {
                let found = grads.get(var).unwrap();
                assert_close(&format!("{name} {field}"), found, &side_by_side(get(field)), tolerance);
            }
        }
    }
}

#[test]
fn the_merged_position_encoding_equals_three_convolutions_and_the_identity() {
    let oracle = oracle();
    for (group, skipped) in [("ppeg", 0), ("ppeg_class_token", 1)] {
        let names = entries(&oracle, group);
        assert!(!names.is_empty());
        for name in names {
            let get = |field: &str| &oracle[&format!("{group}/{name}/{field}")];
            let params = ["proj", "proj1", "proj2"].map(|branch| {
                ["weight", "bias"].map(|kind| {
                    let field = format!("{branch}.{kind}");
                    (field.clone(), get(&field).clone())
                })
            });
            let params: BTreeMap<_, _> = params.into_iter().flatten().collect();
            let x = var(get("x"), DType::F64);
            let (n, d) = x.dims2().unwrap();
            let store = ParamStore::from_values(params, DType::F64, &Device::Cpu);
            let ppeg = Ppeg::new(d, store.builder()).unwrap();
            let side = (n - skipped).isqrt();
            let output = match skipped {
                0 => ppeg.forward(&x, side).unwrap(),
                _ => ppeg.forward_past_class_token(&x, side).unwrap(),
            };
            assert_close(&format!("{group} {name}"), &output, get("out"), 1e-12);
            let grads = gradients(&output, get("grad_out"));
            assert_close(&format!("{group} {name} x"), grads.get(&x).unwrap(), get("grad_x"), 1e-12);
            for (field, var) in store.params() {
                let wanted = get(&format!("grad_{field}"));
                assert_close(&format!("{group} {name} {field}"), grads.get(&var).unwrap(), wanted, 1e-11);
            }
        }
    }
}

#[test]
fn the_grouped_convolution_reads_two_channels_per_group() {
    let oracle = oracle();
    let names = entries(&oracle, "conv_block");
    assert!(!names.is_empty());
    for name in names {
        let get = |field: &str| &oracle[&format!("conv_block/{name}/{field}")];
        let (n, c_in) = get("x").dims2().unwrap();
        let side = n.isqrt();
        let x = var(get("x"), DType::F64);
        let map = x.reshape((side, side, c_in)).unwrap();
        let weight = var(get("merged_weight"), DType::F64);
        let bias = get("merged_bias");
        for (kind, output) in [
            ("kernel", kernels::grouped_conv2d(&map, &weight, bias).unwrap()),
            ("reference", kernels::reference::grouped_conv2d(&map, &weight, bias).unwrap()),
        ] {
            assert_close(&format!("{kind} {name}"), &output, get("out"), 1e-12);
            let grads = gradients(&output, get("grad_out"));
            assert_close(&format!("{kind} {name} x"), grads.get(&x).unwrap(), get("grad_x"), 1e-12);
            // The 7x7 branch covers the whole merged kernel, so both gradients are the same numbers.
            let found = grads.get(&weight).unwrap();
            assert_close(&format!("{kind} {name} weight"), found, get("grad_proj.weight"), 1e-11);
        }
    }
}

#[test]
fn layer_norm_and_its_gradients_equal_the_oracle_on_flat_rows_too() {
    let oracle = oracle();
    let names = entries(&oracle, "layer_norm");
    assert!(names.contains(&"flat".to_owned()), "{names:?}");
    for name in names {
        let get = |field: &str| &oracle[&format!("layer_norm/{name}/{field}")];
        let [x, gain, shift] = ["x", "weight", "bias"].map(|field| var(get(field), DType::F64));
        let output = kernels::layer_norm(&x, &gain, &shift, 1e-5).unwrap();
        assert_close(&name, &output, get("out"), 1e-12);
        let grads = gradients(&output, get("grad_out"));
        for (field, var) in [("grad_x", &x), ("grad_weight", &gain), ("grad_bias", &shift)] {
            assert_close(&format!("{name} {field}"), grads.get(var).unwrap(), get(field), 1e-11);
        }
    }
}

#[test]
fn square_padding_and_its_gradient_equal_the_oracle() {
    let oracle = oracle();
    let [lengths, sides] =
        ["n", "side"].map(|field| oracle[&format!("square_padding/{field}")].to_vec1::<i64>().unwrap());
    for (n, side) in lengths.into_iter().zip(sides) {
        assert_eq!(cf_layers::square_side(n as usize) as i64, side, "n = {n}");
    }
    let names = entries(&oracle, "square_padding");
    let mut n_compared = 0;
    for name in names.iter().filter(|name| name.parse::<usize>().is_ok()) {
        let get = |field: &str| &oracle[&format!("square_padding/{name}/{field}")];
        let x = var(get("x"), DType::F64);
        let (output, _) = square_pad(&x).unwrap();
        assert_close(name, &output, get("out"), 0.0);
        assert_close(name, gradients(&output, get("grad_out")).get(&x).unwrap(), get("grad_x"), 1e-14);
        n_compared += 1;
    }
    assert!(n_compared > 0);
}
