//! Folding a sequence of any length into a square grid.

use candle_core::{Error, Result, Tensor};

use crate::kernels;

/// The side of the smallest square that holds `n` tokens, `ceil(sqrt(n))`, in integers.
pub fn square_side(n: usize) -> usize {
    let floor = n.isqrt();
    if floor * floor == n { floor } else { floor + 1 }
}

/// Appends the first `h * h - n` tokens to the end, where `h = ceil(sqrt(n))` (paper: square padding).
///
/// - `x`: `[n, d]`, n >= 1. Returns `[h * h, d]`, the row-major `h x h` grid, and `h`.
///
/// # Errors
/// If `x` has no tokens.
pub fn square_pad(x: &Tensor) -> Result<(Tensor, usize)> {
    let (n, _) = x.dims2()?;
    if n == 0 {
        return Err(Error::Msg("square padding of 0 tokens: a bag holds at least 1 patch".to_owned()));
    }
    let side = square_side(n);
    match side * side - n {
        0 => Ok((x.clone(), side)),
        n_missing => Ok((kernels::repeat_first(x, n_missing)?, side)),
    }
}

/// Adds to each of the `n` tokens what its copy after [`square_pad`] has: `[h * h]` to `[n]`, for what tokens receive.
///
/// # Errors
/// If there are fewer than `n` values, or more copies than tokens.
pub fn fold_square_pad(padded: &Tensor, n: usize) -> Result<Tensor> {
    let (tokens, n_copies) = (padded.narrow(0, 0, n)?, padded.dim(0)? - n);
    if n_copies == 0 {
        return Ok(tokens);
    }
    let twice = (tokens.narrow(0, 0, n_copies)? + padded.narrow(0, n, n_copies)?)?;
    Tensor::cat(&[&twice, &tokens.narrow(0, n_copies, n - n_copies)?], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_fits_its_square_and_no_smaller_one() {
        for n in 1..5000 {
            let side = square_side(n);
            assert!(side * side >= n && (side - 1) * (side - 1) < n, "n = {n}");
            assert!(n >= side * side - n, "n = {n} has too few tokens to repeat");
        }
        // Through floating point this one comes out a cell short.
        assert_eq!(square_side((1 << 54) + 1), (1 << 27) + 1);
    }

    #[test]
    fn the_first_tokens_are_repeated_in_order() {
        let x = Tensor::arange(0f32, 5.0, &candle_core::Device::Cpu).unwrap().reshape((5, 1)).unwrap();
        let (padded, side) = square_pad(&x).unwrap();
        let values: Vec<f32> = padded.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!((side, values), (3, vec![0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0]));
    }

    #[test]
    fn copies_are_folded_onto_what_they_copy() {
        for n in [1_usize, 2, 4, 5, 7, 9] {
            let x = Tensor::arange(1f64, n as f64 + 1.0, &candle_core::Device::Cpu).unwrap();
            let (padded, _) = square_pad(&x.unsqueeze(1).unwrap()).unwrap();
            let folded: Vec<f64> =
                fold_square_pad(&padded.squeeze(1).unwrap(), n).unwrap().to_vec1().unwrap();
            let n_copies = square_side(n).pow(2) - n;
            let wanted: Vec<f64> =
                (0..n).map(|at| (at + 1) as f64 * if at < n_copies { 2.0 } else { 1.0 }).collect();
            assert_eq!(folded, wanted, "n = {n}");
        }
    }
}
