//===- Library.cpp - calls into ONNX's own library ------------------------===//
//
// The only file that sees its exceptions.
//
//===----------------------------------------------------------------------===//

#include "Library.h"
#include "Branches.h"
#include "Checks.h"
#include "ContribSchemas.h"
#include "Names.h"
#include "OldOperators.h"
#include "Propagation.h"
#include "Rules.h"
#include "megactx/Onnx/Onnx.h"
#include <algorithm>
#include <cctype>
#include <map>
#include <onnx/defs/schema.h>
#include <onnx/inliner/inliner.h>
#include <onnx/shape_inference/implementation.h>
#include <onnx/version_converter/convert.h>
#include <set>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// Nodes with a function body in ONNX that later levels lower themselves; every
/// other one is inlined.
static bool isKept(const NodeProto &node) {
  static const std::set<std::string> kept = {
      "Attention",   "CastLike",        "Clip",
      "Gelu",        "GreaterOrEqual",  "LayerNormalization",
      "LessOrEqual", "LogSoftmax",      "RMSNormalization",
      "Range",       "ReduceSumSquare", "Relu",
      "LeakyRelu",   "Softmax",         "Softplus"};
  // Attention that gives its scores has to compute all of them.
  bool hasScores = node.op_type() == "Attention" && node.output_size() > 3 &&
                   !node.output(3).empty();
  return node.domain().empty() && kept.count(node.op_type()) && !hasScores;
}

/// Types of initializers and of values, of a graph and of those within it.
static void collectTypes(const GraphProto &graph,
                         std::vector<ValueInfoProto> &types) {
  for (auto *infos : {&graph.input(), &graph.value_info(), &graph.output()})
    types.insert(types.end(), infos->begin(), infos->end());
  for (const TensorProto &tensor : graph.initializer()) {
    ValueInfoProto &info = types.emplace_back();
    info.set_name(tensor.name());
    TypeProto::Tensor &type = *info.mutable_type()->mutable_tensor_type();
    type.set_elem_type(tensor.data_type());
    for (int64_t dim : tensor.dims())
      type.mutable_shape()->add_dim()->set_dim_value(dim);
  }
  for (const NodeProto &node : graph.node())
    forEachSubgraph(
        node, [&](const GraphProto &inner) { collectTypes(inner, types); });
}

/// The inliner looks for the types of a node's operands among the model's own
/// values, also where the node is in a graph within it or the operand is an
/// initializer or left out, which is the empty name.
static void inlineFunctions(ModelProto &model,
                            const inliner::FunctionIdVector &functions) {
  std::vector<ValueInfoProto> types(1);
  types[0].mutable_type();
  collectTypes(model.graph(), types);
  std::set<std::string> declared;
  for (auto *infos : {&model.graph().input(), &model.graph().value_info(),
                      &model.graph().output()})
    for (const ValueInfoProto &info : *infos)
      declared.insert(info.name());
  auto &infos = *model.mutable_graph()->mutable_value_info();
  int numBefore = infos.size();
  for (ValueInfoProto &info : types)
    if (declared.insert(info.name()).second)
      infos.Add()->Swap(&info);
  int numAdded = infos.size() - numBefore;
  auto set =
      inliner::FunctionIdSet::Create(inliner::FunctionIdVector(functions));
  inliner::InlineSelectedFunctions(model, *set, OpSchemaRegistry::Instance());
  infos.DeleteSubrange(numBefore, numAdded);
}

/// The domain of nodes that a step of the library must not see: it knows no
/// operator of it and leaves them.
static constexpr char kAside[] = "set aside";

template <typename Predicate>
static void setAside(ModelProto &model, Predicate predicate) {
  // Inference takes no domain that is not declared.
  OperatorSetIdProto &set = *model.add_opset_import();
  set.set_domain(kAside);
  set.set_version(1);
  forEachNode(*model.mutable_graph(), [&](NodeProto &node) {
    if (predicate(node))
      node.set_domain(kAside);
  });
}

static void putBack(ModelProto &model) {
  auto &sets = *model.mutable_opset_import();
  sets.erase(std::remove_if(sets.begin(), sets.end(),
                            [](const OperatorSetIdProto &set) {
                              return set.domain() == kAside;
                            }),
             sets.end());
  forEachNode(*model.mutable_graph(), [](NodeProto &node) {
    if (node.domain() == kAside)
      node.clear_domain();
  });
}

/// Gives the node the attribute under that name, unless it has one.
static void addMissing(NodeProto &node, const std::string &name,
                       const AttributeProto &attribute) {
  for (const AttributeProto &given : node.attribute())
    if (given.name() == name)
      return;
  AttributeProto &added = *node.add_attribute();
  added = attribute;
  added.set_name(name);
}

