//===- Tensors.cpp - tensors in files -------------------------------------===//

#include "Tensors.h"
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <onnx/onnx_pb.h>
#include <sstream>
#include <stdexcept>

namespace fs = std::filesystem;
using onnx::TensorProto;

namespace {
struct Dtype {
  const char *name;
  int32_t onnxType;
  int64_t width;
  const char *npy;
};
const Dtype dtypes[] = {{"float", TensorProto::FLOAT, 4, "<f4"},
                        {"double", TensorProto::DOUBLE, 8, "<f8"},
                        {"float16", TensorProto::FLOAT16, 2, "<f2"},
                        {"bfloat16", TensorProto::BFLOAT16, 2, ""},
                        {"int8", TensorProto::INT8, 1, "|i1"},
                        {"int16", TensorProto::INT16, 2, "<i2"},
                        {"int32", TensorProto::INT32, 4, "<i4"},
                        {"int64", TensorProto::INT64, 8, "<i8"},
                        {"uint8", TensorProto::UINT8, 1, "|u1"},
                        {"uint16", TensorProto::UINT16, 2, "<u2"},
                        {"uint32", TensorProto::UINT32, 4, "<u4"},
                        {"uint64", TensorProto::UINT64, 8, "<u8"},
                        {"bool", TensorProto::BOOL, 1, "|b1"}};

const Dtype *findDtype(const std::string &name) {
  for (const Dtype &dtype : dtypes)
    if (name == dtype.name)
      return &dtype;
  return nullptr;
}

std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error("cannot read '" + path + "'");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

template <typename T, typename Field> std::string packed(const Field &field) {
  std::string bytes;
  for (auto entry : field) {
    T value = static_cast<T>(entry);
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(T));
  }
  return bytes;
}

std::string typedBytes(const TensorProto &tensor, int64_t width) {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    return packed<float>(tensor.float_data());
  case TensorProto::DOUBLE:
    return packed<double>(tensor.double_data());
  case TensorProto::INT64:
    return packed<int64_t>(tensor.int64_data());
  case TensorProto::UINT64:
    return packed<uint64_t>(tensor.uint64_data());
  case TensorProto::UINT32:
    return packed<uint32_t>(tensor.uint64_data());
  default:
    return width == 4   ? packed<int32_t>(tensor.int32_data())
           : width == 2 ? packed<uint16_t>(tensor.int32_data())
                        : packed<uint8_t>(tensor.int32_data());
  }
}

void check(const Tensor &tensor, const std::string &path) {
  for (int64_t size : tensor.shape)
    if (size < 0)
      throw std::runtime_error("'" + path + "': negative size");
  if (tensor.shape.size() > 8)
    throw std::runtime_error("'" + path + "': more than 8 dimensions");
  __int128 bytes = widthOf(tensor.dtype);
  for (int64_t size : tensor.shape)
    if ((bytes *= size) > (__int128(1) << 60))
      throw std::runtime_error("'" + path + "': absurd shape");
  if (bytes != __int128(tensor.bytes.size()))
    throw std::runtime_error(
        "'" + path + "': expected " + std::to_string(int64_t(bytes)) +
        " bytes of data, but got " + std::to_string(tensor.bytes.size()));
}

Tensor readProto(const std::string &path) {
  TensorProto proto;
  if (!proto.ParseFromString(contents(path)))
    throw std::runtime_error("'" + path + "' is not a TensorProto");
  Tensor tensor;
  const Dtype *found = nullptr;
  for (const Dtype &dtype : dtypes)
    if (dtype.onnxType == proto.data_type())
      found = &dtype;
  if (!found)
    throw std::runtime_error("'" + path + "': unsupported data type " +
                             std::to_string(proto.data_type()));
  tensor.dtype = found->name;
  tensor.shape.assign(proto.dims().begin(), proto.dims().end());
  tensor.bytes =
      proto.has_raw_data() ? proto.raw_data() : typedBytes(proto, found->width);
  check(tensor, path);
  return tensor;
}

