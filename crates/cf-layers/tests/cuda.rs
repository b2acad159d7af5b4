//! Every kernel on a GPU against the CPU in f64, at sizes around those of tiles. Fails where there is no GPU.
//!
//! `cargo test --features cuda --test cuda` where CUDA is, or the binary alone, which needs no Rust (docs/cuda.md).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Tensor, Var};
use cf_layers::kernels::device::{self, DeviceName, Uploader, as_operands};
use cf_layers::kernels::{
    self, Activation, AdamParameter, AdamStep, AfterAttentionWeights, AttentionDropout, AttentionProjections,
    Compute, ConvBranch, CrossAttentionWeights, DropoutMask, FeedForwardOptions, FeedForwardWeights,
    LinearNormOptions, NormedFor, ProjectedAttentionOptions, Retention, TokenGrid, TransformerLayerOptions,
    reference,
};
use cf_layers::{EdgeDirection, Graph};
use rand::Rng;

/// Norm-wise relative errors allowed of a kernel: f32, and products in bf16.
const TOLERANCES: [(Compute, f64); 2] = [(Compute::AsStored, 1e-5), (Compute::Bf16, 1e-2)];
/// The same of several kernels in a row, each of which rounds what the one before made. In bf16 the gradient of a query is a
/// difference of numbers rounded to three digits; over all parameters of a model these errors average out to less than 1e-2.
const TOLERANCES_OF_LAYERS: [(Compute, f64); 2] = [(Compute::AsStored, 2e-5), (Compute::Bf16, 4e-2)];

/// One test at a time: the deterministic mode is the process's, and memory that is poisoned is to be used by the same test.
fn gpu() -> (Device, MutexGuard<'static, ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    (DeviceName::Cuda(0).open().expect("these tests need an NVIDIA GPU"), guard)
}

/// Multiply-adds of a case at most where `CF_TEST_SMALL` is set: `compute-sanitizer` takes a thousand times as long.
const SMALL: usize = 1 << 22;

fn is_small_run() -> bool {
    std::env::var_os("CF_TEST_SMALL").is_some()
}

/// The sizes to be tried, given what one of them costs.
#[expect(clippy::print_stderr, reason = "a test that tries nothing says so")]
fn sizes<T: Copy>(all: &[T], work: impl Fn(T) -> usize) -> Vec<T> {
    let tried: Vec<T> = all.iter().copied().filter(|&size| !is_small_run() || work(size) <= SMALL).collect();
    if tried.is_empty() {
        eprintln!("skipped: no size is small");
    }
    tried
}

/// Leaves NaN in the memory that the next arrays are made from. Not in a small run, most of which this would take: there
/// `compute-sanitizer --tool initcheck` finds what is read before it is written.
fn poison(device: &Device) {
    if is_small_run() {
        return;
    }
    let nan = Tensor::full(f32::NAN, 1 << 24, device).unwrap();
    let small: Vec<Tensor> = (0..64).map(|_| Tensor::full(f32::NAN, 1 << 14, device).unwrap()).collect();
    drop((nan, small));
}

fn values(seed: u64, shape: &[usize]) -> Vec<f64> {
    let mut rng = cf_layers::random::stream(seed, "cuda test");
    (0..shape.iter().product()).map(|_| f64::from(rng.random_range(-1.0_f32..1.0))).collect()
}

fn variable(seed: u64, shape: &[usize], dtype: DType, device: &Device) -> Var {
    scaled_variable(1.0, seed, shape, dtype, device)
}

