// The CUDA driver, cuBLAS and cuRAND of a GPU that is not there, as far as the programs call them: memory is the host's, launches run at
// once (blocks.cc), copies out of page-locked memory as late as may be (streams.h), products are plain loops. What a program calls beyond
// that says so and fails: xtask/src/cuda_emulator.rs makes the stubs.
//
// Every array ends where a page without access begins, so that a kernel which reads or writes past it (by 16 bytes) ends the process, as
// does one that uses an array after it was freed. New memory is NaN.
//
// CF_EMULATED_GPU=hopper: of compute capability 9.0, else 8.0; CF_EMULATED_GPU=ada: 8.9, whose blocks have 99 KiB of shared memory.
// CF_EMULATED_GPU=memory: launches are not carried out, and what tensors take is counted as on a GPU; of compute capability 9.0, too.
// CF_EMULATED_MULTIPROCESSORS=N: of so many, else 132; with few of them blocks get more work, and loops over tiles go on for longer.
#include "launch.h"
#include "numbers.h"
#include "streams.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using Address = uint64_t;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_READY = 600, NOT_SUPPORTED = 801 };

static bool is_asked_for(const char *what) {
    static const char *const asked = getenv("CF_EMULATED_GPU");
    return asked && std::string(asked) == what;
}
static bool counts_only() { return is_asked_for("memory"); }
static bool is_hopper() { return counts_only() || is_asked_for("hopper"); }
static bool is_ada() { return is_asked_for("ada"); }

// ---- memory ----------------------------------------------------------------------------------------------------------

static const size_t PAGE = 4096;
// What is only counted costs nothing.
static size_t total() { return (size_t)(counts_only() ? 80 : 8) << 30; }

struct Mapping {
    void *from;
    size_t n_mapped, n_bytes;
    bool of_host;
};
static std::mutex one_at_a_time;
static std::map<Address, Mapping> arrays;
static size_t in_use, in_use_at_most;

static size_t rounded_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// On the device, or page-locked memory of the host, which does not count.
static int allocate(Address *address, size_t n_bytes, bool of_host) {
    std::lock_guard<std::mutex> guard(one_at_a_time);
    const size_t size = rounded_up(std::max<size_t>(n_bytes, 1), 16), n_mapped = rounded_up(size, PAGE) + PAGE;
    const size_t n_counted = of_host ? 0 : rounded_up(n_bytes, 512);
    if (in_use + n_counted > total()) return OUT_OF_MEMORY;
    void *from = mmap(nullptr, n_mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (from == MAP_FAILED) return OUT_OF_MEMORY;
    unsigned char *end = (unsigned char *)from + n_mapped - PAGE;
    mprotect(end, PAGE, PROT_NONE);
    if (!counts_only()) memset(end - size, 0xff, size);
    *address = (Address)(end - size);
    arrays[*address] = {from, n_mapped, n_counted, of_host};
    in_use += n_counted;
    in_use_at_most = std::max(in_use_at_most, in_use);
    return SUCCESS;
}

static int release(Address address) {
    std::lock_guard<std::mutex> guard(one_at_a_time);
    const auto found = arrays.find(address);
    if (found == arrays.end()) return INVALID_VALUE;
    in_use -= found->second.n_bytes;
    munmap(found->second.from, found->second.n_mapped);
    arrays.erase(found);
    return SUCCESS;
}

static bool is_page_locked(const void *at) {
    std::lock_guard<std::mutex> guard(one_at_a_time);
    auto after = arrays.upper_bound((Address)at);
    if (after == arrays.begin()) return false;
    const Mapping &mapping = std::prev(after)->second;
    return mapping.of_host && (const char *)at < (const char *)mapping.from + mapping.n_mapped;
}

static Streams streams;

static const char *running = "";
static void stop(const char *reason) {
    for (const char *part : {"\nemulated GPU: ", reason, " by `", running, "`\n"}) {
        if (write(STDERR_FILENO, part, strlen(part)) < 0) break;
    }
    _exit(139);
}
static void outside(int) { stop("memory outside of the arrays is used"); }
static void between(int) { stop("an address is used that is no multiple of the bytes read or written there"); }

// ---- products --------------------------------------------------------------------------------------------------------

// Of cudaDataType_t.
static Type type_of_data(int type) { return type == 14 ? Type::BF16 : type == 1 ? Type::F64 : Type::F32; }

// c = alpha op(a) op(b) + beta c, column-major. Sums of 32 in f32, these in f64.
static void multiply(bool turn_a, bool turn_b, size_t m, size_t n, size_t k, double alpha, Type a_type, const void *a, size_t lda,
                     Type b_type, const void *b, size_t ldb, double beta, Type c_type, void *c, size_t ldc) {
    std::vector<float> rows(m * k), columns(n * k);
    for (size_t i = 0; i < m; i++) {
        for (size_t l = 0; l < k; l++) rows[i * k + l] = (float)get(a_type, a, turn_a ? i * lda + l : l * lda + i);
    }
    for (size_t j = 0; j < n; j++) {
        for (size_t l = 0; l < k; l++) columns[j * k + l] = (float)get(b_type, b, turn_b ? l * ldb + j : j * ldb + l);
    }
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < m; i++) {
            double total = 0.0;
            for (size_t first = 0; first < k; first += 32) {
                float sum = 0.0f;
                for (size_t l = first; l < std::min(first + 32, k); l++) sum += rows[i * k + l] * columns[j * k + l];
                total += sum;
            }
            const double before = beta == 0.0 ? 0.0 : beta * get(c_type, c, j * ldc + i);
            put(c_type, c, j * ldc + i, alpha * total + before);
        }
    }
}

