//===- MatMul.cpp - matrix products by oneDNN -----------------------------===//
//
// The product is cut into blocks of rows (and of columns, where rows are few);
// each is one task of the pool and one single-threaded call of oneDNN. Small
// products of a batch are a task together, and one call where they lie densely:
// a call costs as much as 16 x 64 by 64 x 16.
//
//===----------------------------------------------------------------------===//

#include "OneDNN.h"
#include "PackedWeights.h"
#include "Pool.h"
#include "Products.h"
#include <algorithm>
#include <array>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <unordered_map>
#include <vector>

using namespace dnnl;
using megactx::cpuEngine;
using megactx::guarded;

namespace {
/// From this many rows on, products read weights that are packed.
constexpr int64_t kPackedRows = 64;

/// How many multiplications a call has at least, where a batch has as many.
constexpr int64_t kGroupedWork = 1 << 18;

using Key = std::tuple<int, bool, std::array<int64_t, 12>>;

/// Products of matrices, strides in elements: c[i] = a[i] b[i]. Where a has no
/// stride from one to the next, all products are of one a; and so for b.
struct Product {
  memory::data_type type;
  int64_t batch, m, n, k;
  int64_t aBatch, aRow, aColumn, bBatch, bRow, bColumn, cBatch, cRow;
  const memory *packed = nullptr; ///< b in the products' layout, if there is

  /// What is made of the sizes: the call and its operands, without their data.
  struct Prepared {
    matmul product;
    memory a, b, c;
    std::unordered_map<int, memory> operands;
  };

  memory::desc layout(memory::dims sizes, memory::dims strides) const {
    if (batch == 1) {
      sizes.erase(sizes.begin());
      strides.erase(strides.begin());
    } else if (strides[0] == 0) {
      sizes[0] = 1;
      strides[0] = sizes[1] * sizes[2];
    }
    return memory::desc(sizes, type, strides);
  }

  Prepared prepare() const {
    memory::desc da = layout({batch, m, k}, {aBatch, aRow, aColumn});
    memory::desc db = packed ? packed->get_desc()
                             : layout({batch, k, n}, {bBatch, bRow, bColumn});
    memory::desc dc = layout({batch, m, n}, {cBatch, cRow, 1});
    auto place = [](const memory::desc &desc) {
      return memory(desc, cpuEngine(), DNNL_MEMORY_NONE);
    };
    Prepared made{matmul({matmul::desc(da, db, dc), cpuEngine()}),
                  place(da),
                  place(db),
                  place(dc),
                  {}};
    made.operands = {{DNNL_ARG_SRC, made.a},
                     {DNNL_ARG_WEIGHTS, made.b},
                     {DNNL_ARG_DST, made.c}};
    return made;
  }

  void run(void *a, void *b, void *c) const {
    megactx::singleThreaded();
    thread_local megactx::Bounded<Key, Prepared> products;
    thread_local stream s(cpuEngine());
    Key key{int(type),
            packed != nullptr,
            {batch, m, n, k, aBatch, aRow, aColumn, bBatch, bRow, bColumn,
             cBatch, cRow}};
    Prepared &prepared = products.get(key, [&] { return prepare(); });
    prepared.a.set_data_handle(a);
    prepared.c.set_data_handle(c);
    if (packed)
      prepared.operands[DNNL_ARG_WEIGHTS] = *packed;
    else
      prepared.b.set_data_handle(b);
    prepared.product.execute(s, prepared.operands);
    s.wait();
    // Packed weights live as long as their owner says.
    if (packed)
      prepared.operands[DNNL_ARG_WEIGHTS] = prepared.b;
  }
};

/// Whether a batch of matrices, or one for all of the batch, lies without gaps,
/// by rows or by columns: oneDNN has its fast products of many for these alone.
bool isDense(const mctx_memref3 &x) {
  bool byRows = x.strides[2] == 1 && x.strides[1] == x.sizes[2];
  bool byColumns = x.strides[1] == 1 && x.strides[2] == x.sizes[1];
  return (byRows || byColumns) &&
         (x.sizes[0] == 1 || x.strides[0] == x.sizes[1] * x.sizes[2]);
}

struct Tasks {
  mctx_memref3 a, b, c;
  memory::data_type type;
  int64_t size; ///< bytes of an element
  int64_t rows, columns;
  int64_t rowBlocks, columnBlocks;
  int64_t group = 1, perCall = 1;       ///< products of a task, and of a call
  std::shared_ptr<const memory> packed; ///< all of b

