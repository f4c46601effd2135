//===- ContribQuantized.cpp - quantized operators -------------------------===//
//
// Products, convolutions and attention of numbers of 8 bits, onnxruntime's and
// ONNX's, in ONNX's integer products.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

using namespace mlir::onnx;

/// onnxruntime has these before ONNX did for all of its types.
static std::string ofAxis(const Call &call, const char *type) {
  std::string axis = std::to_string(call.integer("axis", 1));
  return "o0 = " + std::string(type) + " <axis = " + axis + "> (i0, i1" +
         (call.has(2) ? ", i2)" : ")");
}

static std::string quantizeLinear(const Call &call) {
  return ofAxis(call, "QuantizeLinear");
}

static std::string dequantizeLinear(const Call &call) {
  return ofAxis(call, "DequantizeLinear");
}

/// Inputs a and b by name, with zero points or `none`: `product` is their
/// product times `scale`, as f32.
static std::string scaledProduct(const std::string &a, const std::string &b,
                                 const std::string &zeroA,
                                 const std::string &zeroB) {
  return "sums = MatMulInteger(" + a + ", " + b + ", " + zeroA + ", " + zeroB +
         ")\nreals = Cast <to = 1> (sums)\nproduct = Mul(reals, scale)\n";
}

static std::string withBias(const Call &call, int bias) {
  return call.has(bias) ? "o0 = Add(product, " + input(bias) + ")\n"
                        : "o0 = Identity(product)\n";
}

static std::string matMulIntegerToFloat(const Call &call) {
  return "scale = Mul(i2, i3)\n" +
         scaledProduct("i0", "i1", inputOrNone(call, 4), inputOrNone(call, 5)) +
         withBias(call, 6);
}

static std::string dynamicQuantizeMatMul(const Call &call) {
  return "x, x_scale, x_zero = DynamicQuantizeLinear(i0)\n"
         "scale = Mul(x_scale, i2)\n" +
         scaledProduct("x", "i1", "x_zero", inputOrNone(call, 3)) +
         withBias(call, 4);
}

/// ONNX's own, by the exact sums: rounded once.
static std::string qLinearMatMul(const Call &call) {
  // A list of scales is one for each row.
  bool hasRows = call.rank(0) > 1 && call.rank(3) > 1 && call.rank(1) == 1;
  return std::string(hasRows ? "last = Constant <value = int64[1] {-1}> ()\n"
                               "rows = Unsqueeze(i1, last)\n"
                             : "rows = Identity(i1)\n") +
         "scale_of_inputs = Mul(rows, i4)\nscale = Div(scale_of_inputs, i6)\n" +
         scaledProduct("i0", "i3", "i2", "i5") +
         "one = Constant <value = float {1.0}> ()\n"
         "o0 = QuantizeLinear(product, one, i7)\n";
}

/// As QLinearMatMul: the exact sums, of each filter by its scale.
static std::string qLinearConv(const Call &call) {
  int64_t rank = call.rank(0);
  std::string attributes = ofConvolution(call);
  if (rank < 3 || call.rank(4) < 0 || attributes.empty())
    return "";
  std::vector<int64_t> column(rank - 1, 1);
  column[0] = -1;
  return list("column", column) + "sums = ConvInteger <" + attributes +
         "> (i0, i3, i2, " + inputOrNone(call, 5) + ")\n" +
         (call.has(8) ? "bias = Reshape(i8, column)\nall = Add(sums, bias)\n"
                      : "all = Identity(sums)\n") +
         "reals = Cast <to = 1> (all)\nfilters = Reshape(i4, column)\n"
         "scale_of_inputs = Mul(i1, filters)\n"
         "scale = Div(scale_of_inputs, i6)\nproduct = Mul(reals, scale)\n"
         "one = Constant <value = float {1.0}> ()\n"
         "o0 = QuantizeLinear(product, one, i7)\n";
}

/// An operator on numbers that are widened before and quantized after it.
/// Operands, each with a scale and a zero point, then the result's.
static std::string between(const Call &call, int operands,
                           const std::string &node) {
  std::string body;
  auto three = [&](int i) {
    return input(i) + ", " + input(i + 1) + ", " + inputOrNone(call, i + 2);
  };
  for (int i = 0; i < operands; ++i)
    body += "x" + std::to_string(i) + "_ = DequantizeLinear(" + three(3 * i) +
            ")\n";
  // The result has the operands' type, also where no zero point says so.
  int type = call.elementType(0);
  bool isSaid = type == 0 || call.has(3 * operands + 1);
  return body + node + "o0 = QuantizeLinear " +
         (isSaid ? "" : "<output_dtype = " + std::to_string(type) + "> ") +
         "(y, " + input(3 * operands) + ", " +
         inputOrNone(call, 3 * operands + 1) + ")\n";
}

