//===- MatMul.cpp - matrix products by oneDNN -----------------------------===//
//
// The product is cut into blocks of rows (and of columns, where rows are few);
// each is one task of the pool and one single-threaded call of oneDNN. Small
// products of a batch are a task together, and one call where they lie densely:
// a call costs as much as 16 x 64 by 64 x 16. Types that oneDNN does not
// multiply are widened to f32 in blocks that stay in a core's cache.
//
//===----------------------------------------------------------------------===//

#include "MatMul.h"
#include "NarrowFloats.h"
#include "OneDNN.h"
#include "Pool.h"
#include "Products.h"
#include <algorithm>
#include <array>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace dnnl;
using megactx::cpuEngine;
using megactx::guarded;
using megactx::ProductTypes;

namespace {
/// From this many rows on, products read weights that are packed.
constexpr int64_t kPackedRows = 32;

/// How many elements of each operand are widened at a time: what stays in a
/// core's cache.
constexpr int64_t kWidened = 1 << 18;

/// How many multiplications a call has at least, where a batch has as many.
constexpr int64_t kGroupedWork = 1 << 18;

using Key = std::tuple<ProductTypes, bool, std::array<int64_t, 12>>;

/// Products of matrices, strides in elements: c[i] = a[i] b[i]. Where a has no
/// stride from one to the next, all products are of one a; and so for b.
struct Product {
  ProductTypes types;
  int64_t batch, m, n, k;
  int64_t aBatch, aRow, aColumn, bBatch, bRow, bColumn, cBatch, cRow;
  const memory *packed = nullptr; ///< b in the products' layout, if there is

  /// What is made of the sizes: the call and its operands, without their data.
  struct Prepared {
    matmul product;
    memory a, b, c;
    std::unordered_map<int, memory> operands;
  };

