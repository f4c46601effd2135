//===- TensorData.cpp - tensors and attributes of messages ----------------===//

#include "TensorData.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/text_format.h>

using namespace ::ONNX_NAMESPACE;
using namespace mlir;
using namespace mlir::onnx;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

static Type makeElementType(int32_t type, Builder &b) {
  switch (type) {
  case TensorProto::FLOAT:
    return b.getF32Type();
  case TensorProto::DOUBLE:
    return b.getF64Type();
  case TensorProto::FLOAT16:
    return b.getF16Type();
  case TensorProto::BFLOAT16:
    return b.getBF16Type();
  case TensorProto::BOOL:
    return b.getI1Type();
  case TensorProto::INT8:
    return b.getI8Type();
  case TensorProto::INT16:
    return b.getI16Type();
  case TensorProto::INT32:
    return b.getI32Type();
  case TensorProto::INT64:
    return b.getI64Type();
  case TensorProto::UINT8:
    return b.getIntegerType(8, false);
  case TensorProto::UINT16:
    return b.getIntegerType(16, false);
  case TensorProto::UINT32:
    return b.getIntegerType(32, false);
  case TensorProto::UINT64:
    return b.getIntegerType(64, false);
  case TensorProto::STRING:
    return StringType::get(b.getContext());
  default:
    return {};
  }
}

Type mlir::onnx::elementTypeOf(int32_t onnxType, MLIRContext *context) {
  Builder b(context);
  return makeElementType(onnxType, b);
}

int32_t mlir::onnx::dataTypeOf(Type elementType) {
  Builder b(elementType.getContext());
  for (int32_t type = TensorProto::DataType_MIN;
       type <= TensorProto::DataType_MAX; ++type)
    if (makeElementType(type, b) == elementType)
      return type;
  return TensorProto::UNDEFINED;
}

//===----------------------------------------------------------------------===//
// Reading tensors
//===----------------------------------------------------------------------===//

/// Elements that the typed fields hold, as the bytes that raw data would have.
template <typename T, typename Field>
static std::string bytesOf(const Field &field) {
  std::string bytes(field.size() * sizeof(T), '\0');
  for (int i = 0; i < field.size(); ++i) {
    T value = static_cast<T>(field.Get(i));
    memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
  return bytes;
}

static std::string typedBytes(const TensorProto &tensor) {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    return bytesOf<float>(tensor.float_data());
  case TensorProto::DOUBLE:
    return bytesOf<double>(tensor.double_data());
  case TensorProto::INT64:
    return bytesOf<int64_t>(tensor.int64_data());
  case TensorProto::UINT64:
    return bytesOf<uint64_t>(tensor.uint64_data());
  case TensorProto::UINT32:
    return bytesOf<uint32_t>(tensor.uint64_data());
  case TensorProto::INT32:
    return bytesOf<int32_t>(tensor.int32_data());
  case TensorProto::INT16:
  case TensorProto::UINT16:
  case TensorProto::FLOAT16:
  case TensorProto::BFLOAT16:
    return bytesOf<uint16_t>(tensor.int32_data());
  default:
    return bytesOf<uint8_t>(tensor.int32_data());
  }
}

namespace {
/// Where the bytes of a tensor are, and what keeps them alive.
struct Payload {
  StringRef bytes;
  std::shared_ptr<const void> owner;
};
} // namespace

