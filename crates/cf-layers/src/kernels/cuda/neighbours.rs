//! Sums over the neighbours of a graph's nodes.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaStorage, CustomOp1, CustomOp2};

use super::left::Left;
use super::*;
use crate::graph::Graph;

/// Threads of a block at most.
const MOST_THREADS: usize = 256;
/// Columns over which the parts of a sum are laid out, to be added in two steps.
const COLUMNS: usize = 128;

/// [`super::super::neighbour_sum`] of a contiguous f32 tensor with a row per node.
pub(in crate::kernels) fn neighbour_sum(x: &Tensor, graph: &Arc<Graph>) -> Result<Tensor> {
    x.apply_op1(NeighbourSum { graph: Arc::clone(graph) })
}

/// [`super::super::neighbour_softmax`] of contiguous f32 tensors whose shapes fit.
pub(in crate::kernels) fn neighbour_softmax(x: &Tensor, t: &Tensor, graph: &Arc<Graph>) -> Result<Tensor> {
    x.apply_op2(t, NeighbourSoftmax { graph: Arc::clone(graph), log_sums: Left::nothing() })
}

/// Neighbours as kernels read them.
struct Lists {
    starts: CudaSlice<u32>,
    nodes: CudaSlice<u32>,
}

impl Lists {
    fn args(&self, gpu: &Gpu) -> [Arg; 2] {
        [gpu.address_of(&self.starts), gpu.address_of(&self.nodes)]
    }
}

impl Gpu {
    /// The lists of a graph in one direction.
    fn lists(&self, (starts, nodes): (&[usize], &[u32])) -> Result<Lists> {
        let start = |&start: &usize| {
            u32::try_from(start).map_err(|_| {
                let most = u32::MAX;
                Error::Msg(format!("a graph of {} edges on a GPU, which holds {most} at most", nodes.len()))
            })
        };
        let starts: Vec<u32> = starts.iter().map(start).collect::<Result<_>>()?;
        // No array is empty.
        let nodes = if nodes.is_empty() { &[0] } else { nodes };
        Ok(Lists { starts: self.upload(&starts)?, nodes: self.upload(nodes)? })
    }

    fn over_nodes(&self, name: &'static str, [n, d]: [usize; 2], args: &[Arg]) -> Result<()> {
        let threads = d.next_multiple_of(32).clamp(32, MOST_THREADS);
        self.launch(name, ([n, 1, 1], [threads as u32, 1, 1]), 0, args)
    }

    fn summed_neighbours(&self, x: View<'_>, lists: &Lists, [n, d]: [usize; 2]) -> Result<Array> {
        let y = self.array(n * d, DType::F32)?;
        let [starts, nodes] = lists.args(self);
        let args = [x.into(), starts, nodes, (&y).into(), Arg::U32(d as u32)];
        self.over_nodes("neighbour_sum", [n, d], &args)?;
        Ok(y)
    }
}

struct NeighbourSum {
    graph: Arc<Graph>,
}

impl CustomOp1 for NeighbourSum {
    fn name(&self) -> &'static str {
        "neighbour_sum"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("neighbour_sum")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (n, d) = layout.shape().dims2()?;
        let lists = gpu.lists(self.graph.incoming())?;
        let y = gpu.summed_neighbours(View::of(x, layout)?, &lists, [n, d])?;
        Ok((y.into_storage(&gpu), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(x.device())?;
        let (n, d) = x.dims2()?;
        let grad = grad.contiguous()?;
        let lists = gpu.lists(self.graph.outgoing())?;
        let dx = gpu.summed_neighbours(Input::of(&grad).view()?, &lists, [n, d])?;
        Ok(Some(dx.into_tensor(&gpu, (n, d))))
    }
}

struct NeighbourSoftmax {
    graph: Arc<Graph>,
    /// Of each node and channel; left by the forward pass.
    log_sums: Left<Array>,
}

impl CustomOp2 for NeighbourSoftmax {
    fn name(&self) -> &'static str {
        "neighbour_softmax"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("neighbour_softmax")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        t: &CudaStorage,
        t_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (n, d) = x_layout.shape().dims2()?;
        let lists = gpu.lists(self.graph.incoming())?;
        let [y, log_sums] = [gpu.array(n * d, DType::F32)?, gpu.array(n * d, DType::F32)?];
        let [starts, nodes] = lists.args(&gpu);
        let [x, t] = [View::of(x, x_layout)?.into(), View::of(t, t_layout)?.into()];
        let args = [x, t, starts, nodes, (&y).into(), (&log_sums).into(), Arg::U32(d as u32)];
        gpu.over_nodes("neighbour_softmax", [n, d], &args)?;
        self.log_sums.leave(log_sums);
        Ok((y.into_storage(&gpu), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        t: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let (n, d) = x.dims2()?;
        let lists = gpu.lists(self.graph.outgoing())?;
        let log_sums = self.log_sums.take()?;
        let grad = grad.contiguous()?;
        let inputs = [x, t, y, &grad].map(Input::of);
        let [x, t, y, grad] = &inputs;
        let dx = gpu.array(n * d, DType::F32)?;
        // Nodes beyond the last add nothing.
        let n_rows = n.div_ceil(COLUMNS);
        let parts = gpu.zeros(n_rows * COLUMNS)?;
        let [starts, nodes] = lists.args(&gpu);
        let [x, t, y, grad] = [x.view()?.into(), t.view()?.into(), y.view()?.into(), grad.view()?.into()];
        let log_sums = Arg::from(&log_sums);
        let args =
            [x, t, y, log_sums, grad, starts, nodes, (&dx).into(), (&parts).into(), Arg::U32(d as u32)];
        gpu.over_nodes("neighbour_softmax_backward", [n, d], &args)?;
        let columns = gpu.sum_partial(&parts, n_rows, COLUMNS)?;
        let dt = gpu.sum_partial(&columns, COLUMNS, 1)?;
        Ok((Some(dx.into_tensor(&gpu, (n, d))), Some(dt.into_tensor(&gpu, 1))))
    }
}