/// Bodies refer to attributes, and the inliner drops what refers to one that a
/// node leaves to its default.
static void spellOutDefaults(NodeProto &node, const OpSchema &schema) {
  for (const auto &[name, attribute] : schema.attributes())
    if (attribute.default_value.type() != AttributeProto::UNDEFINED)
      addMissing(node, name, attribute.default_value);
}

using Composites = std::set<std::pair<std::string, std::string>>;

/// The operators to inline, with all their attributes.
static Composites compositesOf(ModelProto &model) {
  Composites found;
  forEachNode(*model.mutable_graph(), [&](NodeProto &node) {
    const OpSchema *schema = OpSchemaRegistry::Schema(
        node.op_type(), int(opsetOf(model)), node.domain());
    if (!schema ||
        !(schema->HasFunction() || schema->HasContextDependentFunction()))
      return;
    spellOutDefaults(node, *schema);
    found.insert({node.domain(), node.op_type()});
  });
  return found;
}

/// Inference has another default for this than the operator.
static void spellOutDefaultsOfTransforms(GraphProto &graph) {
  forEachNode(graph, [](NodeProto &node) {
    const OpSchema *schema = OpSchemaRegistry::Schema("STFT", 17, "");
    if (node.op_type() == "STFT" && node.domain().empty() && schema)
      spellOutDefaults(node, *schema);
  });
}

/// Calls of the model's own functions get the attributes that they leave to
/// defaults, which the inliner takes for absent.
static void spellOutDefaultsOfFunctions(ModelProto &model) {
  std::map<std::pair<std::string, std::string>, const FunctionProto *> known;
  for (const FunctionProto &function : model.functions())
    known[{function.domain(), function.name()}] = &function;
  auto spellOut = [&](NodeProto &node) {
    auto function = known.find({node.domain(), node.op_type()});
    if (function == known.end())
      return;
    for (const AttributeProto &attribute : function->second->attribute_proto())
      addMissing(node, attribute.name(), attribute);
  };
  forEachNode(*model.mutable_graph(), spellOut);
  for (FunctionProto &function : *model.mutable_functions())
    for (NodeProto &node : *function.mutable_node()) {
      spellOut(node);
      forEachSubgraph(node,
                      [&](GraphProto &inner) { forEachNode(inner, spellOut); });
    }
}

/// Data propagation makes a list of as many entries as a tensor of one dim has.
/// Sizes of long ones are left out: they are no shapes.
static void forgetLongLists(GraphProto &graph) {
  constexpr int64_t kLongest = 1 << 16;
  for (auto *infos : {graph.mutable_input(), graph.mutable_value_info(),
                      graph.mutable_output()})
    for (ValueInfoProto &info : *infos) {
      if (!info.type().tensor_type().has_shape())
        continue;
      auto &dims = *info.mutable_type()->mutable_tensor_type()->mutable_shape();
      if (dims.dim_size() == 1 && dims.dim(0).dim_value() > kLongest)
        dims.mutable_dim(0)->clear_dim_value();
    }
}

/// A question mark is no name that dims share: it is how ONNX's text, and
/// Paddle's exports, write a size that is not known.
static void forgetNamelessDims(GraphProto &graph) {
  for (auto *infos : {graph.mutable_input(), graph.mutable_value_info(),
                      graph.mutable_output()})
    for (ValueInfoProto &info : *infos)
      if (info.type().tensor_type().has_shape())
        for (auto &dim : *info.mutable_type()
                              ->mutable_tensor_type()
                              ->mutable_shape()
                              ->mutable_dim())
          if (dim.dim_param() == "?")
            dim.clear_dim_param();
}

static bool hasDynamicInput(const GraphProto &graph) {
  std::set<std::string> constants;
  for (const TensorProto &tensor : graph.initializer())
    constants.insert(tensor.name());
  for (const ValueInfoProto &info : graph.input())
    for (const auto &dim : info.type().tensor_type().shape().dim())
      if (!dim.has_dim_value() && !constants.count(info.name()))
        return true;
  return false;
}

/// Exports have the sizes of their example where nobody said that results of
/// inputs of any size have any size. Inference says which of them are so.
/// Gives what was declared.
static std::vector<ValueInfoProto> forgetSizesOfResults(GraphProto &graph) {
  std::vector<ValueInfoProto> declared;
  if (!hasDynamicInput(graph))
    return declared;
  declared.assign(graph.output().begin(), graph.output().end());
  for (ValueInfoProto &info : *graph.mutable_output())
    if (info.type().tensor_type().has_shape())
      for (auto &dim : *info.mutable_type()
                            ->mutable_tensor_type()
                            ->mutable_shape()
                            ->mutable_dim())
        dim.clear_dim_value();
  return declared;
}