/// Opens external data next to the model; the location must stay in its folder.
static std::optional<Payload> externalPayload(const TensorProto &tensor,
                                              StringRef file, uint64_t size,
                                              std::string &error) {
  StringRef location;
  uint64_t offset = 0;
  for (const StringStringEntryProto &entry : tensor.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    if (entry.key() == "offset" &&
        StringRef(entry.value()).getAsInteger(10, offset)) {
      error = "external data offset '" + entry.value() + "' is not a number";
      return std::nullopt;
    }
  }
  bool leaves = location.empty() || llvm::sys::path::is_absolute(location);
  for (auto part : llvm::make_range(llvm::sys::path::begin(location),
                                    llvm::sys::path::end(location)))
    leaves |= part == "..";
  if (leaves) {
    error = ("external data location '" + location +
             "' is not a path within the model's folder")
                .str();
    return std::nullopt;
  }
  SmallString<256> path(llvm::sys::path::parent_path(file));
  llvm::sys::path::append(path, location);
  llvm::sys::fs::file_status status;
  if (!llvm::sys::fs::status(path, status) &&
      !llvm::sys::fs::is_regular_file(status) &&
      !llvm::sys::fs::is_directory(status)) {
    error = ("external data '" + path + "' is not a regular file").str();
    return std::nullopt; // reading a pipe or a device may never end
  }
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer) {
    error = ("cannot read external data '" + path +
             "': " + buffer.getError().message())
                .str();
    return std::nullopt;
  }
  uint64_t available = (*buffer)->getBufferSize();
  if (offset > available || size > available - offset) {
    error = ("external data '" + path + "' ends before the tensor does").str();
    return std::nullopt;
  }
  std::shared_ptr<const void> owner(std::move(*buffer));
  StringRef bytes =
      static_cast<const llvm::MemoryBuffer *>(owner.get())->getBuffer();
  return Payload{bytes.substr(offset, size), std::move(owner)};
}

static ElementsAttr stringElements(const TensorProto &tensor,
                                   RankedTensorType type, std::string &error) {
  if (type.getNumElements() != tensor.string_data_size()) {
    error = "expected as many strings as the shape says";
    return {};
  }
  SmallVector<StringRef> values(tensor.string_data().begin(),
                                tensor.string_data().end());
  return DenseStringElementsAttr::get(type, values);
}

static ElementsAttr boolElements(RankedTensorType type, StringRef bytes) {
  SmallVector<bool> values;
  for (char byte : bytes)
    values.push_back(byte != 0);
  return DenseElementsAttr::get(type, values);
}

static ElementsAttr resource(RankedTensorType type, Payload payload,
                             StringRef name) {
  ArrayRef<char> data(payload.bytes.data(), payload.bytes.size());
  size_t alignment = 8;
  if (reinterpret_cast<uintptr_t>(data.data()) % alignment != 0) {
    // External data at an odd offset: the one case that needs a copy.
    auto copy = std::make_shared<std::vector<uint64_t>>((data.size() + 7) / 8);
    memcpy(copy->data(), data.data(), data.size());
    data = ArrayRef<char>(reinterpret_cast<const char *>(copy->data()),
                          data.size());
    payload.owner = copy;
  }
  auto release = [owner = payload.owner](void *, size_t, size_t) mutable {
    owner.reset();
  };
  AsmResourceBlob blob(data, alignment, std::move(release),
                       /*dataIsMutable=*/false);
  return DenseResourceElementsAttr::get(type, name, std::move(blob));
}

bool mlir::onnx::hasHalfBytes(int32_t dataType) {
  return dataType == TensorProto::INT4 || dataType == TensorProto::UINT4;
}

/// Numbers of 4 bits, two in a byte, the lower half first, as bytes.
static Payload unpacked(StringRef bytes, int64_t count, bool isSigned) {
  auto numbers = std::make_shared<std::string>(count, '\0');
  for (int64_t i = 0; i < count; ++i) {
    unsigned half = (uint8_t(bytes[i / 2]) >> (i % 2 * 4)) & 15;
    (*numbers)[i] = char(isSigned ? int(half ^ 8) - 8 : int(half));
  }
  return {*numbers, numbers};
}

/// The number of bytes, or nullopt where the shape is absurd.
static std::optional<int64_t> sizeOf(const TensorProto &tensor, Type element) {
  std::optional<int64_t> count =
      element.isIntOrFloat() ? (element.getIntOrFloatBitWidth() + 7) / 8 : 1;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return std::nullopt;
    count = llvm::checkedMul(*count, dim);
    if (!count)
      return std::nullopt;
  }
  return count;
}

