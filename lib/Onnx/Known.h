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

/// What is known of a graph's values: the nodes that make them, and tensors of
/// integers and bools, which are constants, what inference propagated (`data`),
/// and what comparisons make of them.
class KnownValues {
public:
  KnownValues(const ::ONNX_NAMESPACE::GraphProto &graph,
              const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data,
              const KnownValues *outer = nullptr);

  /// The node of the graph itself that makes a value, or null.
  const ::ONNX_NAMESPACE::NodeProto *makerOf(const std::string &name) const {
    auto found = nodes.find(name);
    return found != nodes.end() ? found->second : nullptr;
  }

  /// Of a scalar or a list, at most so many nodes from where it is known: names
  /// of a bad file may go in circles.
  std::optional<std::vector<int64_t>> numbersOf(const std::string &name,
                                                unsigned nodesLeft = 32) const;
  /// Of a tensor of one.
  std::optional<int64_t> numberOf(const std::string &name,
                                  unsigned nodesLeft = 32) const;

private:
  std::optional<std::vector<int64_t>>
  computed(const ::ONNX_NAMESPACE::NodeProto &node, unsigned nodesLeft) const;

  const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data;
  const KnownValues *outer;
  std::map<std::string, const ::ONNX_NAMESPACE::NodeProto *> nodes;
  std::map<std::string, const ::ONNX_NAMESPACE::TensorProto *> initializers;
  std::set<std::string> inputs; ///< also those whose initializer is a default
};

} // namespace mlir::onnx

#endif