fn scaled_variable(scale: f64, seed: u64, shape: &[usize], dtype: DType, device: &Device) -> Var {
    let values: Vec<f64> = values(seed, shape).iter().map(|value| value * scale).collect();
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&tensor.to_dtype(dtype).unwrap().to_device(device).unwrap()).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The output of `f` and the gradients of its inputs, given a gradient of the output that differs in every element.
fn evaluate(
    device: &Device,
    dtype: DType,
    shapes: &[&[usize]],
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Vec<Vec<f64>> {
    evaluate_scaled(&|_, _| 1.0, device, dtype, shapes, f)
}

/// The same with inputs of a size that depends on their place and shape.
fn evaluate_scaled(
    scale: &dyn Fn(usize, &[usize]) -> f64,
    device: &Device,
    dtype: DType,
    shapes: &[&[usize]],
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Vec<Vec<f64>> {
    let input = |(shape, seed): (&&[usize], u64)| {
        scaled_variable(scale(seed as usize - 1, shape), seed, shape, dtype, device)
    };
    let inputs: Vec<Var> = shapes.iter().zip(1..).map(input).collect();
    let tensors: Vec<Tensor> = inputs.iter().map(|input| input.as_tensor().clone()).collect();
    if device.is_cuda() {
        poison(device);
    }
    let output = f(&tensors).unwrap();
    let upstream = variable(99, output.dims(), dtype, device);
    let wide = output.to_dtype(dtype).unwrap();
    if device.is_cuda() {
        poison(device);
    }
    let grads =
        kernels::backward(&(wide * upstream.as_detached_tensor()).unwrap().sum_all().unwrap()).unwrap();
    let gradients = inputs.iter().map(|input| numbers(grads.get(input).expect("a gradient of every input")));
    std::iter::once(numbers(&output)).chain(gradients).collect()
}

/// Fails where the norm of a difference is more than `tolerance` of the norm.
#[track_caller]
fn assert_near(what: &str, found: &[Vec<f64>], wanted: &[Vec<f64>], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let root_mean_square = |values: &[f64]| norm(&mut values.iter().copied()) / (values.len() as f64).sqrt();
    let largest = wanted.iter().map(|values| root_mean_square(values)).fold(0.0, f64::max);
    // Gradients that are small are held against 0.1; those that are 0 but for the rounding of f64, as where softmax has one key, against
    // a tenth of what the others are like.
    let scale = |at: usize| {
        let found = root_mean_square(&wanted[at]);
        let least = if found < 1e-10 { largest.max(1.0) } else { 1.0 };
        found.max(0.1 * least) * (wanted[at].len() as f64).sqrt()
    };
    for at in 0..wanted.len() {
        assert_eq!(found[at].len(), wanted[at].len(), "{what}, array {at}");
        let difference = norm(&mut found[at].iter().zip(&wanted[at]).map(|(f, w)| f - w));
        let error = difference / scale(at);
        assert!(error <= tolerance, "{what}, array {at}: error {error:.2e}, at most {tolerance:.0e}");
    }
}

/// Compares a GPU in f32 with the CPU in f64.
fn check(what: &str, shapes: &[&[usize]], tolerance: f64, f: &dyn Fn(&[Tensor]) -> Result<Tensor>) {
    let (gpu, _guard) = gpu();
    let wanted = evaluate(&Device::Cpu, DType::F64, shapes, f);
    let found = evaluate(&gpu, DType::F32, shapes, f);
    assert_near(what, &found, &wanted, tolerance);
}

/// [`check`] in both kinds of products; in bf16 the reference makes none, so `f` is told.
fn check_both(what: &str, shapes: &[&[usize]], f: &dyn Fn(&[Tensor], Compute) -> Result<Tensor>) {
    check_within(TOLERANCES, &|_, _| 1.0, what, shapes, f);
}

/// How a layer is compared.
struct Layer<'a> {
    what: &'a str,
    /// Inputs that come first. Matrices after them are as in a trained layer: what they make is of the size of what they get.
    n_inputs: usize,
}

impl Layer<'_> {
    fn check(&self, shapes: &[&[usize]], f: &dyn Fn(&[Tensor], Compute) -> Result<Tensor>) {
        let scale = |at: usize, shape: &[usize]| match shape {
            [_, columns] if at >= self.n_inputs => 1.0 / (*columns as f64).sqrt(),
            _ => 1.0,
        };
        check_within(TOLERANCES_OF_LAYERS, &scale, self.what, shapes, f);
    }
}

fn check_within(
    tolerances: [(Compute, f64); 2],
    scale: &dyn Fn(usize, &[usize]) -> f64,
    what: &str,
    shapes: &[&[usize]],
    f: &dyn Fn(&[Tensor], Compute) -> Result<Tensor>,
) {
    let (gpu, _guard) = gpu();
    let evaluate = |device: &Device, dtype, compute| {
        evaluate_scaled(scale, device, dtype, shapes, &|inputs| f(inputs, compute))
    };
    let wanted = evaluate(&Device::Cpu, DType::F64, Compute::AsStored);
    for (compute, tolerance) in tolerances {
        let found = evaluate(&gpu, DType::F32, compute);
        assert_near(&format!("{what}, {compute:?}"), &found, &wanted, tolerance);
    }
}

#[test]
fn linear() {
    let all = [(1, 7, 5), (2, 24, 40), (63, 64, 128), (129, 130, 4), (300, 512, 513)];
    for (n, d_in, d_out) in sizes(&all, |(n, d_in, d_out)| n * d_in * d_out) {
        for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
            let shapes: [&[usize]; 3] = [&[n, d_in], &[d_out, d_in], &[d_out]];
            let what = format!("linear {n} {d_in} {d_out} {activation:?}");
            // Outputs of the size of 1, where a tangent still has a slope.
            let scale = 1.0 / (d_in as f64).sqrt();
            // The rectifier's gradient jumps: rounding before it may turn single elements.
            if activation == Activation::Relu {
                check(&what, &shapes, 1e-5, &|x| {
                    kernels::linear_with(&(&x[0] * scale)?, &x[1], &x[2], activation, Compute::AsStored)
                });
                continue;
            }
            check_both(&what, &shapes, &|x, compute| {
                kernels::linear_with(&(&x[0] * scale)?, &x[1], &x[2], activation, compute)
            });
        }
    }
}

