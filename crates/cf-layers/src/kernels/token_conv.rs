//! A convolution along tokens whose filter the channels of a head share.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

/// `out[i, c] = sum_t weight[head(c), t] x[i + t - taps / 2, c]`, zero beyond the ends: each head of `d / n_heads` channels
/// has one filter.
///
/// - `x`: `[n, d]`; `weight`: `[n_heads, taps]` with odd `taps`. Returns `[n, d]`.
///
/// # Errors
/// If `d` is no multiple of the heads, `taps` is even, or the tensors are neither f32 nor f64.
pub fn token_conv(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if reference::stands_in_for(x) {
        return reference::token_conv(x, weight);
    }
    let ((n, d), (n_heads, taps)) = (x.dims2()?, weight.dims2()?);
    if n_heads == 0 || !d.is_multiple_of(n_heads) || taps.is_multiple_of(2) {
        return Err(Error::Msg(format!("token convolution of {:?} by {:?}", x.dims(), weight.dims())));
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, TokenConv { n, d, n_heads, taps })
}

#[derive(Debug, Clone, Copy)]
struct TokenConv {
    n: usize,
    d: usize,
    n_heads: usize,
    taps: usize,
}

/// Which way a filter is laid over the tokens.
#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Transposed,
}

impl TokenConv {
    fn work(&self) -> usize {
        self.n * self.d * self.taps
    }

    fn convolve<T: Element>(&self, x: &[T], weight: &[T], direction: Direction) -> Vec<T> {
        let Self { n, d, n_heads, taps } = *self;
        let (width, half) = (d / n_heads, taps / 2);
        let mut output = vec![T::zero(); n * d];
        cpu::for_each_chunk(&mut output, d, self.work(), |i, row| {
            for t in 0..taps {
                let offset = match direction {
                    Direction::Forward => t,
                    Direction::Transposed => taps - 1 - t,
                };
                let Some(from) = (i + offset).checked_sub(half).filter(|&from| from < n) else { continue };
                let heads = row.chunks_mut(width).zip(x[from * d..(from + 1) * d].chunks(width));
                for (head, (out, x)) in heads.enumerate() {
                    let factor = weight[head * taps + t];
                    cpu::rows::add_scaled(out, x, factor);
                }
            }
        });
        output
    }

    fn weight_gradient<T: Element>(&self, x: &[T], grad: &[T]) -> Vec<T> {
        let Self { n, d, n_heads, taps } = *self;
        let (width, half) = (d / n_heads, taps / 2);
        let mut output = vec![T::zero(); n_heads * taps];
        cpu::for_each_chunk(&mut output, 1, self.work(), |at, total| {
            let (head, t) = (at / taps, at % taps);
            let columns = head * width..(head + 1) * width;
            for i in 0..n {
                let Some(from) = (i + t).checked_sub(half).filter(|&from| from < n) else { continue };
                let grad = &grad[i * d..(i + 1) * d][columns.clone()];
                total[0] += cpu::rows::dot(grad, &x[from * d..(from + 1) * d][columns.clone()]);
            }
        });
        output
    }

    fn backward<T: Element>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = &grad.contiguous()?;
        let [x_values, weight_values, grad] = [x, weight, grad].map(cpu::Values::of);
        let grad = grad.as_slice::<T>()?;
        let dx = self.convolve(grad, weight_values.as_slice()?, Direction::Transposed);
        let dweight = self.weight_gradient(x_values.as_slice()?, grad);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dweight, weight.shape(), x.device())?),
        ))
    }
}

impl CustomOp2 for TokenConv {
    fn name(&self) -> &'static str {
        "token_conv"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match x.dtype() {
            DType::F32 => CpuStorage::F32(self.convolve(
                contiguous_slice(x, x_layout)?,
                contiguous_slice(weight, weight_layout)?,
                Direction::Forward,
            )),
            DType::F64 => CpuStorage::F64(self.convolve(
                contiguous_slice(x, x_layout)?,
                contiguous_slice(weight, weight_layout)?,
                Direction::Forward,
            )),
            dtype => return Err(unsupported_dtype("token_conv", dtype)),
        };
        Ok((output, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(x, weight, grad),
            DType::F64 => self.backward::<f64>(x, weight, grad),
            dtype => Err(unsupported_dtype("token_conv", dtype)),
        }
    }
}
