//===- Names.h - names of values in ONNX graphs -----------------*- C++ -*-===//

#ifndef MEGACTX_LIB_ONNX_NAMES_H
#define MEGACTX_LIB_ONNX_NAMES_H

#include <onnx/onnx_pb.h>
#include <set>
#include <string>

namespace mlir::onnx {

/// Calls `visit` with every name that the graph or one within it defines.
template <typename Visit>
void forEachName(const ::ONNX_NAMESPACE::GraphProto &graph,
                 const Visit &visit) {
  for (const ::ONNX_NAMESPACE::ValueInfoProto &info : graph.input())
    visit(info.name());
  for (const ::ONNX_NAMESPACE::TensorProto &tensor : graph.initializer())
    visit(tensor.name());
  for (const ::ONNX_NAMESPACE::NodeProto &node : graph.node()) {
    for (const std::string &name : node.output())
      visit(name);
    for (const ::ONNX_NAMESPACE::AttributeProto &attribute : node.attribute())
      if (attribute.has_g())
        forEachName(attribute.g(), visit);
  }
}

/// All of these.
inline std::set<std::string>
namesIn(const ::ONNX_NAMESPACE::GraphProto &graph) {
  std::set<std::string> names;
  forEachName(graph, [&](const std::string &name) { names.insert(name); });
  return names;
}

/// The name, with more behind it where it is taken; it is taken then.
inline std::string unusedName(std::string name, std::set<std::string> &taken) {
  while (!taken.insert(name).second)
    name += "_";
  return name;
}

} // namespace mlir::onnx

#endif
