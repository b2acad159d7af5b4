//! Kernels against their references, under dropout, at odd sizes, and with any number of threads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{DType, Device, Tensor, Var};
use cf_layers::kernels::{
    self, Activation, AdamParameter, AdamStep, AfterConv, AttentionDropout, AttentionProjections, Compute,
    DropoutMask, FeedForwardOptions, FeedForwardWeights, PackedConv2d, PackedConvShape,
    ProjectedAttentionOptions, Retention, SquareMaps, Workers, reference,
};
use rand::Rng;
use rand_distr::StandardNormal;

fn random(seed: u64, shape: &[usize], dtype: DType) -> Var {
    let mut rng = cf_layers::random::stream(seed, "kernels test");
    let n = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
        .unwrap()
}

/// Output and gradients of the sum of the output's products with numbers of no pattern.
fn evaluate_linearly(inputs: &[&Var], f: impl Fn() -> candle_core::Result<Tensor>) -> Vec<f64> {
    let output = f().unwrap();
    let upstream = random(99, output.dims(), output.dtype());
    let grads = (&output * upstream.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    std::iter::once(&output)
        .chain(inputs.iter().map(|input| grads.get(input).unwrap()))
        .flat_map(|t| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap())
        .collect()
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

const TOLERANCES: [(DType, f64); 2] = [(DType::F64, 1e-12), (DType::F32, 1e-5)];

/// Without dropout, and with a mask that counts `n_queries` queries.
fn dropouts(n_queries: usize) -> [Option<AttentionDropout>; 2] {
    [None, Some(AttentionDropout { mask: DropoutMask { p: 0.3, key: 11 }, n_queries })]
}

#[test]
fn attention_equals_its_reference_with_and_without_dropout() {
    for (dtype, tolerance) in TOLERANCES {
        let edges = [(239, 145), (240, 143), (241, 144), (3, 959), (2, 961), (481, 241)];
        let sizes = [(1, 1), (1, 200), (65, 3), (64, 64), (129, 63), (127, 257), (2, 2100), (300, 255)];
        for (n, m) in sizes.into_iter().chain(edges) {
            for dropout in dropouts(n + 5) {
                let (q, kv) = (random(1, &[n, 24], dtype), random(2, &[m, 48], dtype));
                let found =
                    evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 4, dropout, Compute::AsStored));
                let wanted = evaluate(&[&q, &kv], || reference::attention(&q, &kv, 4, dropout));
                assert_same(&format!("{dtype:?} {n} x {m} {dropout:?}"), &found, &wanted, tolerance);
            }
        }
    }
}

#[test]
fn attention_of_wide_heads_equals_its_reference() {
    for (dtype, tolerance) in TOLERANCES {
        // Up to 272 channels queries are packed by rows, beyond that by steps.
        for width in [47, 48, 49, 96, 128, 130, 272, 273] {
            let (q, kv) = (random(1, &[65, 2 * width], dtype), random(2, &[250, 4 * width], dtype));
            let dropout = dropouts(65)[1];
            let found = evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 2, dropout, Compute::AsStored));
            let wanted = evaluate(&[&q, &kv], || reference::attention(&q, &kv, 2, dropout));
            assert_same(&format!("{dtype:?} {width}"), &found, &wanted, tolerance);
            let k = kv.narrow(1, 0, 2 * width).unwrap();
            let received = |k: &Tensor| kernels::attention_received(&q, k, 2, Compute::AsStored);
            let (found, wanted) = (received(&k).unwrap(), reference::attention_received(&q, &k, 2).unwrap());
            let values = |t: Tensor| t.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            assert_same(&format!("received {dtype:?} {width}"), &values(found), &values(wanted), tolerance);
        }
    }
}

/// One thread has the largest chunks, so that their edges are where this says whatever the machine.
#[test]
fn attention_equals_its_reference_at_the_edges_of_its_chunks() {
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (dtype, tolerance) in TOLERANCES {
        for n in [119, 120, 121, 239, 240, 241, 361] {
            let dropout = dropouts(n)[1];
            let (q, kv) = (random(1, &[n, 24], dtype), random(2, &[241, 48], dtype));
            let found = one_thread.install(|| {
                evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 4, dropout, Compute::AsStored))
            });
            let wanted = evaluate(&[&q, &kv], || reference::attention(&q, &kv, 4, dropout));
            assert_same(&format!("{dtype:?} {n}"), &found, &wanted, tolerance);
        }
    }
}

#[test]
fn attention_equals_its_reference_where_scores_rise_from_tile_to_tile() {
    // The largest score of the later keys is hundreds above that of the earlier ones, whose weights vanish. A weight is as far off, of
    // itself, as its score in absolute terms: two digits more than elsewhere.
    for (dtype, tolerance) in TOLERANCES {
        let q = random(1, &[9, 8], dtype);
        let rising =
            (Tensor::arange(0_u32, 600, &Device::Cpu).unwrap().to_dtype(dtype).unwrap() * 0.5).unwrap();
        let kv = random(2, &[600, 16], dtype);
        let keys = kv.narrow(1, 0, 8).unwrap().broadcast_mul(&rising.unsqueeze(1).unwrap()).unwrap();
        kv.set(&Tensor::cat(&[keys, kv.narrow(1, 8, 8).unwrap()], 1).unwrap()).unwrap();
        let found = evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 1, None, Compute::AsStored));
        let wanted = evaluate(&[&q, &kv], || reference::attention(&q, &kv, 1, None));
        assert_same(&format!("{dtype:?}"), &found, &wanted, 100.0 * tolerance);
    }
}

