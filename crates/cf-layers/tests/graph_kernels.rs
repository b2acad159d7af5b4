//! The kernels of graphs and tokens against their references, with gradients, at odd sizes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use cf_layers::kernels::{self, reference};
use cf_layers::{EdgeDirection, Graph};
use rand::Rng;
use rand_distr::StandardNormal;

fn random(seed: u64, shape: &[usize], dtype: DType) -> Var {
    let mut rng = cf_layers::random::stream(seed, "graph kernels test");
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
    let gradient = |input: &&Var| grads.get(input).cloned().unwrap_or_else(|| input.zeros_like().unwrap());
    let all = std::iter::once(output.clone()).chain(inputs.iter().map(gradient));
    all.flat_map(|t| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap())
        .collect()
}

#[track_caller]
fn assert_same(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance * scale, "{what}: {worst} apart at scale {scale}");
}

const TOLERANCES: [(DType, f64); 2] = [(DType::F64, 1e-12), (DType::F32, 1e-5)];

/// Graphs with hubs and with nodes that nobody chose.
fn graphs() -> Vec<Arc<Graph>> {
    let mut rng = cf_layers::random::stream(3, "graphs");
    let sizes = [(1, 0), (2, 1), (9, 3), (300, 8)];
    let graph = |(n, k): (usize, usize)| {
        let neighbours: Vec<u32> =
            (0..n * k).map(|_| (rng.random_range(0.0..1.0_f64).powi(3) * n as f64) as u32).collect();
        [EdgeDirection::ToNeighbours, EdgeDirection::FromNeighbours]
            .map(|direction| Arc::new(Graph::new(&neighbours, n, direction).unwrap()))
    };
    sizes.into_iter().flat_map(graph).collect()
}

#[test]
fn sums_over_neighbours_equal_their_reference() {
    for (dtype, tolerance) in TOLERANCES {
        for graph in graphs() {
            let x = random(1, &[graph.n_nodes(), 37], dtype);
            let found = evaluate(&[&x], || kernels::neighbour_sum(&x, &graph));
            let wanted = evaluate(&[&x], || reference::neighbour_sum(&x, &graph));
            assert_same(&format!("{dtype:?} {} nodes", graph.n_nodes()), &found, &wanted, tolerance);
        }
    }
}

#[test]
fn softmax_aggregation_equals_its_reference() {
    for (dtype, tolerance) in TOLERANCES {
        for graph in graphs() {
            let (x, t) = (random(1, &[graph.n_nodes(), 37], dtype), random(2, &[1], dtype));
            let found = evaluate(&[&x, &t], || kernels::neighbour_softmax(&x, &t, &graph));
            let wanted = evaluate(&[&x, &t], || reference::neighbour_softmax(&x, &t, &graph));
            assert_same(&format!("{dtype:?} {} nodes", graph.n_nodes()), &found, &wanted, tolerance);
        }
    }
}

#[test]
fn loud_messages_do_not_silence_the_rest_of_a_slide() {
    // One maximum over all nodes would underflow the second pair to 0 / 0.
    let x = Var::from_slice(&[500f32, 400.0, 1.0, 2.0], (4, 1), &Device::Cpu).unwrap();
    let t = Tensor::ones(1, DType::F32, &Device::Cpu).unwrap();
    let graph = Arc::new(Graph::new(&[1, 0, 3, 2], 4, EdgeDirection::ToNeighbours).unwrap());
    let found: Vec<f32> =
        kernels::neighbour_softmax(&x, &t, &graph).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let wanted = [400.0, 500.0, 2.0, 1.0];
    assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6 * b), "{found:?}");
}

#[test]
fn a_node_that_is_nan_is_nan_for_those_that_hear_from_it() {
    let x = Var::from_slice(&[f32::NAN, 1.0, -2.0, 3.0], (4, 1), &Device::Cpu).unwrap();
    let t = Var::ones(1, DType::F32, &Device::Cpu).unwrap();
    // Edges 1 -> 0, 0 -> 1, 3 -> 2 and 2 -> 3.
    let graph = Arc::new(Graph::new(&[1, 0, 3, 2], 4, EdgeDirection::ToNeighbours).unwrap());
    for op in [kernels::neighbour_softmax(&x, &t, &graph), reference::neighbour_softmax(&x, &t, &graph)] {
        let output = op.unwrap();
        let found: Vec<f32> = output.flatten_all().unwrap().to_vec1().unwrap();
        let is_nan: Vec<bool> = found.iter().map(|value| value.is_nan()).collect();
        assert_eq!(is_nan, [false, true, false, false], "{found:?}");
        let grads = output.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&t).unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
    }
}

#[test]
fn token_convolution_equals_its_reference() {
    for (dtype, tolerance) in TOLERANCES {
        for (n, d, heads, taps) in [(1, 6, 2, 5), (3, 8, 8, 33), (40, 24, 3, 1), (100, 64, 8, 33)] {
            let (x, weight) = (random(1, &[n, d], dtype), random(2, &[heads, taps], dtype));
            let found = evaluate(&[&x, &weight], || kernels::token_conv(&x, &weight));
            let wanted = evaluate(&[&x, &weight], || reference::token_conv(&x, &weight));
            assert_same(&format!("{dtype:?} {n} x {d}, {taps} taps"), &found, &wanted, tolerance);
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let x = random(1, &[3, 6], DType::F32);
    let graph = Arc::new(Graph::new(&[1, 0], 2, EdgeDirection::ToNeighbours).unwrap());
    assert!(kernels::neighbour_sum(&x, &graph).is_err());
    assert!(kernels::neighbour_softmax(&x, &random(2, &[1], DType::F32), &graph).is_err());
    assert!(kernels::token_conv(&x, &random(2, &[4, 3], DType::F32)).is_err());
    assert!(kernels::token_conv(&x, &random(2, &[2, 4], DType::F32)).is_err());
}
