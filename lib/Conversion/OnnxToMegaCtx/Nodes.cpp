//===- Nodes.cpp - reading ONNX nodes -------------------------------------===//

#include "Nodes.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace mlir::megactx;

StringRef raise::typeOf(Operation *op) {
  StringRef name = op ? op->getName().getStringRef() : "";
  return name.consume_front("onnx.") ? name : "";
}

int64_t raise::rankOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getRank() : -1;
}

SmallVector<Value> raise::floatOperands(Operation *op) {
  return llvm::filter_to_vector(op->getOperands(), [](Value operand) {
    auto tensor = dyn_cast<TensorType>(operand.getType());
    return tensor && isa<FloatType>(tensor.getElementType());
  });
}

bool raise::isScalar(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == 1;
}

bool raise::isConstant(Value value) {
  StringRef type = typeOf(value);
  return type == "initializer" || type == "Constant";
}

ElementsAttr raise::constantOf(Value value) {
  Operation *op = value.getDefiningOp();
  StringRef type = typeOf(op);
  if (type == "Identity")
    return constantOf(op->getOperand(0));
  return type == "initializer" || type == "Constant"
             ? op->getAttrOfType<ElementsAttr>("value")
             : ElementsAttr();
}

static double inDouble(APFloat value) {
  bool lost;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return value.convertToDouble();
}

static double inDouble(IntegerType type, const APInt &value) {
  return type.isUnsigned() || type.getWidth() == 1
             ? double(value.getZExtValue())
             : double(value.getSExtValue());
}

raise::Numbers::Numbers(ElementsAttr elements)
    : count(elements.getNumElements()) {
  auto real = dyn_cast<FloatType>(elements.getElementType());
  auto integer = dyn_cast<IntegerType>(elements.getElementType());
  if (auto raw = dyn_cast<DenseResourceElementsAttr>(elements)) {
    readRaw(raw, real, integer);
    return;
  }
  auto dense = dyn_cast<DenseElementsAttr>(elements);
  if (dense && real)
    read = [values = dense.getValues<APFloat>().begin()](int64_t place) {
      return inDouble(*(values + place));
    };
  else if (dense && integer && integer.getWidth() <= 64)
    read = [values = dense.getValues<APInt>().begin(), integer](int64_t place) {
      return inDouble(integer, *(values + place));
    };
}

/// Numbers as they lie in memory.
void raise::Numbers::readRaw(DenseResourceElementsAttr elements, FloatType real,
                             IntegerType integer) {
  AsmResourceBlob *blob = elements.getRawHandle().getBlob();
  unsigned bits = real ? real.getWidth() : integer ? integer.getWidth() : 0;
  unsigned bytes = (bits + 7) / 8;
  if (!blob || !bytes || bytes > 8)
    return;
  ArrayRef<char> data = blob->getData();
  count = std::min(count, int64_t(data.size() / bytes));
  read = [=](int64_t place) {
    uint64_t word = 0;
    memcpy(&word, data.data() + place * bytes, bytes);
    if (real)
      return inDouble(APFloat(real.getFloatSemantics(), APInt(bits, word)));
    return bits == 1 ? double(word != 0) : inDouble(integer, APInt(bits, word));
  };
}

bool raise::isUniform(ElementsAttr elements) {
  auto raw = dyn_cast<DenseResourceElementsAttr>(elements);
  AsmResourceBlob *blob = raw ? raw.getRawHandle().getBlob() : nullptr;
  if (!blob)
    return elements.isSplat();
  ArrayRef<char> data = blob->getData();
  int64_t size = elements.getNumElements();
  size_t bytes = size > 0 ? data.size() / size : 0;
  return bytes > 0 &&
         memcmp(data.data(), data.data() + bytes, data.size() - bytes) == 0;
}

std::optional<double> raise::numberAt(ElementsAttr elements, int64_t place) {
  return Numbers(elements)[place];
}

std::optional<double> raise::constantNumber(Value value) {
  ElementsAttr elements = constantOf(value);
  if (!elements || elements.getNumElements() != 1 ||
      !isa<FloatType>(elements.getElementType()))
    return std::nullopt;
  return numberAt(elements, 0);
}

std::optional<SmallVector<int64_t>> raise::constantIntegers(Value value) {
  ElementsAttr elements = constantOf(value);
  if (!elements || !isa<IntegerType>(elements.getElementType()) ||
      elements.getNumElements() > 64)
    return std::nullopt;
  SmallVector<int64_t> integers;
  for (int64_t i = 0; i < elements.getNumElements(); ++i) {
    // Through a double the largest integers would change.
    if (auto dense = dyn_cast<DenseElementsAttr>(elements)) {
      integers.push_back((*(dense.getValues<APInt>().begin() + i))
                             .sextOrTrunc(64)
                             .getSExtValue());
      continue;
    }
    auto number = numberAt(elements, i);
    if (!number)
      return std::nullopt;
    integers.push_back(int64_t(*number));
  }
  return integers;
}

int64_t raise::integerAttr(Operation *op, StringRef name, int64_t otherwise) {
  auto attr = op->getAttrOfType<IntegerAttr>(name);
  return attr ? attr.getInt() : otherwise;
}

bool raise::hasOperand(Operation *op, unsigned i) {
  return i < op->getNumOperands() &&
         !isa<NoneType>(op->getOperand(i).getType());
}

StringAttr raise::dimName(Value input, int64_t dim) {
  auto argument = dyn_cast<BlockArgument>(input);
  auto function =
      argument
          ? dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp())
          : FunctionOpInterface();
  auto names = function
                   ? function.getArgAttrOfType<ArrayAttr>(
                         argument.getArgNumber(), onnx::OnnxDialect::kDimsAttr)
                   : ArrayAttr();
  auto name = names && dim < int64_t(names.size())
                  ? dyn_cast<StringAttr>(names[dim])
                  : StringAttr();
  return name && !name.empty() ? name : StringAttr();
}

std::string raise::describe(Value value) {
  auto quoted = [](const Twine &what, StringAttr name) {
    return name ? (what + " '" + name.getValue() + "'").str() : what.str();
  };
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto function =
        dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
    if (!function)
      return "an input of a subgraph";
    return quoted("input",
                  function.getArgAttrOfType<StringAttr>(
                      argument.getArgNumber(), onnx::OnnxDialect::kNameAttr));
  }
  Operation *op = value.getDefiningOp();
  if (isa<onnx::InitializerOp>(op)) {
    auto names = op->getAttrOfType<ArrayAttr>(onnx::OnnxDialect::kOutputsAttr);
    return quoted("initializer", names && !names.empty()
                                     ? dyn_cast<StringAttr>(names[0])
                                     : StringAttr());
  }
  auto place = op->getLoc()->findInstanceOf<NameLoc>();
  std::string node =
      quoted("the result of node", place ? place.getName() : StringAttr());
  // What raising made itself is no node of the graph.
  return typeOf(op).empty() ? node : node + " (" + typeOf(op).str() + ")";
}

Value raise::createNode(ImplicitLocOpBuilder &b, StringRef type,
                        ValueRange operands, Type result,
                        ArrayRef<NamedAttribute> attrs) {
  OperationState state(b.getLoc(), ("onnx." + type).str());
  state.addOperands(operands);
  state.addTypes(result);
  state.addAttributes(attrs);
  return b.create(state)->getResult(0);
}