#[test]
fn attention_received_equals_the_column_means_of_the_whole_matrix() {
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-6)] {
        for (n, m) in
            [(1, 1), (1, 200), (65, 3), (64, 64), (129, 63), (127, 257), (2, 2100), (300, 255), (481, 513)]
        {
            let (q, k) = (random(1, &[n, 24], dtype), random(2, &[m, 24], dtype));
            let values = |received: Tensor| received.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            let found = values(kernels::attention_received(&q, &k, 4, Compute::AsStored).unwrap());
            let wanted = values(reference::attention_received(&q, &k, 4).unwrap());
            assert!((found.iter().sum::<f64>() - 1.0).abs() < tolerance);
            let what = format!("{dtype:?} {n} x {m}");
            assert_same(&what, &found, &wanted, tolerance);
            // Means of many keys are small: to the digits that their scores have, too.
            let largest = wanted.iter().fold(0.0_f64, |a, &b| a.max(b));
            let relative = |means: &[f64]| means.iter().map(|mean| mean / largest).collect::<Vec<_>>();
            assert_same(&what, &relative(&found), &relative(&wanted), 10.0 * tolerance);
        }
    }
}

#[test]
fn attention_received_survives_scores_that_overflow() {
    let (q, k) = (random(1, &[70, 24], DType::F32), random(2, &[300, 24], DType::F32));
    let q = (q.as_tensor() * 1e3).unwrap();
    let received =
        kernels::attention_received(&q, &k, 4, Compute::AsStored).unwrap().to_vec1::<f32>().unwrap();
    assert!((received.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{received:?}");
}

#[test]
fn self_attention_equals_its_reference_with_and_without_dropout() {
    for (dtype, tolerance) in TOLERANCES {
        for n in [1, 2, 63, 64, 65, 127, 128, 129, 143, 145, 239, 240, 241, 300, 481] {
            for dropout in dropouts(n) {
                let qkv = random(1, &[n, 72], dtype);
                let found =
                    evaluate(&[&qkv], || kernels::self_attention(&qkv, 4, dropout, Compute::AsStored));
                let wanted = evaluate(&[&qkv], || reference::self_attention(&qkv, 4, dropout));
                assert_same(&format!("{dtype:?} {n} {dropout:?}"), &found, &wanted, tolerance);
            }
        }
    }
}

/// Rounded to bf16, and f32 again.
fn rounded(x: &Var) -> Var {
    let narrow = x.to_dtype(DType::BF16).unwrap();
    Var::from_tensor(&narrow.to_dtype(DType::F32).unwrap()).unwrap()
}

#[test]
fn bf16_products_are_those_of_rounded_operands() {
    for (n, d_in, d_out) in [(1, 1, 1), (1, 65, 3), (257, 33, 64), (300, 130, 127), (63, 300, 31)] {
        let x = random(1, &[n, d_in], DType::F32);
        let (weight, bias) = (random(2, &[d_out, d_in], DType::F32), random(3, &[d_out], DType::F32));
        let found = kernels::linear(&x, &weight, &bias, Compute::Bf16).unwrap();
        let wanted = reference::linear(&rounded(&x), &rounded(&weight), &bias).unwrap();
        let flat =
            |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        // The products of rounded operands are exact in f32: what differs is the order of sums.
        assert_same(&format!("{n} x {d_in} x {d_out}"), &flat(&found), &flat(&wanted), 1e-5);
    }
}

#[track_caller]
fn assert_near_in_norm(what: &str, found: &[f64], wanted: &[f64]) {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut found.iter().zip(wanted).map(|(a, b)| a - b)) / norm(&mut wanted.iter().copied());
    // Each number is rounded by up to 2^-9 of itself.
    assert!(error < 1e-2, "{what}: {error} of the norm apart");
}

#[test]
fn bf16_gradients_are_those_of_f32_to_two_digits() {
    let x = random(1, &[257, 130], DType::F32);
    let (weight, bias) = (random(2, &[65, 130], DType::F32), random(3, &[65], DType::F32));
    let run =
        |compute| evaluate_linearly(&[&x, &weight, &bias], || kernels::linear(&x, &weight, &bias, compute));
    assert_near_in_norm("linear", &run(Compute::Bf16), &run(Compute::AsStored));
    // Of many rows the gradient is packed in passes: an odd end, one after a whole pass, and a pass of one row.
    for n in [1025, 4095, 4097, 4353] {
        let x = random(1, &[n, 50], DType::F32);
        let (weight, bias) = (random(2, &[97, 50], DType::F32), random(3, &[97], DType::F32));
        let run = |compute| {
            evaluate_linearly(&[&x, &weight, &bias], || kernels::linear(&x, &weight, &bias, compute))
        };
        assert_near_in_norm(&format!("linear {n}"), &run(Compute::Bf16), &run(Compute::AsStored));
    }
    for (n, m) in [(1, 1), (1, 200), (65, 3), (129, 63), (127, 257), (2, 2101), (301, 255)] {
        for dropout in dropouts(n + 5) {
            let (q, kv) = (random(1, &[n, 36], DType::F32), random(2, &[m, 72], DType::F32));
            let run =
                |compute| evaluate_linearly(&[&q, &kv], || kernels::attention(&q, &kv, 4, dropout, compute));
            assert_near_in_norm(
                &format!("{n} x {m} {dropout:?}"),
                &run(Compute::Bf16),
                &run(Compute::AsStored),
            );
        }
    }
    for n in [1, 2, 63, 129, 301] {
        let qkv = random(1, &[n, 72], DType::F32);
        let run = |compute| {
            evaluate_linearly(&[&qkv], || kernels::self_attention(&qkv, 4, dropouts(n)[1], compute))
        };
        assert_near_in_norm(&format!("self {n}"), &run(Compute::Bf16), &run(Compute::AsStored));
    }
}

#[test]
fn attention_survives_scores_that_overflow_and_passes_nan_on() {
    let q = random(1, &[70, 8], DType::F32);
    q.set(&(q.as_tensor() * 1e3).unwrap()).unwrap();
    let kv = random(2, &[600, 16], DType::F32);
    let found = evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 1, None, Compute::AsStored));
    assert!(found.iter().all(|value| value.is_finite()));
    let poisoned = (q.as_tensor() * f64::NAN).unwrap();
    let output =
        kernels::attention(&poisoned, &kv, 1, None, Compute::AsStored).unwrap().flatten_all().unwrap();
    assert!(output.to_vec1::<f32>().unwrap().iter().all(|value| value.is_nan()));
}

