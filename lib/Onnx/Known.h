//===- Known.h - values that are known before a model runs ------*- C++ -*-===//

#ifndef MEGACTX_LIB_ONNX_KNOWN_H
#define MEGACTX_LIB_ONNX_KNOWN_H

#include <map>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace mlir::onnx {

/// What is known of the values of a graph and of graphs within it, of which no
/// two define the same name: their types, the nodes that make them, and lists
/// of integers and bools, which are constants, what inference propagated
/// (`data`), and what comparisons make of them.
class KnownValues {
public:
  KnownValues(const ::ONNX_NAMESPACE::GraphProto &graph,
              const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data);

  /// The node now makes its outputs.
  void define(const ::ONNX_NAMESPACE::NodeProto &node);

  /// Null where it is not known, or no tensor's.
  const ::ONNX_NAMESPACE::TypeProto::Tensor *
  typeOf(const std::string &name) const {
    auto found = types.find(name);
    return found != types.end() ? &found->second : nullptr;
  }
  /// The node that makes a value, or null. What an Identity makes is its
  /// operand's.
  const ::ONNX_NAMESPACE::NodeProto *makerOf(const std::string &name) const;

  /// Of a scalar or a list, at most so many nodes from where it is known: names
  /// of a bad file may go in circles.
  std::optional<std::vector<int64_t>> numbersOf(const std::string &name,
                                                unsigned nodesLeft = 32) const;
  /// Of a tensor of one.
  std::optional<int64_t> numberOf(const std::string &name,
                                  unsigned nodesLeft = 32) const;

private:
  void addTypes(const ::ONNX_NAMESPACE::GraphProto &graph);
  void addValues(const ::ONNX_NAMESPACE::GraphProto &graph);
  bool isExact(const ::ONNX_NAMESPACE::NodeProto &node) const;
  std::vector<std::optional<int64_t>> entriesOf(const std::string &name) const;
  bool isRight(const ::ONNX_NAMESPACE::NodeProto &node) const;
  bool isList(const std::string &name) const;
  std::optional<std::vector<int64_t>>
  computed(const ::ONNX_NAMESPACE::NodeProto &node, unsigned nodesLeft) const;

  const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data;
  std::map<std::string, ::ONNX_NAMESPACE::TypeProto::Tensor> types;
  std::map<std::string, const ::ONNX_NAMESPACE::NodeProto *> nodes;
  std::map<std::string, const ::ONNX_NAMESPACE::TensorProto *> initializers;
  std::set<std::string> inputs; ///< also those whose initializer is a default
  std::set<std::string> exact;  ///< of which `data` says what a run would
};

} // namespace mlir::onnx

#endif
