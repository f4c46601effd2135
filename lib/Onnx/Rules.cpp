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

bool mlir::onnx::isReal(int64_t elementType) {
  return elementType == TensorProto::FLOAT ||
         elementType == TensorProto::FLOAT16 ||
         elementType == TensorProto::BFLOAT16 ||
         elementType == TensorProto::DOUBLE;
}

std::string mlir::onnx::text(double number) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.17e", number);
  return buffer;
}

std::string mlir::onnx::input(int i) { return "i" + std::to_string(i); }

std::string mlir::onnx::joined(const std::vector<std::string> &words) {
  std::string result;
  for (const std::string &word : words)
    result += (result.empty() ? "" : ", ") + word;
  return result;
}

std::string mlir::onnx::listed(const std::vector<int64_t> &numbers) {
  std::vector<std::string> words;
  for (int64_t number : numbers)
    words.push_back(std::to_string(number));
  return "[" + joined(words) + "]";
}

std::string mlir::onnx::list(const std::string &name,
                             const std::vector<int64_t> &numbers) {
  if (numbers.empty())
    return name + " = Constant <value = int64[0] {}> ()\n";
  return name + " = Constant <value_ints = " + listed(numbers) + "> ()\n";
}

std::string mlir::onnx::counted(const std::string &name,
                                const std::string &count) {
  return list(name + "_axis", {0}) + name + "_end = Squeeze(" + count + ", " +
         name + "_axis)\n" + name +
         "_first = Constant <value = int64 {0}> ()\n" + name +
         "_step = Constant <value = int64 {1}> ()\n" + name + " = Range(" +
         name + "_first, " + name + "_end, " + name + "_step)\n";
}

std::string mlir::onnx::checkedSize(const std::string &name,
                                    const std::string &input) {
  return list(name + "_one", {1}) + name + "_wide = Cast <to = 7> (" + input +
         ")\n" + name + "_given = Reshape(" + name + "_wide, " + name +
         "_one)\n" + name + "_below = Sub(" + name + "_given, " + name +
         "_one)\n" + name + "_checked = ConstantOfShape(" + name + "_below)\n" +
         name + "_above = Shape(" + name + "_checked)\n" + name + " = Add(" +
         name + "_above, " + name + "_one)\n";
}

std::string mlir::onnx::inputOrNone(const Call &call, int i) {
  return call.has(i) ? input(i) : "none";
}

static const Rules &rules() {
  static const Rules table = [] {
    Rules made;
    addActivationRules(made);
    addContribRules(made);
    addContribAttentionRules(made);
    addExpertRules(made);
    addContribRecurrentRules(made);
    addLinearAttentionRules(made);
    addCacheRules(made);
    addQuantizedRules(made);
    addSequenceRules(made);
    addConvolutionRules(made);
    addEinsumRules(made);
    addRandomRules(made);
    addRecurrentRules(made);
    addSamplingRules(made);
    addSpectrumRules(made);
    addNormalizationRules(made);
    return made;
  }();
  return table;
}

bool mlir::onnx::hasRule(const std::string &type) {
  return rules().count("." + type) > 0;
}

namespace {
/// What the names in a rule's text stand for: the node's own, or new ones.
class Names {
public:
  Names(const NodeProto &node, const KnownValues &values, UniqueNames &taken)
      : node(node), values(values), taken(taken) {}

  /// Of the node, which gets one itself, and of graphs within it.
  void renameIn(NodeProto &made) {
    made.set_name((node.name().empty() ? node.op_type() : node.name()) + "/" +
                  made.op_type());
    for (std::string &name : *made.mutable_input())
      rename(name);
    while (made.input_size() && made.input(made.input_size() - 1).empty())
      made.mutable_input()->RemoveLast();
    for (std::string &name : *made.mutable_output())
      rename(name);
    forEachSubgraph(made, [&](GraphProto &inner) {
      for (auto *infos : {inner.mutable_input(), inner.mutable_output()})
        for (ValueInfoProto &info : *infos)
          rename(*info.mutable_name());
      for (NodeProto &nested : *inner.mutable_node())
        renameIn(nested);
    });
  }

private:
  void rename(std::string &name) {
    auto [found, isNew] = known.try_emplace(name);
    if (isNew)
      found->second = nameOf(name);
    name = found->second;
  }

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
    return taken.unused(node.output(0) + "/" + local);
  }

  const NodeProto &node;
  const KnownValues &values;
  UniqueNames &taken;
  std::map<std::string, std::string> known;
};
} // namespace

using Nodes = google::protobuf::RepeatedPtrField<NodeProto>;

/// Gives the place of the first.
static int append(const std::string &body, const NodeProto &node,
                  const KnownValues &values, UniqueNames &taken, Nodes &nodes) {
  int first = nodes.size();
  Names names(node, values, taken);
  OnnxParser parser(body.c_str());
  while (!parser.EndOfInput()) {
    NodeProto &made = *nodes.Add();
    if (auto status = parser.Parse(made); !status.IsOK())
      throw std::logic_error(status.ErrorMessage());
    names.renameIn(made);
  }
  return first;
}

static std::string bodyOf(const NodeProto &node, const KnownValues &values) {
  auto rule = rules().find(node.domain() + "." + node.op_type());
  return rule == rules().end() || node.output_size() == 0
             ? ""
             : rule->second(Call(node, values));
}

/// Rules see what those before them have made. Nodes that they replace go to
/// `replaced`, as `values` may still know them.
static void applyIn(GraphProto &graph, KnownValues &values, UniqueNames &taken,
                    Nodes &replaced) {
  std::vector<NodeProto *> before(graph.node_size());
  graph.mutable_node()->ExtractSubrange(0, graph.node_size(), before.data());
  Nodes &nodes = *graph.mutable_node();
  for (NodeProto *node : before) {
    forEachSubgraph(*node, [&](GraphProto &inner) {
      applyIn(inner, values, taken, replaced);
    });
    std::string body = bodyOf(*node, values);
    if (body.empty()) {
      nodes.AddAllocated(node);
      continue;
    }
    replaced.AddAllocated(node);
    for (int i = append(body, *node, values, taken, nodes); i < nodes.size();
         ++i)
      values.define(nodes.Get(i));
  }
}

bool mlir::onnx::applyRules(GraphProto &graph,
                            const shape_inference::DataValueMap &data) {
  KnownValues values(graph, data);
  UniqueNames taken = namesIn(graph);
  Nodes replaced;
  applyIn(graph, values, taken, replaced);
  return !replaced.empty();
}