ElementsAttr mlir::onnx::elementsOf(const TensorProto &tensor, ModelPtr owner,
                                    StringRef file, MLIRContext *context,
                                    std::string &error) {
  bool isHalf = hasHalfBytes(tensor.data_type()),
       isSigned = tensor.data_type() == TensorProto::INT4;
  Type element =
      elementTypeOf(isHalf ? isSigned ? TensorProto::INT8 : TensorProto::UINT8
                           : tensor.data_type(),
                    context);
  if (!element) {
    error = "unsupported data type " + std::to_string(tensor.data_type());
    return {};
  }
  std::optional<int64_t> size = sizeOf(tensor, element);
  if (!size) {
    error = "negative or absurd shape";
    return {};
  }
  int64_t count = *size;
  if (isHalf)
    size = count / 2 + count % 2;
  SmallVector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  auto type = RankedTensorType::get(dims, element);
  if (isa<StringType>(element))
    return stringElements(tensor, type, error);
  Payload payload;
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    auto external = externalPayload(tensor, file, *size, error);
    if (!external)
      return {};
    payload = *external;
  } else if (tensor.has_raw_data()) {
    payload = {tensor.raw_data(), owner};
  } else {
    auto bytes = std::make_shared<std::string>(typedBytes(tensor));
    payload = {*bytes, bytes};
  }
  if (int64_t(payload.bytes.size()) != *size) {
    error = "expected " + std::to_string(*size) + " bytes of data, but got " +
            std::to_string(payload.bytes.size());
    return {};
  }
  if (element.isInteger(1))
    return boolElements(type, payload.bytes);
  if (isHalf)
    payload = unpacked(payload.bytes, count, isSigned);
  if (count <= kSmallTensor) {
    ArrayRef<char> raw(payload.bytes.data(), payload.bytes.size());
    return DenseElementsAttr::getFromRawBuffer(type, raw);
  }
  return resource(type, std::move(payload),
                  tensor.name().empty() ? "constant" : tensor.name());
}

//===----------------------------------------------------------------------===//
// Writing tensors
//===----------------------------------------------------------------------===//