#[test]
fn linear_of_bf16_features() {
    let (gpu, _guard) = gpu();
    let [weight, bias] =
        [(2, vec![40, 96]), (3, vec![40])].map(|(seed, shape)| variable(seed, &shape, DType::F32, &gpu));
    let features = variable(1, &[65, 96], DType::BF16, &gpu).as_detached_tensor();
    let run = |x: &Tensor| {
        let y = kernels::linear(x, &weight, &bias, Compute::Bf16).unwrap();
        let grads = kernels::backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
        [numbers(&y), numbers(grads.get(&weight).unwrap()), numbers(grads.get(&bias).unwrap())]
    };
    assert_eq!(run(&features), run(&features.to_dtype(DType::F32).unwrap()));
}

#[test]
fn layer_norm() {
    for d in [24, 128, 130, 512, 1000, 2048] {
        for n in sizes(&[1, 2, 63, 65, 129, 600], |n| 64 * n * d) {
            let shapes: [&[usize]; 4] = [&[n, d], &[d], &[d], &[n, d]];
            check(&format!("layer norm {n} {d}"), &shapes[..3], 1e-5, &|x| {
                kernels::layer_norm(&x[0], &x[1], &x[2], 1e-5)
            });
            check(&format!("layer norm of a sum {n} {d}"), &shapes, 1e-5, &|x| {
                kernels::add_layer_norm(&x[0], &x[3], &x[1], &x[2], 1e-5)
            });
        }
    }
}

/// Kernels that take four numbers at once, of views that begin one after a multiple of four.
#[test]
fn views_that_begin_anywhere() {
    let shapes: [&[usize]; 4] = [&[1, 9], &[1, 9], &[9], &[8]];
    let from_one = |x: &Tensor| x.narrow(x.dims().len() - 1, 1, 8);
    check("layer norm of views", &shapes[1..], 1e-5, &|x| {
        kernels::layer_norm(&from_one(&x[0])?, &from_one(&x[1])?, &x[2], 1e-5)
    });
    check("layer norm of a sum of views", &shapes, 1e-5, &|x| {
        kernels::add_layer_norm(&from_one(&x[0])?, &from_one(&x[1])?, &from_one(&x[2])?, &x[3], 1e-5)
    });
    for mask in [None, Some(DropoutMask { p: 0.3, key: 8 })] {
        check("gelu of a view", &shapes[..1], 1e-5, &|x| kernels::gelu(&from_one(&x[0])?, mask));
        check("add dropped views", &shapes[..2], 1e-6, &|x| {
            kernels::add_dropped(&from_one(&x[0])?, &from_one(&x[1])?, mask)
        });
    }
    for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
        check("linear of a view", &[&[1, 9], &[8, 8], &[9]], 1e-5, &|x| {
            kernels::linear_with(&from_one(&x[0])?, &x[1], &from_one(&x[2])?, activation, Compute::AsStored)
        });
    }
}

#[test]
fn gelu_and_dropout() {
    for shape in [[1, 1], [3, 7], [63, 64], [129, 1024]] {
        for mask in [None, Some(DropoutMask { p: 0.3, key: 8 })] {
            check(&format!("gelu {shape:?}"), &[&shape], 1e-5, &|x| kernels::gelu(&x[0], mask));
            check(&format!("add dropped {shape:?}"), &[&shape, &shape], 1e-6, &|x| {
                kernels::add_dropped(&x[0], &x[1], mask)
            });
        }
        let (gpu, _guard) = gpu();
        let mask = DropoutMask { p: 0.2, key: 77 };
        let [on_gpu, on_cpu] = [gpu, Device::Cpu].map(|device| {
            let x = variable(1, &shape, DType::F32, &device);
            numbers(&kernels::dropout(&x, mask).unwrap())
        });
        assert_eq!(on_gpu, on_cpu, "masks are equal bit for bit");
    }
}