  void *at(const mctx_memref3 &x, int64_t i, int64_t r, int64_t col) const {
    int64_t batch = x.sizes[0] == 1 ? 0 : i;
    return static_cast<char *>(x.aligned) +
           size * (x.offset + batch * x.strides[0] + r * x.strides[1] +
                   col * x.strides[2]);
  }

  void run(int64_t task) const {
    int64_t column = task % columnBlocks * columns;
    int64_t row = task / columnBlocks % rowBlocks * rows;
    int64_t i = task / columnBlocks / rowBlocks * group;
    int64_t end = std::min(i + group, c.sizes[0]);
    for (; i < end; i += perCall)
      call(i, std::min(perCall, end - i), row, column);
  }

  void call(int64_t i, int64_t batch, int64_t row, int64_t column) const {
    auto step = [&](const mctx_memref3 &x) {
      return batch == 1 || x.sizes[0] == 1 ? 0 : x.strides[0];
    };
    Product p{type,
              batch,
              std::min(rows, c.sizes[1] - row),
              std::min(columns, c.sizes[2] - column),
              a.sizes[2],
              step(a),
              a.strides[1],
              a.strides[2],
              step(b),
              b.strides[1],
              b.strides[2],
              step(c),
              c.strides[1],
              packed.get()};
    p.run(at(a, i, row, 0), at(b, i, 0, column), at(c, i, row, column));
  }
};

void multiply(const mctx_memref3 &a, const mctx_memref3 &b,
              const mctx_memref3 &c, memory::data_type type, int64_t size) {
  if (c.sizes[0] == 0 || c.sizes[1] == 0 || c.sizes[2] == 0)
    return;
  Tasks tasks{megactx::sensible(a),
              megactx::sensible(b),
              megactx::sensible(c),
              type,
              size,
              0,
              0,
              0,
              0,
              1,
              1,
              {}};
  megactx::joinBatches(tasks.b, {&tasks.a, &tasks.c});
  if (a.sizes[2] == 0) {
    for (int64_t i = 0; i < tasks.c.sizes[0]; ++i)
      for (int64_t r = 0; r < tasks.c.sizes[1]; ++r)
        std::memset(tasks.at(tasks.c, i, r, 0), 0, size * tasks.c.sizes[2]);
    return;
  }
  int64_t wanted = 3 * megactx::poolSize();
  int64_t m = tasks.c.sizes[1], n = tasks.c.sizes[2], batch = tasks.c.sizes[0];
  auto blocksOf = [](int64_t total, int64_t parts, int64_t least) {
    int64_t block = (total + parts - 1) / std::max<int64_t>(parts, 1);
    block = (block + 15) / 16 * 16;
    return std::min(total, std::max(block, least));
  };
  int64_t parts = std::max<int64_t>(1, wanted / batch);
  constexpr int64_t leastRows = 64, leastColumns = 128;
  auto splitRows = [&](int64_t into) {
    tasks.rows = blocksOf(m, into, leastRows);
    tasks.rowBlocks = (m + tasks.rows - 1) / tasks.rows;
  };
  auto splitColumns = [&](int64_t into) {
    tasks.columns = blocksOf(n, into, leastColumns);
    tasks.columnBlocks = (n + tasks.columns - 1) / tasks.columns;
  };
  // Each block of rows makes a copy of b where its rows are not contiguous.
  if (tasks.b.strides[2] != 1) {
    splitColumns(parts);
    splitRows(parts / tasks.columnBlocks);
  } else {
    splitRows(parts);
    splitColumns(parts / tasks.rowBlocks);
  }
  // Blocks of columns would need copies of their own.
  const mctx_memref3 &weights = tasks.b;
  if (tasks.columnBlocks == 1 && weights.sizes[0] == 1 &&
      weights.strides[2] == 1 && weights.strides[1] == n && m >= kPackedRows)
    tasks.packed = megactx::packedWeight(type, weights.sizes[1], n,
                                         tasks.at(weights, 0, 0, 0));
  int64_t blocks = tasks.rowBlocks * tasks.columnBlocks;
  if (blocks == 1) {
    int64_t each = (batch + wanted - 1) / wanted;
    tasks.group = std::min(
        each, std::max<int64_t>(1, kGroupedWork / (m * n * a.sizes[2])));
    if (isDense(tasks.a) && isDense(tasks.b) && isDense(tasks.c))
      tasks.perCall = tasks.group;
  }
  mctx_rt_parallel_for(
      [](void *context, int64_t i) { static_cast<Tasks *>(context)->run(i); },
      &tasks, (batch + tasks.group - 1) / tasks.group * blocks);
}

/// Storage of bf16: the upper half of an f32.
struct BFloat {
  uint16_t bits;
  operator float() const {
    uint32_t word = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
  }
  /// To nearest even; a NaN stays one.
  explicit BFloat(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof(value));
    bits = value != value ? 0x7fc0 : (word + 0x7fff + (word >> 16 & 1)) >> 16;
  }
};