/// What is costly to make again is kept, or made again.
const RETENTIONS: [Retention; 2] = [Retention::Keep, Retention::Recompute];

#[test]
fn projected_attention_equals_its_reference_and_its_other_retention() {
    for (dtype, tolerance) in TOLERANCES {
        for (n, m) in [(1, 1), (1, 130), (65, 3), (129, 63), (241, 250)] {
            for dropout in dropouts(n) {
                let (x, context) = (random(1, &[n, 24], dtype), random(2, &[m, 24], dtype));
                let weights = [3, 4, 5].map(|seed| random(seed, &[24, 24], dtype));
                let biases = [6, 7, 8].map(|seed| random(seed, &[24], dtype));
                let projections = || AttentionProjections {
                    queries: (&weights[0], &biases[0]),
                    keys: (&weights[1], &biases[1]),
                    values: (&weights[2], &biases[2]),
                };
                let options = |retention| ProjectedAttentionOptions {
                    n_heads: 4,
                    dropout,
                    compute: Compute::AsStored,
                    retention,
                };
                let parameters = weights.iter().chain(&biases);
                let cross_inputs: Vec<&Var> = [&x, &context].into_iter().chain(parameters.clone()).collect();
                let cross = RETENTIONS.map(|retention| {
                    let options = options(retention);
                    evaluate(&cross_inputs, || {
                        kernels::projected_attention(&x, &context, projections(), options)
                    })
                });
                let wanted = evaluate(&cross_inputs, || {
                    reference::projected_attention(&x, &context, projections(), options(Retention::Keep))
                });
                assert_same(&format!("{dtype:?} {n} x {m} {dropout:?}"), &cross[0], &wanted, tolerance);
                let own_inputs: Vec<&Var> = [&x].into_iter().chain(parameters).collect();
                let own = RETENTIONS.map(|retention| {
                    let options = options(retention);
                    evaluate(&own_inputs, || kernels::projected_self_attention(&x, projections(), options))
                });
                let wanted = evaluate(&own_inputs, || {
                    reference::projected_self_attention(&x, projections(), options(Retention::Keep))
                });
                assert_same(&format!("{dtype:?} {n} {dropout:?}"), &own[0], &wanted, tolerance);
                assert!(cross[0] == cross[1] && own[0] == own[1], "what is made again is the same");
            }
        }
    }
}

#[test]
fn feed_forward_equals_its_reference_and_its_other_retention() {
    for dtype in [DType::F64, DType::F32] {
        for n in [1, 63, 130] {
            for mask in [None, Some(DropoutMask { p: 0.3, key: 8 })] {
                let (base, x) = (random(1, &[n, 24], dtype), random(2, &[n, 24], dtype));
                let (expand, contract) = (random(3, &[40, 24], dtype), random(4, &[24, 40], dtype));
                let (expand_bias, contract_bias) = (random(5, &[40], dtype), random(6, &[24], dtype));
                let weights = || FeedForwardWeights {
                    expand: (&expand, &expand_bias),
                    contract: (&contract, &contract_bias),
                };
                let options = |retention| FeedForwardOptions {
                    hidden_mask: mask,
                    output_mask: mask.map(|mask| DropoutMask { key: 9, ..mask }),
                    compute: Compute::AsStored,
                    retention,
                };
                let inputs = [&base, &x, &expand, &expand_bias, &contract, &contract_bias];
                let found = RETENTIONS.map(|retention| {
                    evaluate(&inputs, || kernels::feed_forward(&base, &x, weights(), options(retention)))
                });
                let wanted = evaluate(&inputs, || {
                    reference::feed_forward(&base, &x, weights(), options(Retention::Keep))
                });
                // The reference's GELU has a backward with six digits.
                assert_same(&format!("{dtype:?} {n} {mask:?}"), &found[0], &wanted, 1e-5);
                assert!(found[0] == found[1], "what is made again is the same");
            }
        }
    }
}

