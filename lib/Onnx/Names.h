//===- Names.h - names of values in ONNX graphs -----------------*- C++ -*-===//

#ifndef MEGACTX_LIB_ONNX_NAMES_H
#define MEGACTX_LIB_ONNX_NAMES_H

#include <map>
#include <onnx/onnx_pb.h>
#include <string>

namespace mlir::onnx {

/// Calls `visit` with each graph that the node has: a branch or a body.
template <typename Visit>
void forEachSubgraph(const ::ONNX_NAMESPACE::NodeProto &node,
                     const Visit &visit) {
  for (const ::ONNX_NAMESPACE::AttributeProto &attribute : node.attribute()) {
    if (attribute.has_g())
      visit(attribute.g());
    for (const ::ONNX_NAMESPACE::GraphProto &graph : attribute.graphs())
      visit(graph);
  }
}
template <typename Visit>
void forEachSubgraph(::ONNX_NAMESPACE::NodeProto &node, const Visit &visit) {
  for (::ONNX_NAMESPACE::AttributeProto &attribute :
       *node.mutable_attribute()) {
    if (attribute.has_g())
      visit(*attribute.mutable_g());
    for (::ONNX_NAMESPACE::GraphProto &graph : *attribute.mutable_graphs())
      visit(graph);
  }
}

/// Calls `visit` with every node, also of subgraphs.
template <typename Visit>
void forEachNode(::ONNX_NAMESPACE::GraphProto &graph, const Visit &visit) {
  for (::ONNX_NAMESPACE::NodeProto &node : *graph.mutable_node()) {
    visit(node);
    forEachSubgraph(node, [&](::ONNX_NAMESPACE::GraphProto &inner) {
      forEachNode(inner, visit);
    });
  }
}

/// Names that are taken.
class UniqueNames {
public:
  void take(const std::string &name) { next.try_emplace(name, 1); }
  /// The name, with a number behind it where it is taken; it is taken then.
  std::string unused(const std::string &name);

private:
  std::map<std::string, int64_t> next; ///< the number to look at first
};

/// Every name that the graph or one within it defines.
UniqueNames namesIn(const ::ONNX_NAMESPACE::GraphProto &graph);

/// Renames values of graphs within the graph, so that no two graphs define the
/// same name. ONNX's inference knows values by their names alone, also where
/// graphs beside each other have one of that name each.
void makeNamesUnique(::ONNX_NAMESPACE::GraphProto &graph);

} // namespace mlir::onnx

#endif