extern "C" {

// A handle is where its stream is noted.
int cublasCreate_v2(void ***handle) { return *handle = new void *(nullptr), SUCCESS; }
int cublasDestroy_v2(void **handle) {
    delete handle;
    return SUCCESS;
}
int cublasSetStream_v2(void **handle, void *stream) { return *handle = stream, SUCCESS; }
int cublasGemmStridedBatchedEx(void **handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, int a_type,
                               int lda, long long a_step, const void *b, int b_type, int ldb, long long b_step, const void *beta,
                               void *c, int c_type, int ldc, long long c_step, int n_batches, int, int) {
    if (m <= 0 || n <= 0 || k < 0 || lda < (turn_a ? k : m) || ldb < (turn_b ? n : k) || ldc < m) return 7; // invalid value
    streams.finish(*handle);
    if (counts_only()) return SUCCESS;
    running = "a product";
    const Type a_of = type_of_data(a_type), b_of = type_of_data(b_type), c_of = type_of_data(c_type);
    const Type scale = c_of == Type::F64 ? Type::F64 : Type::F32;
    for (long long at = 0; at < n_batches; at++) {
        multiply(turn_a, turn_b, m, n, k, get(scale, alpha, 0), a_of, (const char *)a + at * a_step * bytes_of(a_of), lda, b_of,
                 (const char *)b + at * b_step * bytes_of(b_of), ldb, get(scale, beta, 0), c_of,
                 (char *)c + at * c_step * bytes_of(c_of), ldc);
    }
    return SUCCESS;
}
int cublasGemmEx(void **handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                 const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int algorithm) {
    return cublasGemmStridedBatchedEx(handle, turn_a, turn_b, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type,
                                      ldc, 0, 1, compute, algorithm);
}
int cublasDgemmStridedBatched(void **handle, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, int lda,
                              long long a_step, const void *b, int ldb, long long b_step, const void *beta, void *c, int ldc,
                              long long c_step, int n_batches) {
    return cublasGemmStridedBatchedEx(handle, turn_a, turn_b, m, n, k, alpha, a, 1, lda, a_step, b, 1, ldb, b_step, beta, c, 1, ldc,
                                      c_step, n_batches, 0, 0);
}
int curandCreateGenerator(void **generator, int) { return *generator = (void *)1, SUCCESS; }

// ---- the driver ------------------------------------------------------------------------------------------------------

static int n_multiprocessors() {
    static const char *const n = getenv("CF_EMULATED_MULTIPROCESSORS");
    return n ? std::max(atoi(n), 1) : 132;
}

// Bytes of shared memory that a block may have.
static int shared_of_block() { return (is_hopper() ? 227 : is_ada() ? 99 : 163) * 1024; }

int cuInit(unsigned) {
    signal(SIGSEGV, outside);
    signal(SIGILL, between);
    return SUCCESS;
}
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
int cuDeviceGetCount(int *n) { return *n = 1, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, SUCCESS; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "an emulated GPU"), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *n_bytes, int) { return *n_bytes = total(), SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 16: return *value = n_multiprocessors(), SUCCESS;
    case 75: return *value = is_hopper() ? 9 : 8, SUCCESS; // compute capability
    case 76: return *value = is_ada() ? 9 : 0, SUCCESS;
    case 81: return *value = shared_of_block() + 1024, SUCCESS; // of a multiprocessor
    case 97: return *value = shared_of_block(), SUCCESS;
    default: return *value = 1, SUCCESS;
    }
}
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = (void *)1, SUCCESS; }
int cuCtxGetCurrent(void **context) { return *context = (void *)1, SUCCESS; }
int cuCtxSynchronize() { return streams.finish_all(), SUCCESS; }

int cuStreamCreate(void **stream, unsigned) {
    // 1 and 2 are names of the default stream.
    static std::atomic<uintptr_t> next{16};
    return *stream = (void *)next++, SUCCESS;
}
int cuStreamSynchronize(void *stream) { return streams.finish(stream), SUCCESS; }
int cuStreamWaitEvent(void *stream, Moment *event, unsigned) { return streams.wait(stream, *event), SUCCESS; }
int cuEventCreate(Moment **event, unsigned) { return *event = new Moment(), SUCCESS; }
int cuEventDestroy_v2(Moment *event) {
    delete event;
    return SUCCESS;
}
int cuEventRecord(Moment *event, void *stream) { return *event = streams.now(stream), SUCCESS; }
int cuEventSynchronize(Moment *event) { return streams.reach(*event), SUCCESS; }
int cuEventQuery(Moment *event) { return streams.is_over(*event) ? SUCCESS : NOT_READY; }