#[test]
fn relu() {
    for shape in [[1, 1], [3, 7], [129, 1024]] {
        check(&format!("relu {shape:?}"), &[&shape], 1e-6, &|x| kernels::relu(&x[0]));
    }
    let (gpu, _guard) = gpu();
    let x = Tensor::new(&[[f32::NAN, -1.0, 0.0, 2.0]], &gpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let weight = Tensor::eye(4, DType::F32, &gpu).unwrap();
    let bias = Tensor::zeros(4, DType::F32, &gpu).unwrap();
    let y = kernels::relu(&x).unwrap();
    let found = numbers(&y);
    assert!(found[0].is_nan() && found[1..] == [0.0, 0.0, 2.0], "{found:?}");
    let grads = kernels::backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(numbers(grads.get(&x).unwrap()), [1.0, 0.0, 0.0, 1.0]);
    let found =
        numbers(&kernels::linear_with(&x, &weight, &bias, Activation::Relu, Compute::AsStored).unwrap());
    assert!(found.iter().all(|value| value.is_nan()), "NaN in a product: {found:?}");
    let graph = Arc::new(Graph::new(&[1, 0, 3, 2], 4, EdgeDirection::ToNeighbours).unwrap());
    let t = Tensor::ones(1, DType::F32, &gpu).unwrap();
    let found = numbers(&kernels::neighbour_softmax(&x.t().unwrap(), &t, &graph).unwrap());
    assert!(
        found[1].is_nan() && found[2] > 1.9 && [found[0], found[3]].iter().all(|v| *v < 1e-6),
        "{found:?}"
    );
}

#[test]
fn grouped_conv2d() {
    for (height, width) in
        sizes(&[(1, 1), (1, 9), (5, 3), (8, 8), (17, 30), (59, 59)], |(h, w)| 16_384 * h * w)
    {
        for (c_out, per_group, k) in [(1, 1, 7), (33, 1, 7), (33, 2, 7), (40, 1, 3), (16, 2, 5), (64, 2, 1)] {
            let shapes: [&[usize]; 3] =
                [&[height, width, c_out * per_group], &[c_out, per_group, k, k], &[c_out]];
            check(&format!("convolution {height} {width} {c_out} {per_group} {k}"), &shapes, 1e-5, &|x| {
                kernels::grouped_conv2d(&x[0], &x[1], &x[2])
            });
        }
    }
}

/// Queries, keys, heads and their width.
const ATTENTIONS: [(usize, usize, usize, usize); 20] = [
    (1, 1, 1, 8),
    (1, 130, 4, 128),
    (1, 64, 2, 6),
    (1, 33_000, 2, 6),
    (2, 3, 4, 6),
    (2, 2, 1, 32),
    (63, 65, 2, 32),
    (64, 64, 3, 64),
    (65, 63, 1, 64),
    (127, 129, 2, 128),
    (128, 128, 1, 128),
    (129, 127, 4, 128),
    (7, 700, 4, 128),
    (700, 7, 4, 128),
    (257, 513, 4, 128),
    (300, 1, 2, 128),
    (130, 1000, 8, 64),
    (61, 70, 2, 100),
    (61, 70, 4, 3),
    (1, 70, 3, 5),
];

fn attentions() -> Vec<(usize, usize, usize, usize)> {
    sizes(&ATTENTIONS, |(n, m, n_heads, width)| n * m * n_heads * width)
}

fn dropouts(n: usize) -> [Option<AttentionDropout>; 2] {
    [None, Some(AttentionDropout { mask: DropoutMask { p: 0.2, key: 0x1234_5678_9abc }, n_queries: n + 3 })]
}

#[test]
fn attention() {
    for (n, m, n_heads, width) in attentions() {
        let d = n_heads * width;
        for dropout in dropouts(n) {
            let what = format!("attention {n} x {m}, {n_heads} heads of {width}, {dropout:?}");
            check_both(&what, &[&[n, d], &[m, 2 * d]], &|x, compute| {
                kernels::attention(&x[0], &x[1], n_heads, dropout, compute)
            });
            check_both(&what, &[&[n, 3 * d]], &|x, compute| {
                kernels::self_attention(&x[0], n_heads, dropout, compute)
            });
        }
    }
}

/// So many heads that every multiprocessor has a block of the largest kind, which none shares its keys with others. In a small run, too:
/// fewer don't get that kind.
#[test]
fn attention_of_many_heads() {
    let (n, m, n_heads, width) = (193, 300, 66, 128);
    let d = n_heads * width;
    for dropout in dropouts(n) {
        check_both(&format!("{n_heads} heads, {dropout:?}"), &[&[n, d], &[m, 2 * d]], &|x, compute| {
            kernels::attention(&x[0], &x[1], n_heads, dropout, compute)
        });
    }
}

/// A few blocks more than run at once, with long loops: the last of them share their keys, or in the backward pass their queries.
#[test]
fn attention_in_rounds() {
    let n_heads = 2;
    let n_multiprocessors = {
        let (gpu, _guard) = gpu();
        device::description(&gpu).unwrap().unwrap().n_multiprocessors
    };
    for width in [32, 128] {
        let all = [(128 * n_multiprocessors + 1, 8_200), (4_100, 64 * n_multiprocessors + 1)];
        let d = n_heads * width;
        for (n, m) in sizes(&all, |(n, m)| n * m * d) {
            check_both(&format!("{n} x {m} of {width}"), &[&[n, d], &[m, 2 * d]], &|x, compute| {
                kernels::attention(&x[0], &x[1], n_heads, None, compute)
            });
        }
    }
}

#[test]
fn attention_in_fixed_order() {
    for (n, m, n_heads, width) in attentions() {
        let d = n_heads * width;
        for dropout in dropouts(n) {
            let what = format!("attention {n} x {m}, {n_heads} heads of {width}, {dropout:?}");
            let run = |compute| {
                let (gpu, _guard) = gpu();
                kernels::set_deterministic(true);
                let all = evaluate(&gpu, DType::F32, &[&[n, d], &[m, 2 * d]], &|x| {
                    kernels::attention(&x[0], &x[1], n_heads, dropout, compute)
                });
                kernels::set_deterministic(false);
                all
            };
            let wanted = evaluate(&Device::Cpu, DType::F64, &[&[n, d], &[m, 2 * d]], &|x| {
                kernels::attention(&x[0], &x[1], n_heads, dropout, Compute::AsStored)
            });
            let [first, second] = [run(Compute::Bf16), run(Compute::Bf16)];
            assert!(first == second, "{what}: two runs give the same bits");
            assert_near(&what, &first, &wanted, 1e-2);
        }
    }
}

#[test]
fn attention_drops_what_the_cpu_drops() {
    let (gpu, _guard) = gpu();
    // Values that are rows of the identity: the output is the weights.
    for (n, m, compute) in
        [(130, 128, Compute::Bf16), (130, 128, Compute::AsStored), (1, 128, Compute::AsStored)]
    {
        let mask = DropoutMask { p: 0.2, key: 0x7777_1234 };
        let dropout = Some(AttentionDropout { mask, n_queries: n });
        let q = variable(1, &[n, 2 * 128], DType::F32, &gpu);
        let keys = variable(2, &[m, 2 * 128], DType::F32, &gpu);
        let eye = Tensor::eye(m, DType::F32, &gpu).unwrap();
        let kv = Tensor::cat(&[keys.as_tensor(), &eye, &eye], 1).unwrap();
        let weights = numbers(&kernels::attention(&q, &kv, 2, dropout, compute).unwrap());
        for (at, weight) in weights.iter().enumerate() {
            let (query, head, key) = (at / (2 * m), at / m % 2, at % m);
            let kept = mask.factor(((head * n + query) * m + key) as u64) > 0.0;
            assert_eq!(*weight > 0.0, kept, "{n} {compute:?}: query {query}, head {head}, key {key}");
        }
    }
}

#[test]
fn projected_attention() {
    for (n, m, n_heads, width) in attentions() {
        let d = n_heads * width;
        for dropout in dropouts(n) {
            let weight: &[usize] = &[d, d];
            let shapes = [&[n, d][..], &[m, d], weight, weight, weight, &[d], &[d], &[d]];
            let projections =
                |x: &[Tensor]| -> [Tensor; 6] { std::array::from_fn(|at| x[x.len() - 6 + at].clone()) };
            let options =
                |compute| ProjectedAttentionOptions { n_heads, dropout, compute, retention: Retention::Keep };
            let with = |p: &[Tensor; 6], f: &dyn Fn(AttentionProjections<'_>) -> Result<Tensor>| {
                f(AttentionProjections {
                    queries: (&p[0], &p[3]),
                    keys: (&p[1], &p[4]),
                    values: (&p[2], &p[5]),
                })
            };
            let what = format!("projected attention {n} x {m}, {n_heads} heads of {width}, {dropout:?}");
            Layer { what: &what, n_inputs: 2 }.check(&shapes, &|x, compute| {
                with(&projections(x), &|p| kernels::projected_attention(&x[0], &x[1], p, options(compute)))
            });
            let own: Vec<&[usize]> =
                shapes.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, s)| *s).collect();
            Layer { what: &what, n_inputs: 1 }.check(&own, &|x, compute| {
                with(&projections(x), &|p| kernels::projected_self_attention(&x[0], p, options(compute)))
            });
        }
    }
}

