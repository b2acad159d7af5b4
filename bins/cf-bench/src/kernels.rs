//! One kernel at a time, at the sizes that it has in a training step of the mean bag, or its plain reference.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, Var};
use cf_model::kernels::device::{self, DeviceName};
use cf_model::kernels::{self, AdamStep, AttentionDropout, Compute, DropoutMask, reference};
use cf_train::environment;
use serde_json::json;

use crate::timing::{fastest, median, timed};

/// Tokens of a Pad-Transformer of the mean bag, and the side of their square.
const TOKENS: usize = SIDE * SIDE;
const SIDE: usize = 59;
/// Patches of the mean bag at 10x and 20x.
const SOURCE: usize = 3_449;
const FINE: usize = 13_496;
/// Channels of tokens, of the feed-forward part and of the backbone.
const D: usize = 512;
const HIDDEN: usize = 1_024;
const BACKBONE_DIM: usize = 2_048;
pub(crate) const N_HEADS: usize = 4;
/// Landmarks and heads of TransMIL's attention, and steps of its pseudo-inverse.
const LANDMARKS: usize = 256;
const LANDMARK_HEADS: usize = 8;
const PSEUDO_INVERSE_STEPS: usize = 6;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `KERNEL/{forward,step}/{f32,bf16}`, where a step is forward and backward; `list` prints the kernels.
    case: String,
    /// Time the kernel's reference, made of plain Candle ops.
    #[arg(long)]
    reference: bool,
    /// Device to compute on.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    device: DeviceName,
    /// Timed repetitions after one that is not timed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

/// A kernel ready to run, its reference, and what they get.
struct Case {
    name: &'static str,
    inputs: &'static [&'static [usize]],
    /// Multiply-adds of a forward pass, where a product is what costs.
    products: usize,
    kernel: fn(&[Var], Compute) -> Result<Tensor>,
    reference: fn(&[Var]) -> Result<Tensor>,
}

fn mask() -> DropoutMask {
    DropoutMask { p: 0.2, key: 7 }
}

fn attention_dropout() -> Option<AttentionDropout> {
    Some(AttentionDropout { mask: mask(), n_queries: TOKENS })
}

const EPS: f64 = 1e-5;

const CASES: &[Case] = &[
    Case {
        name: "self_attention",
        inputs: &[&[TOKENS, 3 * D]],
        products: 2 * TOKENS * TOKENS * D,
        kernel: |x, compute| kernels::self_attention(&x[0], N_HEADS, None, compute),
        reference: |x| reference::self_attention(&x[0], N_HEADS, None),
    },
    Case {
        name: "self_attention_dropout",
        inputs: &[&[TOKENS, 3 * D]],
        products: 2 * TOKENS * TOKENS * D,
        kernel: |x, compute| kernels::self_attention(&x[0], N_HEADS, attention_dropout(), compute),
        reference: |x| reference::self_attention(&x[0], N_HEADS, attention_dropout()),
    },
    Case {
        name: "cross_attention",
        inputs: &[&[SOURCE, D], &[FINE, 2 * D]],
        products: 2 * SOURCE * FINE * D,
        kernel: |x, compute| kernels::attention(&x[0], &x[1], N_HEADS, None, compute),
        reference: |x| reference::attention(&x[0], &x[1], N_HEADS, None),
    },
    Case {
        name: "linear_backbone",
        inputs: &[&[FINE, BACKBONE_DIM], &[D, BACKBONE_DIM], &[D]],
        products: FINE * BACKBONE_DIM * D,
        kernel: |x, compute| kernels::linear(&x[0], &x[1], &x[2], compute),
        reference: |x| reference::linear(&x[0], &x[1], &x[2]),
    },
    Case {
        name: "linear_hidden",
        inputs: &[&[TOKENS, D], &[HIDDEN, D], &[HIDDEN]],
        products: TOKENS * D * HIDDEN,
        kernel: |x, compute| kernels::linear(&x[0], &x[1], &x[2], compute),
        reference: |x| reference::linear(&x[0], &x[1], &x[2]),
    },
    Case {
        name: "add_layer_norm",
        inputs: &[&[TOKENS, D], &[TOKENS, D], &[D], &[D]],
        products: 0,
        kernel: |x, _| kernels::add_layer_norm(&x[0], &x[1], &x[2], &x[3], EPS),
        reference: |x| reference::layer_norm(&(x[0].as_tensor() + x[1].as_tensor())?, &x[2], &x[3], EPS),
    },
    Case {
        name: "gelu_dropout",
        inputs: &[&[TOKENS, HIDDEN]],
        products: 0,
        kernel: |x, _| kernels::gelu(&x[0], Some(mask())),
        reference: |x| reference::dropout(&reference::gelu(&x[0])?, mask()),
    },
    Case {
        name: "add_dropped",
        inputs: &[&[TOKENS, D], &[TOKENS, D]],
        products: 0,
        kernel: |x, _| kernels::add_dropped(&x[0], &x[1], Some(mask())),
        reference: |x| x[0].as_tensor() + reference::dropout(&x[1], mask())?,
    },
    Case {
        name: "depthwise_conv",
        inputs: &[&[SIDE, SIDE, D], &[D, 1, 7, 7], &[D]],
        products: TOKENS * D * 49,
        kernel: |x, _| kernels::grouped_conv2d(&x[0], &x[1], &x[2]),
        reference: |x| reference::grouped_conv2d(&x[0], &x[1], &x[2]),
    },
    Case {
        name: "grouped_conv",
        inputs: &[&[SIDE, SIDE, D], &[D / 2, 2, 7, 7], &[D / 2]],
        products: TOKENS * D * 49,
        kernel: |x, _| kernels::grouped_conv2d(&x[0], &x[1], &x[2]),
        reference: |x| reference::grouped_conv2d(&x[0], &x[1], &x[2]),
    },
    Case {
        name: "pseudo_inverse",
        inputs: &[&[LANDMARK_HEADS, LANDMARKS, LANDMARKS], &[LANDMARK_HEADS, LANDMARKS, LANDMARKS]],
        products: 4 * PSEUDO_INVERSE_STEPS * LANDMARK_HEADS * LANDMARKS * LANDMARKS * LANDMARKS,
        kernel: |x, _| kernels::pseudo_inverse(&small(&x[0])?, &small(&x[1])?, PSEUDO_INVERSE_STEPS),
        reference: |x| reference::pseudo_inverse(&small(&x[0])?, &small(&x[1])?, PSEUDO_INVERSE_STEPS),
    },
];

