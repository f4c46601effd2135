//===- Rules.h - operators by what others do --------------------*- C++ -*-===//
//
// Owns how operators without a lowering become others, by a rule each: what
// rules read of a node, the text that they share, and their application. A rule
// writes nodes in ONNX's text format. In it i0, i1, ... are the node's inputs,
// o0, o1, ... its outputs, s0, s1, ... the inputs of the node that makes its
// first input, `none` is an absent input, and every other name is local, also
// to graphs within the text.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_RULES_H
#define MEGACTX_LIB_ONNX_RULES_H

#include "Known.h"
#include <map>
#include <onnx/onnx_pb.h>
#include <string>

namespace mlir::onnx {

/// A node as its rule sees it.
class Call {
public:
  Call(const ::ONNX_NAMESPACE::NodeProto &node, const KnownValues &values)
      : node(node), values(values) {}

  int countInputs() const { return node.input_size(); }

  bool has(int i) const {
    return i >= 0 && i < node.input_size() && !node.input(i).empty();
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
  std::string word(const std::string &name,
                   const std::string &otherwise) const {
    const ::ONNX_NAMESPACE::AttributeProto *found = attribute(name);
    return found ? found->s() : otherwise;
  }
  double real(const std::string &name, double otherwise) const {
    const ::ONNX_NAMESPACE::AttributeProto *found = attribute(name);
    return found ? found->f() : otherwise;
  }
  /// A TensorProto's, 0 where it is unknown.
  int elementType(int i) const {
    const ::ONNX_NAMESPACE::TypeProto::Tensor *found = tensorType(i);
    return found ? found->elem_type() : 0;
  }
  /// -1 where the rank is unknown.
  int rank(int i) const {
    const ::ONNX_NAMESPACE::TypeProto::Tensor *found = tensorType(i);
    return found && found->has_shape() ? found->shape().dim_size() : -1;
  }
  /// Null where there is none, or the rank is unknown.
  const ::ONNX_NAMESPACE::TensorShapeProto::Dimension *dim(int i,
                                                           int axis) const {
    return axis >= 0 && rank(i) > axis ? &tensorType(i)->shape().dim(axis)
                                       : nullptr;
  }
  /// Of an axis; 0 where that is unknown.
  int64_t size(int i, int axis) const {
    const ::ONNX_NAMESPACE::TensorShapeProto::Dimension *found = dim(i, axis);
    return found ? found->dim_value() : 0;
  }
  /// Whether the sizes of axes from `first` on are these, as far as they are
  /// known.
  bool hasSizes(int i, int first, std::initializer_list<int64_t> sizes) const {
    for (int64_t wanted : sizes) {
      int64_t known = size(i, first++);
      if (known > 0 && wanted > 0 && known != wanted)
        return false;
    }
    return true;
  }
  /// The numbers of a list of integers, or the one of a scalar, where they are
  /// known.
  std::optional<std::vector<int64_t>> integers(int i) const {
    return has(i) ? values.numbersOf(node.input(i)) : std::nullopt;
  }
  /// The node that makes an input, as a rule would see it.
  std::optional<Call> maker(int i) const {
    const ::ONNX_NAMESPACE::NodeProto *found =
        has(i) ? values.makerOf(node.input(i)) : nullptr;
    return found ? std::optional(Call(*found, values)) : std::nullopt;
  }
  const std::string &type() const { return node.op_type(); }
  const std::string &output(int i) const { return node.output(i); }

private:
  const ::ONNX_NAMESPACE::TypeProto::Tensor *tensorType(int i) const {
    return has(i) ? values.typeOf(node.input(i)) : nullptr;
  }

  const ::ONNX_NAMESPACE::NodeProto &node;
  const KnownValues &values;
};

/// The nodes' text; empty for a form that it does not cover.
using Rule = std::string (*)(const Call &);
using Rules = std::map<std::string, Rule>;

/// Whether a TensorProto's type is of floats that compute: f16, bf16, f32, f64.
bool isReal(int64_t elementType);
/// A number as the text format has it.
std::string text(double number);
/// The name of input i.
std::string input(int i);
/// Words with commas between them.
std::string joined(const std::vector<std::string> &words);
/// Numbers as an attribute has them.
std::string listed(const std::vector<int64_t> &numbers);
/// A node that makes the list of int64.
std::string list(const std::string &name, const std::vector<int64_t> &numbers);
/// Makes `name`, the integers from 0 on, as many as `count`, a list of one,
/// says.
std::string counted(const std::string &name, const std::string &count);
/// Writes `name`, an input's number as a list of one; a run refuses one below
/// 1, as no shape has a size below zero.
std::string checkedSize(const std::string &name, const std::string &input);
/// A convolution's attributes, between < and >; empty where its padding has a
/// name that ONNX does not know.
std::string ofConvolution(const Call &call);
/// Its name, or `none`.
std::string inputOrNone(const Call &call, int i);

/// Activations of narrow floats.
void addActivationRules(Rules &rules);
/// onnxruntime's operators, but for those of the other files.
void addContribRules(Rules &rules);
/// Attention, and what it turns queries and keys by.
void addContribAttentionRules(Rules &rules);
/// Mixtures of experts.
void addExpertRules(Rules &rules);
/// Gated delta networks and convolutions that carry a state.
void addContribRecurrentRules(Rules &rules);
/// Linear attention, ONNX's and onnxruntime's.
void addLinearAttentionRules(Rules &rules);
/// Attention over caches with a length for each batch entry.
void addCacheRules(Rules &rules);
/// Products, attention and tables of quantized numbers.
void addQuantizedRules(Rules &rules);
/// Random numbers, of a seed.
void addRandomRules(Rules &rules);
/// LSTM, GRU, RNN as a Scan for each direction, and sequences in reverse.
void addRecurrentRules(Rules &rules);
/// What transposed convolutions of constants do.
void addConvolutionRules(Rules &rules);
/// Einstein sums that are products of matrices.
void addEinsumRules(Rules &rules);
/// Samples between the elements of an image.
void addSamplingRules(Rules &rules);
/// Discrete Fourier transforms, as products with matrices.
void addSpectrumRules(Rules &rules);
/// Norms over channels or space.
void addNormalizationRules(Rules &rules);
/// Sequences of tensors of which it is known how many and which they are.
void addSequenceRules(Rules &rules);

/// Whether an operator of ONNX makes a sequence of tensors.
bool makesSequence(const std::string &type);
/// Drops sequences that nothing takes, of the graph and of graphs within it.
/// False where all are taken; what they were made of may be unused after that.
bool dropUnusedSequences(::ONNX_NAMESPACE::GraphProto &graph);

/// Whether ONNX's operator has a rule.
bool hasRule(const std::string &type);

/// Replaces each node that a rule covers, of the graph and of graphs within it,
/// of which no two may define the same name. Rules may need the ranks of
/// operands, and integers, which inference finds between rounds: call until
/// false, which says that nothing was replaced. A form that no rule covers
/// stays.
bool applyRules(::ONNX_NAMESPACE::GraphProto &graph,
                const ::ONNX_NAMESPACE::shape_inference::DataValueMap &data);

} // namespace mlir::onnx

#endif