#[test]
fn feed_forward() {
    let all = [(1, 24, 40), (63, 64, 128), (129, 512, 1024), (65, 7, 9)];
    for (n, d, hidden) in sizes(&all, |(n, d, hidden)| n * d * hidden) {
        for p in [0.0, 0.25] {
            let mask = |key| (p > 0.0).then_some(DropoutMask { p, key });
            let shapes: [&[usize]; 6] = [&[n, d], &[n, d], &[hidden, d], &[d, hidden], &[hidden], &[d]];
            let what = format!("feed-forward {n} {d} {hidden} {p}");
            Layer { what: &what, n_inputs: 2 }.check(&shapes, &|x, compute| {
                let weights = FeedForwardWeights { expand: (&x[2], &x[4]), contract: (&x[3], &x[5]) };
                let options = FeedForwardOptions {
                    hidden_mask: mask(5),
                    output_mask: mask(6),
                    compute,
                    retention: Retention::Keep,
                };
                kernels::feed_forward(&x[0], &x[1], weights, options)
            });
        }
    }
}

/// Inputs of a layer from `first` on: six matrices, six biases, gain and shift after the attention.
fn layer_shapes(d: usize, hidden: usize) -> Vec<Vec<usize>> {
    let square = vec![d, d];
    let mut shapes = vec![square; 4];
    shapes.extend([vec![hidden, d], vec![d, hidden]]);
    shapes.extend([vec![d], vec![d], vec![d], vec![d], vec![hidden], vec![d], vec![d], vec![d]]);
    shapes
}

