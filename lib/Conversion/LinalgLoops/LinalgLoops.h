//===- LinalgLoops.h - scalar code of a linalg op ---------------*- C++ -*-===//
//
// Owns what every lowering of linalg on memrefs to loops needs, whatever runs
// them: the extents of the op's loops, where a point of them lies in each
// operand, and the op's body at that point.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_CONVERSION_LINALGLOOPS_H
#define MEGACTX_LIB_CONVERSION_LINALGLOOPS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::megactx {

/// An op on memrefs and the code that replaces it; code goes where the builder
/// stands, at first before the op.
class LinalgLoops {
public:
  virtual ~LinalgLoops() = default;

  /// The op that is done along with this one, null where there is none.
  linalg::GenericOp getFollower() const { return follower; }

protected:
  explicit LinalgLoops(linalg::GenericOp op) : op(op), b(op.getLoc(), op) {}

  Value c(int64_t v);
  Value mul(Value x, Value y);
  Value add(Value x, Value y);
  Value ceilDiv(Value x, Value y);
  /// The value of a constant.
  static std::optional<int64_t> constantOf(Value x);

  /// Sets `extents`: where they are static, to constants.
  void findExtents();
  /// Of ops whose loops are the same: what one knows of their extents is known
  /// of all.
  static void shareExtents(ArrayRef<LinalgLoops *> ops);
  /// The product of the loops' extents.
  Value product(ArrayRef<unsigned> dims);
  /// Quotient and remainder of what is not negative.
  virtual std::pair<Value, Value> divide(Value x, Value y);
  /// Sets the loops' indices from the number of a point, the last loop fastest.
  void unflatten(Value number, ArrayRef<unsigned> dims);

  /// Tells, by a remark, that the op has a follower.
  void remarkFollower();

  /// Where the loops' point lies in an operand.
  SmallVector<Value> point(OpOperand &operand);
  /// Where points that are neighbours along a loop lie in an operand.
  enum class Neighbours {
    Apart,   ///< anywhere, or where vectors are not moved
    Same,    ///< at one element
    Next,    ///< next to one another
    Shifted, ///< next to one another, by where other loops are further
    Several  ///< next to one another, several at each element
  };
  Neighbours neighboursOf(OpOperand &operand, unsigned loop);
  /// How many neighbours lie at each element, where several do.
  int64_t neighboursAtElement(OpOperand &operand);

  /// The element of a memref, one of the operands, at the loops' point.
  virtual Value load(OpOperand &operand);
  /// The body at the loops' point. `carried` stands for the outputs' elements;
  /// null where the body does not use one.
  SmallVector<Value> body(ValueRange carried);
  /// Sequential loops that carry values through `inside` at every point.
  SmallVector<Value>
  nest(ArrayRef<unsigned> dims, ValueRange carried,
       function_ref<SmallVector<Value>(ValueRange carried)> inside);
  /// The outputs' elements at the loops' point, null where they are not used.
  SmallVector<Value> loadOutputs();
  /// What is stored where the op's outputs are `values`: the results of the
  /// follower's body, where there is one.
  SmallVector<Value> followed(ValueRange values);
  /// Stores what the outputs are at the loops' point, followed.
  void storeOutputs(ValueRange values);

  /// Takes the op that maps this reduction's output next, element by element
  /// and in place: where a result is stored, it is mapped before, and code goes
  /// where that op stands.
  void takeFollower();
  /// The `linalg.fill`s that outputs start from, erased; null for outputs that
  /// start from what is in memory.
  SmallVector<Value> takeFills();
  /// What reductions start from: the filled value or what is in memory.
  SmallVector<Value> initialValues();
  /// Erases the op and its follower.
  void erase();

  linalg::GenericOp op, follower;
  ImplicitLocOpBuilder b;
  SmallVector<Value> extents, indices; ///< per loop
  SmallVector<Value> fills; ///< per output: what it was filled with, or null
};

/// Has every op on memrefs within `root` lowered that is not the follower of
/// one before, as which `lower` returns it (null where there is none). Fills
/// come last: what a reduction starts from becomes a part of its loop.
void lowerGenericOps(Operation *root,
                     function_ref<linalg::GenericOp(linalg::GenericOp)> lower);

/// Every op on memrefs within `root` that is `wanted`, named ones made generic.
SmallVector<linalg::GenericOp> genericOps(
    Operation *root, function_ref<bool(linalg::LinalgOp)> wanted =
                         [](linalg::LinalgOp) { return true; });

/// The linalg.fill of `out`, an output that `op` covers, that nothing in
/// between reads. Null where there is none.
linalg::FillOp fillBefore(linalg::GenericOp op, OpOperand &out);

} // namespace mlir::megactx

#endif
