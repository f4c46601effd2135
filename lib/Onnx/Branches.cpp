//===- Branches.cpp - branches that sizes decide --------------------------===//

#include "Branches.h"
#include "ContribSchemas.h"
#include "Known.h"
#include "Names.h"
#include <map>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;
using shape_inference::DataValueMap;

namespace {
/// A branch that an If takes: in every run, or in those that do not end there.
struct Branch {
  const GraphProto *graph;
  bool isThen;
  bool isAssumed = false;
};
} // namespace

/// Null where it has none of as many outputs as the node.
static const GraphProto *branchOf(const NodeProto &node, bool isThen) {
  for (const AttributeProto &attribute : node.attribute())
    if (attribute.name() == (isThen ? "then_branch" : "else_branch") &&
        attribute.g().output_size() == node.output_size() &&
        attribute.g().sparse_initializer_size() == 0)
      return &attribute.g();
  return nullptr;
}

static bool isIf(const NodeProto &node) {
  return node.op_type() == "If" && node.domain().empty() &&
         node.input_size() == 1;
}

/// The subgraph that runs; null where that is not known.
static const GraphProto *takenBranch(const NodeProto &node,
                                     const KnownValues &known) {
  auto condition = isIf(node) ? known.numberOf(node.input(0)) : std::nullopt;
  return condition ? branchOf(node, *condition != 0) : nullptr;
}

/// Appends the branch's nodes to `result`, where no name of theirs is taken.
static void appendBranch(const NodeProto &node, const Branch &branch,
                         GraphProto &result) {
  result.mutable_initializer()->MergeFrom(branch.graph->initializer());
  result.mutable_node()->MergeFrom(branch.graph->node());
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    NodeProto &copy = *result.add_node();
    copy.set_op_type("Identity");
    copy.set_name(node.name());
    copy.add_input(branch.graph->output(i).name());
    copy.add_output(node.output(i));
    if (!branch.isAssumed)
      continue;
    copy.set_op_type("Assume");
    copy.set_domain(kMegaCtxDomain);
    copy.add_input(node.input(0));
    AttributeProto &is = *copy.add_attribute();
    is.set_name("is");
    is.set_type(AttributeProto::INT);
    is.set_i(branch.isThen);
  }
}

using Taken = std::map<const NodeProto *, Branch>;

/// The Ifs of the graph and of graphs within it that are decided, but for those
/// within branches that are taken: these come with the next round.
static void findTaken(const GraphProto &graph, const KnownValues &known,
                      Taken &taken) {
  for (const NodeProto &node : graph.node()) {
    if (const GraphProto *branch = takenBranch(node, known))
      taken[&node] = {branch, *known.numberOf(node.input(0)) != 0};
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
      appendBranch(node, branch->second, result);
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

/// Whether both branches give an output whose ranks are known, and differ.
static bool haveOtherRanks(const NodeProto &node, const KnownValues &known) {
  const GraphProto *branches[] = {branchOf(node, true), branchOf(node, false)};
  if (!isIf(node) || !branches[0] || !branches[1])
    return false;
  auto rank = [&](const GraphProto &branch, int i) {
    const TypeProto::Tensor *type = known.typeOf(branch.output(i).name());
    return type && type->has_shape() ? type->shape().dim_size() : -1;
  };
  for (int i = 0; i < node.output_size(); ++i) {
    int then = rank(*branches[0], i), other = rank(*branches[1], i);
    if (then >= 0 && other >= 0 && then != other)
      return true;
  }
  return false;
}

std::vector<int> mlir::onnx::branchesOfOtherRanks(GraphProto &graph,
                                                  const DataValueMap &data) {
  KnownValues known(graph, data);
  std::vector<int> places;
  int place = 0;
  forEachNode(graph, [&](const NodeProto &node) {
    if (haveOtherRanks(node, known))
      places.push_back(place);
    ++place;
  });
  return places;
}

void mlir::onnx::assumeBranch(GraphProto &graph, int place, bool isThen) {
  Taken taken;
  forEachNode(graph, [&](const NodeProto &node) {
    if (place-- == 0)
      taken[&node] = {branchOf(node, isThen), isThen, /*isAssumed=*/true};
  });
  inlineTaken(graph, taken);
}
