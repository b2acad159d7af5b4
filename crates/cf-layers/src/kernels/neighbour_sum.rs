//! Sum of the messages that each node of a graph gets.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};
use crate::graph::Graph;

/// `out_v = sum over edges (j -> v) of x_j`; zero for a node without incoming edges.
///
/// - `x`: `[n, d]`, a row per node. Returns `[n, d]`. No copy per edge is made.
///
/// # Errors
/// If `x` has another number of rows than the graph has nodes, or is neither f32 nor f64; on a GPU: not f32.
pub fn neighbour_sum(x: &Tensor, graph: &Arc<Graph>) -> Result<Tensor> {
    if reference::are_active() {
        return reference::neighbour_sum(x, graph);
    }
    let (n, _) = x.dims2()?;
    if n != graph.n_nodes() {
        return Err(Error::Msg(format!("messages of {n} nodes on a graph of {}", graph.n_nodes())));
    }
    #[cfg(feature = "cuda")]
    if cuda::serves_f32(x) {
        return cuda::neighbours::neighbour_sum(&x.contiguous()?, graph);
    }
    x.contiguous()?.apply_op1(NeighbourSum { graph: Arc::clone(graph) })
}

struct NeighbourSum {
    graph: Arc<Graph>,
}

impl NeighbourSum {
    fn sum<'a, T: Element>(&self, x: &[T], d: usize, lists: impl Fn(usize) -> &'a [u32] + Sync) -> Vec<T> {
        let mut output = vec![T::zero(); x.len()];
        cpu::for_each_chunk(&mut output, d, self.graph.n_edges() * d, |node, row| {
            for &other in lists(node) {
                let other = other as usize;
                cpu::rows::add(row, &x[other * d..(other + 1) * d]);
            }
        });
        output
    }

    fn backward<T: Element>(&self, grad: &Tensor) -> Result<Option<Tensor>> {
        let d = grad.dim(1)?;
        let grad = &grad.contiguous()?;
        let values = cpu::Values::of(grad);
        let dx = self.sum::<T>(values.as_slice()?, d, |node| self.graph.targets(node));
        Ok(Some(Tensor::from_vec(dx, grad.shape(), grad.device())?))
    }
}

impl CustomOp1 for NeighbourSum {
    fn name(&self) -> &'static str {
        "neighbour_sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = layout.shape().dims2()?;
        let sources = |node: usize| self.graph.sources(node);
        let output = match x.dtype() {
            DType::F32 => CpuStorage::F32(self.sum(contiguous_slice(x, layout)?, d, sources)),
            DType::F64 => CpuStorage::F64(self.sum(contiguous_slice(x, layout)?, d, sources)),
            dtype => return Err(unsupported_dtype("neighbour_sum", dtype)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(grad),
            DType::F64 => self.backward::<f64>(grad),
            dtype => Err(unsupported_dtype("neighbour_sum", dtype)),
        }
    }
}