#[test]
fn linear_equals_its_reference_and_skips_the_gradient_nobody_asked_for() {
    for (dtype, tolerance) in TOLERANCES {
        for (n, d_in, d_out) in [
            (1, 1, 1),
            (1, 65, 3),
            (8, 130, 63),
            (9, 130, 63),
            (257, 33, 64),
            (300, 128, 127),
            (1025, 49, 65),
            (119, 257, 144),
            (120, 256, 48),
            (121, 513, 145),
            (1030, 300, 257),
            (4095, 49, 13),
            (4096, 13, 49),
            (4353, 50, 97),
        ] {
            let x = random(1, &[n, d_in], dtype);
            let (weight, bias) = (random(2, &[d_out, d_in], dtype), random(3, &[d_out], dtype));
            let found =
                evaluate(&[&x, &weight, &bias], || kernels::linear(&x, &weight, &bias, Compute::AsStored));
            let wanted = evaluate(&[&x, &weight, &bias], || reference::linear(&x, &weight, &bias));
            assert_same(&format!("{dtype:?} {n} x {d_in} x {d_out}"), &found, &wanted, tolerance);
        }
    }
    let x = random(1, &[4, 6], DType::F32).as_detached_tensor();
    let (weight, bias) = (random(2, &[5, 6], DType::F32), random(3, &[5], DType::F32));
    let grads = kernels::linear(&x, &weight, &bias, Compute::AsStored)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    assert!(grads.get(&x).is_none() && grads.get(&weight).is_some() && grads.get(&bias).is_some());
}