/// Sizes that contradict those that the graph is known to give are an error of
/// later levels, which know where.
static void restoreContradictions(GraphProto &graph,
                                  const std::vector<ValueInfoProto> &declared) {
  for (size_t i = 0; i < declared.size(); ++i) {
    const TensorShapeProto &said = declared[i].type().tensor_type().shape();
    TypeProto &type = *graph.mutable_output(int(i))->mutable_type();
    if (type.tensor_type().shape().dim_size() != said.dim_size())
      continue;
    for (int j = 0; j < said.dim_size(); ++j) {
      auto &own = *type.mutable_tensor_type()->mutable_shape()->mutable_dim(j);
      if (own.has_dim_value() && said.dim(j).has_dim_value())
        own = said.dim(j);
    }
  }
}

/// Gives what is known of integers too.
static shape_inference::DataValueMap inferTypes(ModelProto &model) {
  checkAttributes(model.graph());
  importContribDomains(model);
  ShapeInferenceOptions options{true, 0, true};
  shape_inference::DataValueMap data;
  shape_inference::InferShapes(model, &propagatingSchemas(), options, &data);
  return data;
}

/// Composites in bodies of others are inlined by the next turn. False where
/// nothing was: some have no body for what they are given.
static bool inlineComposites(ModelProto &model) {
  Composites first, before;
  for (;;) {
    setAside(model, isKept);
    Composites composites = compositesOf(model);
    bool isDone = composites.empty() || composites == before;
    if (!isDone)
      inlineFunctions(model, {composites.begin(), composites.end()});
    putBack(model);
    if (isDone)
      return composites != first;
    inferTypes(model);
    if (before.empty())
      first = composites;
    before = std::move(composites);
  }
}

using Types = std::map<std::string, TypeProto>;

/// What the file says of its values, by their names, which graphs within it may
/// have in common.
static void collectDeclared(const GraphProto &graph, Types &declared) {
  for (auto *infos : {&graph.value_info(), &graph.output()})
    for (const ValueInfoProto &info : *infos) {
      auto [known, isNew] = declared.try_emplace(info.name(), info.type());
      if (!isNew &&
          known->second.SerializeAsString() != info.type().SerializeAsString())
        known->second.Clear();
    }
  for (const NodeProto &node : graph.node())
    forEachSubgraph(node, [&](const GraphProto &inner) {
      collectDeclared(inner, declared);
    });
}

/// The converter infers types by the operators of the older opset, whose sizes
/// may be others: those of pools had windows that begin behind the data.
static void forgetInferred(GraphProto &graph, const Types &declared) {
  GraphProto kept;
  for (ValueInfoProto &info : *graph.mutable_value_info())
    if (auto known = declared.find(info.name()); known != declared.end()) {
      *info.mutable_type() = known->second;
      kept.add_value_info()->Swap(&info);
    }
  graph.mutable_value_info()->Swap(kept.mutable_value_info());
  for (ValueInfoProto &info : *graph.mutable_output())
    if (auto known = declared.find(info.name()); known != declared.end())
      *info.mutable_type() = known->second;
    else
      info.clear_type();
  for (NodeProto &node : *graph.mutable_node())
    forEachSubgraph(
        node, [&](GraphProto &inner) { forgetInferred(inner, declared); });
}

/// By rules, branches that are known, and sequences, until nothing changes.
static shape_inference::DataValueMap rewriteKnown(ModelProto &model) {
  GraphProto &graph = *model.mutable_graph();
  for (;;) {
    shape_inference::DataValueMap data = inferTypes(model);
    bool changed = applyRules(graph, data);
    changed |= dropUnusedSequences(graph);
    changed |= inlineBranches(graph, data);
    if (!changed)
      return data;
  }
}

/// Whether every node takes what those before it give.
static bool isConsistent(ModelProto model) {
  try {
    ShapeInferenceOptions strict{true, 1, true};
    shape_inference::InferShapes(model, &propagatingSchemas(), strict);
  } catch (const std::exception &) {
    return false;
  }
  return true;
}

/// Assumes a branch where nodes behind it take no result of the other's rank.
static bool assumeBranches(ModelProto &model,
                           const shape_inference::DataValueMap &data) {
  for (int place : branchesOfOtherRanks(*model.mutable_graph(), data)) {
    std::vector<ModelProto> consistent;
    for (bool isThen : {true, false}) {
      ModelProto assumed = model;
      assumeBranch(*assumed.mutable_graph(), place, isThen);
      rewriteKnown(assumed);
      if (isConsistent(assumed))
        consistent.push_back(std::move(assumed));
    }
    if (consistent.size() != 1)
      continue;
    model.Swap(&consistent[0]);
    return true;
  }
  return false;
}

