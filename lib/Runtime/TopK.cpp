//===- TopK.cpp - the largest elements of rows ----------------------------===//
//
// Elements become integers of the same order, so that one search does for every
// type. Few are kept in order while the row goes by; more are parted from the
// rest, and sorted.
//
//===----------------------------------------------------------------------===//

#include "Guarded.h"
#include "MemRef.h"
#include "Pool.h"
#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

using megactx::guarded;
using megactx::MemRef;

namespace {
/// As in IEEE 754: a sign, an exponent, a fraction of so many bits.
template <typename Bits, int Fraction> struct Float {
  Bits bits;
};
using Half = Float<uint16_t, 10>;
using BFloat = Float<uint16_t, 7>;
using Single = Float<uint32_t, 23>;
using Double = Float<uint64_t, 52>;

constexpr int64_t kWorst = std::numeric_limits<int64_t>::min();

/// A number that is the greater the larger the element; the same for both
/// zeros, and for a NaN less than any other.
template <typename Bits, int Fraction>
int64_t keyOf(Float<Bits, Fraction> element) {
  constexpr Bits sign = Bits(1) << (8 * sizeof(Bits) - 1);
  constexpr Bits infinity = (sign - 1) & ~((Bits(1) << Fraction) - 1);
  Bits magnitude = element.bits & (sign - 1);
  if (magnitude > infinity)
    return kWorst;
  return element.bits & sign ? -int64_t(magnitude) : int64_t(magnitude);
}

template <typename Integer> int64_t keyOf(Integer element) {
  static_assert(std::is_integral_v<Integer>);
  if constexpr (std::is_same_v<Integer, uint64_t>)
    return int64_t(element ^ (uint64_t(1) << 63));
  else
    return element;
}

/// The same with the smallest elements first. That of the least integer is not
/// its negative; those of a NaN stay what they are.
template <typename T> int64_t reversedKeyOf(T element) {
  int64_t key = keyOf(element);
  return !std::is_integral_v<T> && key == kWorst ? kWorst : ~key;
}

struct Entry {
  int64_t key, index;

  /// Whether this comes before the other one.
  bool operator<(const Entry &other) const {
    return key != other.key ? key > other.key : index < other.index;
  }
};

/// A row's first entries in order: its `count` elements have the keys that
/// keyAt says.
template <typename KeyAt>
void select(int64_t count, int64_t taken, std::vector<Entry> &entries,
            KeyAt keyAt) {
  // Of random elements few are among the best so far; of others each may be,
  // and moves them all.
  constexpr int64_t kFew = 16, kMost = 1024;
  bool insert = taken <= std::max(kFew, std::min(kMost, count / kFew));
  int64_t held = insert ? taken : count;
  entries.clear();
  for (int64_t i = 0; i < held; ++i)
    entries.push_back({keyAt(i), i});
  auto begin = entries.begin(), end = begin + taken;
  if (!insert && taken < count)
    std::nth_element(begin, end, entries.end());
  std::sort(begin, end);
  for (int64_t i = held; i < count; ++i) {
    Entry entry = {keyAt(i), i};
    if (entry.key <= entries[taken - 1].key)
      continue;
    auto place = std::upper_bound(begin, end, entry);
    std::move_backward(place, end - 1, end);
    *place = entry;
  }
}

/// All rows along an axis.
template <typename T> class TopK {
public:
  TopK(const mctx_memref &ofData, const mctx_memref &ofValues,
       const mctx_memref &ofIndices, int64_t axis, bool isLargest)
      : data(ofData), values(ofValues), indices(ofIndices), axis(axis),
        isLargest(isLargest), taken(values.sizes[axis]) {
    for (int64_t dim = 0; dim < data.rank; ++dim)
      if (dim != axis)
        rows *= data.sizes[dim];
  }

  void run() {
    if (rows == 0 || taken == 0)
      return;
    tasks = std::min<int64_t>(rows, 4 * megactx::poolSize());
    mctx_rt_parallel_for(
        [](void *context, int64_t task) {
          guarded([&] { static_cast<TopK *>(context)->runTask(task); });
        },
        this, tasks);
  }

private:
  void runTask(int64_t task) {
    std::vector<Entry> entries;
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks;
         ++row)
      runRow(row, entries);
  }

  /// The first element of a row, rows counted in the order of their dims.
  template <typename E> E *rowOf(const MemRef &memref, int64_t row) const {
    E *first = memref.data<E>();
    for (int64_t dim = data.rank; dim-- > 0;) {
      if (dim == axis)
        continue;
      first += row % data.sizes[dim] * memref.strides[dim];
      row /= data.sizes[dim];
    }
    return first;
  }

  void runRow(int64_t row, std::vector<Entry> &entries) {
    const T *from = rowOf<T>(data, row);
    int64_t count = data.sizes[axis], step = data.strides[axis];
    if (isLargest)
      select(count, taken, entries,
             [=](int64_t i) { return keyOf(from[i * step]); });
    else
      select(count, taken, entries,
             [=](int64_t i) { return reversedKeyOf(from[i * step]); });
    T *to = rowOf<T>(values, row);
    int64_t *places = rowOf<int64_t>(indices, row);
    for (int64_t i = 0; i < taken; ++i) {
      to[i * values.strides[axis]] = from[entries[i].index * step];
      places[i * indices.strides[axis]] = entries[i].index;
    }
  }

  MemRef data, values, indices;
  int64_t axis;
  bool isLargest;
  int64_t taken, rows = 1, tasks = 0;
};
} // namespace

#define MCTX_TOP_K(name, type)                                                 \
  extern "C" void _mlir_ciface_mctx_rt_top_k_##name(                           \
      mctx_memref *data, mctx_memref *values, mctx_memref *indices,            \
      int64_t axis, int64_t isLargest) {                                       \
    TopK<type>(*data, *values, *indices, axis, isLargest).run();               \
  }
MCTX_TOP_K(f16, Half)
MCTX_TOP_K(bf16, BFloat)
MCTX_TOP_K(f32, Single)
MCTX_TOP_K(f64, Double)
MCTX_TOP_K(i8, int8_t)
MCTX_TOP_K(i16, int16_t)
MCTX_TOP_K(i32, int32_t)
MCTX_TOP_K(i64, int64_t)
MCTX_TOP_K(ui8, uint8_t)
MCTX_TOP_K(ui16, uint16_t)
MCTX_TOP_K(ui32, uint32_t)
MCTX_TOP_K(ui64, uint64_t)