bool mlir::onnx::tensorFromElements(ElementsAttr value, TensorProto &tensor,
                                    int64_t inlineLimit) {
  auto type = cast<ShapedType>(value.getType());
  Type element = type.getElementType();
  tensor.set_data_type(dataTypeOf(element));
  for (int64_t dim : type.getShape())
    tensor.add_dims(dim);
  if (auto strings = dyn_cast<DenseStringElementsAttr>(value)) {
    for (StringRef text : strings.getValues<StringRef>())
      tensor.add_string_data(text.str());
    return true;
  }
  int64_t width =
      element.isIntOrFloat() ? (element.getIntOrFloatBitWidth() + 7) / 8 : 1;
  if (type.getNumElements() > inlineLimit / width)
    return false;
  std::string &raw = *tensor.mutable_raw_data();
  if (auto blob = dyn_cast<DenseResourceElementsAttr>(value)) {
    if (AsmResourceBlob *data = blob.getRawHandle().getBlob())
      raw.assign(data->getData().data(), data->getData().size());
    return true;
  }
  auto dense = cast<DenseElementsAttr>(value);
  if (element.isInteger(1)) {
    for (bool bit : dense.getValues<bool>())
      raw.push_back(bit);
    return true;
  }
  ArrayRef<char> data = dense.getRawData();
  if (!dense.isSplat()) {
    raw.assign(data.data(), data.size());
    return true;
  }
  raw.reserve(type.getNumElements() * width);
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    raw.append(data.data(), width);
  return true;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

Attribute mlir::onnx::attributeFromProto(const AttributeProto &attr,
                                         ModelPtr owner, StringRef file,
                                         MLIRContext *context,
                                         std::string &error) {
  Builder b(context);
  switch (attr.type()) {
  case AttributeProto::FLOAT:
    return b.getF32FloatAttr(attr.f());
  case AttributeProto::INT:
    return b.getI64IntegerAttr(attr.i());
  case AttributeProto::STRING:
    return b.getStringAttr(attr.s());
  case AttributeProto::TENSOR:
    return elementsOf(attr.t(), owner, file, context, error);
  case AttributeProto::FLOATS:
    return b.getDenseF32ArrayAttr(
        SmallVector<float>(attr.floats().begin(), attr.floats().end()));
  case AttributeProto::INTS:
    return b.getDenseI64ArrayAttr(
        SmallVector<int64_t>(attr.ints().begin(), attr.ints().end()));
  case AttributeProto::STRINGS: {
    SmallVector<Attribute> values;
    for (const std::string &text : attr.strings())
      values.push_back(b.getStringAttr(text));
    return b.getArrayAttr(values);
  }
  case AttributeProto::TENSORS: {
    SmallVector<Attribute> values;
    for (const TensorProto &tensor : attr.tensors()) {
      values.push_back(elementsOf(tensor, owner, file, context, error));
      if (!values.back())
        return {};
    }
    return b.getArrayAttr(values);
  }
  case AttributeProto::UNDEFINED:
    error = "no type";
    return {};
  default:
    // Types and sparse tensors stay messages: restOf keeps them.
    return b.getUnitAttr();
  }
}

bool mlir::onnx::protoFromAttribute(Attribute value, AttributeProto &attr) {
  if (auto real = dyn_cast<FloatAttr>(value)) {
    attr.set_type(AttributeProto::FLOAT);
    attr.set_f(real.getValueAsDouble());
  } else if (auto integer = dyn_cast<IntegerAttr>(value)) {
    attr.set_type(AttributeProto::INT);
    attr.set_i(integer.getValue().sextOrTrunc(64).getSExtValue());
  } else if (auto text = dyn_cast<StringAttr>(value)) {
    attr.set_type(AttributeProto::STRING);
    attr.set_s(text.str());
  } else if (auto reals = dyn_cast<DenseF32ArrayAttr>(value)) {
    attr.set_type(AttributeProto::FLOATS);
    for (float real : reals.asArrayRef())
      attr.add_floats(real);
  } else if (auto integers = dyn_cast<DenseI64ArrayAttr>(value)) {
    attr.set_type(AttributeProto::INTS);
    for (int64_t integer : integers.asArrayRef())
      attr.add_ints(integer);
  } else if (auto elements = dyn_cast<ElementsAttr>(value)) {
    attr.set_type(AttributeProto::TENSOR);
    tensorFromElements(elements, *attr.mutable_t(), INT64_MAX);
  } else if (auto array = dyn_cast<ArrayAttr>(value)) {
    attr.set_type(AttributeProto::STRINGS);
    for (Attribute entry : array) {
      if (auto text = dyn_cast<StringAttr>(entry)) {
        attr.add_strings(text.str());
      } else if (auto elements = dyn_cast<ElementsAttr>(entry)) {
        attr.set_type(AttributeProto::TENSORS);
        tensorFromElements(elements, *attr.add_tensors(), INT64_MAX);
      } else {
        return false;
      }
    }
  } else {
    return isa<UnitAttr>(value);
  }
  return true;
}

std::string mlir::onnx::restOf(const TensorProto &tensor) {
  TensorProto rest;
  if (tensor.has_doc_string())
    rest.set_doc_string(tensor.doc_string());
  *rest.mutable_metadata_props() = tensor.metadata_props();
  *rest.mutable_external_data() = tensor.external_data();
  if (tensor.has_data_location())
    rest.set_data_location(tensor.data_location());
  return textOf(rest);
}

std::optional<AttributeProto> mlir::onnx::restOf(const AttributeProto &attr) {
  AttributeProto rest;
  rest.set_name(attr.name());
  bool keep = attr.has_doc_string() || attr.has_ref_attr_name();
  if (attr.has_doc_string())
    rest.set_doc_string(attr.doc_string());
  if (attr.has_ref_attr_name())
    rest.set_ref_attr_name(attr.ref_attr_name());
  switch (attr.type()) {
  case AttributeProto::TENSOR:
    keep |= attr.t().has_name();
    if (attr.t().has_name())
      rest.mutable_t()->set_name(attr.t().name());
    break;
  case AttributeProto::STRINGS:
  case AttributeProto::TENSORS:
    // An empty array does not show which of the two it is.
    keep |= attr.strings_size() + attr.tensors_size() == 0;
    rest.set_type(attr.type());
    break;
  case AttributeProto::TYPE_PROTO:
  case AttributeProto::TYPE_PROTOS:
  case AttributeProto::SPARSE_TENSOR:
  case AttributeProto::SPARSE_TENSORS:
    return attr;
  default:
    break;
  }
  if (!keep)
    return std::nullopt;
  return rest;
}
