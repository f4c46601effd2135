//===- KeyBlock.h - one block of keys ---------------------------*- C++ -*-===//
//
// Owns what the update of a task's rows by one block of keys is in all forms:
// parts of the kernel that hold it, masks, biases, tests.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_CPU_KEYBLOCK_H
#define MEGACTX_LIB_TARGET_CPU_KEYBLOCK_H

#include "../Common/KeyViews.h"
#include "BlockBuffers.h"
#include "KernelParts.h"
#include "LaneProducts.h"

namespace mlir::megactx::cpu {

/// What elements of a masked block depend on.
struct ElementContext {
  pattern::Expr test;
  ExprLeaves leaves;
  ArrayRef<Value> biases;
  const KeyViews &views;
};

/// Emits the update of (top, sum, accumulator) by one block of keys.
class KeyBlock {
public:
  KeyBlock(ImplicitLocOpBuilder &b, const KernelShape &shape,
           const BlockBuffers &buffers, Value from)
      : b(b), a{b}, lanes(b, shape), shape(shape), buffers(buffers),
        from(from) {}
  virtual ~KeyBlock() = default;

  /// A block that every row sees whole: no mask code at all.
  void callFull(KernelParts &parts);
  /// Any block, vector by vector: of each only the keys that its rows see.
  void callMasked(KernelParts &parts, const ElementContext &element);

protected:
  /// What is computed at once: the keys [begin, end) of the block with the rows
  /// of so many vectors from a lane on.
  struct Part {
    Value lane;
    int64_t vectors;
    Value begin, end;
    LaneSpan span() const { return {lane, vectors}; }
  };
  /// What a masked block looks up.
  struct Masks {
    bool test, biasPerRow, biasPerKey;
  };
  /// The update itself, of all rows; without `masks` that of a full block.
  virtual void emit(const Masks *masks) = 0;

  Part whole() const {
    return {a.c(0), buffers.form.vectors, a.c(0), a.c(buffers.form.keys())};
  }
  /// The vectors that have a row, with the keys of the block that theirs see.
  void eachVector(function_ref<void(const Part &)> body);
  /// A key's scores after softcap, bias and masks.
  Value adjust(const Part &part, Value s, Value key, int64_t g,
               const Masks &masks);
  TableRows keyRows() const {
    return {buffers.keyData, buffers.keyAt, shape.headDim};
  }
  TableRows valueRows() const {
    return {buffers.valueData, buffers.valueAt, shape.valueDim};
  }
  Value laneOf(const Part &part, int64_t g) const;
  Value loadVector(const Part &part, Value from, Value row, int64_t g);
  void storeVector(const Part &part, Value x, Value to, Value row, int64_t g);
  SmallVector<Value> loadState(const Part &part, Value from);
  void storeState(const Part &part, ValueRange state, Value to);

  ImplicitLocOpBuilder &b;
  Arith a;
  LaneProducts lanes;
  const KernelShape &shape;
  const BlockBuffers &buffers;
  Value from;

private:
  void call(KernelParts &parts, const Twine &key, const Masks *masks);
  void evaluate(const Part &part, const ElementContext &element);
  /// A bias of the context's batch and head, as flat elements.
  struct BiasView {
    Value data, lastRow, lastKey, rowStride, keyStride;
    bool perKey;
  };
  SmallVector<BiasView> viewsOf(const ElementContext &element);
  void sumBiases(const Part &part, Value n, Value keyRow,
                 ArrayRef<BiasView> biases);
};

} // namespace mlir::megactx::cpu

#endif
