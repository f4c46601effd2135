//===- Heads.cpp - heads folded into the last dim -------------------------===//

#include "Heads.h"
#include "Nodes.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"

using namespace mlir;
using namespace mlir::megactx;

static Value transposed(ImplicitLocOpBuilder &b, Value rows) {
  auto type = cast<RankedTensorType>(rows.getType());
  ArrayRef<int64_t> s = type.getShape();
  return raise::createNode(
      b, "Transpose", rows, type.clone({s[0], s[2], s[1], s[3]}),
      {b.getNamedAttr("perm", b.getDenseI64ArrayAttr({0, 2, 1, 3}))});
}

Value raise::integerList(ImplicitLocOpBuilder &b, ArrayRef<int64_t> list) {
  auto type = RankedTensorType::get({int64_t(list.size())}, b.getI64Type());
  return onnx::InitializerOp::create(b, type,
                                     DenseElementsAttr::get(type, list));
}

Value raise::splitHeads(ImplicitLocOpBuilder &b, Value rows, int64_t heads) {
  auto type = cast<RankedTensorType>(rows.getType());
  int64_t width = type.getDimSize(2);
  int64_t depth = ShapedType::isDynamic(width) ? width : width / heads;
  return transposed(
      b, createNode(b, "Reshape", {rows, integerList(b, {0, 0, heads, -1})},
                    type.clone({type.getDimSize(0), type.getDimSize(1), heads,
                                depth})));
}

Value raise::joinHeads(ImplicitLocOpBuilder &b, Value rows) {
  rows = transposed(b, rows);
  auto type = cast<RankedTensorType>(rows.getType());
  ArrayRef<int64_t> s = type.getShape();
  int64_t width = ShapedType::isDynamic(s[3]) ? s[3] : s[2] * s[3];
  return createNode(b, "Reshape", {rows, integerList(b, {0, 0, -1})},
                    type.clone({s[0], s[1], width}));
}
