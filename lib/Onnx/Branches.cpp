//===- Branches.cpp - branches that sizes decide --------------------------===//

#include "Branches.h"
#include <map>
#include <onnx/defs/tensor_proto_util.h>
#include <optional>
#include <set>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;
using shape_inference::DataValueMap;

namespace {
/// What is known of the values that a graph sees.
class Scope {
public:
  Scope(const GraphProto &graph, const DataValueMap &data,
        const Scope *outer = nullptr);

  /// The one number of a tensor of integers or bools, at most so many nodes
  /// from where it is known: names of a bad file may go in circles.
  std::optional<int64_t> numberOf(const std::string &name,
                                  unsigned nodesLeft = 32) const;

private:
  std::optional<int64_t> computed(const NodeProto &node,
                                  unsigned nodesLeft) const;

  const DataValueMap &data;
  const Scope *outer;
  std::map<std::string, const NodeProto *> nodes;
  std::map<std::string, const TensorProto *> initializers;
};
} // namespace

Scope::Scope(const GraphProto &graph, const DataValueMap &data,
             const Scope *outer)
    : data(data), outer(outer) {
  for (const NodeProto &node : graph.node())
    for (const std::string &name : node.output())
      nodes[name] = &node;
  for (const TensorProto &tensor : graph.initializer())
    initializers[tensor.name()] = &tensor;
  // Values that a caller may replace.
  for (const ValueInfoProto &info : graph.input())
    initializers.erase(info.name());
}

static std::optional<int64_t> onlyNumber(const TensorProto &tensor) {
  int64_t count = 1;
  for (int64_t dim : tensor.dims())
    count *= dim;
  if (count != 1 || tensor.data_location() == TensorProto::EXTERNAL)
    return std::nullopt;
  if (tensor.data_type() == TensorProto::INT64) {
    auto numbers = ParseData<int64_t>(&tensor);
    return numbers.size() == 1 ? std::optional(numbers[0]) : std::nullopt;
  }
  if (tensor.data_type() == TensorProto::INT32) {
    auto numbers = ParseData<int32_t>(&tensor);
    return numbers.size() == 1 ? std::optional<int64_t>(numbers[0])
                               : std::nullopt;
  }
  if (tensor.data_type() != TensorProto::BOOL)
    return std::nullopt;
  if (tensor.raw_data().size() == 1)
    return tensor.raw_data()[0] != 0;
  return tensor.int32_data_size() == 1
             ? std::optional<int64_t>(tensor.int32_data(0) != 0)
             : std::nullopt;
}

std::optional<int64_t> Scope::numberOf(const std::string &name,
                                       unsigned nodesLeft) const {
  if (auto known = data.find(name); known != data.end()) {
    const TensorShapeProto &list = known->second;
    if (list.dim_size() == 1 && list.dim(0).has_dim_value())
      return list.dim(0).dim_value();
  }
  if (auto tensor = initializers.find(name); tensor != initializers.end())
    return onlyNumber(*tensor->second);
  if (auto node = nodes.find(name); node != nodes.end())
    return nodesLeft ? computed(*node->second, nodesLeft - 1) : std::nullopt;
  return outer ? outer->numberOf(name, nodesLeft) : std::nullopt;
}

/// What inference does not propagate: what conditions are made of.
std::optional<int64_t> Scope::computed(const NodeProto &node,
                                       unsigned nodesLeft) const {
  const std::string &type = node.op_type();
  if (!node.domain().empty())
    return std::nullopt;
  if (type == "Constant") {
    for (const AttributeProto &attribute : node.attribute())
      if (attribute.name() == "value")
        return onlyNumber(attribute.t());
    return std::nullopt;
  }
  if (node.input_size() < 1)
    return std::nullopt;
  auto a = numberOf(node.input(0), nodesLeft);
  if (a && type == "Not")
    return !*a;
  if (!a || node.input_size() != 2)
    return std::nullopt;
  auto b = numberOf(node.input(1), nodesLeft);
  if (!b)
    return std::nullopt;
  if (type == "Equal")
    return *a == *b;
  if (type == "Less")
    return *a < *b;
  if (type == "LessOrEqual")
    return *a <= *b;
  if (type == "Greater")
    return *a > *b;
  if (type == "GreaterOrEqual")
    return *a >= *b;
  return std::nullopt;
}

/// The subgraph that runs; null where that is not known.
static const GraphProto *takenBranch(const NodeProto &node,
                                     const Scope &scope) {
  if (node.op_type() != "If" || !node.domain().empty() ||
      node.input_size() != 1)
    return nullptr;
  auto condition = scope.numberOf(node.input(0));
  if (!condition)
    return nullptr;
  for (const AttributeProto &attribute : node.attribute())
    if (attribute.name() == (*condition ? "then_branch" : "else_branch") &&
        attribute.g().output_size() == node.output_size() &&
        attribute.g().sparse_initializer_size() == 0)
      return &attribute.g();
  return nullptr;
}

/// Calls `visit` with every name that the graph or one within it defines.
template <typename Visit>
static void forEachName(const GraphProto &graph, const Visit &visit) {
  for (const ValueInfoProto &info : graph.input())
    visit(info.name());
  for (const TensorProto &tensor : graph.initializer())
    visit(tensor.name());
  for (const NodeProto &node : graph.node()) {
    for (const std::string &name : node.output())
      visit(name);
    for (const AttributeProto &attribute : node.attribute())
      if (attribute.has_g())
        forEachName(attribute.g(), visit);
  }
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
    std::string own = node.output(0) + "/" + name;
    while (!taken.insert(own).second)
      own += "_";
    return names[name] = own;
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
                     const Scope *outer, std::set<std::string> &names) {
  bool changed = false;
  Scope scope(graph, data, outer);
  std::map<const NodeProto *, const GraphProto *> taken;
  for (NodeProto &node : *graph.mutable_node()) {
    if (const GraphProto *branch = takenBranch(node, scope)) {
      taken[&node] = branch;
      continue;
    }
    for (AttributeProto &attribute : *node.mutable_attribute())
      if (attribute.has_g())
        changed |= inlineIn(*attribute.mutable_g(), data, &scope, names);
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
  std::set<std::string> names;
  forEachName(graph, [&](const std::string &name) { names.insert(name); });
  return inlineIn(graph, data, /*outer=*/nullptr, names);
}
