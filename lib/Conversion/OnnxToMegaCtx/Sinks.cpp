//===- Sinks.cpp - scores of keys that have no value ----------------------===//

#include "Sinks.h"
#include "Heads.h"
#include "Nodes.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

/// A sink takes from the other keys what a row's log-sum-exp says:
/// out * sigmoid(lse - sink).
Value mlir::megactx::raise::withSink(ImplicitLocOpBuilder &b,
                                     AttentionOp attention, Value sink) {
  Value out = attention.getOut(), lse = attention.getLse();
  auto type = cast<RankedTensorType>(out.getType());
  Type f32 = b.getF32Type();
  lse = unsqueezed(b, lse, 3);
  auto column = cast<RankedTensorType>(lse.getType());
  Value less =
      createNode(b, "Sub", {lse, withElementType(b, sink, f32)}, column);
  Value share = createNode(b, "Sigmoid", less, column);
  Value product = createNode(b, "Mul", {withElementType(b, out, f32), share},
                             RankedTensorType::get(type.getShape(), f32));
  return withElementType(b, product, type.getElementType());
}

bool mlir::megactx::raise::cutsSinkOff(Operation *node, Value probabilities,
                                       bool isFirst) {
  if (typeOf(node) != "Slice" || node->getOperand(0) != probabilities ||
      !hasOperand(node, 3))
    return false;
  auto only = [&](unsigned i) -> std::optional<int64_t> {
    auto list = constantIntegers(node->getOperand(i));
    return list && list->size() == 1 ? std::optional((*list)[0]) : std::nullopt;
  };
  auto start = only(1), end = only(2), axis = only(3);
  if (!start || !end || !axis || (hasOperand(node, 4) && only(4) != 1) ||
      (*axis != -1 && *axis != rankOf(probabilities) - 1))
    return false;
  constexpr int64_t kEnd = std::numeric_limits<int32_t>::max();
  return isFirst ? *start == 1 && *end >= kEnd : *start == 0 && *end == -1;
}
