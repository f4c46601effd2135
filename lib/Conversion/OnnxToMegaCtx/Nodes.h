//===- Nodes.h - reading ONNX nodes -----------------------------*- C++ -*-===//
//
// Owns how nodes, their constants and attributes are read and made. Knows
// nothing of attention.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOMEGACTX_NODES_H
#define MEGACTX_CONVERSION_ONNXTOMEGACTX_NODES_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Operation.h"
#include <functional>
#include <optional>

namespace mlir::megactx::raise {

/// The operator's name with its domain, empty for ops of other dialects and for
/// null.
StringRef typeOf(Operation *op);
inline StringRef typeOf(Value value) { return typeOf(value.getDefiningOp()); }

/// -1 where the rank is unknown.
int64_t rankOf(Value value);

/// Those that its numbers are made of: shapes and indices lead anywhere.
SmallVector<Value> floatOperands(Operation *op);

/// A tensor of one element, whatever its rank.
bool isScalar(Value value);

/// Whether it is an initializer or a constant node.
bool isConstant(Value value);

/// The contents of an initializer or of a constant node, or null.
ElementsAttr constantOf(Value value);

/// The elements of a constant by their places in row-major order, for whoever
/// reads many: what they are and where they lie is found once. Nothing for
/// types that are neither integers nor floats, or where the contents are not in
/// memory.
class Numbers {
public:
  explicit Numbers(ElementsAttr elements);

  std::optional<double> operator[](int64_t place) const {
    if (!read || place < 0 || place >= count)
      return std::nullopt;
    return read(place);
  }

private:
  void readRaw(DenseResourceElementsAttr elements, FloatType real,
               IntegerType integer);

  int64_t count;
  std::function<double(int64_t)> read;
};

/// Whether all elements of a constant are known to be one number.
bool isUniform(ElementsAttr elements);

/// One of its numbers.
std::optional<double> numberAt(ElementsAttr elements, int64_t place);

/// The one number of a constant of floats.
std::optional<double> constantNumber(Value value);

/// All numbers of a constant of integers with at most 64 elements.
std::optional<SmallVector<int64_t>> constantIntegers(Value value);

int64_t integerAttr(Operation *op, StringRef name, int64_t otherwise);

/// The attribute `axis` among so many, counted from the first; outside of them
/// where a file says so.
inline int64_t axisAttr(Operation *op, int64_t rank, int64_t otherwise = 0) {
  int64_t axis = integerAttr(op, "axis", otherwise);
  return axis + (axis < 0 ? rank : 0);
}

/// Whether the optional operand is there.
bool hasOperand(Operation *op, unsigned i);

/// The name that the graph gives to a dimension of an input, or null.
StringAttr dimName(Value input, int64_t dim);

/// What a value is, for users: "input 'ids'", "initializer 'w'", "the result of
/// node 'n' (Mul)".
std::string describe(Value value);

/// A node of one result.
Value createNode(ImplicitLocOpBuilder &b, StringRef type, ValueRange operands,
                 Type result, ArrayRef<NamedAttribute> attrs = {});

} // namespace mlir::megactx::raise

#endif