/// Layers in evaluation: the output alone, by rows and, of long sequences, by half of the heads, the context whole or made by rows.
fn check_evaluation(all: &[(usize, usize, usize, usize)]) {
    let (gpu, _guard) = gpu();
    for (n, m, n_heads, width) in sizes(all, |(n, m, n_heads, width)| n * m * n_heads * width) {
        let (d, hidden) = (n_heads * width, 2 * n_heads * width - 8);
        let vector = vec![d];
        let shapes: Vec<Vec<usize>> =
            [vec![vec![n, d], vec![m, d], vector], layer_shapes(d, hidden)].concat();
        let outputs = |device: &Device, dtype, compute, frozen: bool| -> Vec<Vec<f64>> {
            let x: Vec<Tensor> = (1..)
                .zip(&shapes)
                .map(|(seed, shape)| {
                    let scale =
                        if seed > 2 && shape.len() == 2 { 1.0 / (shape[1] as f64).sqrt() } else { 1.0 };
                    scaled_variable(scale, seed, shape, dtype, device).as_detached_tensor()
                })
                .collect();
            let [
                source,
                context,
                embedding,
                q,
                k,
                v,
                out,
                expand,
                contract,
                bq,
                bk,
                bv,
                b_out,
                b_expand,
                b_contract,
                gain,
                shift,
            ] = &x[..]
            else {
                panic!("two sequences, an embedding and 14 parameters, found {}", x.len());
            };
            let operands = if frozen { DType::BF16 } else { dtype };
            let matrices = as_operands(&[q, k, v, out, expand, contract], operands).unwrap();
            let [q, k, v, out, expand, contract] = &matrices[..] else { panic!("as many as there were") };
            let projections = AttentionProjections { queries: (q, bq), keys: (k, bk), values: (v, bv) };
            let feed_forward =
                FeedForwardWeights { expand: (expand, b_expand), contract: (contract, b_contract) };
            let after = AfterAttentionWeights { out: (out, b_out), norm: (gain, shift), feed_forward };
            let options = TransformerLayerOptions {
                attention: ProjectedAttentionOptions {
                    n_heads,
                    dropout: None,
                    compute,
                    retention: Retention::Recompute,
                },
                feed_forward: FeedForwardOptions { compute, ..FeedForwardOptions::default() },
                eps: 1e-5,
            };
            let weights = CrossAttentionWeights { embedding, projections, after };
            let rows = |first: usize, n: usize| context.narrow(0, first, n);
            if device.is_cuda() {
                poison(device);
            }
            let own = kernels::transformer_layer(source, (shift, gain), projections, after, options).unwrap();
            let whole = kernels::cross_attention_layer(source, context, weights, options).unwrap();
            let by_rows =
                kernels::cross_attention_layer_of_rows(source, (m, &rows), weights, options).unwrap();
            assert_eq!(numbers(&whole), numbers(&by_rows), "{n} x {m}: a context made by rows");
            vec![numbers(&own), numbers(&whole)]
        };
        let wanted = outputs(&Device::Cpu, DType::F64, Compute::AsStored, false);
        for (compute, tolerance) in TOLERANCES_OF_LAYERS {
            // Frozen layers have their matrices in bf16, whatever heads and lengths make of them.
            for frozen in [false, true].into_iter().take(if compute == Compute::Bf16 { 2 } else { 1 }) {
                let found = outputs(&gpu, DType::F32, compute, frozen);
                assert_near(&format!("layers {n} x {m}, {compute:?}, {frozen}"), &found, &wanted, tolerance);
            }
        }
    }
}

#[test]
fn layers_in_evaluation() {
    check_evaluation(&[
        (1, 2, 1, 32),
        (65, 63, 2, 32),
        (129, 257, 4, 128),
        (61, 70, 2, 24),
        // Halves of 20 columns, of which the second begins at no multiple of four.
        (13, 9, 5, 2),
        (8_195, 5, 1, 8),
    ]);
}

#[test]
fn long_contexts_in_evaluation() {
    // With heads of 6 channels, the second one's biases begin at no multiple of four.
    check_evaluation(&[(33, 16_900, 2, 32), (3, 16_900, 2, 6)]);
}

#[test]
fn long_sequences_in_evaluation() {
    check_evaluation(&[(16_400, 16_399, 2, 32)]);
}

/// Transformer and cross-attention layers, with what they keep and what they make again.
#[test]
fn layers() {
    let all = [(1, 2, 1, 32), (65, 63, 2, 32), (129, 257, 4, 128), (61, 70, 2, 24), (13, 9, 5, 2)];
    for (n, m, n_heads, width) in sizes(&all, |(n, m, n_heads, width)| n * m * n_heads * width) {
        let (d, hidden) = (n_heads * width, 2 * n_heads * width - 8);
        for (dropout, retention) in dropouts(n).into_iter().zip([Retention::Keep, Retention::Recompute]) {
            let mask = |key| dropout.map(|_| DropoutMask { p: 0.25, key });
            let options = |compute| TransformerLayerOptions {
                attention: ProjectedAttentionOptions { n_heads, dropout, compute, retention },
                feed_forward: FeedForwardOptions {
                    hidden_mask: mask(5),
                    output_mask: mask(6),
                    compute,
                    retention,
                },
                eps: 1e-5,
            };
            let run = |x: &[Tensor], f: &dyn Fn(AttentionProjections<'_>, AfterAttentionWeights<'_>) -> Result<Tensor>| {
                let [q, k, v, out, expand, contract, bq, bk, bv, b_out, b_expand, b_contract, gain, shift] = x else {
                    panic!("a layer has 14 parameters, found {}", x.len());
                };
                let projections = AttentionProjections { queries: (q, bq), keys: (k, bk), values: (v, bv) };
                let feed_forward = FeedForwardWeights { expand: (expand, b_expand), contract: (contract, b_contract) };
                f(projections, AfterAttentionWeights { out: (out, b_out), norm: (gain, shift), feed_forward })
            };
            let parameters = layer_shapes(d, hidden);
            let what = format!("layer {n} x {m}, {n_heads} heads of {width}, {dropout:?} {retention:?}");
            let (source, context, vector) = ([n, d], [m, d], [d]);
            let mut shapes: Vec<&[usize]> = vec![&source, &vector, &vector];
            shapes.extend(parameters.iter().map(Vec::as_slice));
            Layer { what: &format!("transformer {what}"), n_inputs: 1 }.check(&shapes, &|x, compute| {
                run(&x[3..], &|projections, after| {
                    kernels::transformer_layer(&x[0], (&x[1], &x[2]), projections, after, options(compute))
                })
            });
            let mut shapes: Vec<&[usize]> = vec![&source, &context, &vector];
            shapes.extend(parameters.iter().map(Vec::as_slice));
            Layer { what: &format!("cross-attention {what}"), n_inputs: 2 }.check(&shapes, &|x, compute| {
                run(&x[3..], &|projections, after| {
                    let weights = CrossAttentionWeights { embedding: &x[2], projections, after };
                    kernels::cross_attention_layer(&x[0], &x[1], weights, options(compute))
                })
            });
        }
    }
}

