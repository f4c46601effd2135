//===- NormalizationRules.cpp - norms, and other reductions ---------------===//

#include "Rules.h"

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// Each element by what it and its neighbours among the channels are squared:
/// x / (bias + alpha / size * sum)^beta. Pools along channels that are a
/// spatial axis have their mean.
static std::string localResponseNormalization(const Call &call) {
  int64_t size = call.integer("size", 0);
  if (call.rank(0) < 2 || size < 1)
    return "";
  int64_t spatial = call.rank(0) - 2, before = (size - 1) / 2;
  std::vector<int64_t> kernel(1 + spatial, 1), pads(2 * (1 + spatial), 0);
  kernel[0] = size;
  pads[0] = before;
  pads[1 + spatial] = size - 1 - before;
  auto number = [&](const char *name, double otherwise) {
    return std::string(name) + "_wide = Constant <value = float {" +
           text(call.real(name, otherwise)) + "}> ()\n" + name +
           " = CastLike(" + name + "_wide, i0)\n";
  };
  return number("alpha", 1e-4) + number("beta", 0.75) + number("bias", 1.0) +
         list("axis", {1}) +
         "squares = Mul(i0, i0)\nspread = Unsqueeze(squares, axis)\n"
         "pooled = AveragePool <count_include_pad = 1, kernel_shape = " +
         listed(kernel) + ", pads = " + listed(pads) +
         "> (spread)\nmeans = Squeeze(pooled, axis)\n"
         "scaled = Mul(means, alpha)\nsums = Add(scaled, bias)\n"
         "norms = Pow(sums, beta)\no0 = Div(i0, norms)";
}

/// The p-norm of each channel.
static std::string globalLpPool(const Call &call) {
  int64_t p = call.integer("p", 2);
  if (call.rank(0) < 3 || p < 1)
    return "";
  std::vector<int64_t> axes;
  for (int axis = 2; axis < call.rank(0); ++axis)
    axes.push_back(axis);
  return list("axes", axes) + "power_wide = Constant <value = float {" +
         text(double(p)) + "}> ()\nroot_wide = Constant <value = float {" +
         text(1.0 / double(p)) +
         "}> ()\npower = CastLike(power_wide, i0)\n"
         "root = CastLike(root_wide, i0)\nsizes = Abs(i0)\n"
         "powers = Pow(sizes, power)\nsums = ReduceSum(powers, axes)\n"
         "o0 = Pow(sums, root)";
}

/// By distances from the mean, where ONNX's body takes squares from each other.
static std::string meanVarianceNormalization(const Call &call) {
  std::vector<int64_t> axes = {0, 2, 3};
  if (const auto *given = call.attribute("axes"))
    axes.assign(given->ints().begin(), given->ints().end());
  return list("axes", axes) +
         "mean = ReduceMean(i0, axes)\nfrom_mean = Sub(i0, mean)\n"
         "squares = Mul(from_mean, from_mean)\n"
         "variance = ReduceMean(squares, axes)\n"
         "deviation = Sqrt(variance)\n"
         "little_wide = Constant <value = float {1e-9}> ()\n"
         "little = CastLike(little_wide, i0)\n"
         "divisor = Add(deviation, little)\no0 = Div(from_mean, divisor)";
}

/// Of exponentials of the differences from the greatest number, where those of
/// ONNX's body end at 0 or beyond what a number can be.
static std::string reduceLogSumExp(const Call &call) {
  const bool isNarrow =
      isReal(call.elementType(0)) && call.elementType(0) != TensorProto::DOUBLE;
  const std::string axes = call.has(1) ? ", i1" : "",
                    empty =
                        "noop_with_empty_axes = " +
                        std::to_string(call.integer("noop_with_empty_axes", 0)),
                    kept = "<keepdims = 1, " + empty + "> ",
                    wanted = "<keepdims = " +
                             std::to_string(call.integer("keepdims", 1)) +
                             ", " + empty + "> ";
  auto finite = [&](const std::string &name, const std::string &form) {
    return name + "_number = ReduceMax " + form + "(data" + axes + ")\n" +
           name + "_ends = IsInf(" + name + "_number)\n" + name + " = Where(" +
           name + "_ends, zero, " + name + "_number)\n";
  };
  return "data = Cast <to = " + std::to_string(isNarrow ? 1 : 11) +
         "> (i0)\nzero_wide = Constant <value = float {0.0}> ()\n"
         "zero = CastLike(zero_wide, data)\n" +
         finite("most", kept) + finite("most_wanted", wanted) +
         "behind = Sub(data, most)\npowers = Exp(behind)\n"
         "sums = ReduceSum " +
         wanted + "(powers" + axes +
         ")\nlogs = Log(sums)\nwide = Add(logs, most_wanted)\n"
         "o0 = CastLike(wide, i0)";
}

void mlir::onnx::addNormalizationRules(Rules &rules) {
  rules[".LRN"] = localResponseNormalization;
  rules[".GlobalLpPool"] = globalLpPool;
  rules[".ReduceLogSumExp"] = reduceLogSumExp;
  rules[".MeanVarianceNormalization"] = meanVarianceNormalization;
}
