//===- FromProto.cpp - from ONNX messages to the dialect ------------------===//

#include "Proto.h"
#include "TensorData.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Support/NodeLoc.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringSet.h"
#include <google/protobuf/text_format.h>

using namespace ::ONNX_NAMESPACE;
using namespace mlir;
using namespace mlir::onnx;

std::string mlir::onnx::textOf(const google::protobuf::Message &message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  printer.PrintToString(message, &text);
  return text;
}

Type mlir::onnx::typeOf(const TypeProto &type, MLIRContext *context) {
  Type untyped = UntypedType::get(context);
  if (!type.has_tensor_type())
    return untyped;
  Type element = elementTypeOf(type.tensor_type().elem_type(), context);
  if (!element)
    return untyped;
  if (!type.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dim : type.tensor_type().shape().dim())
    shape.push_back(dim.has_dim_value() && dim.dim_value() >= 0
                        ? dim.dim_value()
                        : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}

namespace {
/// The builder of one module.
class Importer {
public:
  Importer(ModelPtr model, StringRef file, MLIRContext *context)
      : model(std::move(model)), file(file), b(context) {}

  OwningOpRef<ModuleOp> run();

private:
  using Scope = llvm::StringMap<Value>;
  llvm::StringSet<> halves; ///< initializers of numbers of 4 bits

  LogicalResult graph(const GraphProto &graph, func::FuncOp function);
  LogicalResult body(const GraphProto &graph, Block *block,
                     SmallVector<Value> &outputs);
  LogicalResult initializer(const TensorProto &tensor);
  LogicalResult node(const NodeProto &node);
  LogicalResult attribute(const NodeProto &node, const AttributeProto &attr,
                          OperationState &state,
                          SmallVector<const GraphProto *> &subgraphs,
                          SmallVector<Attribute> &regionNames);
  LogicalResult subgraph(const GraphProto &graph, Region &region);
  LogicalResult define(StringRef name, Value value);
  Value lookup(StringRef name) const;
  Type declaredType(StringRef name) const;
  void declareTypes(const GraphProto &graph);
  DictionaryAttr argumentAttrs(const ValueInfoProto &info);
  int64_t opset(StringRef domain) const;

  InFlightDiagnostic error(const Twine &message) {
    return emitError(fileLoc(), message);
  }
  Location fileLoc() { return FileLineColLoc::get(b.getContext(), file, 0, 0); }
  InFlightDiagnostic nodeError(const NodeProto &node);

  ModelPtr model;
  std::string file;
  OpBuilder b;
  std::vector<Scope> scopes;
  std::vector<llvm::StringMap<Type>> types;
  unsigned depth = 0;
};
} // namespace

InFlightDiagnostic Importer::nodeError(const NodeProto &node) {
  std::string label = node.name().empty()
                          ? (node.output_size() ? node.output(0) : "")
                          : node.name();
  return error("node '") << label << "' (" << node.op_type() << ", opset "
                         << opset(node.domain()) << "): ";
}

int64_t Importer::opset(StringRef domain) const {
  bool standard = domain.empty() || domain == "ai.onnx";
  for (const OperatorSetIdProto &set : model->opset_import())
    if (set.domain() == domain.str() ||
        (standard && (set.domain().empty() || set.domain() == "ai.onnx")))
      return set.version();
  return 0;
}

Value Importer::lookup(StringRef name) const {
  for (const Scope &scope : llvm::reverse(scopes))
    if (Value value = scope.lookup(name))
      return value;
  return {};
}

LogicalResult Importer::define(StringRef name, Value value) {
  if (name.empty() || scopes.back().try_emplace(name, value).second)
    return success();
  return error("value '") << name << "' is defined twice";
}

void Importer::declareTypes(const GraphProto &graph) {
  types.emplace_back();
  for (const auto *infos : {&graph.value_info(), &graph.output()})
    for (const ValueInfoProto &info : *infos)
      types.back()[info.name()] = typeOf(info.type(), b.getContext());
}

Type Importer::declaredType(StringRef name) const {
  for (const auto &scope : llvm::reverse(types))
    if (Type type = scope.lookup(name))
      return type;
  return UntypedType::get(b.getContext());
}

DictionaryAttr Importer::argumentAttrs(const ValueInfoProto &info) {
  SmallVector<NamedAttribute> attrs;
  attrs.push_back(
      b.getNamedAttr(OnnxDialect::kNameAttr, b.getStringAttr(info.name())));
  SmallVector<Attribute> dims;
  for (const auto &dim : info.type().tensor_type().shape().dim())
    dims.push_back(b.getStringAttr(dim.dim_param()));
  attrs.push_back(b.getNamedAttr(OnnxDialect::kDimsAttr, b.getArrayAttr(dims)));
  return b.getDictionaryAttr(attrs);
}

/// The inputs that a run has to give. Others have an initializer: before IR
/// version 4 every one is an input too, since then it is a default, which is
/// taken for all runs.
static SmallVector<const ValueInfoProto *>
requiredInputs(const GraphProto &graph) {
  llvm::StringSet<llvm::MallocAllocator> initialized;
  for (const TensorProto &tensor : graph.initializer())
    initialized.insert(tensor.name());
  SmallVector<const ValueInfoProto *> required;
  for (const ValueInfoProto &info : graph.input())
    if (!initialized.contains(info.name()))
      required.push_back(&info);
  return required;
}

OwningOpRef<ModuleOp> Importer::run() {
  if (!model->has_graph() || model->ir_version() < 1)
    return error("not an ONNX model: no graph or no IR version"), nullptr;
  OwningOpRef<ModuleOp> module = ModuleOp::create(fileLoc());
  // The header is everything but the graph, whose weights must not be copied.
  GraphProto graphOnly;
  graphOnly.Swap(model->mutable_graph());
  ModelProto header(*model);
  header.clear_graph();
  graphOnly.Swap(model->mutable_graph());
  (*module)->setAttr(OnnxDialect::kModelAttr, b.getStringAttr(textOf(header)));
  (*module)->setAttr(OnnxDialect::kOpsetAttr, b.getI64IntegerAttr(opset("")));
  const GraphProto &graph = model->graph();
  SmallVector<Type> inputs;
  for (const ValueInfoProto *info : requiredInputs(graph))
    inputs.push_back(typeOf(info->type(), b.getContext()));
  b.setInsertionPointToEnd(module->getBody());
  auto function =
      func::FuncOp::create(b, fileLoc(), "main", b.getFunctionType(inputs, {}));
  if (failed(this->graph(graph, function)))
    return nullptr;
  return module;
}

LogicalResult Importer::graph(const GraphProto &graph, func::FuncOp function) {
  for (auto [i, info] : llvm::enumerate(requiredInputs(graph)))
    function.setArgAttrs(i, argumentAttrs(*info));
  GraphProto shell;
  shell.set_name(graph.name());
  shell.set_doc_string(graph.doc_string());
  *shell.mutable_input() = graph.input();
  *shell.mutable_output() = graph.output();
  // Of weights of 4 bits, which are numbers of 8 bits from here on.
  for (const ValueInfoProto &info : graph.value_info())
    if (!hasHalfBytes(info.type().tensor_type().elem_type()))
      *shell.add_value_info() = info;
  *shell.mutable_sparse_initializer() = graph.sparse_initializer();
  *shell.mutable_quantization_annotation() = graph.quantization_annotation();
  *shell.mutable_metadata_props() = graph.metadata_props();
  function->setAttr(OnnxDialect::kGraphAttr, b.getStringAttr(textOf(shell)));
  SmallVector<Value> outputs;
  if (failed(body(graph, function.addEntryBlock(), outputs)))
    return failure();
  func::ReturnOp::create(b, fileLoc(), outputs);
  SmallVector<Type> results(ValueRange(outputs).getTypes());
  function.setType(b.getFunctionType(function.getArgumentTypes(), results));
  for (auto [i, info] : llvm::enumerate(graph.output()))
    function.setResultAttrs(i, argumentAttrs(info));
  return success();
}

LogicalResult Importer::body(const GraphProto &graph, Block *block,
                             SmallVector<Value> &outputs) {
  b.setInsertionPointToEnd(block);
  scopes.emplace_back();
  declareTypes(graph);
  llvm::scope_exit restore([&] {
    scopes.pop_back();
    types.pop_back();
  });
  llvm::StringSet<llvm::MallocAllocator> inputs;
  SmallVector<const ValueInfoProto *> given =
      isa<func::FuncOp>(block->getParentOp())
          ? requiredInputs(graph)
          : llvm::map_to_vector(graph.input(), [](const ValueInfoProto &info) {
              return &info;
            });
  for (auto [info, argument] : llvm::zip(given, block->getArguments())) {
    if (info->name().empty())
      return error("a graph input has no name");
    inputs.insert(info->name());
    if (failed(define(info->name(), argument)))
      return failure();
  }
  for (const TensorProto &tensor : graph.initializer()) {
    if (inputs.contains(tensor.name()))
      return error("input '")
             << tensor.name() << "' of a subgraph has a default value";
    if (failed(initializer(tensor)))
      return failure();
  }
  for (const NodeProto &node : graph.node())
    if (failed(this->node(node)))
      return failure();
  for (const ValueInfoProto &info : graph.output()) {
    Value value = lookup(info.name());
    if (!value)
      return error("graph output '") << info.name() << "' is never computed";
    outputs.push_back(value);
  }
  return success();
}

LogicalResult Importer::initializer(const TensorProto &tensor) {
  std::string message;
  ElementsAttr value = elementsOf(tensor, model, file, b.getContext(), message);
  if (!value)
    return error("initializer '") << tensor.name() << "': " << message;
  auto op = InitializerOp::create(b, fileLoc(), value.getType(), value);
  op->setAttr(OnnxDialect::kOutputsAttr, b.getStrArrayAttr({tensor.name()}));
  if (hasHalfBytes(tensor.data_type())) {
    // Where a file has the numbers, they are not of this type.
    halves.insert(tensor.name());
    return define(tensor.name(), op);
  }
  if (std::string rest = restOf(tensor); !rest.empty())
    op->setAttr(OnnxDialect::kNodeAttr, b.getStringAttr(rest));
  return define(tensor.name(), op);
}

LogicalResult Importer::attribute(const NodeProto &node,
                                  const AttributeProto &attr,
                                  OperationState &state,
                                  SmallVector<const GraphProto *> &subgraphs,
                                  SmallVector<Attribute> &regionNames) {
  std::string message;
  Attribute value;
  switch (attr.type()) {
  case AttributeProto::GRAPH:
    subgraphs.push_back(&attr.g());
    regionNames.push_back(b.getStringAttr(attr.name()));
    return success();
  case AttributeProto::GRAPHS:
    for (const GraphProto &graph : attr.graphs()) {
      subgraphs.push_back(&graph);
      regionNames.push_back(b.getStringAttr(attr.name() + "[]"));
    }
    return success();
  default:
    value = attributeFromProto(attr, model, file, b.getContext(), message);
  }
  if (!value)
    return nodeError(node) << "attribute '" << attr.name() << "': " << message;
  if (attr.name().empty() || state.attributes.get(attr.name()))
    return nodeError(node) << "attribute '" << attr.name()
                           << "' has no name or is given twice";
  state.addAttribute(attr.name(), value);
  return success();
}

/// What of a node has no place in an op: documentation, properties, and of
/// attributes whatever their values do not show.
static std::string restOf(const NodeProto &node) {
  NodeProto rest;
  rest.set_doc_string(node.doc_string());
  if (!node.has_doc_string())
    rest.clear_doc_string();
  *rest.mutable_metadata_props() = node.metadata_props();
  if (node.has_overload())
    rest.set_overload(node.overload());
  for (const AttributeProto &attr : node.attribute())
    if (std::optional<AttributeProto> kept = restOf(attr))
      *rest.add_attribute() = *kept;
  return textOf(rest);
}

/// What makes wider numbers of those of 4 bits: to other operators they are not
/// the same as numbers of 8.
static bool widens(const NodeProto &node) {
  return node.op_type() == "DequantizeLinear" ||
         node.op_type() == "GatherBlockQuantized";
}

LogicalResult Importer::node(const NodeProto &node) {
  if (node.op_type().empty())
    return nodeError(node) << "no operator type";
  for (const std::string &input : node.input())
    if (halves.contains(input) && !widens(node))
      return nodeError(node)
             << "input '" << input
             << "': numbers of 4 bits are read as weights of DequantizeLinear "
                "and GatherBlockQuantized only";
  std::string name = "onnx.";
  if (!node.domain().empty())
    name += node.domain() + ".";
  name += node.op_type();
  for (char c : name)
    if (!llvm::isAlnum(c) && c != '.' && c != '_')
      return nodeError(node) << "operator name with a character other than "
                                "letters, digits, '.' and '_'";
  Location loc = megactx::nodeLoc(node.name(), node.op_type(), fileLoc());
  OperationState state(loc, name);
  for (const std::string &input : node.input()) {
    Value value = input.empty()
                      ? NoneOp::create(b, loc, b.getNoneType()).getResult()
                      : lookup(input);
    if (!value)
      return nodeError(node)
             << "input '" << input
             << "' is not defined before it (dangling name or cycle)";
    state.addOperands(value);
  }
  SmallVector<Attribute> outputs, regionNames;
  for (const std::string &output : node.output()) {
    state.addTypes(output.empty() ? Type(b.getNoneType())
                                  : declaredType(output));
    outputs.push_back(b.getStringAttr(output));
  }
  SmallVector<const GraphProto *> subgraphs;
  for (const AttributeProto &attr : node.attribute())
    if (failed(attribute(node, attr, state, subgraphs, regionNames)))
      return failure();
  state.addAttribute(OnnxDialect::kOutputsAttr, b.getArrayAttr(outputs));
  if (node.has_name())
    state.addAttribute(OnnxDialect::kNameAttr, b.getStringAttr(node.name()));
  if (std::string rest = restOf(node); !rest.empty())
    state.addAttribute(OnnxDialect::kNodeAttr, b.getStringAttr(rest));
  if (!subgraphs.empty())
    state.addAttribute(OnnxDialect::kRegionsAttr, b.getArrayAttr(regionNames));
  for (size_t i = 0; i < subgraphs.size(); ++i)
    state.addRegion();
  Operation *op = b.create(state);
  for (auto [graph, region] : llvm::zip(subgraphs, op->getRegions()))
    if (failed(subgraph(*graph, region)))
      return failure();
  for (auto [output, value] : llvm::zip(node.output(), op->getResults()))
    if (!output.empty() && failed(define(output, value)))
      return failure();
  return success();
}

LogicalResult Importer::subgraph(const GraphProto &graph, Region &region) {
  if (++depth > 32)
    return error("subgraphs nested more than 32 levels deep");
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&region);
  for (const ValueInfoProto &info : graph.input())
    block->addArgument(typeOf(info.type(), b.getContext()), fileLoc());
  SmallVector<Value> outputs;
  if (failed(body(graph, block, outputs)))
    return failure();
  auto yield = YieldOp::create(b, fileLoc(), ValueRange(outputs));
  GraphProto shell;
  shell.CopyFrom(graph);
  shell.clear_node();
  shell.clear_initializer();
  yield->setAttr(OnnxDialect::kGraphAttr, b.getStringAttr(textOf(shell)));
  --depth;
  return success();
}

OwningOpRef<ModuleOp> mlir::onnx::moduleFromProto(ModelPtr model,
                                                  StringRef file,
                                                  MLIRContext *context) {
  return Importer(std::move(model), file, context).run();
}