#[test]
fn merged_conv2d() {
    for (height, width) in sizes(&[(1, 1), (5, 3), (17, 30)], |(h, w)| 16_384 * h * w) {
        for (c_out, per_group, sides) in [(33, 1, vec![7, 5, 3]), (16, 2, vec![7, 5, 3, 1]), (8, 1, vec![3])]
        {
            let n_before = if per_group == 1 { 1 } else { 0 };
            let grid = TokenGrid { height, width, n_before };
            let mut shapes = vec![vec![n_before + height * width, c_out * per_group]];
            shapes.extend(sides.iter().map(|&k| vec![c_out, per_group, k, k]));
            shapes.extend(sides.iter().map(|_| vec![c_out]));
            let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
            let largest = sides[0];
            check(&format!("merged convolution {height} {width} {c_out} {per_group}"), &shapes, 1e-5, &|x| {
                let n = sides.len();
                let branches: Vec<ConvBranch<'_>> =
                    (0..n).map(|at| ConvBranch { weight: &x[1 + at], bias: &x[1 + n + at] }).collect();
                let centre = Tensor::ones((c_out, 1, 1, 1), x[0].dtype(), x[0].device())?;
                let identity = kernels::centre_padded(&centre, 1, largest)?;
                kernels::merged_conv2d(&x[0], grid, &branches, (per_group == 1).then_some(&identity))
            });
        }
    }
}

#[test]
fn linear_norm() {
    for (n, d_in, d_out) in
        sizes(&[(1, 7, 24), (65, 64, 128), (129, 96, 512)], |(n, d_in, d_out)| n * d_in * d_out)
    {
        let shapes: [&[usize]; 5] = [&[n, d_in], &[d_out, d_in], &[d_out], &[d_out], &[d_out]];
        for output in [NormedFor::Anything, NormedFor::Products] {
            let what = format!("linear norm {n} {d_in} {d_out} {output:?}");
            Layer { what: &what, n_inputs: 1 }.check(&shapes, &|x, compute| {
                let options = LinearNormOptions { eps: 1e-5, compute, output };
                kernels::linear_norm(&x[0], (&x[1], &x[2]), (&x[3], &x[4]), options)
            });
        }
    }
}

#[test]
fn token_maps() {
    for (n, d, n_repeated) in [(5, 3, 4), (65, 64, 16), (2, 24, 2)] {
        check(&format!("repeat first {n} {d}"), &[&[n, d]], 1e-6, &|x| {
            kernels::repeat_first(&x[0], n_repeated)
        });
        let map: &[usize] = &[n, d];
        check(&format!("mix {n} {d}"), &[map, map, map, &[1, 3, 1, 1, 1], &[1]], 1e-5, &|x| {
            kernels::mix(&[&x[0], &x[1], &x[2]], &x[3], &x[4])
        });
    }
}

#[test]
fn adam_and_sums() {
    let (gpu, _guard) = gpu();
    let shapes: [&[usize]; 4] = [&[1], &[5000], &[64, 65], &[3, 4096]];
    let run = |device: &Device, dtype| {
        let group = |salt: u64| -> Vec<Tensor> {
            let of = |(shape, seed): (&&[usize], u64)| {
                variable(salt + seed, shape, dtype, device).as_detached_tensor()
            };
            shapes.iter().zip(0..).map(of).collect()
        };
        let (value, gradient, first) = (group(1), group(10), group(20));
        let second: Vec<Tensor> = group(30).iter().map(|tensor| tensor.abs().unwrap()).collect();
        for n_steps in 1..4 {
            let parameters: Vec<AdamParameter<'_>> = (0..shapes.len())
                .map(|at| AdamParameter {
                    value: &value[at],
                    gradient: &gradient[at],
                    first_moment: &first[at],
                    second_moment: &second[at],
                })
                .collect();
            let step = AdamStep {
                learning_rate: 1e-2,
                beta_1: 0.9,
                beta_2: 0.999,
                eps: 1e-8,
                weight_decay: 0.1,
                n_steps,
            };
            kernels::adam_step(&parameters, step).unwrap();
            kernels::add_in_place(&gradient[1], &value[1]).unwrap();
        }
        [value, first, second, gradient].concat().iter().map(numbers).collect::<Vec<_>>()
    };
    assert_near("adam", &run(&gpu, DType::F32), &run(&Device::Cpu, DType::F64), 1e-6);
}

