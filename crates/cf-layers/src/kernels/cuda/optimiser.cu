// One launch over all parameters of a model: `table` holds the addresses of each array, and `ends` where each parameter ends
// if all are laid one after the other. A block takes `CHUNK` elements of one parameter; `blocks` says which.
#include "common.cuh"

#define CHUNK 4096

struct Place {
    uint32_t parameter;
    uint32_t first;
};

// One step of Adam with the L2 penalty in the gradient, as kernels/cpu/adam.rs.
extern "C" __global__ void adam(const uint64_t *table, const uint32_t *sizes, const Place *places, float beta_1,
                                float beta_2, float new_1, float new_2, float decay, float rate, float root,
                                float eps) {
    Place place = places[blockIdx.x];
    const uint64_t *entry = table + (uint64_t)place.parameter * 4;
    float *p = (float *)entry[0], *g = (float *)entry[1], *m = (float *)entry[2], *v = (float *)entry[3];
    uint32_t last = min(place.first + CHUNK, sizes[place.parameter]);
    for (uint32_t i = place.first + threadIdx.x; i < last; i += blockDim.x) {
        float gradient = g[i] + decay * p[i];
        float first = beta_1 * m[i] + new_1 * gradient;
        float second = beta_2 * v[i] + new_2 * gradient * gradient;
        m[i] = first;
        v[i] = second;
        p[i] -= rate * first / (root * sqrtf(second) + eps);
    }
}

// total += other, for every pair of the table.
extern "C" __global__ void add_all(const uint64_t *table, const uint32_t *sizes, const Place *places) {
    Place place = places[blockIdx.x];
    float *total = (float *)table[(uint64_t)place.parameter * 2];
    const float *other = (const float *)table[(uint64_t)place.parameter * 2 + 1];
    uint32_t last = min(place.first + CHUNK, sizes[place.parameter]);
    for (uint32_t i = place.first + threadIdx.x; i < last; i += blockDim.x) total[i] += other[i];
}