int cuMemAllocAsync(Address *address, size_t n_bytes, void *) { return allocate(address, n_bytes, false); }
int cuMemAlloc_v2(Address *address, size_t n_bytes) { return allocate(address, n_bytes, false); }
int cuMemFreeAsync(Address address, void *stream) { return streams.finish(stream), release(address); }
int cuMemFree_v2(Address address) { return release(address); }
int cuMemAllocHost_v2(void **at, size_t n_bytes) { return allocate((Address *)at, n_bytes, true); }
int cuMemHostAlloc(void **at, size_t n_bytes, unsigned) { return allocate((Address *)at, n_bytes, true); }
int cuMemFreeHost(void *at) { return release((Address)at); }
int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n, void *stream) {
    if (n && is_page_locked(from)) return streams.ask(stream, {(void *)to, from, n}), SUCCESS;
    streams.finish(stream);
    return memcpy((void *)to, from, n), SUCCESS;
}
int cuMemcpyHtoD_v2(Address to, const void *from, size_t n) { return memcpy((void *)to, from, n), SUCCESS; }
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n, void *stream) {
    streams.finish(stream);
    return memcpy(to, (void *)from, n), SUCCESS;
}
int cuMemcpyDtoH_v2(void *to, Address from, size_t n) { return memcpy(to, (void *)from, n), SUCCESS; }
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t n, void *stream) {
    streams.finish(stream);
    return memmove((void *)to, (void *)from, n), SUCCESS;
}
int cuMemsetD8Async(Address to, unsigned char value, size_t n, void *stream) {
    streams.finish(stream);
    return memset((void *)to, value, n), SUCCESS;
}
int cuMemsetD8_v2(Address to, unsigned char value, size_t n) { return memset((void *)to, value, n), SUCCESS; }
int cuMemGetInfo_v2(size_t *n_free, size_t *n_total) { return *n_total = total(), *n_free = total() - in_use, SUCCESS; }

int cuDeviceGetDefaultMemPool(void **pool, int) { return *pool = (void *)1, SUCCESS; }
int cuMemPoolGetAttribute(void *, int attribute, void *value) {
    const bool highest = attribute == 6 || attribute == 8;
    return *(uint64_t *)value = highest ? in_use_at_most : in_use, SUCCESS;
}
int cuMemPoolSetAttribute(void *, int attribute, void *) {
    if (attribute == 8) in_use_at_most = in_use;
    return SUCCESS;
}

int cuModuleLoadData(void **module, const void *) { return *module = (void *)1, SUCCESS; }
int cuModuleGetFunction(void **function, void *, const char *name) {
    return (*function = strdup(name)) ? SUCCESS : OUT_OF_MEMORY;
}
int cuFuncGetAttribute(int *value, int, void *) { return *value = 0, SUCCESS; }
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared, void *stream, void **arguments, void **) {
    streams.finish(stream);
    running = (const char *)function;
    if (!grid_x || !grid_y || !grid_z || grid_y > 65535 || grid_z > 65535 || block_x * block_y * block_z > 1024 ||
        shared > (unsigned)shared_of_block()) {
        return INVALID_VALUE;
    }
    if (counts_only()) return SUCCESS;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    if (run_blocks(running, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, arguments)) return SUCCESS;
    if (run_candle(running, arguments)) return SUCCESS;
    fprintf(stderr, "emulated GPU: no kernel `%s` (xtask/cuda/emulator)\n", running);
    return NOT_FOUND;
}
// There is one context and nothing to tidy up.
#define NOTHING(NAME)                                                                                                  \
    int NAME() { return SUCCESS; }
NOTHING(cuCtxSetCurrent)
NOTHING(cuDevicePrimaryCtxRelease_v2)
NOTHING(cuFuncSetAttribute)
NOTHING(cuModuleUnload)
NOTHING(cuStreamDestroy_v2)
NOTHING(curandDestroyGenerator)
NOTHING(curandSetPseudoRandomGeneratorSeed)
NOTHING(curandSetStream)
// Kernels of Candle's that no path meets register themselves with the runtime.
NOTHING(__cudaRegisterFatBinary)
NOTHING(__cudaRegisterFatBinaryEnd)
NOTHING(__cudaRegisterFunction)
NOTHING(__cudaRegisterVar)
NOTHING(__cudaUnregisterFatBinary)

// What a stub calls.
int missing(const char *name) {
    fprintf(stderr, "emulated GPU: no function `%s` (xtask/cuda/emulator/driver.cc)\n", name);
    return NOT_SUPPORTED;
}
int cuGetErrorName(int, const char **name) { return *name = "an emulated GPU's error", SUCCESS; }
int cuGetErrorString(int, const char **text) { return *text = "see what it printed", SUCCESS; }
}
