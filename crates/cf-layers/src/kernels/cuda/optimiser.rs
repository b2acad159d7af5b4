//! Steps over all parameters of a model in one launch.

#![expect(unsafe_code, reason = "a struct that kernels read")]

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;

use super::super::adam::{AdamParameter, AdamStep};
use super::*;

/// Elements of one parameter that a block takes, as in `optimiser.cu`.
const CHUNK: usize = 4096;

/// Where a block works.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Place {
    parameter: u32,
    first: u32,
}

// SAFETY: two u32 in C's layout, as `Place` in `optimiser.cu`.
unsafe impl DeviceRepr for Place {}

/// [`super::super::adam_step`] of every parameter, all contiguous f32 tensors on one GPU.
pub(in crate::kernels) fn adam(parameters: &[AdamParameter<'_>], step: AdamStep) -> Result<()> {
    let rows: Vec<[&Tensor; 4]> =
        parameters.iter().map(|p| [p.value, p.gradient, p.first_moment, p.second_moment]).collect();
    let bias = |beta: f64| 1.0 - beta.powf(step.n_steps as f64);
    let numbers = [
        step.beta_1,
        step.beta_2,
        1.0 - step.beta_1,
        1.0 - step.beta_2,
        step.weight_decay,
        step.learning_rate / bias(step.beta_1),
        1.0 / bias(step.beta_2).sqrt(),
        step.eps,
    ];
    over_all("adam", &rows, &numbers.map(|number| Arg::F32(number as f32)))
}

/// `total += other` for every pair of contiguous f32 tensors on one GPU.
pub(in crate::kernels) fn add_all(pairs: &[[&Tensor; 2]]) -> Result<()> {
    over_all("add_all", pairs, &[])
}

/// Launches `name` once over all rows of tensors; those of one row are of one size.
fn over_all<const N: usize>(name: &'static str, rows: &[[&Tensor; N]], numbers: &[Arg]) -> Result<()> {
    let Some(first) = rows.first().and_then(|row| row.first()) else {
        return Ok(());
    };
    let gpu = Gpu::of(first.device())?;
    let mut addresses: Vec<u64> = Vec::with_capacity(rows.len() * N);
    let (mut sizes, mut places) = (Vec::with_capacity(rows.len()), Vec::new());
    for (parameter, row) in rows.iter().enumerate() {
        for tensor in row {
            let Arg::U64(address) = Arg::from(Input::of(tensor).view()?) else {
                return Err(Error::Msg("an address is a number of 64 bits".to_owned()));
            };
            addresses.push(address);
        }
        let size = row.first().map_or(0, |tensor| tensor.elem_count());
        sizes.push(size as u32);
        let chunk = |first: usize| Place { parameter: parameter as u32, first: first as u32 };
        places.extend((0..size).step_by(CHUNK).map(chunk));
    }
    let n_blocks = places.len();
    let (table, sizes, places) = (gpu.upload(&addresses)?, gpu.upload(&sizes)?, gpu.upload(&places)?);
    let mut args = vec![gpu.address_of(&table), gpu.address_of(&sizes), gpu.address_of(&places)];
    args.extend_from_slice(numbers);
    gpu.launch(name, ([n_blocks, 1, 1], [256, 1, 1]), 0, &args)
}
