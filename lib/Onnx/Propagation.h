//===- Propagation.h - integers that inference computes ---------*- C++ -*-===//
//
// Owns what inference computes of lists of integers, as shapes are, where
// ONNX's library does not, or not as a run does.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_PROPAGATION_H
#define MEGACTX_LIB_ONNX_PROPAGATION_H

#include <onnx/defs/schema.h>

namespace mlir::onnx {

/// ONNX's schemas, by which inference also computes quotients, remainders, and
/// tables that lists are made into and come from, by Reshape, Slice and
/// Transpose, of integers of which some are known; the size of what is padded
/// by such; what Resize's scales give in f32; ranks by how many axes there are,
/// where it does not know which; and no Slice from or to where it does not
/// know. Elements of a table are in row-major order. Lives as long as
/// the process.
const ::ONNX_NAMESPACE::ISchemaRegistry &propagatingSchemas();

} // namespace mlir::onnx

#endif
