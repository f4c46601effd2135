//===- ContribRules.h - how a rule sees its node ----------------*- C++ -*-===//
//
// Owns what rules read of a node and the text that they share. A rule writes
// nodes in ONNX's text format. In it i0, i1, ... are the node's inputs, o0, o1,
// ... its outputs, `none` is an absent input, and every other name is local.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_CONTRIBRULES_H
#define MEGACTX_LIB_ONNX_CONTRIBRULES_H

#include <map>
#include <onnx/onnx_pb.h>
#include <string>

namespace mlir::onnx {

using Types = std::map<std::string, ::ONNX_NAMESPACE::TypeProto::Tensor>;

/// A node as its rule sees it.
class Call {
public:
  Call(const ::ONNX_NAMESPACE::NodeProto &node, const Types &types)
      : node(node), types(types) {}

  bool has(int i) const {
    return i < node.input_size() && !node.input(i).empty();
  }
  bool wants(int i) const {
    return i < node.output_size() && !node.output(i).empty();
  }
  const ::ONNX_NAMESPACE::AttributeProto *
  attribute(const std::string &name) const {
    for (const ::ONNX_NAMESPACE::AttributeProto &attribute : node.attribute())
      if (attribute.name() == name)
        return &attribute;
    return nullptr;
  }
  int64_t integer(const std::string &name, int64_t otherwise) const {
    const ::ONNX_NAMESPACE::AttributeProto *found = attribute(name);
    return found ? found->i() : otherwise;
  }
  double real(const std::string &name, double otherwise) const {
    const ::ONNX_NAMESPACE::AttributeProto *found = attribute(name);
    return found ? found->f() : otherwise;
  }
  /// A TensorProto's, 0 where it is unknown.
  int elementType(int i) const {
    auto found = has(i) ? types.find(node.input(i)) : types.end();
    return found != types.end() ? found->second.elem_type() : 0;
  }
  /// -1 where the rank is unknown.
  int rank(int i) const {
    auto found = has(i) ? types.find(node.input(i)) : types.end();
    return found != types.end() && found->second.has_shape()
               ? found->second.shape().dim_size()
               : -1;
  }
  /// Null where the rank is unknown or too small.
  const ::ONNX_NAMESPACE::TensorShapeProto::Dimension *dim(int i,
                                                           int axis) const {
    return rank(i) > axis ? &types.at(node.input(i)).shape().dim(axis)
                          : nullptr;
  }

private:
  const ::ONNX_NAMESPACE::NodeProto &node;
  const Types &types;
};

/// The nodes' text; empty for a form that it does not cover.
using Rule = std::string (*)(const Call &);
using Rules = std::map<std::string, Rule>;

/// A number as the text format has it.
std::string text(double number);
/// The name of input i.
std::string input(int i);
/// Its name, or `none`.
std::string inputOrNone(const Call &call, int i);

/// Attention over caches with a length for each batch entry.
void addCacheRules(Rules &rules);
/// Products, attention and tables of quantized numbers.
void addQuantizedRules(Rules &rules);

} // namespace mlir::onnx

#endif
