//===- Names.cpp - names of values in ONNX graphs -------------------------===//

#include "Names.h"
#include <set>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// Calls `visit` with each name that the graph itself defines.
template <typename Visit>
static void forEachOwnName(const GraphProto &graph, const Visit &visit) {
  for (const ValueInfoProto &info : graph.input())
    visit(info.name());
  for (const TensorProto &tensor : graph.initializer())
    visit(tensor.name());
  for (const SparseTensorProto &tensor : graph.sparse_initializer())
    visit(tensor.values().name());
  for (const NodeProto &node : graph.node())
    for (const std::string &name : node.output())
      if (!name.empty()) // an absent output
        visit(name);
}

static void addNames(const GraphProto &graph, UniqueNames &names) {
  forEachOwnName(graph, [&](const std::string &name) { names.take(name); });
  for (const NodeProto &node : graph.node())
    forEachSubgraph(node,
                    [&](const GraphProto &inner) { addNames(inner, names); });
}

UniqueNames mlir::onnx::namesIn(const GraphProto &graph) {
  UniqueNames names;
  addNames(graph, names);
  return names;
}

std::string UniqueNames::unused(const std::string &name) {
  auto [own, isNew] = next.try_emplace(name, 1);
  if (isNew)
    return name;
  for (;;) {
    std::string other = name + "_" + std::to_string(own->second++);
    if (next.try_emplace(other, 1).second)
      return other;
  }
}

namespace {
/// By which names values go that are seen from some place in a graph.
class Scope {
public:
  void define(const std::string &name, const std::string &now) {
    names[name] = now;
  }
  void rename(std::string &name) const {
    if (auto found = names.find(name); found != names.end())
      name = found->second;
  }
  void renameGraph(GraphProto &graph, UniqueNames &taken) const;
  void renameNode(NodeProto &node, UniqueNames &taken) const;

private:
  std::map<std::string, std::string> names;
};
} // namespace

void Scope::renameNode(NodeProto &node, UniqueNames &taken) const {
  for (std::string &name : *node.mutable_input())
    rename(name);
  forEachSubgraph(node, [&](GraphProto &inner) { renameGraph(inner, taken); });
}

/// Nodes see what is defined before them, others' values where they name none
/// of their own graph.
void Scope::renameGraph(GraphProto &graph, UniqueNames &taken) const {
  Scope own, seen(*this);
  std::set<std::string> defined;
  forEachOwnName(graph, [&](const std::string &name) {
    if (defined.insert(name).second)
      own.define(name, taken.unused(name));
  });
  auto define = [&](std::string &name) {
    std::string before = name;
    own.rename(name);
    seen.define(before, name);
  };
  for (ValueInfoProto &info : *graph.mutable_input())
    define(*info.mutable_name());
  for (TensorProto &tensor : *graph.mutable_initializer())
    define(*tensor.mutable_name());
  for (SparseTensorProto &tensor : *graph.mutable_sparse_initializer())
    define(*tensor.mutable_values()->mutable_name());
  for (NodeProto &node : *graph.mutable_node()) {
    seen.renameNode(node, taken);
    for (std::string &name : *node.mutable_output())
      define(name);
  }
  for (ValueInfoProto &info : *graph.mutable_value_info())
    own.rename(*info.mutable_name());
  for (ValueInfoProto &output : *graph.mutable_output())
    seen.rename(*output.mutable_name());
}

void mlir::onnx::makeNamesUnique(GraphProto &graph) {
  UniqueNames taken;
  forEachOwnName(graph, [&](const std::string &name) { taken.take(name); });
  for (NodeProto &node : *graph.mutable_node())
    Scope().renameNode(node, taken);
}
