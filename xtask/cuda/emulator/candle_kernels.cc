// Those of Candle's own kernels that the project's paths meet, from their declarations in candle-kernels, in plain loops.
#include "launch.h"
#include "numbers.h"

#include <cstdio>

template <typename T>
static T argument(void **arguments, int at) {
    return *(T *)arguments[at];
}

// The sizes and strides of a launch: `numel, num_dims, info`, and `info` is null where everything is contiguous.
struct Strided {
    size_t n, n_axes;
    const size_t *info;

    Strided(void **a, int at)
        : n(argument<size_t>(a, at)), n_axes(argument<size_t>(a, at + 1)), info(argument<const size_t *>(a, at + 2)) {}

    // Where element i of operand `which` lies.
    size_t at(size_t i, int which = 0) const {
        if (!info) return i;
        const size_t *strides = info + n_axes * (1 + which);
        size_t offset = 0;
        for (size_t axis = n_axes; axis-- > 0; i /= info[axis]) offset += i % info[axis] * strides[axis];
        return offset;
    }
};

struct Unary {
    const char *name;
    double (*f)(double);
};
struct Binary {
    const char *name;
    double (*f)(double, double);
};
static const Unary UNARY[] = {
    {"ucopy", [](double x) { return x; }},       {"uneg", [](double x) { return -x; }},
    {"uabs", [](double x) { return fabs(x); }},  {"usqr", [](double x) { return x * x; }},
    {"usqrt", [](double x) { return sqrt(x); }}, {"urecip", [](double x) { return 1 / x; }},
    {"uexp", [](double x) { return exp(x); }},   {"ulog", [](double x) { return log(x); }},
    {"utanh", [](double x) { return tanh(x); }}, {"usigmoid", [](double x) { return 1 / (1 + exp(-x)); }},
    {"urelu", [](double x) { return fmax(x, 0); }},
};
static const Binary BINARY[] = {
    {"badd", [](double x, double y) { return x + y; }},          {"bsub", [](double x, double y) { return x - y; }},
    {"bmul", [](double x, double y) { return x * y; }},          {"bdiv", [](double x, double y) { return x / y; }},
    {"bmaximum", [](double x, double y) { return fmax(x, y); }}, {"bminimum", [](double x, double y) { return fmin(x, y); }},
};
static const Binary COMPARISONS[] = {
    {"eq", [](double x, double y) { return (double)(x == y); }}, {"ne", [](double x, double y) { return (double)(x != y); }},
    {"lt", [](double x, double y) { return (double)(x < y); }},  {"le", [](double x, double y) { return (double)(x <= y); }},
    {"gt", [](double x, double y) { return (double)(x > y); }},  {"ge", [](double x, double y) { return (double)(x >= y); }},
};

// f of each element; of the output itself where there is no input.
template <typename F>
static bool map(void **a, Type from, Type to, F f) {
    const Strided sizes(a, 0);
    const void *x = argument<const void *>(a, 3);
    void *y = argument<void *>(a, 4);
    for (size_t i = 0; i < sizes.n; i++) put(to, y, i, f(x ? get(from, x, sizes.at(i)) : get(to, y, i)));
    return true;
}

static bool combine(void **a, Type type, Type to, double (*f)(double, double)) {
    const Strided sizes(a, 0);
    const void *x = argument<const void *>(a, 3), *y = argument<const void *>(a, 4);
    void *z = argument<void *>(a, 5);
    for (size_t i = 0; i < sizes.n; i++) put(to, z, i, f(get(type, x, sizes.at(i)), get(type, y, sizes.at(i, 1))));
    return true;
}

static bool copy_rows(void **a, Type type) {
    const char *from = argument<const char *>(a, 0);
    char *to = argument<char *>(a, 1);
    uint32_t n[4];
    for (int i = 0; i < 4; i++) n[i] = argument<uint32_t>(a, 2 + i); // rows, columns, strides of both
    const size_t width = bytes_of(type);
    for (size_t row = 0; row < n[0]; row++) memcpy(to + row * n[3] * width, from + row * n[2] * width, n[1] * width);
    return true;
}

