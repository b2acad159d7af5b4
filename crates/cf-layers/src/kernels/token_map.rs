//! Tokens as a map, and several maps as one.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;

/// `x` and then its first `n_repeated` rows once more.
///
/// - `x`: `[n, d]`, at least `n_repeated` rows. Returns `[n + n_repeated, d]`.
///
/// # Errors
/// If `x` has too few rows.
pub fn repeat_first(x: &Tensor, n_repeated: usize) -> Result<Tensor> {
    if n_repeated == 0 {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if !super::reference::are_active() && cuda::serves_f32(x) && n_repeated <= x.dim(0)? {
        return cuda::token_map::repeat_first(&x.contiguous()?, n_repeated);
    }
    Tensor::cat(&[x, &x.narrow(0, 0, n_repeated)?], 0)
}

/// The sum of maps, each times its weight, and a constant.
///
/// - `maps`: of one shape; `weights`: one number for each, in any shape; `constant`: one number. Returns the shape of a map.
///
/// # Errors
/// If the shapes disagree.
pub fn mix(maps: &[&Tensor], weights: &Tensor, constant: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let [a, b, c] = maps
        && !super::reference::are_active()
        && [a, b, c].iter().all(|map| cuda::serves_f32(map) && map.shape() == a.shape())
        && weights.elem_count() == 3
        && constant.elem_count() == 1
    {
        let maps = [a.contiguous()?, b.contiguous()?, c.contiguous()?];
        return cuda::token_map::mix(&maps, weights, constant);
    }
    let n = maps.first().map_or(0, |map| map.elem_count());
    let stacked = Tensor::stack(maps, 0)?.reshape((maps.len(), n))?;
    let mixed = weights.reshape((1, maps.len()))?.matmul(&stacked)?.broadcast_add(constant)?;
    match maps.first() {
        Some(map) => mixed.reshape(map.shape()),
        None => Ok(mixed),
    }
}
