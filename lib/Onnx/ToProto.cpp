//===- ToProto.cpp - from the dialect to ONNX messages --------------------===//

#include "Proto.h"
#include "TensorData.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

using namespace ::ONNX_NAMESPACE;
using namespace mlir;
using namespace mlir::onnx;

namespace {
struct Silent : google::protobuf::io::ErrorCollector {
  void AddError(int, int, const std::string &) override {}
};

/// The builder of one message.
class Exporter {
public:
  Exporter(int64_t inlineLimit,
           llvm::function_ref<void(StringRef, ElementsAttr)> left)
      : inlineLimit(inlineLimit), left(left) {}

  LogicalResult run(ModuleOp module, ModelProto &model);

private:
  LogicalResult block(Block &block, GraphProto &graph);
  LogicalResult initializer(InitializerOp op, GraphProto &graph);
  LogicalResult node(Operation &op, NodeProto &node);
  LogicalResult attributes(Operation &op, NodeProto &node);
  LogicalResult subgraphs(Operation &op, NodeProto &node);
  void merge(AttributeProto &attr, const NodeProto &rest);
  std::string fresh();

  llvm::DenseMap<Value, std::string> names;
  llvm::StringSet<llvm::MallocAllocator> taken;
  int64_t inlineLimit;
  llvm::function_ref<void(StringRef, ElementsAttr)> left;
  unsigned counter = 0;
};
} // namespace

bool mlir::onnx::parseText(StringRef text, google::protobuf::Message &message) {
  google::protobuf::TextFormat::Parser parser;
  Silent silent;
  parser.RecordErrorsTo(&silent);
  return parser.MergeFromString(text.str(), &message);
}

/// Merges the text that an attribute of the op holds, if there is one.
static LogicalResult mergeText(Operation *op, StringRef name,
                               google::protobuf::Message &message) {
  auto text = op->getAttrOfType<StringAttr>(name);
  if (text && !parseText(text.getValue(), message))
    return op->emitError() << "attribute '" << name
                           << "' is not a message of its kind";
  return success();
}

std::string Exporter::fresh() {
  std::string name;
  do
    name = "value_" + std::to_string(counter++);
  while (!taken.insert(name).second);
  return name;
}

/// The inputs that are the function's arguments, of which it says the names:
/// others have an initializer.
static SmallVector<const ValueInfoProto *>
requiredInputs(func::FuncOp function, const GraphProto &graph) {
  llvm::StringSet<> given;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto name =
            function.getArgAttrOfType<StringAttr>(i, OnnxDialect::kNameAttr))
      given.insert(name);
  SmallVector<const ValueInfoProto *> required;
  for (const ValueInfoProto &info : graph.input())
    if (graph.input_size() == int(function.getNumArguments()) ||
        given.contains(info.name()))
      required.push_back(&info);
  return required;
}

LogicalResult Exporter::run(ModuleOp module, ModelProto &model) {
  if (failed(mergeText(module, OnnxDialect::kModelAttr, model)))
    return failure();
  auto functions = module.getOps<func::FuncOp>();
  if (std::distance(functions.begin(), functions.end()) != 1)
    return module.emitError("expected one function, the graph, but got ")
           << std::distance(functions.begin(), functions.end());
  func::FuncOp function = *functions.begin();
  if (function.isExternal() || !function.getBody().hasOneBlock())
    return function.emitError("expected a body of one block");
  GraphProto &graph = *model.mutable_graph();
  if (failed(mergeText(function, OnnxDialect::kGraphAttr, graph)))
    return failure();
  if (requiredInputs(function, graph).size() != function.getNumArguments() ||
      graph.output_size() != int(function.getNumResults()))
    return function.emitError("expected the inputs and outputs that '")
           << OnnxDialect::kGraphAttr << "' names";
  function.walk([&](Operation *op) {
    auto outputs = op->getAttrOfType<ArrayAttr>(OnnxDialect::kOutputsAttr);
    for (Attribute name : outputs ? outputs.getValue() : ArrayRef<Attribute>())
      if (auto text = dyn_cast<StringAttr>(name))
        taken.insert(text.getValue());
  });
  return block(function.front(), graph);
}

LogicalResult Exporter::block(Block &block, GraphProto &graph) {
  auto function = dyn_cast<func::FuncOp>(block.getParentOp());
  auto given = function ? requiredInputs(function, graph)
                        : llvm::map_to_vector(
                              graph.input(),
                              [](const ValueInfoProto &info) { return &info; });
  for (auto [argument, info] : llvm::zip(block.getArguments(), given))
    names[argument] = info->name();
  for (Operation &op : block.without_terminator()) {
    if (isa<NoneOp>(op))
      continue;
    if (auto weight = dyn_cast<InitializerOp>(op)) {
      if (failed(initializer(weight, graph)))
        return failure();
      continue;
    }
    if (!op.getName().getStringRef().starts_with("onnx."))
      return op.emitError("is not an ONNX operator");
    if (failed(node(op, *graph.add_node())))
      return failure();
  }
  Operation *terminator = block.getTerminator();
  if (int(terminator->getNumOperands()) != graph.output_size())
    return terminator->emitError("expected as many outputs as the graph has");
  return success();
}

