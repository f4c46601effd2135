//===- ContribOps.h - onnxruntime's operators in ONNX's ---------*- C++ -*-===//
//
// Owns what the operators mean that onnxruntime's optimiser writes and that
// ONNX does not define: one rule each, which gives the same in ONNX's
// operators.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_CONTRIBOPS_H
#define MEGACTX_LIB_ONNX_CONTRIBOPS_H

#include <onnx/onnx_pb.h>

namespace mlir::onnx {

/// Replaces each node of the graph that a rule covers. Rules may need the ranks
/// of operands, which inference finds between rounds: call until false, which
/// says that nothing was replaced. A form that no rule covers stays.
bool expandContribOps(::ONNX_NAMESPACE::GraphProto &graph);

} // namespace mlir::onnx

#endif
