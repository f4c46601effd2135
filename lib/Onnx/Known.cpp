//===- Known.cpp - values that are known before a model runs --------------===//

#include "Known.h"
#include <algorithm>
#include <onnx/defs/tensor_proto_util.h>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;
using Numbers = std::optional<std::vector<int64_t>>;

KnownValues::KnownValues(const GraphProto &graph,
                         const shape_inference::DataValueMap &data,
                         const KnownValues *outer)
    : data(data), outer(outer) {
  for (const NodeProto &node : graph.node())
    for (const std::string &name : node.output())
      nodes[name] = &node;
  for (const TensorProto &tensor : graph.initializer())
    initializers[tensor.name()] = &tensor;
  for (const ValueInfoProto &info : graph.input())
    inputs.insert(info.name());
}

template <typename T> static std::vector<int64_t> parsed(const TensorProto &t) {
  std::vector<T> numbers = ParseData<T>(&t);
  return {numbers.begin(), numbers.end()};
}

static Numbers numbersIn(const TensorProto &tensor) {
  if (tensor.dims_size() > 1 || tensor.data_location() == TensorProto::EXTERNAL)
    return std::nullopt;
  int64_t count = tensor.dims_size() ? tensor.dims(0) : 1;
  std::vector<int64_t> numbers;
  if (tensor.data_type() == TensorProto::INT64)
    numbers = parsed<int64_t>(tensor);
  else if (tensor.data_type() == TensorProto::INT32)
    numbers = parsed<int32_t>(tensor);
  else if (tensor.data_type() != TensorProto::BOOL)
    return std::nullopt;
  else if (tensor.has_raw_data())
    numbers.assign(tensor.raw_data().begin(), tensor.raw_data().end());
  else
    numbers.assign(tensor.int32_data().begin(), tensor.int32_data().end());
  return int64_t(numbers.size()) == count ? Numbers(numbers) : std::nullopt;
}

Numbers KnownValues::numbersOf(const std::string &name,
                               unsigned nodesLeft) const {
  if (auto known = data.find(name); known != data.end()) {
    const auto &list = known->second.dim();
    if (std::all_of(list.begin(), list.end(),
                    [](const auto &dim) { return dim.has_dim_value(); })) {
      std::vector<int64_t> numbers;
      for (const auto &dim : list)
        numbers.push_back(dim.dim_value());
      return numbers;
    }
  }
  if (inputs.count(name))
    return std::nullopt;
  if (auto tensor = initializers.find(name); tensor != initializers.end())
    return numbersIn(*tensor->second);
  if (const NodeProto *node = makerOf(name))
    return nodesLeft ? computed(*node, nodesLeft - 1) : std::nullopt;
  return outer ? outer->numbersOf(name, nodesLeft) : std::nullopt;
}

std::optional<int64_t> KnownValues::numberOf(const std::string &name,
                                             unsigned nodesLeft) const {
  Numbers numbers = numbersOf(name, nodesLeft);
  return numbers && numbers->size() == 1 ? std::optional((*numbers)[0])
                                         : std::nullopt;
}

static Numbers constant(const NodeProto &node) {
  for (const AttributeProto &attribute : node.attribute()) {
    if (attribute.name() == "value")
      return numbersIn(attribute.t());
    if (attribute.name() == "value_int")
      return Numbers({attribute.i()});
    if (attribute.name() == "value_ints")
      return Numbers({attribute.ints().begin(), attribute.ints().end()});
  }
  return std::nullopt;
}

static std::optional<int64_t> compared(const std::string &type, int64_t a,
                                       int64_t b) {
  if (type == "Equal")
    return a == b;
  if (type == "Less")
    return a < b;
  if (type == "LessOrEqual")
    return a <= b;
  if (type == "Greater")
    return a > b;
  if (type == "GreaterOrEqual")
    return a >= b;
  return std::nullopt;
}

/// What inference does not propagate: what conditions are made of.
Numbers KnownValues::computed(const NodeProto &node, unsigned nodesLeft) const {
  if (!node.domain().empty())
    return std::nullopt;
  if (node.op_type() == "Constant")
    return constant(node);
  if (node.input_size() < 1 || node.input_size() > 2)
    return std::nullopt;
  auto a = numberOf(node.input(0), nodesLeft);
  if (a && node.op_type() == "Not")
    return Numbers({!*a});
  if (!a || node.input_size() != 2)
    return std::nullopt;
  auto b = numberOf(node.input(1), nodesLeft);
  auto result = b ? compared(node.op_type(), *a, *b) : std::nullopt;
  return result ? Numbers({*result}) : std::nullopt;
}