/// body(index in the memref's data, index in dense data) of each element.
template <typename F> void eachElement(const mctx_memref3 &x, F body) {
  size_t dense = 0;
  for (int64_t i = 0; i < x.sizes[0]; ++i)
    for (int64_t r = 0; r < x.sizes[1]; ++r)
      for (int64_t c = 0; c < x.sizes[2]; ++c)
        body(x.offset + i * x.strides[0] + r * x.strides[1] + c * x.strides[2],
             dense++);
}

/// A dense copy of a memref as f32.
struct Wide {
  std::vector<float> data;
  mctx_memref3 memref;

  explicit Wide(const mctx_memref3 &x)
      : data(x.sizes[0] * x.sizes[1] * x.sizes[2]), memref(x) {
    memref.aligned = data.data();
    memref.offset = 0;
    memref.strides[0] = x.sizes[1] * x.sizes[2];
    memref.strides[1] = x.sizes[2];
    memref.strides[2] = 1;
  }
  Wide(Wide &&) = default; // a vector keeps its place when moved
  template <typename T> static Wide of(const mctx_memref3 &x) {
    Wide wide(x);
    const T *from = static_cast<const T *>(x.aligned);
    eachElement(x, [&](size_t at, size_t to) { wide.data[to] = from[at]; });
    return wide;
  }
};

/// The product of types that oneDNN does not multiply on this CPU.
template <typename T>
void multiplyWide(const mctx_memref3 &a, const mctx_memref3 &b,
                  const mctx_memref3 &c) {
  Wide wideC(c);
  multiply(Wide::of<T>(a).memref, Wide::of<T>(b).memref, wideC.memref,
           memory::data_type::f32, sizeof(float));
  T *to = static_cast<T *>(c.aligned);
  eachElement(c, [&](size_t at, size_t from) {
    to[at] = static_cast<T>(wideC.data[from]);
  });
}

/// oneDNN 2.6 multiplies bf16 on CPUs with AVX-512, and f16 on none.
bool multipliesBFloat() {
  static const bool does = [] {
    memory::desc square({16, 16}, memory::data_type::bf16, memory::dims{16, 1});
    try {
      matmul::primitive_desc({square, square, square}, cpuEngine());
      return true;
    } catch (const dnnl::error &) {
      return false;
    }
  }();
  return does;
}
} // namespace

extern "C" void _mlir_ciface_mctx_rt_matmul_f32(mctx_memref3 *a,
                                                mctx_memref3 *b,
                                                mctx_memref3 *c) {
  guarded([&] { multiply(*a, *b, *c, memory::data_type::f32, 4); });
}
extern "C" void _mlir_ciface_mctx_rt_matmul_bf16(mctx_memref3 *a,
                                                 mctx_memref3 *b,
                                                 mctx_memref3 *c) {
  guarded([&] {
    if (multipliesBFloat())
      multiply(*a, *b, *c, memory::data_type::bf16, 2);
    else
      multiplyWide<BFloat>(*a, *b, *c);
  });
}
extern "C" void _mlir_ciface_mctx_rt_matmul_f16(mctx_memref3 *a,
                                                mctx_memref3 *b,
                                                mctx_memref3 *c) {
  guarded([&] { multiplyWide<_Float16>(*a, *b, *c); });
}
