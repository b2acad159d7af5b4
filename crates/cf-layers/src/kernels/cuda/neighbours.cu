// What the nodes of a graph get from their neighbours, rows of [n, d] in f32: a block per node, its threads along the channels. The
// neighbours of node v are nodes[starts[v]] .. nodes[starts[v + 1] - 1], and are taken in that order.
#include "common.cuh"

struct Neighbours {
    const uint32_t *first, *last;

    __device__ Neighbours(const uint32_t *starts, const uint32_t *nodes)
        : first(nodes + starts[blockIdx.x]), last(nodes + starts[blockIdx.x + 1]) {}
    __device__ const uint32_t *begin() const { return first; }
    __device__ const uint32_t *end() const { return last; }
};

// As `cpu/messages.rs` has it.
__device__ __forceinline__ float message(float x) { return (x < 0.0f ? 0.0f : x) + 1e-7f; }

// y_v = sum of the neighbours' rows.
extern "C" __global__ void neighbour_sum(const float *x, const uint32_t *starts, const uint32_t *nodes, float *y, uint32_t d) {
    const Neighbours neighbours(starts, nodes);
    for (uint32_t c = threadIdx.x; c < d; c += blockDim.x) {
        float sum = 0.0f;
        for (const uint32_t node : neighbours) sum += x[(uint64_t)node * d + c];
        y[(uint64_t)blockIdx.x * d + c] = sum;
    }
}

// y_v = sum of w_j m_j with messages m_j and w the softmax of t m_j over the neighbours; log_sums: the logs of its denominators. 0 where
// there is no neighbour.
extern "C" __global__ void neighbour_softmax(const float *x, const float *t, const uint32_t *starts, const uint32_t *nodes, float *y,
                                             float *log_sums, uint32_t d) {
    const Neighbours neighbours(starts, nodes);
    const bool alone = neighbours.first == neighbours.last;
    for (uint32_t c = threadIdx.x; c < d; c += blockDim.x) {
        float largest = -INFINITY, total = 0.0f, sum = 0.0f;
        for (const uint32_t node : neighbours) largest = fmaxf(largest, *t * message(x[(uint64_t)node * d + c]));
        for (const uint32_t node : neighbours) {
            const float m = message(x[(uint64_t)node * d + c]);
            const float weight = expf(fmaf(*t, m, -largest));
            total += weight;
            sum = fmaf(weight, m, sum);
        }
        const uint64_t at = (uint64_t)blockIdx.x * d + c;
        y[at] = alone ? 0.0f : sum / total;
        log_sums[at] = alone ? 0.0f : logf(total) + largest;
    }
}

// Gradients of x, and of t the part of each node; here neighbours are those that a node sends to.
extern "C" __global__ void __launch_bounds__(256)
    neighbour_softmax_backward(const float *x, const float *t, const float *y, const float *log_sums, const float *grad,
                               const uint32_t *starts, const uint32_t *nodes, float *dx, float *dt, uint32_t d) {
    const Neighbours neighbours(starts, nodes);
    float by_t = 0.0f;
    for (uint32_t c = threadIdx.x; c < d; c += blockDim.x) {
        const float own = x[(uint64_t)blockIdx.x * d + c], m = message(own);
        float by_x = 0.0f;
        for (const uint32_t node : neighbours) {
            const uint64_t at = (uint64_t)node * d + c;
            const float weighted = grad[at] * expf(fmaf(*t, m, -log_sums[at])), apart = m - y[at];
            by_x = fmaf(weighted, fmaf(*t, apart, 1.0f), by_x);
            by_t = fmaf(weighted * m, apart, by_t);
        }
        dx[(uint64_t)blockIdx.x * d + c] = own <= 0.0f ? 0.0f : by_x;
    }
    __shared__ float of_warps[8];
    by_t = warp_sum(by_t);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = by_t;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (uint32_t warp = 1; warp < blockDim.x / 32; warp++) by_t += of_warps[warp];
        dt[blockIdx.x] = by_t;
    }
}
