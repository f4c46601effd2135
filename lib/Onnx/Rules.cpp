//===- Rules.cpp - applying rules -----------------------------------------===//

#include "Rules.h"
#include "Names.h"
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <onnx/defs/parser.h>
#include <stdexcept>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

std::string mlir::onnx::text(double number) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.9e", number);
  return buffer;
}

std::string mlir::onnx::input(int i) { return "i" + std::to_string(i); }

std::string mlir::onnx::inputOrNone(const Call &call, int i) {
  return call.has(i) ? input(i) : "none";
}

static const Rules &rules() {
  static const Rules table = [] {
    Rules made;
    addContribRules(made);
    addCacheRules(made);
    addQuantizedRules(made);
    addSequenceRules(made);
    return made;
  }();
  return table;
}

bool mlir::onnx::hasRule(const std::string &type) {
  return rules().count("." + type) > 0;
}

static Types typesOf(const GraphProto &graph) {
  Types types;
  auto add = [&](const auto &values) {
    for (const ValueInfoProto &value : values)
      if (value.type().has_tensor_type())
        types[value.name()] = value.type().tensor_type();
  };
  add(graph.input());
  add(graph.value_info());
  add(graph.output());
  for (const TensorProto &tensor : graph.initializer()) {
    TypeProto::Tensor &type = types[tensor.name()];
    type.set_elem_type(tensor.data_type());
    type.mutable_shape()->clear_dim();
    for (int64_t size : tensor.dims())
      type.mutable_shape()->add_dim()->set_dim_value(size);
  }
  return types;
}

namespace {
/// What the names in a rule's text stand for: the node's own, or new ones.
class Names {
public:
  Names(const NodeProto &node, const KnownValues &values,
        std::set<std::string> &taken)
      : node(node), values(values), taken(taken) {}

  void rename(std::string &name) {
    auto [found, isNew] = known.try_emplace(name);
    if (isNew)
      found->second = nameOf(name);
    name = found->second;
  }

private:
  std::string nameOf(const std::string &local) {
    if (local.empty() || local == "none")
      return "";
    if (local.size() > 1 &&
        std::all_of(local.begin() + 1, local.end(),
                    [](unsigned char c) { return std::isdigit(c); })) {
      int i = std::stoi(local.substr(1));
      if (local[0] == 'i')
        return i < node.input_size() ? node.input(i) : "";
      if (local[0] == 'o' && i < node.output_size() && !node.output(i).empty())
        return node.output(i);
      if (local[0] == 's' && node.input_size() > 0)
        if (const NodeProto *maker = values.makerOf(node.input(0)))
          return i < maker->input_size() ? maker->input(i) : "";
    }
    return unusedName(node.output(0) + "/" + local, taken);
  }

  const NodeProto &node;
  const KnownValues &values;
  std::set<std::string> &taken;
  std::map<std::string, std::string> known;
};
} // namespace

static void append(const std::string &body, const NodeProto &node,
                   const KnownValues &values, std::set<std::string> &taken,
                   google::protobuf::RepeatedPtrField<NodeProto> &nodes) {
  Names names(node, values, taken);
  OnnxParser parser(body.c_str());
  while (!parser.EndOfInput()) {
    NodeProto &made = *nodes.Add();
    if (auto status = parser.Parse(made); !status.IsOK())
      throw std::logic_error(status.ErrorMessage());
    for (std::string &name : *made.mutable_input())
      names.rename(name);
    while (made.input_size() && made.input(made.input_size() - 1).empty())
      made.mutable_input()->RemoveLast();
    for (std::string &name : *made.mutable_output())
      names.rename(name);
    made.set_name(node.name() + "/" + made.op_type());
  }
}

bool mlir::onnx::applyRules(GraphProto &graph,
                            const shape_inference::DataValueMap &data) {
  GraphFacts facts{typesOf(graph), KnownValues(graph, data)};
  std::set<std::string> taken = namesIn(graph);
  google::protobuf::RepeatedPtrField<NodeProto> nodes;
  bool changed = false;
  for (const NodeProto &node : graph.node()) {
    auto rule = rules().find(node.domain() + "." + node.op_type());
    std::string body = rule == rules().end() || node.output_size() == 0
                           ? ""
                           : rule->second(Call(node, facts));
    if (body.empty())
      *nodes.Add() = node;
    else
      append(body, node, facts.values, taken, nodes);
    changed |= !body.empty();
  }
  if (changed)
    graph.mutable_node()->Swap(&nodes);
  return changed;
}
