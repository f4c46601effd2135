//===- Quantize.h - what lowerings of quantized numbers share ---*- C++ -*-===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_QUANTIZE_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_QUANTIZE_H

#include "Lowering.h"

namespace mlir::megactx {

namespace quantize {
/// A scalar of any number's type as f32.
Value toReal(OpBuilder &b, Location loc, Value value);
/// Whether scales or zero points are one for all.
bool isOne(const Tensor &parameters);
/// The bytes of a constant of many; empty where they are not at hand.
ArrayRef<char> bytesOf(ElementsAttr constant);
} // namespace quantize

/// The product of what two tensors were widened from, if they were and it is
/// exact: a product of bytes, scaled.
std::optional<FailureOr<Tensor>>
multiplyDequantized(Node &node, const Tensor &a, const Tensor &c);

/// Products of quantized operands.
void registerQuantizedProducts(Registry &registry);
/// Products by weights of few bits, and what such weights are.
void registerPackedProducts(Registry &registry);

} // namespace mlir::megactx

#endif