#[test]
fn gradients_that_ops_leave_are_those_of_the_graph() {
    let (x, weight, bias) =
        (random(1, &[9, 6], DType::F64), random(2, &[6, 6], DType::F64), random(3, &[6], DType::F64));
    // The weight is used by two layers and beside them.
    let linear = |x: &Tensor| kernels::linear(x, &weight, &bias, Compute::AsStored).unwrap();
    let loss = (linear(&linear(&x)).sqr().unwrap().sum_all().unwrap()
        + weight.sqr().unwrap().sum_all().unwrap())
    .unwrap();
    let (left, through_the_graph) = (kernels::backward(&loss).unwrap(), loss.backward().unwrap());
    for var in [&x, &weight, &bias] {
        let of = |grads: &candle_core::backprop::GradStore| {
            grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        assert_same("gradients", &of(&left), &of(&through_the_graph), 1e-12);
    }
}

#[test]
fn grouped_conv2d_equals_its_reference_on_maps_smaller_than_the_kernel() {
    for (height, width) in [(1, 1), (1, 9), (2, 3), (7, 5), (12, 12)] {
        for (c_out, per_group) in [(6, 1), (3, 2)] {
            let x = random(1, &[height, width, 6], DType::F64);
            let weight = random(2, &[c_out, per_group, 7, 7], DType::F64);
            let bias = random(3, &[c_out], DType::F64);
            let inputs = [&x, &weight, &bias];
            let found = evaluate(&inputs, || kernels::grouped_conv2d(&x, &weight, &bias));
            let wanted = evaluate(&inputs, || reference::grouped_conv2d(&x, &weight, &bias));
            assert_same(&format!("{height} x {width}, {per_group} per group"), &found, &wanted, 1e-12);
        }
    }
}

#[test]
fn packed_conv2d_equals_its_reference_with_all_that_may_come_after_it() {
    for (side, kernel, stride, c_in, c_out) in [
        (1, 3, 1, 16, 16),
        (5, 3, 1, 16, 48),
        (8, 3, 1, 32, 16),
        (14, 3, 1, 256, 16),
        (15, 3, 1, 3, 40),
        (9, 3, 2, 30, 16),
        (20, 7, 2, 3, 64),
        (6, 1, 1, 300, 33),
        (7, 1, 2, 8, 5),
    ] {
        let shape = PackedConvShape { c_in, c_out, kernel, stride };
        let x = random(1, &[3, side, side, c_in], DType::F32);
        let weight = random(2, &[c_out, c_in, kernel, kernel], DType::F32);
        let bias = random(3, &[c_out], DType::F32);
        let [exact_x, exact_weight, exact_bias] =
            [&x, &weight, &bias].map(|t| t.to_dtype(DType::F64).unwrap());
        let exact = reference::conv2d(&exact_x, &exact_weight, &exact_bias, stride).unwrap();
        let added = random(4, exact.dims(), DType::F32);
        let exact_sum = (&exact + added.to_dtype(DType::F64).unwrap()).unwrap();
        let [x, added] = [&x, &added].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        let maps = SquareMaps { values: &x, n_images: 3, side };
        let conv = PackedConv2d::new(shape, &weight, &bias).unwrap();
        for (what, after, wanted) in [
            ("sums", AfterConv::Identity, exact.clone()),
            ("ReLU", AfterConv::Relu, reference::relu(&exact).unwrap()),
            ("sum and ReLU", AfterConv::AddRelu(&added), reference::relu(&exact_sum).unwrap()),
        ] {
            let mut found = vec![f32::NAN; exact.elem_count()];
            conv.forward(maps, after, Workers::Pool, &mut found).unwrap();
            let found: Vec<f64> = found.into_iter().map(f64::from).collect();
            let wanted = wanted.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert_same(&format!("{what} of {shape:?}, side {side}"), &found, &wanted, 1e-5);
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
fn layer_norm_of_a_sum_equals_its_reference() {
    for (dtype, tolerance) in TOLERANCES {
        for (n, d) in [(1, 1), (1, 16), (63, 33), (65, 64), (130, 15)] {
            let [x, added] = [1, 4].map(|seed| random(seed, &[n, d], dtype));
            let [gain, shift] = [2, 3].map(|seed| random(seed, &[d], dtype));
            let inputs = [&x, &added, &gain, &shift];
            let found = evaluate(&inputs, || kernels::add_layer_norm(&x, &added, &gain, &shift, 1e-5));
            let wanted = evaluate(&inputs, || {
                reference::layer_norm(&(x.as_tensor() + added.as_tensor())?, &gain, &shift, 1e-5)
            });
            assert_same(&format!("{dtype:?} {n} x {d}"), &found, &wanted, tolerance);
            let found = evaluate(&inputs[..1], || kernels::layer_norm(&x, &gain, &shift, 1e-5));
            let wanted = evaluate(&inputs[..1], || reference::layer_norm(&x, &gain, &shift, 1e-5));
            assert_same(&format!("{dtype:?} {n} x {d}, one summand"), &found, &wanted, tolerance);
        }
    }
}

#[test]
fn activations_of_linear_layers_equal_their_references() {
    for (dtype, tolerance) in TOLERANCES {
        for (n, d_in, d_out) in [(1, 1, 1), (7, 33, 5), (65, 129, 63), (301, 40, 130)] {
            let x = random(31, &[n, d_in], dtype);
            let (weight, bias) = (random(32, &[d_out, d_in], dtype), random(33, &[d_out], dtype));
            for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
                let inputs = [&x, &weight, &bias];
                let compute = Compute::AsStored;
                let found =
                    evaluate(&inputs, || kernels::linear_with(&x, &weight, &bias, activation, compute));
                let wanted = evaluate(&inputs, || reference::linear_with(&x, &weight, &bias, activation));
                assert_same(&format!("{activation:?} {dtype:?} {n}"), &found, &wanted, tolerance);
            }
        }
    }
}

#[test]
fn weighted_sums_equal_their_reference_and_skip_the_gradient_nobody_asked_for() {
    for (dtype, tolerance) in TOLERANCES {
        for (k, n, d) in [(1, 1, 1), (4, 3, 2049), (1, 513, 5), (12, 130, 33), (3, 1100, 4100)] {
            let (weights, x) = (random(51, &[k, n], dtype), random(52, &[n, d], dtype));
            let found = evaluate(&[&weights, &x], || kernels::weighted_sums(&weights, &x));
            let wanted = evaluate(&[&weights, &x], || reference::weighted_sums(&weights, &x));
            assert_same(&format!("{dtype:?} {k} {n} {d}"), &found, &wanted, tolerance);
        }
    }
    let (weights, x) = (random(53, &[2, 9], DType::F32), random(54, &[9, 7], DType::F32));
    let mut values = vec![0.0_f32; 18];
    values[16] = 1.0;
    let chosen = Tensor::from_vec(values, (2, 9), &Device::Cpu).unwrap();
    let sums: Vec<Vec<f32>> = kernels::weighted_sums(&chosen, &x).unwrap().to_vec2().unwrap();
    assert_eq!(sums, [vec![0.0; 7], x.get(7).unwrap().to_vec1().unwrap()]);
    let grads = kernels::weighted_sums(&weights, &x.detach()).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&weights).is_some() && grads.get(&x).is_none());
    assert!(kernels::weighted_sums(&weights, &random(55, &[8, 7], DType::F32)).is_err());
}

#[test]
fn pseudo_inverses_equal_their_reference() {
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
        for (n_heads, m) in [(1, 1), (2, 3), (3, 33), (1, 130), (2, 300)] {
            // Rows that sum to one, as after a softmax, and the start that attention takes.
            let scores = random(61, &[n_heads, m, m], DType::F64);
            let a = candle_nn::ops::softmax(&scores.affine(2.0, 0.0).unwrap(), 2).unwrap();
            let z = (a.transpose(1, 2).unwrap().contiguous().unwrap() * 0.3).unwrap();
            let [a, z] = [a, z].map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap());
            for n_steps in [1, 6] {
                let found = evaluate_linearly(&[&a, &z], || kernels::pseudo_inverse(&a, &z, n_steps));
                let wanted = evaluate_linearly(&[&a, &z], || reference::pseudo_inverse(&a, &z, n_steps));
                assert_same(&format!("{dtype:?} {n_heads} x {m}, {n_steps}"), &found, &wanted, tolerance);
            }
        }
    }
    let (a, z) = (random(62, &[1, 3, 4], DType::F32), random(63, &[1, 3, 4], DType::F32));
    assert!(kernels::pseudo_inverse(&a, &z, 6).is_err());
}

