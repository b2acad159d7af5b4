//! Passes over activations: on the CPU across threads and vectorised, where Candle's would be serial, elsewhere Candle's.

use candle_core::{CpuStorage, CustomOp1, Error, InplaceOp1, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Values that one task works on.
const BLOCK: usize = 1 << 14;

/// `x * sigmoid(1.702 x)`: the approximation of GELU that CLIP was trained with. The values of `x` are used up.
pub(crate) fn quick_gelu(x: Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return &x * logistic(&(&x * 1.702)?)?;
    }
    x.inplace_op1(&QuickGelu)?;
    Ok(x)
}

/// `silu(a) * b`, a and b being the left and right half of each row: `[n, 2 d]` to `[n, d]` (Shazeer, 2020).
pub(crate) fn swiglu(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    if !x.device().is_cpu() {
        let d = x.dim(1)? / 2;
        let [gate, value] = [x.narrow(1, 0, d)?.contiguous()?, x.narrow(1, d, d)?.contiguous()?];
        return (logistic(&gate)? * gate)? * value;
    }
    x.apply_op1(SwiGlu)
}

/// `1 / (1 + exp(-x))` of Candle's ops.
fn logistic(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

struct QuickGelu;

impl InplaceOp1 for QuickGelu {
    fn name(&self) -> &'static str {
        "quick_gelu"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let x = values_mut(x, layout)?;
        x.par_chunks_mut(BLOCK).for_each(|x| Arch::new().dispatch(QuickGeluRun { x }));
        Ok(())
    }
}

struct QuickGeluRun<'a> {
    x: &'a mut [f32],
}

impl WithSimd for QuickGeluRun<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for x in self.x {
            *x *= sigmoid(1.702 * *x);
        }
    }
}

struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[n, width] = layout.dims() else {
            return Err(Error::Msg(format!("swiglu of {:?}, expected [n, 2 d]", layout.dims())));
        };
        if !width.is_multiple_of(2) || width == 0 {
            return Err(Error::Msg(format!("swiglu of {width} channels, which have no two halves")));
        }
        let (x, d) = (values(x, layout)?, width / 2);
        let mut output = vec![0.0; n * d];
        output.par_chunks_mut(d).zip(x.par_chunks(width)).for_each(|(output, row)| {
            let (gate, value) = row.split_at(d);
            Arch::new().dispatch(SwiGluRow { gate, value, output });
        });
        Ok((CpuStorage::F32(output), Shape::from((n, d))))
    }
}

struct SwiGluRow<'a> {
    gate: &'a [f32],
    value: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for SwiGluRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((output, &gate), &value) in self.output.iter_mut().zip(self.gate).zip(self.value) {
            *output = gate * sigmoid(gate) * value;
        }
    }
}

/// `1 / (1 + exp(-x))` to some 2e-7, without a call or a branch, so that loops over it vectorise.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The exponential to some 1e-7, relative, for arguments that are clamped to its finite range: a power of two and a
/// polynomial (Moshier's Cephes, `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the last bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the product with n is exact enough.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = contiguous(layout)?;
    match storage {
        CpuStorage::F32(values) => values.get(start..end).ok_or_else(short),
        _ => Err(not_f32()),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let (start, end) = contiguous(layout)?;
    match storage {
        CpuStorage::F32(values) => values.get_mut(start..end).ok_or_else(short),
        _ => Err(not_f32()),
    }
}

fn contiguous(layout: &Layout) -> Result<(usize, usize)> {
    layout.contiguous_offsets().ok_or_else(|| Error::Msg("activations are not contiguous".to_owned()))
}

fn short() -> Error {
    Error::Msg("activations end before their layout does".to_owned())
}

fn not_f32() -> Error {
    Error::Msg("activations are not f32".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_exponential_is_right_over_its_range() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) / wanted - 1.0).abs() < 3e-7, "{x}: {} and {wanted}", exp(x));
        }
        assert_eq!(sigmoid(f32::NEG_INFINITY), 1.0 / (1.0 + exp(88.0)));
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn activations_are_those_of_their_formulas() {
        let x: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin() * 6.0).collect();
        let logistic_of = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
        let tensor = Tensor::from_slice(&x, (4, 16), &Device::Cpu).unwrap();
        let gated = swiglu(&tensor).unwrap().to_vec2::<f32>().unwrap();
        for (row, x) in gated.iter().zip(x.chunks(16)) {
            for (i, &found) in row.iter().enumerate() {
                let wanted = f64::from(x[i]) * logistic_of(x[i]) * f64::from(x[8 + i]);
                assert!((f64::from(found) - wanted).abs() < 1e-5);
            }
        }
        let candle = logistic(&tensor).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (found, &x) in candle.iter().zip(&x) {
            assert!((f64::from(*found) - logistic_of(x)).abs() < 1e-6);
        }
        for (found, &x) in
            quick_gelu(tensor).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().zip(&x)
        {
            assert!((f64::from(*found) - f64::from(x) * logistic_of(1.702 * x)).abs() < 1e-5);
        }
    }
}