static bool choose(void **a, Type type) {
    const Strided sizes(a, 0);
    const uint8_t *condition = argument<const uint8_t *>(a, 3);
    const void *x = argument<const void *>(a, 4), *y = argument<const void *>(a, 5);
    void *z = argument<void *>(a, 6);
    for (size_t i = 0; i < sizes.n; i++) {
        put(type, z, i, condition[sizes.at(i)] ? get(type, x, sizes.at(i, 1)) : get(type, y, sizes.at(i, 2)));
    }
    return true;
}

// Groups of the last axes to one number each; `first` is an output's number of elements or an input's.
static bool reduce(void **a, Type type, bool counts_outputs, bool sums) {
    const size_t first = argument<size_t>(a, 0), per_output = argument<size_t>(a, 1);
    const Strided sizes(a, 1);
    const void *x = argument<const void *>(a, 4);
    void *y = argument<void *>(a, 5);
    for (size_t to = 0; to < (counts_outputs ? first : first / per_output); to++) {
        double total = sums ? 0.0 : -INFINITY;
        for (size_t i = to * per_output; i < (to + 1) * per_output; i++) {
            const double value = get(type, x, sizes.at(i));
            total = sums ? total + value : fmax(total, value);
        }
        put(type, y, to, total);
    }
    return true;
}

static bool index_select(void **a, Type type) {
    const size_t n = argument<size_t>(a, 0);
    const uint32_t *ids = argument<const uint32_t *>(a, 3);
    const void *x = argument<const void *>(a, 4);
    void *y = argument<void *>(a, 5);
    const size_t source = argument<size_t>(a, 7), n_ids = argument<size_t>(a, 8), right = argument<size_t>(a, 9);
    for (size_t i = 0; i < n; i++) {
        const size_t row = i / (n_ids * right) * source + ids[i / right % n_ids];
        put(type, y, i, get(type, x, row * right + i % right));
    }
    return true;
}

static bool index_add(void **a, Type type) {
    const uint32_t *ids = argument<const uint32_t *>(a, 0);
    const size_t n_ids = argument<size_t>(a, 1), left = argument<size_t>(a, 4), source = argument<size_t>(a, 5);
    const size_t target = argument<size_t>(a, 6), right = argument<size_t>(a, 7);
    const void *x = argument<const void *>(a, 2);
    void *y = argument<void *>(a, 3);
    for (size_t i = 0; i < left * n_ids * right; i++) {
        const size_t l = i / (n_ids * right), id = i / right % n_ids, r = i % right;
        const size_t to = (l * target + ids[id]) * right + r;
        put(type, y, to, get(type, y, to) + get(type, x, (l * source + id) * right + r));
    }
    return true;
}

bool run_candle(const char *full_name, void **a) {
    const std::string full = full_name, name = full.substr(0, full.rfind('_'));
    const Type type = type_of(full.substr(full.rfind('_') + 1));
    if (type == Type::NONE) return false;
    for (const Unary &op : UNARY) {
        if (name == op.name) return map(a, type, type, op.f);
    }
    for (const Binary &op : BINARY) {
        if (name == op.name) return combine(a, type, type, op.f);
    }
    for (const Binary &op : COMPARISONS) {
        if (name == op.name) return combine(a, type, Type::U8, op.f);
    }
    if (name.rfind("cast_", 0) == 0) return map(a, type_of(name.substr(5)), type, [](double x) { return x; });
    if (name == "affine") {
        const double factor = get(type, a[5], 0), constant = get(type, a[6], 0);
        return map(a, type, type, [=](double x) { return x * factor + constant; });
    }
    if (name == "const_set") {
        const Strided sizes(a, 0);
        for (size_t i = 0; i < sizes.n; i++) put(type, argument<void *>(a, 4), sizes.at(i), get(type, a[3], 0));
        return true;
    }
    if (name == "copy2d") return copy_rows(a, type);
    if (name == "where_u8") return choose(a, type);
    if (name == "fast_sum") return reduce(a, type, false, true);
    if (name == "fast_sum_small") return reduce(a, type, true, true);
    if (name == "fast_max") return reduce(a, type, false, false);
    if (name == "is_u32") return index_select(a, type);
    if (name == "ia_u32") return index_add(a, type);
    return false;
}