  memory::desc layout(memory::data_type type, memory::dims sizes,
                      memory::dims strides) const {
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
    memory::desc da = layout(types.a, {batch, m, k}, {aBatch, aRow, aColumn});
    memory::desc db =
        packed ? packed->get_desc()
               : layout(types.b, {batch, k, n}, {bBatch, bRow, bColumn});
    memory::desc dc = layout(types.c, {batch, m, n}, {cBatch, cRow, 1});
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
    Key key{types,
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
  ProductTypes types;
  const megactx::NarrowFloats *narrow; ///< of a type to be widened
  int64_t rows = 0, columns = 0;
  int64_t rowBlocks = 0, columnBlocks = 0;
  int64_t group = 1, perCall = 1; ///< products of a task, and of a call
  /// The blocks of columns of b, where they are packed.
  std::vector<std::shared_ptr<const memory>> packed = {};

  bool isOfBytes() const { return types.b == memory::data_type::s8; }

  void *at(const mctx_memref3 &x, memory::data_type type, int64_t i, int64_t r,
           int64_t col) const {
    int64_t batch = x.sizes[0] == 1 ? 0 : i;
    return static_cast<char *>(x.aligned) +
           memory::data_type_size(type) *
               (x.offset + batch * x.strides[0] + r * x.strides[1] +
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
    Product p{types,
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
              packed.empty() ? nullptr : packed[column / columns].get()};
    void *from = at(a, types.a, i, row, 0),
         *with = at(b, types.b, i, 0, column);
    auto *to = static_cast<char *>(at(c, types.c, i, row, column));
    if (isOfBytes() && p.cRow != p.n)
      callDense(p, from, with, to);
    else
      p.run(from, with, to);
  }

  /// By way of a dense block: oneDNN writes bytes' products fast only to rows
  /// that follow each other.
  void callDense(Product p, void *from, void *with, char *to) const {
    size_t size = memory::data_type_size(types.c);
    thread_local std::vector<char> dense;
    dense.resize(size * p.m * p.n);
    int64_t row = std::exchange(p.cRow, p.n);
    p.run(from, with, dense.data());
    for (int64_t r = 0; r < p.m; ++r)
      std::memcpy(to + size * r * row, dense.data() + size * r * p.n,
                  size * p.n);
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
        tasks.narrow->widen(
            tasks.at(x, tasks.types.a, i, firstRow + (byColumns ? 0 : line),
                     firstColumn + (byColumns ? line : 0)),
            byColumns ? 1 : x.strides[2], data.data() + line * count, count);
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
        Product p{megactx::kReal,
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
          narrow->narrow(wideC.data() + r * n, at(c, types.c, i, m0 + r, n0),
                         n);
      }
    }
  }

  void pack();
};

/// Where b is a weight and each block of it has a better layout, which bytes
/// want dense rows for.
void Tasks::pack() {
  int64_t n = b.sizes[2];
  bool isDense = a.strides[2] == 1 && a.strides[1] == a.sizes[2];
  if (b.sizes[0] != 1 || b.strides[2] != 1 || b.strides[1] != n ||
      (isOfBytes() && !isDense))
    return;
  for (int64_t column = 0; column < n; column += columns) {
    auto block =
        megactx::packedWeight(types, b.sizes[1], std::min(columns, n - column),
                              n, at(b, types.b, 0, 0, column));
    if (!block)
      return packed.clear();
    packed.push_back(std::move(block));
  }
}

void clear(const Tasks &tasks) {
  const mctx_memref3 &c = tasks.c;
  for (int64_t i = 0; i < c.sizes[0]; ++i)
    for (int64_t r = 0; r < c.sizes[1]; ++r)
      std::memset(tasks.at(c, tasks.types.c, i, r, 0), 0,
                  memory::data_type_size(tasks.types.c) * c.sizes[2]);
}

/// Cuts the product into blocks of rows and of columns, or a batch of small
/// ones into groups.
void cut(Tasks &tasks) {
  int64_t wanted = 3 * megactx::poolSize();
  int64_t m = tasks.c.sizes[1], n = tasks.c.sizes[2], batch = tasks.c.sizes[0];
  auto blocksOf = [](int64_t total, int64_t parts, int64_t least) {
    int64_t block = (total + parts - 1) / std::max<int64_t>(parts, 1);
    block = (block + 15) / 16 * 16;
    return std::min(total, std::max(block, least));
  };
  int64_t parts = std::max<int64_t>(1, wanted / batch);
  constexpr int64_t leastRows = 24, leastColumns = 128;
  auto splitRows = [&](int64_t into) {
    // Of about as many each: what is left would be waited for.
    int64_t blocks = std::max<int64_t>(1, std::min(into, m / leastRows));
    tasks.rows = (m + blocks - 1) / blocks;
    tasks.rowBlocks = (m + tasks.rows - 1) / tasks.rows;
  };
  auto splitColumns = [&](int64_t into) {
    tasks.columns = blocksOf(n, into, leastColumns);
    tasks.columnBlocks = (n + tasks.columns - 1) / tasks.columns;
  };
  if (tasks.isOfBytes()) {
    // Blocks of weights are the same whatever the number of rows: bytes are
    // multiplied in a layout of their own, which is kept.
    splitColumns(parts);
    splitRows(m);
  } else if (tasks.b.strides[2] != 1) {
    // Each block of rows makes a copy of b where its rows are not contiguous.
    splitColumns(parts);
    splitRows(parts / tasks.columnBlocks);
  } else {
    splitRows(parts);
    splitColumns(tasks.rowBlocks < megactx::poolSize() ? parts / tasks.rowBlocks
                                                       : 1);
  }
  if (!tasks.narrow &&
      (tasks.isOfBytes() || (m >= kPackedRows && tasks.columnBlocks == 1)))
    tasks.pack();
  if (tasks.rowBlocks * tasks.columnBlocks == 1) {
    int64_t each = (batch + wanted - 1) / wanted;
    tasks.group = std::min(
        each, std::max<int64_t>(1, kGroupedWork / (m * n * tasks.a.sizes[2])));
    if (!tasks.narrow && isDense(tasks.a) && isDense(tasks.b) &&
        isDense(tasks.c))
      tasks.perCall = tasks.group;
  }
}

void multiplyAs(const mctx_memref3 &a, const mctx_memref3 &b,
                const mctx_memref3 &c, const ProductTypes &types,
                const megactx::NarrowFloats *narrow) {
  if (c.sizes[0] == 0 || c.sizes[1] == 0 || c.sizes[2] == 0)
    return;
  Tasks tasks{megactx::sensible(a), megactx::sensible(b), megactx::sensible(c),
              types, narrow};
  megactx::joinBatches(tasks.b, {&tasks.a, &tasks.c});
  if (a.sizes[2] == 0)
    return clear(tasks);
  cut(tasks);
  mctx_rt_parallel_for(
      [](void *context, int64_t i) { static_cast<Tasks *>(context)->run(i); },
      &tasks,
      (tasks.c.sizes[0] + tasks.group - 1) / tasks.group * tasks.rowBlocks *
          tasks.columnBlocks);
}

constexpr ProductTypes all(memory::data_type type) {
  return {type, type, type};
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

void megactx::multiply(const mctx_memref3 &a, const mctx_memref3 &b,
                       const mctx_memref3 &c, const ProductTypes &types) {
  multiplyAs(a, b, c, types, nullptr);
}

extern "C" void _mlir_ciface_mctx_rt_matmul_f32(mctx_memref3 *a,
                                                mctx_memref3 *b,
                                                mctx_memref3 *c) {
  guarded([&] { megactx::multiply(*a, *b, *c, megactx::kReal); });
}
extern "C" void _mlir_ciface_mctx_rt_matmul_bf16(mctx_memref3 *a,
                                                 mctx_memref3 *b,
                                                 mctx_memref3 *c) {
  guarded([&] {
    multiplyAs(*a, *b, *c, all(memory::data_type::bf16),
               multipliesBFloat() ? nullptr : &megactx::kBFloat);
  });
}
extern "C" void _mlir_ciface_mctx_rt_matmul_f16(mctx_memref3 *a,
                                                mctx_memref3 *b,
                                                mctx_memref3 *c) {
  guarded([&] {
    multiplyAs(*a, *b, *c, all(memory::data_type::f16), &megactx::kHalf);
  });
}
