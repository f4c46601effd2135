//===- Interface.cpp - the entry of a compiled model ----------------------===//

#include "megactx/Artifact/Artifact.h"
#include "megactx/Runtime/Runtime.h"
#include "megactx/Support/StoredBytes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

static StringRef dtypeOf(Type type) {
  if (type.isF32())
    return "float";
  if (type.isF64())
    return "double";
  if (type.isF16())
    return "float16";
  if (type.isBF16())
    return "bfloat16";
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return "";
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return "bool";
  case 8:
    return isUnsigned ? "uint8" : "int8";
  case 16:
    return isUnsigned ? "uint16" : "int16";
  case 32:
    return isUnsigned ? "uint32" : "int32";
  case 64:
    return isUnsigned ? "uint64" : "int64";
  default:
    return "";
  }
}

/// Where the artifact's reader has to have a tensor, if that was noted.
static void noteMemory(DictionaryAttr attrs, llvm::json::Object &entry) {
  if (auto memory = attrs ? attrs.getAs<StringAttr>(kMemoryAttr) : StringAttr())
    entry["memory"] = memory.str();
}

/// {name, dtype, shape}; a size that is not known is a name, maybe empty.
static FailureOr<llvm::json::Object> describe(func::FuncOp function, Type type,
                                              DictionaryAttr attrs,
                                              std::string fallback) {
  auto tensor = dyn_cast<ShapedType>(type);
  if (!tensor || !tensor.hasRank() || dtypeOf(tensor.getElementType()).empty())
    return function.emitError("expected tensors of numbers as inputs and "
                              "outputs, but got ")
           << type;
  if (tensor.getRank() > MCTX_MAX_RANK)
    return function.emitError("expected inputs and outputs of at most ")
           << int64_t(MCTX_MAX_RANK) << " dims, but got " << type;
  auto name = attrs ? attrs.getAs<StringAttr>("onnx.name") : StringAttr();
  auto dims = attrs ? attrs.getAs<ArrayAttr>("onnx.dims") : ArrayAttr();
  llvm::json::Array shape;
  for (auto [i, size] : llvm::enumerate(tensor.getShape())) {
    if (!ShapedType::isDynamic(size)) {
      shape.push_back(size);
      continue;
    }
    auto symbol =
        dims && i < dims.size() ? dyn_cast<StringAttr>(dims[i]) : StringAttr();
    shape.push_back(symbol ? llvm::json::fixUTF8(symbol) : "");
  }
  // JSON holds UTF-8 only, a model's names any bytes.
  llvm::json::Object entry{
      {"name", llvm::json::fixUTF8(name ? name.getValue() : fallback)},
      {"dtype", dtypeOf(tensor.getElementType())},
      {"shape", std::move(shape)}};
  noteMemory(attrs, entry);
  return entry;
}

FailureOr<Interface> Interface::kept(ModuleOp module, StringAttr text) {
  auto parsed = llvm::json::parse(text.getValue());
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return module.emitError("expected '")
           << kInterfaceAttr << "' to be JSON, as written by this tool";
  }
  Interface result;
  llvm::json::Object *object = parsed->getAsObject();
  for (auto [name, list] : {std::pair("inputs", &result.inputs),
                            std::pair("outputs", &result.outputs),
                            std::pair("weights", &result.weightEntries)}) {
    llvm::json::Array *found = object ? object->getArray(name) : nullptr;
    if (!found)
      return module.emitError("expected '")
             << kInterfaceAttr << "' to hold a list '" << name << "'";
    *list = std::move(*found);
  }
  auto contents = module->getAttrOfType<ArrayAttr>(kContentsAttr);
  if (!contents || !llvm::all_of(contents, llvm::IsaPred<ElementsAttr>) ||
      contents.size() != result.weightEntries.size())
    return module.emitError("expected '")
           << kContentsAttr << "' to hold the contents of "
           << result.weightEntries.size() << " weights";
  result.contents = llvm::to_vector(contents.getAsRange<ElementsAttr>());
  return result;
}

LogicalResult Interface::keep(ModuleOp module) {
  FailureOr<Interface> interface = of(module);
  if (failed(interface))
    return failure();
  MLIRContext *context = module.getContext();
  auto function = module.lookupSymbol<func::FuncOp>("main");
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    function.removeArgAttr(i, kWeightAttr);
  function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(),
                    UnitAttr::get(context));
  std::string text =
      llvm::formatv("{0}", llvm::json::Value(interface->manifest()));
  module->setAttr(kInterfaceAttr, StringAttr::get(context, text));
  module->setAttr(kContentsAttr,
                  ArrayAttr::get(context, llvm::to_vector_of<Attribute>(
                                              interface->weights())));
  return success();
}

/// What is the same for tensors that are the same bytes in memory.
static const void *storageOf(ElementsAttr weight) {
  auto raw = dyn_cast<DenseResourceElementsAttr>(weight);
  AsmResourceBlob *blob = raw ? raw.getRawHandle().getBlob() : nullptr;
  return blob && !blob->getData().empty() ? blob->getData().data()
                                          : weight.getAsOpaquePointer();
}

