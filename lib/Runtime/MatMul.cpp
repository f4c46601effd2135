//===- MatMul.cpp - matrix products by oneDNN -----------------------------===//
//
// The product is cut into blocks of rows (and of columns, where rows are few);
// each is one task of the pool and one single-threaded call of oneDNN. Small
// products of a batch are a task together, and one call where they lie densely:
// a call costs as much as 16 x 64 by 64 x 16. Types that oneDNN does not
// multiply are widened to f32 in blocks that stay in a core's cache.
//
//===----------------------------------------------------------------------===//

#include "NarrowFloats.h"
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

/// How many elements of each operand are widened at a time: what stays in a
/// core's cache.
constexpr int64_t kWidened = 1 << 18;

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
  int64_t group = 1, perCall = 1; ///< products of a task, and of a call
  const megactx::NarrowFloats *narrow = nullptr; ///< of a type to be widened
  std::shared_ptr<const memory> packed;          ///< all of b

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
      if (narrow)
        callWide(i, row, column);
      else
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

  /// A block of a matrix in f32, in the order that it lies in.
  struct Wide {
    std::vector<float> data;
    int64_t row, column; ///< strides

    void read(const Tasks &tasks, const mctx_memref3 &x, int64_t i,
              int64_t firstRow, int64_t firstColumn, int64_t rows,
              int64_t columns) {
      bool byColumns = x.strides[2] != 1 && x.strides[1] == 1;
      row = byColumns ? 1 : columns;
      column = byColumns ? rows : 1;
      data.resize(rows * columns);
      int64_t lines = byColumns ? columns : rows;
      int64_t count = byColumns ? rows : columns;
      for (int64_t line = 0; line < lines; ++line)
        tasks.narrow->widen(tasks.at(x, i, firstRow + (byColumns ? 0 : line),
                                     firstColumn + (byColumns ? line : 0)),
                            byColumns ? 1 : x.strides[2],
                            data.data() + line * count, count);
    }
  };

  void callWide(int64_t i, int64_t row, int64_t column) const {
    thread_local Wide wideA, wideB;
    thread_local std::vector<float> wideC;
    int64_t k = a.sizes[2];
    int64_t most = std::max<int64_t>(16, kWidened / k / 16 * 16);
    int64_t rowEnd = std::min(row + rows, c.sizes[1]);
    int64_t columnEnd = std::min(column + columns, c.sizes[2]);
    for (int64_t n0 = column; n0 < columnEnd; n0 += most) {
      int64_t n = std::min(most, columnEnd - n0);
      wideB.read(*this, b, i, 0, n0, k, n);
      for (int64_t m0 = row; m0 < rowEnd; m0 += most) {
        int64_t m = std::min(most, rowEnd - m0);
        wideA.read(*this, a, i, m0, 0, m, k);
        wideC.resize(m * n);
        Product p{memory::data_type::f32,
                  1,
                  m,
                  n,
                  k,
                  0,
                  wideA.row,
                  wideA.column,
                  0,
                  wideB.row,
                  wideB.column,
                  0,
                  n};
        p.run(wideA.data.data(), wideB.data.data(), wideC.data());
        for (int64_t r = 0; r < m; ++r)
          narrow->narrow(wideC.data() + r * n, at(c, i, m0 + r, n0), n);
      }
    }
  }
};

/// `narrow` widens a type that oneDNN does not multiply on this CPU.
void multiply(const mctx_memref3 &a, const mctx_memref3 &b,
              const mctx_memref3 &c, memory::data_type type, int64_t size,
              const megactx::NarrowFloats *narrow = nullptr) {
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
              narrow,
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
  if (!narrow && tasks.columnBlocks == 1 && weights.sizes[0] == 1 &&
      weights.strides[2] == 1 && weights.strides[1] == n && m >= kPackedRows)
    tasks.packed = megactx::packedWeight(type, weights.sizes[1], n,
                                         tasks.at(weights, 0, 0, 0));
  int64_t blocks = tasks.rowBlocks * tasks.columnBlocks;
  if (blocks == 1) {
    int64_t each = (batch + wanted - 1) / wanted;
    tasks.group = std::min(
        each, std::max<int64_t>(1, kGroupedWork / (m * n * a.sizes[2])));
    if (!narrow && isDense(tasks.a) && isDense(tasks.b) && isDense(tasks.c))
      tasks.perCall = tasks.group;
  }
  mctx_rt_parallel_for(
      [](void *context, int64_t i) { static_cast<Tasks *>(context)->run(i); },
      &tasks, (batch + tasks.group - 1) / tasks.group * blocks);
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
      multiply(*a, *b, *c, memory::data_type::bf16, 2, &megactx::kBFloat);
  });
}
extern "C" void _mlir_ciface_mctx_rt_matmul_f16(mctx_memref3 *a,
                                                mctx_memref3 *b,
                                                mctx_memref3 *c) {
  guarded([&] {
    multiply(*a, *b, *c, memory::data_type::f16, 2, &megactx::kHalf);
  });
}
