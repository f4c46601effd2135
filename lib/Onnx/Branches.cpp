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

/// Appends the branch's nodes to `result`, where no name of theirs is taken.
static void appendBranch(const NodeProto &node, const GraphProto &branch,
                         GraphProto &result) {
  result.mutable_initializer()->MergeFrom(branch.initializer());
  result.mutable_node()->MergeFrom(branch.node());
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    NodeProto &copy = *result.add_node();
    copy.set_op_type("Identity");
    copy.set_name(node.name());
    copy.add_input(branch.output(i).name());
    copy.add_output(node.output(i));
  }
}

using Taken = std::map<const NodeProto *, const GraphProto *>;

/// The Ifs of the graph and of graphs within it that are decided, but for those
/// within branches that are taken: these come with the next round.
static void findTaken(const GraphProto &graph, const KnownValues &known,
                      Taken &taken) {
  for (const NodeProto &node : graph.node()) {
    if (const GraphProto *branch = takenBranch(node, known))
      taken[&node] = branch;
    else
      forEachSubgraph(node, [&](const GraphProto &inner) {
        findTaken(inner, known, taken);
      });
  }
}

static void inlineTaken(GraphProto &graph, const Taken &taken) {
  GraphProto result;
  for (NodeProto &node : *graph.mutable_node()) {
    if (auto branch = taken.find(&node); branch != taken.end()) {
      appendBranch(node, *branch->second, result);
      continue;
    }
    forEachSubgraph(node,
                    [&](GraphProto &inner) { inlineTaken(inner, taken); });
    result.add_node()->Swap(&node);
  }
  graph.mutable_node()->Swap(result.mutable_node());
  graph.mutable_initializer()->MergeFrom(result.initializer());
}

bool mlir::onnx::inlineBranches(GraphProto &graph, const DataValueMap &data) {
  Taken taken;
  findTaken(graph, KnownValues(graph, data), taken);
  if (!taken.empty())
    inlineTaken(graph, taken);
  return !taken.empty();
}
