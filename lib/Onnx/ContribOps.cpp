//===- ContribOps.cpp - onnxruntime's operators in ONNX's -----------------===//
//
// Semantics and defaults: onnxruntime's docs/ContribOperators.md.
//
//===----------------------------------------------------------------------===//

#include "Activations.h"
#include "Rules.h"
#include <algorithm>
#include <numeric>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

static std::string epsilon(const Call &call, double otherwise) {
  return "epsilon = " + text(call.real("epsilon", otherwise));
}

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

/// Groups are the channels of an InstanceNormalization.
static std::string groupNormalizationByGroup(const Call &call) {
  int64_t groups = call.integer("num_groups", 0);
  if (groups < 1)
    return "";
  return "shape = Shape(i0)\ndims = Constant <value_ints = [0, " +
         std::to_string(groups) +
         ", -1]> ()\nrows = Reshape(i0, dims)\n"
         "normal = InstanceNormalization <" +
         epsilon(call, 1e-5) + "> (rows, i1, i2)\no0 = Reshape(normal, shape)";
}

static std::string simplifiedLayerNormalization(const Call &call) {
  if (call.wants(1))
    return "";
  return "o0 = RMSNormalization <axis = " +
         std::to_string(call.integer("axis", -1)) + ", " + epsilon(call, 1e-5) +
         "> (i0, i1)";
}

/// Normalizes input + skip (+ bias), and gives that sum too.
template <bool isSimplified>
static std::string skipLayerNormalization(const Call &call) {
  int bias = isSimplified ? 3 : 4;
  bool statistics = call.wants(1) || call.wants(2);
  std::string sum = call.has(bias) ? "plain = Add(i0, i1)\no3 = Add(plain, " +
                                         input(bias) + ")\n"
                                   : "o3 = Add(i0, i1)\n";
  std::string with = "<axis = -1, " + epsilon(call, 1e-12) + "> (o3, i2";
  if (isSimplified)
    return statistics ? "" : sum + "o0 = RMSNormalization " + with + ")";
  return sum + (statistics ? "o0, o1, o2" : "o0") + " = LayerNormalization " +
         with + ", " + inputOrNone(call, 3) + ")";
}

/// Sums of three embeddings, normalized; o1 counts each row's mask.
static std::string embedLayerNormalization(const Call &call) {
  if ((call.wants(1) && !call.has(7)) || call.has(1) != call.has(4) ||
      call.integer("mask_index_type", 0) != 0)
    return "";
  std::string body = "words = Gather(i2, i0)\n";
  if (call.has(8))
    body += "places = Gather(i3, i8)\n";
  else
    body += "length = Shape <start = 1, end = 2> (i0)\n"
            "first = Constant <value_ints = [0]> ()\n"
            "places = Slice(i3, first, length, first)\n";
  body += std::string(call.has(1) ? "two" : "o2") + " = Add(words, places)\n";
  if (call.has(1))
    body += "segments = Gather(i4, i1)\no2 = Add(two, segments)\n";
  body += "o0 = LayerNormalization <axis = -1, " + epsilon(call, 1e-12) +
          "> (o2, i5, i6)\n";
  if (call.wants(1))
    body += "columns = Constant <value_ints = [1]> ()\n"
            "o1 = ReduceSum <keepdims = 0> (i7, columns)\n";
  return body;
}

//===----------------------------------------------------------------------===//
// Activations and products
//===----------------------------------------------------------------------===//

static std::string gelu(const Call &) { return "o0 = Gelu(i0)"; }

static std::string biasGelu(const Call &) {
  return "sum = Add(i0, i1)\no0 = Gelu(sum)";
}

static std::string fastGelu(const Call &call) {
  std::string with = "o0 = Gelu <approximate = \"tanh\"> ";
  return call.has(1) ? "sum = Add(i0, i1)\n" + with + "(sum)" : with + "(i0)";
}

static std::string quickGelu(const Call &call) {
  return scalarLike("alpha", call.real("alpha", 1.702), "i0") +
         "scaled = Mul(i0, alpha)\n"
         "gate = Sigmoid(scaled)\no0 = Mul(i0, gate)";
}

