//===- Known.cpp - values that are known before a model runs --------------===//

#include "Known.h"
#include "Names.h"
#include <algorithm>
#include <onnx/defs/tensor_proto_util.h>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;
using Numbers = std::optional<std::vector<int64_t>>;

KnownValues::KnownValues(const GraphProto &graph,
                         const shape_inference::DataValueMap &data)
    : data(data) {
  addTypes(graph);
  addValues(graph);
}

void KnownValues::addTypes(const GraphProto &graph) {
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
  for (const NodeProto &node : graph.node())
    forEachSubgraph(node, [&](const GraphProto &inner) { addTypes(inner); });
}

void KnownValues::addValues(const GraphProto &graph) {
  for (const ValueInfoProto &info : graph.input())
    inputs.insert(info.name());
  for (const TensorProto &tensor : graph.initializer()) {
    initializers[tensor.name()] = &tensor;
    if (isList(tensor.name()) && !inputs.count(tensor.name()))
      exact.insert(tensor.name());
  }
  for (const NodeProto &node : graph.node()) {
    forEachSubgraph(node, [&](const GraphProto &inner) { addValues(inner); });
    define(node);
  }
}

void KnownValues::define(const NodeProto &node) {
  bool makesExact = isExact(node);
  for (const std::string &name : node.output()) {
    nodes[name] = &node;
    if (makesExact && isList(name))
      exact.insert(name);
  }
}

/// Of integers, as shapes are.
bool KnownValues::isList(const std::string &name) const {
  const TypeProto::Tensor *type = typeOf(name);
  return type && type->has_shape() && type->shape().dim_size() <= 1 &&
         (type->elem_type() == TensorProto::INT64 ||
          type->elem_type() == TensorProto::INT32);
}

using Entries = std::vector<std::optional<int64_t>>;

static Entries entriesIn(const TensorShapeProto &list) {
  Entries entries;
  for (const auto &dim : list.dim())
    entries.push_back(dim.has_dim_value() ? std::optional(dim.dim_value())
                                          : std::nullopt);
  return entries;
}

/// What inference says of a list, or an initializer has.
Entries KnownValues::entriesOf(const std::string &name) const {
  if (auto known = data.find(name); known != data.end())
    return entriesIn(known->second);
  Numbers numbers = numbersOf(name);
  return numbers ? Entries(numbers->begin(), numbers->end()) : Entries();
}

static bool fitInto32Bits(const Entries &entries) {
  return std::all_of(entries.begin(), entries.end(), [](const auto &entry) {
    return !entry || *entry == int32_t(*entry);
  });
}

static std::optional<int64_t> combined(const std::string &type, int64_t a,
                                       int64_t b) {
  int64_t result;
  bool overflows = type == "Add"   ? __builtin_add_overflow(a, b, &result)
                   : type == "Sub" ? __builtin_sub_overflow(a, b, &result)
                                   : __builtin_mul_overflow(a, b, &result);
  return overflows || result != int32_t(result) ? std::nullopt
                                                : std::optional(result);
}

/// Of an Add, Sub or Mul: whether the numbers are those of 64 bits, and fit
/// into 32.
bool KnownValues::isRight(const NodeProto &node) const {
  auto a = entriesOf(node.input(0)), b = entriesOf(node.input(1)),
       all = entriesOf(node.output(0));
  auto entry = [](const auto &entries, size_t i) {
    size_t at = entries.size() == 1 ? 0 : i;
    return at < entries.size() ? entries[at] : std::nullopt;
  };
  for (size_t i = 0; i < all.size(); ++i) {
    auto x = entry(a, i), y = entry(b, i);
    if (all[i] && !(x && y && combined(node.op_type(), *x, *y) == all[i]))
      return false;
  }
  return true;
}

/// Whether inference computes what a run does. It takes tensors of any rank for
/// lists, no Cast changes its numbers, and sums and products have 32 bits.
bool KnownValues::isExact(const NodeProto &node) const {
  const std::string &type = node.op_type();
  if (type == "Shape")
    return true;
  bool areExact = std::all_of(node.input().begin(), node.input().end(),
                              [&](const std::string &name) {
                                return name.empty() || exact.count(name);
                              });
  if (!areExact || node.output_size() != 1)
    return areExact;
  if (type == "Cast")
    return fitInto32Bits(entriesOf(node.output(0)));
  if (node.input_size() == 2 &&
      (type == "Add" || type == "Sub" || type == "Mul"))
    return isRight(node);
  return true;
}

const NodeProto *KnownValues::makerOf(const std::string &name) const {
  const std::string *value = &name;
  for (unsigned left = 32; left; --left) {
    auto found = nodes.find(*value);
    if (found == nodes.end())
      return nullptr;
    const NodeProto *node = found->second;
    if (node->op_type() != "Identity" || node->input_size() != 1)
      return node;
    value = &node->input(0);
  }
  return nullptr;
}

template <typename T> static std::vector<int64_t> parsed(const TensorProto &t) {
  std::vector<T> numbers = ParseData<T>(&t);
  return {numbers.begin(), numbers.end()};
}

/// Large weights are not told.
static bool hasContents(const TensorProto &tensor) {
  return tensor.data_location() != TensorProto::EXTERNAL &&
         (tensor.has_raw_data() || tensor.int64_data_size() > 0 ||
          tensor.int32_data_size() > 0);
}

static Numbers numbersIn(const TensorProto &tensor) {
  if (tensor.dims_size() > 1 || !hasContents(tensor))
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
  if (auto known = data.find(name); known != data.end() && exact.count(name)) {
    Entries entries = entriesIn(known->second);
    std::vector<int64_t> numbers;
    for (const auto &entry : entries)
      if (entry)
        numbers.push_back(*entry);
    if (numbers.size() == entries.size())
      return numbers;
  }
  if (inputs.count(name))
    return std::nullopt;
  if (auto tensor = initializers.find(name); tensor != initializers.end())
    return numbersIn(*tensor->second);
  if (const NodeProto *node = makerOf(name))
    return nodesLeft ? computed(*node, nodesLeft - 1) : std::nullopt;
  return std::nullopt;
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

static bool isCastToBool(const NodeProto &node) {
  return node.op_type() == "Cast" && node.attribute_size() > 0 &&
         node.attribute(0).name() == "to" &&
         node.attribute(0).i() == TensorProto::BOOL;
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
  if (a && isCastToBool(node))
    return Numbers({*a != 0});
  if (!a || node.input_size() != 2)
    return std::nullopt;
  auto b = numberOf(node.input(1), nodesLeft);
  auto result = b ? compared(node.op_type(), *a, *b) : std::nullopt;
  return result ? Numbers({*result}) : std::nullopt;
}
