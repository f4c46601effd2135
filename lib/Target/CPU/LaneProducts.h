//===- LaneProducts.h - rows in memory times rows in lanes ------*- C++ -*-===//
//
// Owns the two loops that all of a kernel's products are: rows that stay where
// they are in memory, one element at a time broadcast, against rows that are
// columns of a scratch matrix, one in each lane of a vector.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_LANEPRODUCTS_H
#define MEGACTX_LIB_TARGET_CPU_LANEPRODUCTS_H

#include "../Common/Emit.h"
#include "Kernel.h"

namespace mlir::megactx::cpu {

/// Rows of so many elements in flat memory, from places that a table lists;
/// without one, one row after another.
struct TableRows {
  Value data, at;
  int64_t dim;
};

/// So many vectors of a scratch matrix's columns, from one lane on.
struct LaneSpan {
  Value lane;
  int64_t vectors;
};

class LaneProducts {
public:
  LaneProducts(ImplicitLocOpBuilder &b, const KernelShape &shape)
      : b(b), a{b}, shape(shape),
        vector(VectorType::get({shape.lanes}, b.getF32Type())) {}

  /// Most rows whose sums by so many vectors are held in three quarters of the
  /// registers. At most kMostRows: short blocks are not to be mostly padding.
  static constexpr int64_t kMostRows = 8;
  static int64_t rowsAtOnce(const KernelShape &shape, int64_t vectors) {
    return std::min<int64_t>(kMostRows, shape.registers * 3 / 4 / vectors);
  }
  int64_t rowsAtOnce(const LaneSpan &span) const {
    return rowsAtOnce(shape, span.vectors);
  }

  /// Rows [begin, end) as f32 in `to`, flat, one row after another: each is
  /// read many times. Those of f32 stay where they are, and `to` may be null.
  TableRows widen(const TableRows &rows, Value begin, Value end, Value to);

  /// The products of rows n to n + count with the columns of `lanes` [dim][M],
  /// f32: for each row, the span's vectors.
  SmallVector<Value> products(const TableRows &rows, Value lanes,
                              const LaneSpan &span, Value n, int64_t count);

  /// sums [dim][M] = sums * decay + sum over n in [begin, end) of row n times
  /// weights[n]; `decay` has the span's vectors, or none: then it is 1.
  void accumulate(const TableRows &rows, Value weights, Value sums,
                  const LaneSpan &span, Value begin, Value end,
                  ValueRange decay);

  Value load(Value from, Value row, const LaneSpan &span, int64_t g);
  void store(Value x, Value to, Value row, const LaneSpan &span, int64_t g);
  Value laneOf(const LaneSpan &span, int64_t g) const {
    return a.add(span.lane, a.c(g * vector.getNumElements()));
  }

private:
  void columns(const TableRows &rows, Value weights, Value sums,
               const LaneSpan &span, Value begin, Value end, ValueRange decay,
               Value d, int64_t count);
  Value broadcast(const TableRows &rows, Value at);
  Value placeOf(const TableRows &rows, Value n);

  ImplicitLocOpBuilder &b;
  Arith a;
  const KernelShape &shape;
  VectorType vector;
};

} // namespace mlir::megactx::cpu

#endif
