//===- OldOperators.cpp - operators of older opsets -----------------------===//

#include "OldOperators.h"
#include "ContribSchemas.h"
#include "Names.h"
#include "Rules.h"

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

void mlir::onnx::refuseOldScans(ModelProto &model) {
  forEachNode(*model.mutable_graph(), [](const NodeProto &node) {
    if (node.domain().empty() && node.op_type() == "Scan")
      throw std::runtime_error("node '" + node.name() +
                               "' (Scan): that of before opset 9 is not "
                               "supported");
  });
}

static void setAttribute(NodeProto &node, const char *name,
                         const std::string &value) {
  AttributeProto &attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(AttributeProto::STRING);
  attribute.set_s(value);
}

void mlir::onnx::placeOldResizes(GraphProto &graph) {
  forEachNode(graph, [](NodeProto &node) {
    if (!node.domain().empty() || node.op_type() != "Resize")
      return;
    setAttribute(node, "coordinate_transformation_mode", "asymmetric");
    setAttribute(node, "nearest_mode", "simple");
  });
}

void mlir::onnx::renameOldGroupNormalizations(ModelProto &model) {
  forEachNode(*model.mutable_graph(), [](NodeProto &node) {
    if (!node.domain().empty() || node.op_type() != "GroupNormalization")
      return;
    node.set_domain("ai.megactx");
    node.set_op_type("GroupNormalizationByGroup");
  });
  importContribDomains(model);
}

void mlir::onnx::placeOldSlopes(GraphProto &graph, const KnownValues &known) {
  GraphProto result;
  for (NodeProto &node : *graph.mutable_node()) {
    forEachSubgraph(node,
                    [&](GraphProto &inner) { placeOldSlopes(inner, known); });
    Call call(node, known);
    if (node.domain().empty() && node.op_type() == "PRelu" &&
        call.rank(1) == 1 && call.rank(0) != 1 && call.rank(0) != 2) {
      if (call.rank(0) < 0)
        throw std::runtime_error("node '" + node.name() +
                                 "' (PRelu): that of before opset 7 needs data "
                                 "of a known rank");
      NodeProto &column = *result.add_node();
      column.set_op_type("Unsqueeze");
      column.set_name(node.name());
      column.add_input(node.input(1));
      column.add_output(node.output(0) + "/slopes");
      AttributeProto &axes = *column.add_attribute();
      axes.set_name("axes");
      axes.set_type(AttributeProto::INTS);
      for (int axis = 1; axis < call.rank(0) - 1; ++axis)
        axes.add_ints(axis);
      node.set_input(1, column.output(0));
    }
    *result.add_node() = node;
  }
  graph.mutable_node()->Swap(result.mutable_node());
}

void mlir::onnx::flattenOldHardmax(GraphProto &graph) {
  GraphProto result;
  for (NodeProto &node : *graph.mutable_node()) {
    forEachSubgraph(node, flattenOldHardmax);
    if (!node.domain().empty() || node.op_type() != "Hardmax") {
      *result.add_node() = node;
      continue;
    }
    const std::string name = node.output(0), data = node.input(0);
    auto add = [&](const char *type, std::vector<std::string> inputs,
                   const std::string &output) {
      NodeProto &added = *result.add_node();
      added.set_op_type(type);
      added.set_name(node.name());
      for (const std::string &input : inputs)
        added.add_input(input);
      added.add_output(output);
      return &added;
    };
    add("Shape", {data}, name + "/shape");
    *add("Flatten", {data}, name + "/rows")->mutable_attribute() =
        node.attribute();
    AttributeProto &axis =
        *add("Hardmax", {name + "/rows"}, name + "/best")->add_attribute();
    axis.set_name("axis");
    axis.set_type(AttributeProto::INT);
    axis.set_i(1);
    add("Reshape", {name + "/best", name + "/shape"}, name);
  }
  graph.mutable_node()->Swap(result.mutable_node());
}
