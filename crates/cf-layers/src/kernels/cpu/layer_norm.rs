//! Layer norm on rows. Statistics are two-pass: `E[x^2] - E[x]^2` cancels where the mean is large.

use super::element::Element;
use super::vectorised::vectorised;
use super::{filled, map_filled, rows};

/// Rows per partial sum of the gain's and shift's gradients; fixed, so that their rounding does not depend on the
/// number of threads.
const ROWS_PER_PARTIAL: usize = 64;

/// Multiply-adds per element, about.
const COST: usize = 8;

/// What is normed: rows of `d`, or their sum with those of a second tensor.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Input<'a, T> {
    pub(in crate::kernels) x: &'a [T],
    pub(in crate::kernels) added: Option<&'a [T]>,
}

impl<T: Element> Input<'_, T> {
    /// The values of `range`, in `buffer`.
    fn read_into(&self, buffer: &mut [T], range: std::ops::Range<usize>) {
        buffer.copy_from_slice(&self.x[range.clone()]);
        if let Some(added) = self.added {
            rows::add(buffer, &added[range]);
        }
    }
}

pub(in crate::kernels) struct Gradients<T> {
    /// Of each summand.
    pub(in crate::kernels) x: Vec<T>,
    /// `[2, d]`: of the gain and of the shift.
    pub(in crate::kernels) affine: Vec<T>,
}

/// `affine`: `[2, d]`, the gain and the shift.
pub(in crate::kernels) fn forward<T: Element>(input: Input<'_, T>, affine: &[T], eps: T) -> Vec<T> {
    let (gain, shift) = affine.split_at(affine.len() / 2);
    let d = gain.len();
    let block = ROWS_PER_PARTIAL * d;
    filled(input.x.len(), block, COST * input.x.len(), |index, output| {
        let first = index * block;
        input.read_into(output, first..first + output.len());
        for row in output.chunks_mut(d) {
            let (mean, inv_sd) = statistics(row, eps);
            normalise(row, mean, inv_sd, gain, shift);
        }
    })
}

pub(in crate::kernels) fn backward<T: Element>(
    input: Input<'_, T>,
    gain: &[T],
    grad: &[T],
    eps: T,
) -> Gradients<T> {
    let d = gain.len();
    let block = ROWS_PER_PARTIAL * d;
    let (dx, partials) = map_filled(input.x.len(), block, COST * input.x.len(), |index, dx: &mut [T]| {
        let first = index * block;
        let mut affine = vec![T::zero(); 2 * d];
        let (dgain, dshift) = affine.split_at_mut(d);
        input.read_into(dx, first..first + dx.len());
        for (x, grad) in dx.chunks_mut(d).zip(grad[first..].chunks(d)) {
            let (mean, inv_sd) = statistics(x, eps);
            rows::add(dshift, grad);
            row_gradient(x, mean, inv_sd, gain, grad, dgain);
        }
        affine
    });
    let mut affine = vec![T::zero(); 2 * d];
    partials.iter().for_each(|partial| rows::add(&mut affine, partial));
    Gradients { x: dx, affine }
}

fn statistics<T: Element>(row: &[T], eps: T) -> (T, T) {
    let n = T::from_f64(row.len() as f64);
    let mean = rows::sum(row) / n;
    let variance = rows::sum_of_squares(row, mean) / n;
    (mean, T::one() / (variance + eps).sqrt())
}

vectorised! {
    fn normalise<T: Element>(row: &mut [T], mean: T, inv_sd: T, gain: &[T], shift: &[T]) -> () {
        for ((x, &gain), &shift) in row.iter_mut().zip(gain).zip(shift) {
            *x = ((*x - mean) * inv_sd).fused(gain, shift);
        }
    }

    /// Turns a row `x` into its gradient and adds to that of the gain. With `h` the normalised row and `u = grad * gain`:
    /// `dx = (u - mean(u) - h * mean(u * h)) / sd`.
    fn row_gradient<T: Element>(x: &mut [T], mean: T, inv_sd: T, gain: &[T], grad: &[T], dgain: &mut [T]) -> () {
        const LANES: usize = 16;
        let mut sums = [[T::zero(); LANES]; 2];
        let d = x.len();
        let (gain, grad, dgain) = (&gain[..d], &grad[..d], &mut dgain[..d]);
        let whole = d - d % LANES;
        for start in (0..whole).step_by(LANES) {
            #[expect(clippy::needless_range_loop, reason = "five arrays of one index")]
            for lane in 0..LANES {
                let i = start + lane;
                let h = (x[i] - mean) * inv_sd;
                let u = grad[i] * gain[i];
                dgain[i] = grad[i].fused(h, dgain[i]);
                x[i] = h;
                sums[0][lane] += u;
                sums[1][lane] = u.fused(h, sums[1][lane]);
            }
        }
        for i in whole..d {
            let h = (x[i] - mean) * inv_sd;
            let u = grad[i] * gain[i];
            dgain[i] = grad[i].fused(h, dgain[i]);
            x[i] = h;
            sums[0][0] += u;
            sums[1][0] = u.fused(h, sums[1][0]);
        }
        let n = T::from_f64(d as f64);
        let [mean_u, mean_uh] = sums.map(|lanes| lanes.iter().fold(T::zero(), |sum, &lane| sum + lane) / n);
        for ((x, &gain), &grad) in x.iter_mut().zip(gain).zip(grad) {
            *x = (grad * gain - mean_u - *x * mean_uh) * inv_sd;
        }
    }
}
