//! Kernels against their references, under dropout, at odd sizes, and with any number of threads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{DType, Device, Tensor, Var};
use cf_layers::kernels::{self, DropoutMask, reference};
use rand::Rng;
use rand_distr::StandardNormal;

fn random(seed: u64, shape: &[usize], dtype: DType) -> Var {
    let mut rng = cf_layers::random::stream(seed, "kernels test");
    let n = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
        .unwrap()
}

/// Output and gradients of `sum(output^3)`, flattened: a loss whose gradient differs in every element.
fn evaluate(inputs: &[&Var], f: impl Fn() -> candle_core::Result<Tensor>) -> Vec<f64> {
    let output = f().unwrap();
    let loss = (&output * output.sqr().unwrap()).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut all = vec![output.clone()];
    all.extend(inputs.iter().map(|input| grads.get(input).unwrap().clone()));
    all.iter()
        .flat_map(|t| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap())
        .collect()
}

#[track_caller]
fn assert_same(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    let scale = wanted.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance * scale, "{what}: {worst} apart at scale {scale}");
}

#[test]
fn attention_equals_its_reference_with_and_without_dropout() {
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
        for (n, m) in [(1, 1), (1, 200), (65, 3), (64, 64), (129, 63)] {
            for mask in [None, Some(DropoutMask { p: 0.3, key: 11 })] {
                let [q, k, v] = [(1, n), (2, m), (3, m)].map(|(seed, rows)| random(seed, &[rows, 24], dtype));
                let found = evaluate(&[&q, &k, &v], || kernels::attention(&q, &k, &v, 4, mask));
                let wanted = evaluate(&[&q, &k, &v], || reference::attention(&q, &k, &v, 4, mask));
                assert_same(&format!("{dtype:?} {n} x {m} {mask:?}"), &found, &wanted, tolerance);
            }
        }
    }
}

#[test]
fn grouped_conv2d_equals_its_reference_on_maps_smaller_than_the_kernel() {
    for (height, width) in [(1, 1), (1, 9), (2, 3), (7, 5), (12, 12)] {
        for (c_out, per_group) in [(6, 1), (3, 2)] {
            let x = random(1, &[height, width, 6], DType::F64);
            let weight = random(2, &[c_out, per_group, 7, 7], DType::F64);
            let found = evaluate(&[&x, &weight], || kernels::grouped_conv2d(&x, &weight));
            let wanted = evaluate(&[&x, &weight], || reference::grouped_conv2d(&x, &weight));
            assert_same(&format!("{height} x {width}, {per_group} per group"), &found, &wanted, 1e-12);
        }
    }
}

#[test]
fn layer_norm_equals_its_reference_far_from_zero() {
    let x = random(1, &[200, 19], DType::F64);
    x.set(&(x.as_tensor() + 1e4).unwrap()).unwrap();
    let [gain, shift] = [2, 3].map(|seed| random(seed, &[19], DType::F64));
    let found = evaluate(&[&x, &gain, &shift], || kernels::layer_norm(&x, &gain, &shift, 1e-5));
    let wanted = evaluate(&[&x, &gain, &shift], || reference::layer_norm(&x, &gain, &shift, 1e-5));
    assert_same("layer_norm", &found, &wanted, 1e-9);
}

#[test]
fn gelu_equals_its_reference_and_its_slope_is_the_finite_difference() {
    let x = random(1, &[5000], DType::F64);
    x.set(&(x.as_tensor() * 3.0).unwrap()).unwrap();
    let wanted = evaluate(&[&x], || reference::gelu(&x));
    assert_same("gelu", &evaluate(&[&x], || kernels::gelu(&x)), &wanted, 1e-6);

    let slope =
        kernels::gelu(&x).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().to_vec1::<f64>();
    let step = 1e-5;
    let shifted = |by: f64| kernels::gelu(&(x.as_tensor() + by).unwrap()).unwrap().to_vec1::<f64>().unwrap();
    let (above, below) = (shifted(step), shifted(-step));
    let difference: Vec<f64> = above.iter().zip(below).map(|(a, b)| (a - b) / (2.0 * step)).collect();
    // Central differences are off by the third derivative times step^2 / 6, and by rounding over the step.
    assert_same("slope", &slope.unwrap(), &difference, 1e-9);
}

#[test]
fn dropout_equals_its_reference_and_keeps_the_asked_share() {
    let mask = DropoutMask { p: 0.3, key: 5 };
    let x = random(1, &[200, 100], DType::F32);
    let found = evaluate(&[&x], || kernels::dropout(&x, mask));
    assert_same("dropout", &found, &evaluate(&[&x], || reference::dropout(&x, mask)), 1e-6);
    let n_zero = found[..20_000].iter().filter(|&&value| value == 0.0).count();
    // Five standard deviations of a binomial with n = 20,000 and p = 0.3.
    assert!((n_zero as f64 - 6000.0).abs() < 5.0 * (20_000.0 * 0.3 * 0.7_f64).sqrt(), "{n_zero} zeroed");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |n_threads| {
        rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap().install(|| {
            let [q, k, v] = [1, 2, 3].map(|seed| random(seed, &[150, 16], DType::F32));
            let x = random(4, &[9, 11, 16], DType::F32);
            let weight = random(5, &[8, 2, 7, 7], DType::F32);
            let [gain, shift] = [6, 7].map(|seed| random(seed, &[16], DType::F32));
            let mask = Some(DropoutMask { p: 0.2, key: 3 });
            let mut all = evaluate(&[&q, &k, &v], || kernels::attention(&q, &k, &v, 2, mask));
            all.extend(evaluate(&[&x, &weight], || kernels::grouped_conv2d(&x, &weight)));
            all.extend(evaluate(&[&q, &gain, &shift], || kernels::layer_norm(&q, &gain, &shift, 1e-5)));
            all
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

#[test]
fn shapes_that_do_not_fit_are_errors_that_show_them() {
    let x = random(1, &[4, 6], DType::F32);
    let text = kernels::attention(&x, &x, &x, 4, None).unwrap_err().to_string();
    assert!(text.contains("width 6 is not a multiple of 4 heads"), "{text}");
    let narrow = random(1, &[4, 5], DType::F32);
    assert!(kernels::attention(&x, &narrow, &x, 2, None).unwrap_err().to_string().contains("[4, 5]"));
    let map = random(1, &[2, 2, 6], DType::F32);
    let even = random(1, &[6, 1, 2, 2], DType::F32);
    assert!(kernels::grouped_conv2d(&map, &even).unwrap_err().to_string().contains("odd k"));
    let half = x.to_dtype(DType::F16).unwrap();
    assert!(kernels::attention(&half, &half, &half, 2, None).is_err());
}
