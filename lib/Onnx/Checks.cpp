//===- Checks.cpp - what ONNX's library does not look at ------------------===//

#include "Checks.h"
#include "Names.h"
#include <algorithm>
#include <cctype>
#include <onnx/defs/schema.h>
#include <sstream>
#include <stdexcept>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

int64_t mlir::onnx::opsetOf(const ModelProto &model) {
  for (const OperatorSetIdProto &set : model.opset_import())
    if (set.domain().empty() || set.domain() == "ai.onnx")
      return set.version();
  return 0;
}

/// Letters and spaces beside one ellipsis at most.
static bool isTerm(std::string term) {
  if (size_t dots = term.find("..."); dots != std::string::npos)
    term.erase(dots, 3);
  return std::all_of(term.begin(), term.end(), [](unsigned char c) {
    return c == ' ' || std::isalpha(c);
  });
}

static bool isEquation(const std::string &equation) {
  size_t arrow = equation.find("->");
  std::stringstream operands(equation.substr(0, arrow));
  bool areTerms =
      arrow == std::string::npos || isTerm(equation.substr(arrow + 2));
  for (std::string term; std::getline(operands, term, ',');)
    areTerms &= isTerm(term);
  return areTerms;
}

void mlir::onnx::checkAttributes(const GraphProto &graph) {
  for (const NodeProto &node : graph.node()) {
    forEachSubgraph(node, checkAttributes);
    for (const AttributeProto &attribute : node.attribute()) {
      auto refuse = [&](const std::string &what) {
        throw std::runtime_error("node '" + node.name() + "' (" +
                                 node.op_type() + "): expected " + what);
      };
      bool isHeads =
          node.op_type() == "Attention" && (attribute.name() == "q_num_heads" ||
                                            attribute.name() == "kv_num_heads");
      if (isHeads && attribute.i() < 1)
        refuse(attribute.name() + " of at least 1, but got " +
               std::to_string(attribute.i()));
      if (node.op_type() == "Einsum" && attribute.name() == "equation" &&
          !isEquation(attribute.s()))
        refuse("an equation of letters and ellipses, but got '" +
               attribute.s() + "'");
    }
  }
}

/// Of operands as many as one likes, none may be left out; schemas check the
/// others.
static void checkOperands(const NodeProto &node, const OpSchema &schema) {
  for (int i = 0; i < node.input_size(); ++i) {
    const auto &formal = schema.inputs();
    size_t at = std::min(size_t(i), formal.size() - 1);
    if (!formal.empty() && node.input(i).empty() &&
        formal[at].GetOption() == OpSchema::Variadic)
      throw std::runtime_error("operand " + std::to_string(i) + " is left out");
  }
}

void mlir::onnx::checkNodes(ModelProto &model) {
  int64_t opset = opsetOf(model);
  forEachNode(*model.mutable_graph(), [&](const NodeProto &node) {
    bool isStandard = node.domain().empty() || node.domain() == "ai.onnx";
    const OpSchema *schema =
        isStandard ? OpSchemaRegistry::Schema(node.op_type(), int(opset), "")
                   : OpSchemaRegistry::Schema(node.op_type(), 1, node.domain());
    if (!schema)
      return;
    // Attributes that no schema knows harm nobody.
    NodeProto known;
    known.set_name(node.name());
    known.set_op_type(node.op_type());
    known.set_domain(isStandard ? "" : node.domain());
    *known.mutable_input() = node.input();
    *known.mutable_output() = node.output();
    for (const AttributeProto &attribute : node.attribute())
      if (schema->attributes().count(attribute.name()))
        *known.add_attribute() = attribute;
    try {
      checkOperands(known, *schema);
      schema->Verify(known);
    } catch (const std::exception &e) {
      throw std::runtime_error("node '" + node.name() + "' (" + node.op_type() +
                               ", opset " + std::to_string(opset) +
                               "): " + e.what());
    }
  });
}
