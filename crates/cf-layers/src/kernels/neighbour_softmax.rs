//! Softmax aggregation of the messages that each node of a graph gets (GENConv; Li et al., 2020).

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
use super::cpu::messages;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};
use crate::graph::Graph;

/// Nodes per chunk.
const NODES: usize = 32;

/// With messages `m_j = relu(x_j) + 1e-7`: `out_v = sum_j w_j m_j`, `w_j` the softmax of `t m_j` over the edges `(j -> v)`,
/// channel by channel; zero for a node without incoming edges.
///
/// - `x`: `[n, d]`, a row per node; `inverse_temperature` `t`: `[1]`. Returns `[n, d]`. No copy per edge is made.
///
/// # Errors
/// If the shapes do not fit the graph, or the tensors are neither f32 nor f64; on a GPU: not f32.
pub fn neighbour_softmax(x: &Tensor, inverse_temperature: &Tensor, graph: &Arc<Graph>) -> Result<Tensor> {
    if reference::are_active() {
        return reference::neighbour_softmax(x, inverse_temperature, graph);
    }
    let (n, _) = x.dims2()?;
    if n != graph.n_nodes() || inverse_temperature.dims() != [1] {
        let found = inverse_temperature.dims();
        return Err(Error::Msg(format!(
            "messages of {n} nodes with temperatures {found:?} on a graph of {}",
            graph.n_nodes()
        )));
    }
    #[cfg(feature = "cuda")]
    if cuda::serves_f32(x) && cuda::serves_f32(inverse_temperature) {
        let t = inverse_temperature.contiguous()?;
        return cuda::neighbours::neighbour_softmax(&x.contiguous()?, &t, graph);
    }
    let op = NeighbourSoftmax { graph: Arc::clone(graph), log_sums: Mutex::new(None) };
    x.contiguous()?.apply_op2(&inverse_temperature.contiguous()?, op)
}

struct NeighbourSoftmax {
    graph: Arc<Graph>,
    /// Log of the sum of `exp(t m_j)` per node and channel, from the forward pass for the backward one.
    log_sums: Mutex<Option<Tensor>>,
}

impl NeighbourSoftmax {
    /// Output and log-sums. The largest score of each node is subtracted, so that quiet nodes do not underflow.
    fn forward<T: Element>(&self, x: &[T], t: T, d: usize) -> (Vec<T>, Vec<T>) {
        // Output and log-sum of a node lie side by side while they are computed.
        let mut both = vec![T::zero(); 2 * x.len()];
        let row = |source: u32| &x[source as usize * d..(source as usize + 1) * d];
        cpu::for_each_chunk(&mut both, 2 * d * NODES, 8 * self.graph.n_edges() * d, |index, both| {
            let mut largest = vec![T::zero(); d];
            for (at, both) in both.chunks_mut(2 * d).enumerate() {
                let (output, total) = both.split_at_mut(d);
                let sources = self.graph.sources(index * NODES + at);
                if sources.is_empty() {
                    continue;
                }
                largest.fill(T::neg_infinity());
                sources.iter().for_each(|&source| messages::raise_to_score(&mut largest, row(source), t));
                for &source in sources {
                    messages::add_message(output, total, &largest, row(source), t);
                }
                for ((output, total), &largest) in output.iter_mut().zip(total).zip(&largest) {
                    *output /= *total;
                    *total = total.ln() + largest;
                }
            }
        });
        both.chunks(2 * d).map(|both| both.split_at(d)).fold(
            (Vec::with_capacity(x.len()), Vec::with_capacity(x.len())),
            |(mut output, mut log_sums), (o, l)| {
                output.extend_from_slice(o);
                log_sums.extend_from_slice(l);
                (output, log_sums)
            },
        )
    }

    /// Gradients of `x` and of `t`, from the output and its gradient.
    fn backward<T: Element>(
        &self,
        (x, t, d): (&[T], T, usize),
        output: &[T],
        log_sums: &[T],
        grad: &[T],
    ) -> (Vec<T>, T) {
        let mut dx = vec![T::zero(); x.len()];
        let work = 8 * self.graph.n_edges() * d;
        // The gradient of t sums over edges; each chunk has its own part, and the parts are added in order.
        let parts = cpu::map_chunks(&mut dx, d * NODES, work, |index, dx| {
            let mut dt = vec![T::zero(); d];
            for (at, dx) in dx.chunks_mut(d).enumerate() {
                let source = index * NODES + at;
                let x = &x[source * d..(source + 1) * d];
                for &target in self.graph.targets(source) {
                    let at = target as usize * d..(target as usize + 1) * d;
                    let target = messages::Target {
                        output: &output[at.clone()],
                        log_sum: &log_sums[at.clone()],
                        grad: &grad[at],
                    };
                    messages::add_gradient(dx, &mut dt, x, target, t);
                }
                messages::cut_off(dx, x);
            }
            cpu::rows::sum(&dt)
        });
        let dt = parts.into_iter().fold(T::zero(), |sum, part| sum + part);
        (dx, dt)
    }

    fn keep<T: Element>(&self, x: &[T], t: &[T], shape: &Shape) -> Result<CpuStorage> {
        let (_, d) = shape.dims2()?;
        let &[t] = t else { return Err(Error::Msg("neighbour_softmax without a temperature".to_owned())) };
        let (output, log_sums) = self.forward(x, t, d);
        let log_sums = Tensor::from_vec(log_sums, shape, &candle_core::Device::Cpu)?;
        *self.log_sums.lock().unwrap_or_else(PoisonError::into_inner) = Some(log_sums);
        Ok(T::to_cpu_storage_owned(output))
    }

    fn gradients<T: Element>(
        &self,
        x: &Tensor,
        t: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, d) = x.dims2()?;
        let kept = self.log_sums.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let log_sums =
            kept.ok_or_else(|| Error::Msg("neighbour_softmax: backward before forward".to_owned()))?;
        let scalar = t.get(0)?.to_scalar::<T>()?;
        let grad = &grad.contiguous()?;
        let [values, output, log_sums, grad] = [x, output, &log_sums, grad].map(cpu::Values::of);
        let (dx, dt) = self.backward(
            (values.as_slice()?, scalar, d),
            output.as_slice()?,
            log_sums.as_slice()?,
            grad.as_slice()?,
        );
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(vec![dt], t.shape(), t.device())?),
        ))
    }
}

impl CustomOp2 for NeighbourSoftmax {
    fn name(&self) -> &'static str {
        "neighbour_softmax"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        t: &CpuStorage,
        t_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = x_layout.shape();
        let output = match x.dtype() {
            DType::F32 => {
                self.keep::<f32>(contiguous_slice(x, x_layout)?, contiguous_slice(t, t_layout)?, shape)?
            }
            DType::F64 => {
                self.keep::<f64>(contiguous_slice(x, x_layout)?, contiguous_slice(t, t_layout)?, shape)?
            }
            dtype => return Err(unsupported_dtype("neighbour_softmax", dtype)),
        };
        Ok((output, shape.clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        t: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => self.gradients::<f32>(x, t, output, grad),
            DType::F64 => self.gradients::<f64>(x, t, output, grad),
            dtype => Err(unsupported_dtype("neighbour_softmax", dtype)),
        }
    }
}