static std::string qLinearAdd(const Call &call) {
  return between(call, 2, "y = Add(x0_, x1_)\n");
}

static std::string qLinearMul(const Call &call) {
  return between(call, 2, "y = Mul(x0_, x1_)\n");
}

static std::string qLinearSigmoid(const Call &call) {
  return between(call, 1, "y = Sigmoid(x0_)\n");
}

/// Before opset 13, Softmax took all dims from the axis on together.
static std::string qLinearSoftmax(const Call &call) {
  int64_t axis = call.integer("axis", -1);
  if (call.integer("opset", 13) < 13 && axis != -1 && axis != call.rank(0) - 1)
    return "";
  return between(call, 1,
                 "y = Softmax <axis = " + std::to_string(axis) + "> (x0_)\n");
}

/// One product projects queries, keys and values; the rest is Attention's.
static std::string qAttention(const Call &call) {
  if (call.has(8) || call.wants(1))
    return "";
  auto real = [&](const char *name) {
    return std::string(name) + " = " + text(call.real(name, 0.0));
  };
  std::string attributes =
      "num_heads = " + std::to_string(call.integer("num_heads", 0)) +
      ", unidirectional = " +
      std::to_string(call.integer("unidirectional", 0)) +
      ", do_rotary = " + std::to_string(call.integer("do_rotary", 0));
  for (const char *name : {"scale", "mask_filter_value"})
    if (call.attribute(name))
      attributes += ", " + real(name);
  return "scale = Mul(i3, i4)\n" +
         scaledProduct("i0", "i1", inputOrNone(call, 6), inputOrNone(call, 7)) +
         "o0 = ai.megactx.ProjectedAttention <" + attributes +
         "> (product, none, i2, " + inputOrNone(call, 5) + ")\n";
}

/// Only the rows that are read are widened.
static std::string gatherBlockQuantized(const Call &call) {
  int64_t bits = call.integer("bits", 4);
  int rank = call.rank(0);
  int64_t axis = call.integer("quantize_axis", 1);
  if (rank != 2 || call.integer("gather_axis", 0) != 0 ||
      (axis != 1 && axis != -1))
    return "";
  int64_t size = call.integer("block_size", 128);
  std::string body = "bytes = Gather(i0, i1)\nscales = Gather(i2, i1)\n";
  if (call.has(3))
    body += "zeros = Gather(i3, i1)\n";
  // Numbers of 4 bits as an element type have a byte each here.
  int64_t width = call.size(0, 1);
  if (bits < 8 && width > 0 && width == size * call.size(2, 1))
    return body + "o0 = DequantizeLinear <axis = -1, block_size = " +
           std::to_string(size) + "> (bytes, scales" +
           (call.has(3) ? ", zeros)" : ")");
  return body +
         "o0 = ai.megactx.DequantizeBlocks <bits = " + std::to_string(bits) +
         ", block_size = " + std::to_string(size) + "> (bytes, scales" +
         (call.has(3) ? ", zeros)" : ")");
}

void mlir::onnx::addQuantizedRules(Rules &rules) {
  rules["com.microsoft.QuantizeLinear"] = quantizeLinear;
  rules["com.microsoft.DequantizeLinear"] = dequantizeLinear;
  rules["com.microsoft.MatMulIntegerToFloat"] = matMulIntegerToFloat;
  rules["com.microsoft.DynamicQuantizeMatMul"] = dynamicQuantizeMatMul;
  rules["com.microsoft.QAttention"] = qAttention;
  rules["com.microsoft.GatherBlockQuantized"] = gatherBlockQuantized;
  rules["com.microsoft.QLinearAdd"] = qLinearAdd;
  rules["com.microsoft.QLinearMul"] = qLinearMul;
  rules["com.microsoft.QLinearSigmoid"] = qLinearSigmoid;
  rules["com.microsoft.QLinearSoftmax"] = qLinearSoftmax;
  rules[".QLinearMatMul"] = qLinearMatMul;
  rules[".QLinearConv"] = qLinearConv;
}