#[test]
fn gate_equals_its_reference_and_its_slope_is_the_finite_difference() {
    for (dtype, tolerance) in TOLERANCES {
        for (n, hidden) in [(1, 1), (3, 17), (64, 5), (65, 256), (200, 31)] {
            let branches = random(41, &[n, 2 * hidden], dtype);
            let found = evaluate(&[&branches], || kernels::gate(&branches));
            let wanted = evaluate(&[&branches], || reference::gate(&branches));
            assert_same(&format!("{dtype:?} {n} x {hidden}"), &found, &wanted, tolerance);
        }
    }
    let branches = random(42, &[5, 6], DType::F64);
    let slope = kernels::gate(&branches).unwrap().sum_all().unwrap().backward().unwrap();
    let slope: Vec<f64> = slope.get(&branches).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    for (at, slope) in slope.iter().enumerate() {
        let moved = |by: f64| {
            let mut values: Vec<f64> = branches.flatten_all().unwrap().to_vec1().unwrap();
            values[at] += by;
            let moved = Tensor::from_vec(values, (5, 6), &Device::Cpu).unwrap();
            kernels::gate(&moved).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
        };
        let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        assert!((numeric - slope).abs() < 1e-8, "value {at}: {slope} and {numeric}");
    }
    assert!(kernels::gate(&random(43, &[2, 3], DType::F32)).is_err());
}

#[test]
fn gelu_equals_its_reference_and_its_slope_is_the_finite_difference() {
    let x = random(1, &[5000], DType::F64);
    x.set(&(x.as_tensor() * 3.0).unwrap()).unwrap();
    let wanted = evaluate(&[&x], || reference::gelu(&x));
    assert_same("gelu", &evaluate(&[&x], || kernels::gelu(&x, None)), &wanted, 1e-6);
    let mask = DropoutMask { p: 0.3, key: 8 };
    let wanted = evaluate(&[&x], || reference::dropout(&reference::gelu(&x)?, mask));
    assert_same("gelu and dropout", &evaluate(&[&x], || kernels::gelu(&x, Some(mask))), &wanted, 1e-6);
    let single = random(1, &[5001], DType::F32);
    let wanted = evaluate(&[&single], || reference::gelu(&single));
    assert_same("gelu in f32", &evaluate(&[&single], || kernels::gelu(&single, None)), &wanted, 1e-6);

    let slope = kernels::gelu(&x, None)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap()
        .get(&x)
        .unwrap()
        .to_vec1::<f64>();
    let step = 1e-5;
    let shifted =
        |by: f64| kernels::gelu(&(x.as_tensor() + by).unwrap(), None).unwrap().to_vec1::<f64>().unwrap();
    let (above, below) = (shifted(step), shifted(-step));
    let difference: Vec<f64> = above.iter().zip(below).map(|(a, b)| (a - b) / (2.0 * step)).collect();
    // Central differences are off by the third derivative times step^2 / 6, and by rounding over the step.
    assert_same("slope", &slope.unwrap(), &difference, 1e-9);
}

/// What PyTorch's `relu` and its gradient are.
#[test]
fn relu_passes_nan_on_and_its_slope_at_zero_is_zero() {
    let nan = f64::NAN;
    let cases = [(-2.0, 0.0, 0.0), (0.0, 0.0, 0.0), (3.0, 3.0, 1.0), (nan, nan, 1.0), (-1e-30, 0.0, 0.0)];
    for dtype in [DType::F64, DType::F32] {
        let x = Tensor::from_iter(cases.iter().map(|&(x, ..)| x), &Device::Cpu).unwrap();
        let x = Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap();
        for op in [kernels::relu, reference::relu] {
            let y = op(&x).unwrap();
            let grads = y.sum_all().unwrap().backward().unwrap();
            let values = |t: &Tensor| t.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            let found = values(&y).into_iter().zip(values(grads.get(&x).unwrap()));
            for ((_, y, slope), (found, found_slope)) in cases.into_iter().zip(found) {
                assert!(found == y || found.is_nan() && y.is_nan(), "{dtype:?}: {found}, expected {y}");
                assert_eq!(found_slope, slope, "{dtype:?}: before {y}");
            }
        }
    }
}

#[test]
fn relu_equals_its_reference_at_the_edges_of_its_blocks() {
    for (dtype, _) in TOLERANCES {
        for n in [1, 4095, 4096, 4097, 300_001] {
            let x = random(1, &[n], dtype);
            let (found, wanted) =
                (evaluate(&[&x], || kernels::relu(&x)), evaluate(&[&x], || reference::relu(&x)));
            assert_same(&format!("{dtype:?} {n}"), &found, &wanted, 0.0);
            // Not contiguous, and with a gradient that is not.
            let x = random(1, &[n, 2], dtype);
            let of = |op: fn(&Tensor) -> candle_core::Result<Tensor>| evaluate(&[&x], || op(&x.t()?)?.t());
            assert_same(&format!("{dtype:?} {n} x 2"), &of(kernels::relu), &of(reference::relu), 0.0);
        }
    }
}

