//===- Alignment.h - what addresses are known to be multiples of *- C++ -*-===//
//
// Owns what can be said, when a kernel is compiled, about where the elements of
// a memref lie. Powers of two throughout, at most kMost.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGTOGPU_ALIGNMENT_H
#define MEGACTX_LIB_CONVERSION_LINALGTOGPU_ALIGNMENT_H

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/DenseMap.h"

namespace mlir::megactx::gpukernel {

/// Bytes that one instruction moves at most, and that the memory of a model's
/// inputs, outputs and weights starts at multiples of: the runtime sees to it.
constexpr int64_t kVectorBytes = 16;

/// A number, known to be a multiple of `divisor`; of no higher power of two
/// where it `isExact`, so that asking again when it runs is of no use.
struct Multiple {
  int64_t divisor = 1;
  bool isExact = false;
};

/// Where elements lie from the memref's base on, in elements.
struct Layout {
  Multiple offset;
  SmallVector<Multiple> strides;
};

class Alignment {
public:
  static constexpr int64_t kMost = 64;

  Multiple of(int64_t number);
  int64_t of(Value index);
  int64_t of(OpFoldResult number);
  /// Of a memref's base: of its address, in bytes.
  int64_t ofBase(Value memref);
  Layout ofLayout(Value memref);

private:
  int64_t compute(Operation *op, Value result);
  void lookThrough(Value memref, Layout &layout);

  DenseMap<Value, int64_t> known; ///< arenas' offsets share much
};

} // namespace mlir::megactx::gpukernel

#endif