static void rewrite(ModelProto &model) {
  makeNamesUnique(*model.mutable_graph());
  while (assumeBranches(model, rewriteKnown(model)))
    ;
}

/// A constant's number or list of them as the tensor that it is.
static void spellOutTensor(NodeProto &node) {
  if (node.op_type() != "Constant" || !node.domain().empty() ||
      node.attribute_size() != 1)
    return;
  AttributeProto &given = *node.mutable_attribute(0);
  const std::string &name = given.name();
  TensorProto tensor;
  if (name == "value_float") {
    tensor.set_data_type(TensorProto::FLOAT);
    tensor.add_float_data(given.f());
  } else if (name == "value_int") {
    tensor.set_data_type(TensorProto::INT64);
    tensor.add_int64_data(given.i());
  } else if (name == "value_floats") {
    tensor.set_data_type(TensorProto::FLOAT);
    tensor.add_dims(given.floats_size());
    *tensor.mutable_float_data() = given.floats();
  } else if (name == "value_ints") {
    tensor.set_data_type(TensorProto::INT64);
    tensor.add_dims(given.ints_size());
    *tensor.mutable_int64_data() = given.ints();
  } else {
    return;
  }
  given.Clear();
  given.set_name("value");
  given.set_type(AttributeProto::TENSOR);
  given.mutable_t()->Swap(&tensor);
}

std::vector<Operator> mlir::onnx::standardOperators() {
  std::map<std::string, bool> found;
  for (const OpSchema &schema : OpSchemaRegistry::get_all_schemas()) {
    const OpSchema *current =
        schema.domain().empty()
            ? OpSchemaRegistry::Schema(schema.Name(), int(kOpset), "")
            : nullptr;
    if (!current || current->Deprecated())
      continue;
    NodeProto node;
    node.set_op_type(current->Name());
    found[current->Name()] =
        hasRule(current->Name()) || makesSequence(current->Name()) ||
        (!isKept(node) &&
         (current->HasFunction() || current->HasContextDependentFunction()));
  }
  std::vector<Operator> operators;
  for (const auto &[name, isInlined] : found)
    operators.push_back({name, isInlined});
  return operators;
}

std::string mlir::onnx::runOnnxLibrary(ModelProto &model, int64_t opset) {
  try {
    registerContribSchemas();
    // The converter loses functions.
    if (model.functions_size() > 0) {
      spellOutDefaultsOfFunctions(model);
      inliner::InlineLocalFunctions(model);
    }
    if (opsetOf(model) < 21)
      renameOldGroupNormalizations(model);
    checkNodes(model);
    checkAttributes(model.graph());
    spellOutDefaultsOfTransforms(*model.mutable_graph());
    forgetLongLists(*model.mutable_graph());
    forgetNamelessDims(*model.mutable_graph());
    auto declared = forgetSizesOfResults(*model.mutable_graph());
    // Models of opset 7 and newer; the converter has no adapters before.
    if (int64_t old = opsetOf(model); old != opset) {
      // onnxruntime writes operators of ONNX into models whose opset has none.
      setAside(model, [&](const NodeProto &node) {
        return (node.domain().empty() || node.domain() == "ai.onnx") &&
               !OpSchemaRegistry::Schema(node.op_type(), int(old), "");
      });
      if (old < 9)
        refuseOldScans(model);
      if (old < 7) {
        shape_inference::DataValueMap data = inferTypes(model);
        const GraphProto before = model.graph();
        KnownValues known(before, data);
        placeOldSlopes(*model.mutable_graph(), known);
      }
      if (old < 13)
        flattenOldHardmax(*model.mutable_graph());
      Types declared;
      collectDeclared(model.graph(), declared);
      model = version_conversion::ConvertVersion(model, int(opset));
      forgetInferred(*model.mutable_graph(), declared);
      if (old < 11)
        placeOldResizes(*model.mutable_graph());
      putBack(model);
    }
    // Bodies may have operators that have rules.
    do {
      rewrite(model);
      // What others are made of takes their operands.
      checkNodes(model);
    } while (inlineComposites(model));
    forEachNode(*model.mutable_graph(), spellOutTensor);
    restoreContradictions(*model.mutable_graph(), declared);
  } catch (const std::exception &e) {
    std::string what = e.what();
    // The library's assertions start with where it was built and what failed.
    if (size_t at = what.find("Assertion"); at != std::string::npos)
      what = what.substr(at);
    constexpr char kFailed[] = "` failed: ";
    if (size_t at = what.find(kFailed); at != std::string::npos)
      what = what.substr(at + sizeof(kFailed) - 1);
    while (!what.empty() &&
           std::isspace(static_cast<unsigned char>(what.back())))
      what.pop_back();
    return what.empty() ? "unknown error in the ONNX library" : what;
  }
  return "";
}