LogicalResult Exporter::initializer(InitializerOp op, GraphProto &graph) {
  TensorProto &tensor = *graph.add_initializer();
  auto outputs = op->getAttrOfType<ArrayAttr>(OnnxDialect::kOutputsAttr);
  auto name = outputs && outputs.size() == 1 ? dyn_cast<StringAttr>(outputs[0])
                                             : StringAttr();
  tensor.set_name(name ? name.str() : fresh());
  names[op] = tensor.name();
  if (dataTypeOf(cast<ShapedType>(op.getValue().getType()).getElementType()) ==
      TensorProto::UNDEFINED)
    return op.emitError("has an element type that ONNX does not know");
  bool isOutside = failed(mergeText(op, OnnxDialect::kNodeAttr, tensor));
  if (isOutside)
    return failure();
  if (tensor.data_location() == TensorProto::EXTERNAL && !left) {
    // Stays where it is, next to the model.
    tensorFromElements(op.getValue(), tensor, -1);
    return success();
  }
  tensor.clear_data_location();
  tensor.clear_external_data();
  // Names of subgraphs are their own, and do not say which weight it is.
  bool isLeft = left && isa<func::FuncOp>(op->getParentOp());
  if (!tensorFromElements(op.getValue(), tensor,
                          isLeft ? inlineLimit : INT64_MAX) &&
      isLeft)
    left(tensor.name(), op.getValue());
  return success();
}

LogicalResult Exporter::node(Operation &op, NodeProto &node) {
  StringRef name = op.getName().getStringRef().drop_front(strlen("onnx."));
  auto [domain, type] = name.rsplit('.');
  if (type.empty())
    std::swap(domain, type);
  node.set_op_type(type.str());
  if (!domain.empty())
    node.set_domain(domain.str());
  if (auto label = op.getAttrOfType<StringAttr>(OnnxDialect::kNameAttr))
    node.set_name(label.str());
  for (Value operand : op.getOperands()) {
    if (operand.getDefiningOp<NoneOp>()) {
      node.add_input("");
      continue;
    }
    auto found = names.find(operand);
    if (found == names.end())
      return op.emitError("uses a value that no ONNX operator defines");
    node.add_input(found->second);
  }
  auto outputs = op.getAttrOfType<ArrayAttr>(OnnxDialect::kOutputsAttr);
  for (OpResult result : op.getResults()) {
    unsigned i = result.getResultNumber();
    auto known = outputs && i < outputs.size()
                     ? dyn_cast<StringAttr>(outputs[i])
                     : StringAttr();
    names[result] = known ? known.str() : fresh();
    node.add_output(names[result]);
  }
  return failed(attributes(op, node)) ? failure() : subgraphs(op, node);
}

LogicalResult Exporter::attributes(Operation &op, NodeProto &node) {
  NodeProto rest;
  if (failed(mergeText(&op, OnnxDialect::kNodeAttr, rest)))
    return failure();
  for (NamedAttribute named : op.getAttrs()) {
    if (named.getName().strref().starts_with("onnx."))
      continue;
    AttributeProto &attr = *node.add_attribute();
    attr.set_name(named.getName().str());
    if (!protoFromAttribute(named.getValue(), attr))
      return op.emitError("attribute '")
             << named.getName().strref() << "' has no form in ONNX";
    merge(attr, rest);
  }
  rest.clear_attribute();
  node.MergeFrom(rest);
  return success();
}

void Exporter::merge(AttributeProto &attr, const NodeProto &rest) {
  for (const AttributeProto &kept : rest.attribute()) {
    if (kept.name() != attr.name())
      continue;
    AttributeProto more(kept);
    more.clear_name();
    attr.MergeFrom(more);
  }
}

LogicalResult Exporter::subgraphs(Operation &op, NodeProto &node) {
  auto labels = op.getAttrOfType<ArrayAttr>(OnnxDialect::kRegionsAttr);
  for (auto [i, region] : llvm::enumerate(op.getRegions())) {
    auto label = labels && i < labels.size() ? dyn_cast<StringAttr>(labels[i])
                                             : StringAttr();
    if (!label || !region.hasOneBlock())
      return op.emitError("expected '")
             << OnnxDialect::kRegionsAttr << "' to name each region";
    StringRef name = label.getValue();
    bool isList = name.consume_back("[]");
    AttributeProto *attr = nullptr;
    for (AttributeProto &known : *node.mutable_attribute())
      if (isList && known.name() == name.str())
        attr = &known;
    if (!attr)
      attr = node.add_attribute();
    attr->set_name(name.str());
    attr->set_type(isList ? AttributeProto::GRAPHS : AttributeProto::GRAPH);
    GraphProto &graph = isList ? *attr->add_graphs() : *attr->mutable_g();
    if (failed(mergeText(region.front().getTerminator(),
                         OnnxDialect::kGraphAttr, graph)) ||
        failed(block(region.front(), graph)))
      return failure();
  }
  return success();
}

LogicalResult mlir::onnx::protoFromModule(
    ModuleOp module, ModelProto &model, int64_t inlineLimit,
    llvm::function_ref<void(StringRef, ElementsAttr)> left) {
  return Exporter(inlineLimit, left).run(module, model);
}
