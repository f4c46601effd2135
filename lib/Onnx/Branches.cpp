//===- Branches.cpp - branches that sizes decide --------------------------===//

#include "Branches.h"
#include "Known.h"
#include "Names.h"
#include <map>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;
using shape_inference::DataValueMap;

/// The subgraph that runs; null where that is not known.
static const GraphProto *takenBranch(const NodeProto &node,
                                     const KnownValues &known) {
  if (node.op_type() != "If" || !node.domain().empty() ||
      node.input_size() != 1)
    return nullptr;
  auto condition = known.numberOf(node.input(0));
  if (!condition)
    return nullptr;
  for (const AttributeProto &attribute : node.attribute())
    if (attribute.name() == (*condition ? "then_branch" : "else_branch") &&
        attribute.g().output_size() == node.output_size() &&
        attribute.g().sparse_initializer_size() == 0)
      return &attribute.g();
  return nullptr;
}

using Names = std::map<std::string, std::string>;

static void rename(std::string &name, const Names &names) {
  if (auto found = names.find(name); found != names.end())
    name = found->second;
}

/// Also in subgraphs.
static void renameUses(NodeProto &node, const Names &names) {
  for (std::string &name : *node.mutable_input())
    rename(name, names);
  for (AttributeProto &attribute : *node.mutable_attribute()) {
    if (!attribute.has_g())
      continue;
    GraphProto &graph = *attribute.mutable_g();
    Names outer = names;
    forEachName(graph, [&](const std::string &own) { outer.erase(own); });
    for (NodeProto &inner : *graph.mutable_node())
      renameUses(inner, outer);
    for (ValueInfoProto &output : *graph.mutable_output())
      rename(*output.mutable_name(), outer);
  }
}

/// Appends the branch's nodes to `result`, under names that are not taken.
static void appendBranch(const NodeProto &node, const GraphProto &branch,
                         std::set<std::string> &taken, GraphProto &result) {
  Names names;
  auto define = [&](const std::string &name) {
    return names[name] = unusedName(node.output(0) + "/" + name, taken);
  };
  for (const TensorProto &tensor : branch.initializer()) {
    TensorProto &added = *result.add_initializer();
    added = tensor;
    added.set_name(define(tensor.name()));
  }
  for (const NodeProto &inner : branch.node()) {
    NodeProto &added = *result.add_node();
    added = inner;
    renameUses(added, names);
    for (std::string &name : *added.mutable_output())
      if (!name.empty())
        name = define(name);
  }
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    NodeProto &copy = *result.add_node();
    copy.set_op_type("Identity");
    copy.set_name(node.name());
    copy.add_input(branch.output(i).name());
    renameUses(copy, names);
    copy.add_output(node.output(i));
  }
}

static bool inlineIn(GraphProto &graph, const DataValueMap &data,
                     const KnownValues *outer, std::set<std::string> &names) {
  bool changed = false;
  KnownValues known(graph, data, outer);
  std::map<const NodeProto *, const GraphProto *> taken;
  for (NodeProto &node : *graph.mutable_node()) {
    if (const GraphProto *branch = takenBranch(node, known)) {
      taken[&node] = branch;
      continue;
    }
    for (AttributeProto &attribute : *node.mutable_attribute())
      if (attribute.has_g())
        changed |= inlineIn(*attribute.mutable_g(), data, &known, names);
  }
  if (taken.empty())
    return changed;
  GraphProto result;
  for (NodeProto &node : *graph.mutable_node()) {
    auto branch = taken.find(&node);
    if (branch == taken.end())
      result.add_node()->Swap(&node);
    else
      appendBranch(node, *branch->second, names, result);
  }
  graph.mutable_node()->Swap(result.mutable_node());
  graph.mutable_initializer()->MergeFrom(result.initializer());
  return true;
}

bool mlir::onnx::inlineBranches(GraphProto &graph, const DataValueMap &data) {
  std::set<std::string> names = namesIn(graph);
  return inlineIn(graph, data, /*outer=*/nullptr, names);
}
