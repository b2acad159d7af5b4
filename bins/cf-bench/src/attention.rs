//! Attention alone: how many products a second its forward and its backward pass make.

use cf_model::kernels::device::DeviceName;
use cf_model::kernels::{self, AttentionDropout, Compute, DropoutMask};
use serde_json::json;

use crate::kernels::{N_HEADS, input};
use crate::timing::{median, timed};

/// Channels of a head, as the published model's.
const WIDTH: usize = 128;
const WARM_UP_CALLS: usize = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Tokens, each attending to all; a Pad-Transformer of the largest bag has 35,344.
    #[arg(long, default_value_t = 35_344)]
    tokens: usize,
    /// Share of the weights that are dropped.
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Device to compute on.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    device: DeviceName,
    /// Timed repetitions after three that are not timed.
    #[arg(long, default_value_t = 10)]
    repeats: usize,
}

/// Products in bf16 of tokens that come and gradients that leave in f32; casts are in the times, and in that of the backward pass the
/// gradient of a product with `upstream`, together some per cent at many tokens.
pub(crate) fn run(
    arguments: &Arguments,
) -> std::result::Result<serde_json::Value, Box<dyn std::error::Error>> {
    let Arguments { tokens: n, dropout: p, repeats, .. } = *arguments;
    if !(0.0..1.0).contains(&p) {
        return Err(format!("`--dropout {p}`, expected a share from 0, below 1").into());
    }
    let device = arguments.device.open()?;
    let qkv = input(&[n, 3 * N_HEADS * WIDTH], 1, &device)?;
    let upstream = input(&[n, N_HEADS * WIDTH], 2, &device)?.as_detached_tensor();
    let dropout = (p > 0.0).then_some(AttentionDropout { mask: DropoutMask { p, key: 7 }, n_queries: n });
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for _ in 0..WARM_UP_CALLS + repeats {
        let (output, seconds) =
            timed(&device, || kernels::self_attention(&qkv, N_HEADS, dropout, Compute::Bf16))?;
        forward.push(seconds);
        // Their gradient is `upstream`.
        let scalar = (output * &upstream)?.sum_all()?;
        backward.push(timed(&device, || kernels::backward(&scalar))?.1);
    }
    let [forward, backward] = [forward, backward].map(|seconds| median(&seconds[WARM_UP_CALLS..]));
    let (forward, backward) = forward.zip(backward).ok_or("`--repeats 0`, expected at least 1")?;
    let flop = (4 * n * n * N_HEADS * WIDTH) as f64;
    Ok(json!({
        "tokens": n,
        "dropout": p,
        "forward_seconds": forward,
        "backward_seconds": backward,
        "forward_tflops": flop / forward / 1e12,
        "backward_tflops": 2.5 * flop / backward / 1e12,
    }))
}
