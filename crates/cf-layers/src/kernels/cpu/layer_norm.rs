//! Layer norm on rows. Statistics are two-pass: `E[x^2] - E[x]^2` cancels where the mean is large.

use candle_core::WithDType;
use num_traits::Float;

use super::{for_each_chunk, map_indices};

/// Rows per partial sum of the gain's and shift's gradients; fixed, so that their rounding does not depend on the
/// number of threads.
const ROWS_PER_PARTIAL: usize = 64;

/// Multiply-adds per element, about.
const COST: usize = 8;

pub(in crate::kernels) struct Gradients<T> {
    pub(in crate::kernels) x: Vec<T>,
    pub(in crate::kernels) gain: Vec<T>,
    pub(in crate::kernels) shift: Vec<T>,
}

pub(in crate::kernels) fn forward<T: WithDType + Float>(x: &[T], gain: &[T], shift: &[T], eps: T) -> Vec<T> {
    let d = gain.len();
    let mut output = vec![T::zero(); x.len()];
    for_each_chunk(&mut output, d, COST * x.len(), |index, out| {
        let row = &x[index * d..][..d];
        let (mean, inv_sd) = statistics(row, eps);
        for (((out, &x), &gain), &shift) in out.iter_mut().zip(row).zip(gain).zip(shift) {
            *out = (x - mean) * inv_sd * gain + shift;
        }
    });
    output
}

pub(in crate::kernels) fn backward<T: WithDType + Float>(
    x: &[T],
    gain: &[T],
    grad: &[T],
    eps: T,
) -> Gradients<T> {
    let d = gain.len();
    let block = ROWS_PER_PARTIAL * d;
    let partials = map_indices(x.len().div_ceil(block), COST * x.len(), |index| {
        let rows = index * block..x.len().min((index + 1) * block);
        let mut dx = vec![T::zero(); rows.len()];
        let (mut dgain, mut dshift) = (vec![T::zero(); d], vec![T::zero(); d]);
        let inputs = x[rows.clone()].chunks(d).zip(grad[rows].chunks(d));
        for (dx, (x, grad)) in dx.chunks_mut(d).zip(inputs) {
            row_backward(dx, x, gain, grad, eps, &mut dgain, &mut dshift);
        }
        (dx, dgain, dshift)
    });
    let mut dx = Vec::with_capacity(x.len());
    let (mut dgain, mut dshift) = (vec![T::zero(); d], vec![T::zero(); d]);
    for (partial_x, partial_gain, partial_shift) in &partials {
        dx.extend_from_slice(partial_x);
        add(&mut dgain, partial_gain);
        add(&mut dshift, partial_shift);
    }
    Gradients { x: dx, gain: dgain, shift: dshift }
}

/// With `h` the normalised row and `u = grad * gain`: `dx = (u - mean(u) - h * mean(u * h)) / sd`.
fn row_backward<T: WithDType + Float>(
    dx: &mut [T],
    x: &[T],
    gain: &[T],
    grad: &[T],
    eps: T,
    dgain: &mut [T],
    dshift: &mut [T],
) {
    let (mean, inv_sd) = statistics(x, eps);
    let (mut sum_u, mut sum_uh) = (T::zero(), T::zero());
    for i in 0..x.len() {
        let h = (x[i] - mean) * inv_sd;
        let u = grad[i] * gain[i];
        dgain[i] += grad[i] * h;
        dshift[i] += grad[i];
        sum_u += u;
        sum_uh += u * h;
    }
    let n = T::from_f64(x.len() as f64);
    let (mean_u, mean_uh) = (sum_u / n, sum_uh / n);
    for i in 0..x.len() {
        let h = (x[i] - mean) * inv_sd;
        dx[i] = (grad[i] * gain[i] - mean_u - h * mean_uh) * inv_sd;
    }
}

fn statistics<T: WithDType + Float>(row: &[T], eps: T) -> (T, T) {
    let n = T::from_f64(row.len() as f64);
    let mean = sum(row, |x| x) / n;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
    (mean, T::one() / (variance + eps).sqrt())
}

/// A sum in eight independent lanes: less rounding than one running sum, and open to vectorisation.
fn sum<T: WithDType>(row: &[T], term: impl Fn(T) -> T) -> T {
    const LANES: usize = 8;
    let mut lanes = [T::zero(); LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += term(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += term(x);
    }
    let mut total = T::zero();
    for lane in lanes {
        total += lane;
    }
    total
}

fn add<T: WithDType>(total: &mut [T], part: &[T]) {
    for (total, &part) in total.iter_mut().zip(part) {
        *total += part;
    }
}
