//===- Control.h - subgraphs in blocks of their own -------------*- C++ -*-===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_CONTROL_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_CONTROL_H

#include "Lowering.h"

namespace mlir::megactx {

/// The block of a node's subgraph; reports that there is none.
FailureOr<Block *> subgraphOf(Node &node, StringRef name);

/// What a subgraph gives, as a value in its block.
struct Output {
  Value value;
  Type elementType;
  /// What is known of it outside of the block.
  SmallVector<std::optional<IndexExpr>> shape;
  std::optional<SmallVector<IndexExpr>> elements;
};

/// Of a tensor in the block that the scope is for.
Output outputOf(Node &node, Tensor &tensor, const Graph::Scope &scope);

} // namespace mlir::megactx

#endif