/// A scalar whose gradient by its input is `upstream`: starts a backward pass at no cost of its own.
struct Seed {
    upstream: Tensor,
}

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.upstream.clone()))
    }
}

/// So small that the steps of a pseudo-inverse stay finite.
fn small(x: &Tensor) -> Result<Tensor> {
    x * 0.01
}

/// An input without a pattern, in [-1, 1).
pub(crate) fn input(shape: &[usize], salt: usize, device: &Device) -> Result<Var> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|at| {
            let hash = (at + 97 * salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            hash as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, device)?)
}

pub(crate) fn run(
    arguments: &Arguments,
) -> std::result::Result<serde_json::Value, Box<dyn std::error::Error>> {
    if arguments.case == "list" {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.push("adam");
        return Ok(json!(names));
    }
    let parts: Vec<&str> = arguments.case.split('/').collect();
    let &[name, work, precision] = parts.as_slice() else {
        return Err(format!(
            "case `{}` is not of the form KERNEL/{{forward,step}}/{{f32,bf16}}",
            arguments.case
        )
        .into());
    };
    let compute = match precision {
        "f32" => Compute::AsStored,
        "bf16" => Compute::Bf16,
        other => return Err(format!("precision `{other}`, expected f32 or bf16").into()),
    };
    let steps = match work {
        "forward" => false,
        "step" => true,
        other => return Err(format!("work `{other}`, expected forward or step").into()),
    };
    let device = arguments.device.open()?;
    if name == "adam" {
        return adam(arguments, &device);
    }
    let case = CASES
        .iter()
        .find(|case| case.name == name)
        .ok_or_else(|| format!("no kernel `{name}`; `list` prints them"))?;
    let inputs = case.inputs.iter().enumerate();
    let inputs = inputs.map(|(salt, shape)| input(shape, salt, &device)).collect::<Result<Vec<_>>>()?;
    let upstream = {
        let output = (case.kernel)(&inputs, Compute::AsStored)?;
        input(output.dims(), 11, &device)?.as_detached_tensor()
    };
    measure((arguments, &device), case.products * if steps { 3 } else { 1 }, || {
        let output =
            if arguments.reference { (case.reference)(&inputs)? } else { (case.kernel)(&inputs, compute)? };
        if steps {
            // On a GPU the product and its sum cost little.
            let scalar = if device.is_cpu() {
                output.apply_op1(Seed { upstream: upstream.clone() })?
            } else {
                (output * &upstream)?.sum_all()?
            };
            kernels::backward(&scalar)?;
        }
        Ok(())
    })
}

/// One optimiser step of all parameters of the model.
fn adam(
    arguments: &Arguments,
    device: &Device,
) -> std::result::Result<serde_json::Value, Box<dyn std::error::Error>> {
    let [param, gradient, first, second] =
        [1, 2, 3, 4].map(|salt| input(&[24_536_584], salt, device).map(|var| var.as_detached_tensor()));
    let (param, gradient, first, second) = (param?, gradient?, first?, second?.sqr()?);
    let step = AdamStep {
        learning_rate: 1e-4,
        beta_1: 0.9,
        beta_2: 0.999,
        eps: 1e-8,
        weight_decay: 4e-6,
        n_steps: 9,
    };
    let parameter = kernels::AdamParameter {
        value: &param,
        gradient: &gradient,
        first_moment: &first,
        second_moment: &second,
    };
    measure((arguments, device), 0, || kernels::adam_step(&[parameter], step))
}

fn measure(
    (arguments, device): (&Arguments, &Device),
    products: usize,
    mut call: impl FnMut() -> Result<()>,
) -> std::result::Result<serde_json::Value, Box<dyn std::error::Error>> {
    let mut seconds = Vec::new();
    device::reset_peak(device)?;
    for _ in 0..=arguments.repeats {
        seconds.push(timed(device, &mut call)?.1);
    }
    seconds.remove(0);
    let median = median(&seconds).ok_or("`--repeats 0`, expected at least 1")?;
    Ok(json!({
        "case": arguments.case,
        "seconds": median,
        "fastest_seconds": fastest(&seconds),
        "gflops": 2.0 * products as f64 / median / 1e9,
        "peak_rss_bytes": environment::peak_rss_bytes(),
        "device": device::description(device)?.map_or_else(|| arguments.device.to_string(), |gpu| gpu.name),
        "peak_device_bytes": device::peak_bytes(device)?,
    }))
}