SmallVector<ElementsAttr> Interface::storedWeights() const {
  DenseSet<const void *> seen;
  SmallVector<ElementsAttr> stored;
  for (ElementsAttr weight : contents)
    if (seen.insert(storageOf(weight)).second)
      stored.push_back(weight);
  return stored;
}

FailureOr<Interface> Interface::of(ModuleOp module) {
  if (auto text = module->getAttrOfType<StringAttr>(kInterfaceAttr))
    return kept(module, text);
  auto function = module.lookupSymbol<func::FuncOp>("main");
  if (!function || function.isExternal())
    return module.emitError("expected a function 'main', the model's graph"),
           failure();
  Interface result;
  int64_t offset = 0;
  DenseMap<const void *, int64_t> places; ///< in the file, of what is stored
  SmallVector<int64_t> inputOf;           ///< of each argument
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    inputOf.push_back(result.inputs.size());
    Type type = function.getArgument(i).getType();
    auto weight = function.getArgAttrOfType<ElementsAttr>(i, kWeightAttr);
    if (!weight) {
      auto entry = describe(function, type, function.getArgAttrDict(i),
                            "input_" + std::to_string(i));
      if (failed(entry))
        return failure();
      result.inputs.push_back(std::move(*entry));
      continue;
    }
    auto shaped = cast<ShapedType>(weight.getType());
    llvm::json::Array shape(shaped.getShape());
    auto [place, isNew] = places.try_emplace(storageOf(weight), offset);
    llvm::json::Object entry{{"offset", place->second},
                             {"shape", std::move(shape)}};
    noteMemory(function.getArgAttrDict(i), entry);
    result.weightEntries.push_back(std::move(entry));
    if (isNew)
      offset += (storedBytes(shaped) + 63) / 64 * 64;
    result.contents.push_back(weight);
  }
  if (failed(result.describeOutputs(function, inputOf)))
    return failure();
  return result;
}

/// Results that `main` no longer has, as they are arguments, are in their
/// places.
LogicalResult Interface::describeOutputs(func::FuncOp function,
                                         ArrayRef<int64_t> inputOf) {
  SmallVector<std::pair<Type, DictionaryAttr>> results;
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    results.emplace_back(type, function.getResultAttrDict(i));
  if (auto gone = function->getAttrOfType<ArrayAttr>(kUpdatedAttr))
    for (Attribute each : gone) {
      auto entry = dyn_cast<DictionaryAttr>(each);
      auto place = entry ? entry.getAs<IntegerAttr>("result") : IntegerAttr();
      auto type = entry ? entry.getAs<TypeAttr>("type") : TypeAttr();
      if (!place || !type || size_t(place.getInt()) > results.size())
        return function.emitError("expected '")
               << kUpdatedAttr << "' to say what results were";
      results.insert(results.begin() + place.getInt(),
                     {type.getValue(), entry.getAs<DictionaryAttr>("attrs")});
    }
  for (auto [i, result] : llvm::enumerate(results)) {
    auto [type, attrs] = result;
    auto entry = describe(function, type, attrs, "output_" + std::to_string(i));
    if (failed(entry))
      return failure();
    auto number =
        attrs ? attrs.getAs<IntegerAttr>(kUpdatesAttr) : IntegerAttr();
    if (number && size_t(number.getInt()) < inputOf.size())
      (*entry)["updates"] = inputOf[number.getInt()];
    outputs.push_back(std::move(*entry));
  }
  return success();
}

llvm::json::Object Interface::manifest() const {
  return llvm::json::Object{{"inputs", llvm::json::Array(inputs)},
                            {"outputs", llvm::json::Array(outputs)},
                            {"weights", llvm::json::Array(weightEntries)}};
}

LogicalResult mlir::megactx::addEntry(ModuleOp module) {
  auto wrapper = module.lookupSymbol<LLVM::LLVMFuncOp>("_mlir_ciface_main");
  if (!wrapper)
    return module.emitError("expected 'main' with a C interface");
  // What earlier levels noted on arguments means nothing in LLVM IR.
  auto isForeign = [](NamedAttribute attr) {
    return !attr.getName().strref().starts_with("llvm.");
  };
  for (auto function : module.getOps<FunctionOpInterface>()) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      for (NamedAttribute attr : llvm::to_vector(function.getArgAttrs(i)))
        if (isForeign(attr))
          function.removeArgAttr(i, attr.getName());
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      for (NamedAttribute attr : llvm::to_vector(function.getResultAttrs(i)))
        if (isForeign(attr))
          function.removeResultAttr(i, attr.getName());
  }
  auto b = ImplicitLocOpBuilder::atBlockEnd(module.getLoc(), module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {pointer});
  auto entry = LLVM::LLVMFuncOp::create(b, "mctx_main", type);
  b.setInsertionPointToStart(entry.addEntryBlock(b));
  SmallVector<Value> operands;
  for (unsigned i = 0; i < wrapper.getNumArguments(); ++i) {
    Value place = LLVM::GEPOp::create(b, pointer, pointer, entry.getArgument(0),
                                      ArrayRef<LLVM::GEPArg>{int32_t(i)});
    operands.push_back(LLVM::LoadOp::create(b, pointer, place));
  }
  LLVM::CallOp::create(b, wrapper, operands);
  LLVM::ReturnOp::create(b, ValueRange());
  return success();
}