/// transBatchA takes [M, ..., K] as [..., M, K], before transA does.
static std::string fusedMatMul(const Call &call) {
  std::string body, operands[] = {"i0", "i1"};
  for (int i : {0, 1}) {
    bool isBatch = call.integer(i ? "transBatchB" : "transBatchA", 0);
    bool isSwapped = call.integer(i ? "transB" : "transA", 0);
    if (!isBatch && !isSwapped)
      continue;
    int rank = call.rank(i);
    if (rank < 2)
      return "";
    std::vector<int64_t> perm(rank);
    std::iota(perm.begin(), perm.end(), 0);
    if (isBatch)
      std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
    if (isSwapped)
      std::swap(perm[rank - 2], perm[rank - 1]);
    operands[i] = "turned" + std::to_string(i);
    body += operands[i] + " = Transpose <perm = " + listed(perm) + "> (" +
            input(i) + ")\n";
  }
  std::string product = " = MatMul(" + operands[0] + ", " + operands[1] + ")\n";
  double alpha = call.real("alpha", 1.0);
  if (alpha == 1.0)
    return body + "o0" + product;
  return body + "product" + product + scalarLike("alpha", alpha, "i0") +
         "o0 = Mul(product, alpha)";
}

/// The activation's parameters are attributes: activation_alpha and others.
static std::string fusedGemm(const Call &call) {
  const Activation *activation =
      findActivation(call.word("activation", "Identity"));
  if (!activation)
    return "";
  auto parameters = parametersOf(
      *activation, [&](const std::string &name) -> std::optional<double> {
        const std::string attribute = "activation_" + name;
        if (!call.attribute(attribute))
          return std::nullopt;
        return call.real(attribute, 0);
      });
  if (!parameters)
    return "";
  return "sums = Gemm <alpha = " + text(call.real("alpha", 1.0)) +
         ", beta = " + text(call.real("beta", 1.0)) +
         ", transA = " + std::to_string(call.integer("transA", 0)) +
         ", transB = " + std::to_string(call.integer("transB", 0)) +
         "> (i0, i1, " + inputOrNone(call, 2) + ")\n" +
         applied(*activation, *parameters, "o0", "sums");
}

/// The activation's parameters are a list; i3 is added before it.
static std::string fusedConv(const Call &call) {
  std::string attributes = ofConvolution(call);
  if (attributes.empty())
    return "";
  std::vector<double> parameters;
  if (const auto *given = call.attribute("activation_params"))
    parameters.assign(given->floats().begin(), given->floats().end());
  std::string image =
      "image = Conv <" + attributes + "> (i0, i1, " + inputOrNone(call, 2) +
      ")\n" +
      (call.has(3) ? "sums = Add(image, i3)\n" : "sums = Identity(image)\n");
  // Bounds are inputs of ONNX's.
  if (call.word("activation", "") == "Clip" && parameters.size() == 2)
    return image + scalarLike("low", parameters[0], "sums") +
           scalarLike("high", parameters[1], "sums") +
           "o0 = Clip(sums, low, high)\n";
  const Activation *activation =
      findActivation(call.word("activation", "Identity"));
  if (!activation || parameters.size() != activation->parameters.size())
    return "";
  return image + applied(*activation, parameters, "o0", "sums");
}

void mlir::onnx::addContribRules(Rules &rules) {
  rules.insert(
      {// onnxruntime writes this one into ONNX's domain.
       {"ai.megactx.GroupNormalizationByGroup", groupNormalizationByGroup},
       {".SimplifiedLayerNormalization", simplifiedLayerNormalization},
       {"com.microsoft.SimplifiedLayerNormalization",
        simplifiedLayerNormalization},
       {"com.microsoft.SkipLayerNormalization", skipLayerNormalization<false>},
       {"com.microsoft.SkipSimplifiedLayerNormalization",
        skipLayerNormalization<true>},
       {"com.microsoft.EmbedLayerNormalization", embedLayerNormalization},
       {"com.microsoft.Gelu", gelu},
       {"com.microsoft.BiasGelu", biasGelu},
       {"com.microsoft.FastGelu", fastGelu},
       {"com.microsoft.QuickGelu", quickGelu},
       {"com.microsoft.FusedConv", fusedConv},
       {"com.microsoft.FusedGemm", fusedGemm},
       {"com.microsoft.FusedMatMul", fusedMatMul}});
}