#[test]
fn ops_without_a_form_of_their_own() {
    check("gate", &[&[65, 48]], 1e-5, &|x| kernels::gate(&x[0]));
    check("weighted sums", &[&[3, 65], &[65, 40]], 1e-5, &|x| kernels::weighted_sums(&x[0], &x[1]));
    check("token convolution", &[&[65, 40], &[4, 33]], 1e-5, &|x| kernels::token_conv(&x[0], &x[1]));
    check("pseudo-inverse", &[&[2, 16, 16]], 1e-3, &|x| {
        let a = candle_core::Tensor::eye(16, x[0].dtype(), x[0].device())?;
        let a = ((&x[0] * 0.02)? + a.broadcast_as((2, 16, 16))?)?;
        kernels::pseudo_inverse(&a, &(&a.detach() * 0.1)?, 3)
    });
}

/// Graphs with hubs and with nodes that nobody chose, at widths around those of warps and blocks.
#[test]
fn sums_over_neighbours() {
    let mut rng = cf_layers::random::stream(3, "graphs");
    let all = [(1, 0, 24), (2, 1, 1), (65, 3, 31), (300, 8, 257), (1_000, 5, 64)];
    for (n, k, d) in sizes(&all, |(n, k, d)| 16 * n * k * d) {
        let neighbours: Vec<u32> =
            (0..n * k).map(|_| (rng.random_range(0.0..1.0_f64).powi(3) * n as f64) as u32).collect();
        for direction in [EdgeDirection::ToNeighbours, EdgeDirection::FromNeighbours] {
            let graph = Arc::new(Graph::new(&neighbours, n, direction).unwrap());
            let what = |op| format!("{op} over {k} neighbours of {n} nodes, {d} channels, {direction:?}");
            check(&what("sums"), &[&[n, d]], 1e-5, &|x| kernels::neighbour_sum(&x[0], &graph));
            check(&what("softmax"), &[&[n, d], &[1]], 1e-5, &|x| {
                kernels::neighbour_softmax(&x[0], &x[1], &graph)
            });
        }
    }
}

#[test]
fn references_give_the_same_on_both_devices() {
    let (gpu, _guard) = gpu();
    let run = |device: &Device, dtype| {
        evaluate(device, dtype, &[&[33, 64], &[65, 128]], &|x| {
            reference::in_place_of_kernels(|| kernels::attention(&x[0], &x[1], 2, None, Compute::AsStored))
        })
    };
    assert_near("reference", &run(&gpu, DType::F32), &run(&Device::Cpu, DType::F64), 1e-5);
}

/// Matrices of one part of page-locked memory and of several: each on its way while the one before it is used, and used at once, and
/// let go before it has arrived.
#[test]
fn matrices_arrive_beside_other_work() {
    let (_, _guard) = gpu();
    let gpu = DeviceName::Cuda(0).open().unwrap();
    let shapes = [[3, 5], [6_200, 2_048], [1, 1], [1_000, 1_037], [4_100, 2_048], [2, 7]];
    for dtype in [DType::F32, DType::BF16] {
        let mut uploader = Uploader::new(&gpu, dtype).unwrap();
        let mut before: Option<(Vec<f32>, _)> = None;
        let arrives = |(values, upload): (Vec<f32>, device::Upload)| {
            let matrix = upload.finish().unwrap();
            let expected = Tensor::from_slice(&values, matrix.shape(), &Device::Cpu).unwrap();
            let bits = |tensor: Tensor| {
                let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
                let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            // Not the matrix itself: what an op makes of it, on the stream of all work.
            let as_f32 = matrix.to_dtype(DType::F32).unwrap();
            let doubled = kernels::add_dropped(&as_f32, &as_f32, None).unwrap();
            let expected = expected.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
            assert!(bits(doubled) == bits((&expected * 2.0).unwrap()), "{:?}", matrix.shape());
        };
        for (at, shape) in shapes.into_iter().enumerate() {
            let mut rng = cf_layers::random::stream(at as u64, "uploads");
            let values: Vec<f32> =
                (0..shape[0] * shape[1]).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
            drop(uploader.start(&values, shape).unwrap());
            let upload = uploader.start(&values, shape).unwrap();
            arrives((values.clone(), upload));
            let upload = uploader.start(&values, shape).unwrap();
            if let Some(earlier) = before.replace((values, upload)) {
                arrives(earlier);
            }
        }
        // What is on its way arrives all the same.
        drop(uploader);
        arrives(before.unwrap());
    }
}