#[test]
fn dropout_equals_its_reference_and_keeps_the_asked_share() {
    let mask = DropoutMask { p: 0.3, key: 5 };
    let x = random(1, &[200, 100], DType::F32);
    let found = evaluate(&[&x], || kernels::dropout(&x, mask));
    assert_same("dropout", &found, &evaluate(&[&x], || reference::dropout(&x, mask)), 1e-6);
    let base = random(2, &[200, 100], DType::F32);
    let sum = evaluate(&[&base, &x], || kernels::add_dropped(&base, &x, Some(mask)));
    let wanted = evaluate(&[&base, &x], || base.as_tensor() + reference::dropout(&x, mask)?);
    assert_same("add_dropped", &sum, &wanted, 1e-6);
    let sum = evaluate(&[&base, &x], || kernels::add_dropped(&base, &x, None));
    assert_same("sum", &sum, &evaluate(&[&base, &x], || base.as_tensor() + x.as_tensor()), 0.0);
    let n_zero = found[..20_000].iter().filter(|&&value| value == 0.0).count();
    // Five standard deviations of a binomial with n = 20,000 and p = 0.3.
    assert!((n_zero as f64 - 6000.0).abs() < 5.0 * (20_000.0 * 0.3 * 0.7_f64).sqrt(), "{n_zero} zeroed");
}

