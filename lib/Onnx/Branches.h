//===- Branches.h - branches that sizes decide ------------------*- C++ -*-===//
//
// Owns which branch of an If is taken where sizes and ranks that inference
// found say so, or the graph takes one only.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_BRANCHES_H
#define MEGACTX_LIB_ONNX_BRANCHES_H

#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>
#include <vector>

namespace mlir::onnx {

/// Puts the branch that is taken in place of each If whose condition compares
/// integers that are known: constants, and those of `data`, which inference
/// propagated. Other branches have no say in types then: call between rounds of
/// inference until false, which says that nothing was replaced. No two graphs
/// may define the same name.
bool inlineBranches(
    ::ONNX_NAMESPACE::GraphProto &graph,
    const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data);

/// The Ifs whose branches give results of different ranks, which no value has:
/// as places among all nodes, also those of subgraphs.
std::vector<int> branchesOfOtherRanks(
    ::ONNX_NAMESPACE::GraphProto &graph,
    const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data);

/// Puts a branch in place of such an If; a run that asks for the other ends
/// with an error.
void assumeBranch(::ONNX_NAMESPACE::GraphProto &graph, int place, bool isThen);

} // namespace mlir::onnx

#endif