/// Format versions 1 to 3, little endian, C order.
Tensor readNpy(const std::string &path) {
  std::string text = contents(path);
  auto fail = [&](const char *why) -> std::runtime_error {
    return std::runtime_error("'" + path + "': " + why);
  };
  if (text.size() < 12 || text.compare(0, 6, "\x93NUMPY") != 0)
    throw fail("not a .npy file");
  auto byte = [&](size_t i) { return size_t(static_cast<uint8_t>(text[i])); };
  bool wide = text[6] > 1;
  size_t start = wide ? 12 : 10;
  size_t length = byte(8) | byte(9) << 8;
  if (wide)
    length |= byte(10) << 16 | byte(11) << 24;
  if (length > text.size() - start)
    throw fail("truncated header");
  std::string header = text.substr(start, length);
  auto after = [&](const std::string &key) {
    size_t at = header.find("'" + key + "'");
    if (at == std::string::npos ||
        (at = header.find(':', at)) == std::string::npos)
      throw fail("header without a field");
    return header.find_first_not_of(' ', at + 1);
  };
  if (header.compare(after("fortran_order"), 5, "False") != 0)
    throw fail("not in C order");
  Tensor tensor;
  size_t descr = after("descr") + 1;
  std::string kind = header.substr(descr, 3);
  for (const Dtype &dtype : dtypes)
    if (kind == dtype.npy)
      tensor.dtype = dtype.name;
  if (tensor.dtype.empty())
    throw fail("unsupported dtype");
  size_t open = after("shape"), close = header.find(')', open);
  if (close == std::string::npos)
    throw fail("header without a shape");
  std::stringstream sizes(header.substr(open + 1, close - open - 1));
  for (std::string size; std::getline(sizes, size, ',');) {
    if (size.find_first_of("0123456789") == std::string::npos)
      continue;
    tensor.shape.push_back(std::strtoll(size.c_str(), nullptr, 10));
  }
  tensor.bytes = text.substr(start + length);
  check(tensor, path);
  return tensor;
}

double half(uint16_t bits) {
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return static_cast<double>(value);
}
double brain(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

template <typename T> double numberAt(const char *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return static_cast<double>(value);
}
} // namespace

int64_t widthOf(const std::string &dtype) {
  const Dtype *found = findDtype(dtype);
  return found ? found->width : 0;
}

int64_t Tensor::count() const {
  int64_t result = 1;
  for (int64_t size : shape)
    result *= size;
  return result;
}

std::vector<double> Tensor::values() const {
  std::vector<double> result;
  int64_t width = widthOf(dtype);
  bool isSigned = dtype[0] == 'i';
  for (int64_t i = 0; i < count(); ++i) {
    const char *at = bytes.data() + i * width;
    double value;
    if (dtype == "float")
      value = numberAt<float>(at);
    else if (dtype == "double")
      value = numberAt<double>(at);
    else if (dtype == "float16")
      value = half(static_cast<uint16_t>(numberAt<uint16_t>(at)));
    else if (dtype == "bfloat16")
      value = brain(static_cast<uint16_t>(numberAt<uint16_t>(at)));
    else if (width == 8)
      value = isSigned ? numberAt<int64_t>(at) : numberAt<uint64_t>(at);
    else if (width == 4)
      value = isSigned ? numberAt<int32_t>(at) : numberAt<uint32_t>(at);
    else if (width == 2)
      value = isSigned ? numberAt<int16_t>(at) : numberAt<uint16_t>(at);
    else
      value = isSigned ? numberAt<int8_t>(at) : numberAt<uint8_t>(at);
    result.push_back(value);
  }
  return result;
}

bool hasTensor(const std::string &folder, const std::string &stem) {
  return fs::exists(fs::path(folder) / (stem + ".npy")) ||
         fs::exists(fs::path(folder) / (stem + ".pb"));
}

Tensor readTensor(const std::string &folder, const std::string &stem) {
  fs::path npy = fs::path(folder) / (stem + ".npy");
  if (fs::exists(npy))
    return readNpy(npy);
  return readProto(fs::path(folder) / (stem + ".pb"));
}

std::string nameOfTensor(const std::string &folder, const std::string &stem) {
  fs::path path = fs::path(folder) / (stem + ".pb");
  TensorProto proto;
  if (fs::exists(path) && proto.ParseFromString(contents(path)))
    return proto.name();
  return "";
}

void writeTensor(const std::string &folder, const std::string &stem,
                 const std::string &name, const Tensor &tensor) {
  TensorProto proto;
  proto.set_name(name);
  proto.set_data_type(findDtype(tensor.dtype)->onnxType);
  for (int64_t size : tensor.shape)
    proto.add_dims(size);
  proto.set_raw_data(tensor.bytes);
  fs::path path = fs::path(folder) / (stem + ".pb");
  fs::path staging = path;
  staging += ".tmp";
  {
    std::ofstream file(staging, std::ios::binary);
    file << proto.SerializeAsString();
    file.close();
    if (!file) {
      std::error_code ignored;
      fs::remove(staging, ignored);
      throw std::runtime_error("cannot write '" + path.string() + "'");
    }
  }
  fs::rename(staging, path);
}
