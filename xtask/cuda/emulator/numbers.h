// Numbers of any of Candle's types as doubles.
#pragma once

#include "instructions.cuh"

#include <string>

enum class Type { F32, F64, BF16, U8, U32, I64, NONE };

inline Type type_of(const std::string &name) {
    static const char *const names[] = {"f32", "f64", "bf16", "u8", "u32", "i64"};
    for (int at = 0; at < 6; at++) {
        if (name == names[at]) return (Type)at;
    }
    return Type::NONE;
}
inline size_t bytes_of(Type type) {
    switch (type) {
    case Type::F64:
    case Type::I64: return 8;
    case Type::BF16: return 2;
    case Type::U8: return 1;
    default: return 4;
    }
}
inline double get(Type type, const void *from, size_t i) {
    switch (type) {
    case Type::F32: return ((const float *)from)[i];
    case Type::F64: return ((const double *)from)[i];
    case Type::BF16: return __uint_as_float((uint32_t)((const uint16_t *)from)[i] << 16);
    case Type::U8: return ((const uint8_t *)from)[i];
    case Type::U32: return ((const uint32_t *)from)[i];
    case Type::I64: return (double)((const int64_t *)from)[i];
    case Type::NONE: return 0.0;
    }
    return 0.0;
}
inline void put(Type type, void *to, size_t i, double value) {
    switch (type) {
    case Type::F32: ((float *)to)[i] = (float)value; break;
    case Type::F64: ((double *)to)[i] = value; break;
    case Type::BF16: ((uint16_t *)to)[i] = (uint16_t)rounded_bits((float)value); break;
    case Type::U8: ((uint8_t *)to)[i] = (uint8_t)value; break;
    case Type::U32: ((uint32_t *)to)[i] = (uint32_t)value; break;
    case Type::I64: ((int64_t *)to)[i] = (int64_t)value; break;
    case Type::NONE: break;
    }
}