#[test]
fn adam_follows_its_definition_and_refuses_other_shapes() {
    let (param, gradient) = (random(1, &[70, 61], DType::F64), random(2, &[70, 61], DType::F64));
    let moments = [0, 1].map(|_| param.zeros_like().unwrap());
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (mut wanted, g) = (values(&param), values(&gradient));
    let (mut m, mut v) = (vec![0.0; g.len()], vec![0.0; g.len()]);
    for n_steps in 1..=3 {
        let step = AdamStep {
            learning_rate: 0.1,
            beta_1: 0.9,
            beta_2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            n_steps,
        };
        let [first, second] = &moments;
        let value = param.as_detached_tensor();
        let parameter =
            AdamParameter { value: &value, gradient: &gradient, first_moment: first, second_moment: second };
        kernels::adam_step(&[parameter], step).unwrap();
        for i in 0..g.len() {
            let g = g[i] + 0.01 * wanted[i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            let (m, v) =
                (m[i] / (1.0 - 0.9_f64.powi(n_steps as i32)), v[i] / (1.0 - 0.999_f64.powi(n_steps as i32)));
            wanted[i] -= 0.1 * m / (v.sqrt() + 1e-8);
        }
    }
    assert_same("parameters", &values(&param), &wanted, 1e-12);
    assert_same("first moments", &values(&moments[0]), &m, 1e-12);
    assert_same("second moments", &values(&moments[1]), &v, 1e-12);

    let total = gradient.copy().unwrap();
    kernels::add_in_place(&total, &param).unwrap();
    assert_same("sum", &values(&total), &values(&(gradient.as_tensor() + param.as_tensor()).unwrap()), 0.0);
    let other = random(1, &[3], DType::F64);
    assert!(kernels::add_in_place(&total, &other).unwrap_err().to_string().contains("[3]"));
    let single = random(1, &[70, 61], DType::F32);
    assert!(kernels::add_in_place(&single, &total).is_err());
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |n_threads| {
        rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap().install(|| {
            // Each large enough to be split, forward and backward: below a million multiply-adds one thread does it all.
            let (q, kv) = (random(1, &[500, 16], DType::F32), random(2, &[1100, 32], DType::F32));
            let qkv = random(3, &[500, 48], DType::F32);
            let x = random(4, &[39, 41, 16], DType::F32);
            let conv = random(5, &[8, 2, 7, 7], DType::F32);
            let gain = random(6, &[16], DType::F32);
            let [wide_gain, wide_shift] = [14, 15].map(|seed| random(seed, &[96], DType::F32));
            let (tokens, weight) = (random(8, &[12_000, 96], DType::F32), random(9, &[130, 96], DType::F32));
            let bias = random(10, &[130], DType::F32);
            let dropout = dropouts(500)[1];
            let mut all = evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 2, dropout, Compute::AsStored));
            all.extend(evaluate(&[&qkv], || {
                kernels::self_attention(&qkv, 2, dropouts(500)[1], Compute::AsStored)
            }));
            let conv_bias = random(11, &[8], DType::F32);
            all.extend(evaluate(&[&x, &conv], || kernels::grouped_conv2d(&x, &conv, &conv_bias)));
            all.extend(evaluate(&[&tokens, &wide_gain, &wide_shift], || {
                kernels::layer_norm(&tokens, &wide_gain, &wide_shift, 1e-5)
            }));
            all.extend(evaluate(&[&tokens, &weight, &bias], || {
                kernels::linear(&tokens, &weight, &bias, Compute::AsStored)
            }));
            // Chunks of 120, 80 and 32 rows.
            let few = random(19, &[300, 96], DType::F32);
            for compute in [Compute::AsStored, Compute::Bf16] {
                all.extend(evaluate(&[&few, &weight, &bias], || {
                    kernels::linear(&few, &weight, &bias, compute)
                }));
            }
            all.extend(evaluate(&[&q, &kv], || kernels::attention(&q, &kv, 2, dropout, Compute::Bf16)));
            let keys = kv.narrow(1, 0, 16).unwrap();
            let received = kernels::attention_received(&q, &keys, 2, Compute::AsStored).unwrap();
            all.extend(received.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap());
            let mask = DropoutMask { p: 0.2, key: 3 };
            all.extend(evaluate(&[&tokens], || kernels::gelu(&tokens, Some(mask))));
            all.extend(evaluate(&[&tokens], || kernels::gate(&tokens)));
            all.extend(evaluate(&[&tokens], || kernels::dropout(&tokens, mask)));
            let scores = random(16, &[3, 12_000], DType::F32);
            all.extend(evaluate(&[&scores, &tokens], || kernels::weighted_sums(&scores, &tokens)));
            let squares = [17, 18].map(|seed| random(seed, &[2, 96, 96], DType::F32));
            let small = |x: &Tensor| x * 0.01;
            all.extend(evaluate(&[&squares[0], &squares[1]], || {
                kernels::pseudo_inverse(&small(&squares[0])?, &small(&squares[1])?, 6)
            }));
            for stride in [1, 2] {
                let shape = PackedConvShape { c_in: 16, c_out: 16, kernel: 3, stride };
                let weight = random(12, &[16, 16, 3, 3], DType::F32);
                let conv = PackedConv2d::new(shape, &weight, &gain).unwrap();
                let x = random(13, &[7 * 14 * 14 * 16], DType::F32).to_vec1::<f32>().unwrap();
                let maps = SquareMaps { values: &x, n_images: 7, side: 14 };
                for workers in [Workers::Caller, Workers::Pool] {
                    let mut output = vec![f32::NAN; x.len() / stride / stride];
                    conv.forward(maps, AfterConv::Identity, workers, &mut output).unwrap();
                    all.extend(output.into_iter().map(f64::from));
                }
            }
            all
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

#[test]
fn a_linear_layer_of_no_rows_gives_none_and_of_no_width_is_an_error() {
    for compute in [Compute::AsStored, Compute::Bf16] {
        let layer = |n: usize, d_in: usize, d_out: usize| {
            let (x, weight) = (random(1, &[n, d_in], DType::F32), random(2, &[d_out, d_in], DType::F32));
            let bias = random(3, &[d_out], DType::F32);
            let output = kernels::linear(&x, &weight, &bias, compute)?;
            let grads = output.sum_all()?.backward()?;
            let gradient = grads.get(&weight).unwrap().abs()?.sum_all()?.to_scalar::<f32>()?;
            candle_core::Result::Ok((output.dims2()?, gradient))
        };
        for d_out in [3, 70] {
            assert_eq!(layer(0, 5, d_out).unwrap(), ((0, d_out), 0.0));
        }
        for (d_in, d_out) in [(0, 9), (70, 0)] {
            let text = layer(12, d_in, d_out).unwrap_err().to_string();
            assert!(text.contains(&format!("[{d_out}, {d_in}]")), "{text}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors_that_show_them() {
    let x = random(1, &[4, 6], DType::F32);
    let pair = random(1, &[4, 12], DType::F32);
    let text = kernels::attention(&x, &pair, 4, None, Compute::AsStored).unwrap_err().to_string();
    assert!(text.contains("width 6 is not a multiple of 4 heads"), "{text}");
    let empty = random(1, &[4, 0], DType::F32);
    let text = kernels::self_attention(&empty, 2, None, Compute::AsStored).unwrap_err().to_string();
    assert!(text.contains("of 0 channels: each must be at least 1"), "{text}");
    assert!(
        kernels::attention(&x, &x, 2, None, Compute::AsStored)
            .unwrap_err()
            .to_string()
            .contains("expected [4, 12]")
    );
    let odd = random(1, &[4, 7], DType::F32);
    assert!(
        kernels::self_attention(&odd, 1, None, Compute::AsStored).unwrap_err().to_string().contains("[4, 7]")
    );
    assert!(kernels::add_dropped(&x, &pair, None).unwrap_err().to_string().contains("[4, 12]"));
    let bias = random(1, &[3], DType::F32);
    assert!(
        kernels::linear(&x, &pair, &bias, Compute::AsStored).unwrap_err().to_string().contains("[4, 12]")
    );
    let map = random(1, &[2, 2, 6], DType::F32);
    let even = random(1, &[6, 1, 2, 2], DType::F32);
    assert!(
        kernels::grouped_conv2d(&map, &even, &random(1, &[6], DType::F32))
            .unwrap_err()
            .to_string()
            .contains("odd k")
    );
    let shape = PackedConvShape { c_in: 1, c_out: 6, kernel: 2, stride: 1 };
    let text = PackedConv2d::new(shape, &even, &random(1, &[6], DType::F32)).unwrap_err().to_string();
    assert!(text.contains("odd kernel"), "{text}");
    let half = pair.to_dtype(DType::F16).unwrap();
    assert!(kernels::self_attention(&half, 2, None, Compute::AsStored).is_err());
}
