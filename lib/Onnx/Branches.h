//===- Branches.h - branches that sizes decide ------------------*- C++ -*-===//
//
// Owns which branch of an If is taken where sizes and ranks that inference
// found say so.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_BRANCHES_H
#define MEGACTX_LIB_ONNX_BRANCHES_H

#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

namespace mlir::onnx {

/// Puts the branch that is taken in place of each If whose condition compares
/// integers that are known: constants, and those of `data`, which inference
/// propagated. Other branches have no say in types then: call between rounds of
/// inference until false, which says that nothing was replaced. No two graphs
/// may define the same name.
bool inlineBranches(
    ::ONNX_NAMESPACE::GraphProto &graph,
    const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data);

} // namespace mlir::onnx

#endif
