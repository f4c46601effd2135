//===- ContribRecurrent.cpp - onnxruntime's layers that carry a state -----===//
//
// Gated delta networks, gates, and causal convolutions, in ONNX's operators.
// Semantics and defaults: onnxruntime's docs/ContribOperators.md.
//
//===----------------------------------------------------------------------===//

#include "LinearAttention.h"
#include "Rules.h"

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// Whether all of these attributes are absent or 0.
static bool areZero(const Call &call,
                    std::initializer_list<const char *> names) {
  for (const char *name : names)
    if (call.integer(name, 0) != 0)
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

namespace {
/// A convolution of each channel of its own over the tokens before, as a sum of
/// products: ONNX's, and onnxruntime's, which has more forms.
class CausalConvolution {
public:
  explicit CausalConvolution(const Call &call) : call(call) {}

  /// Empty for a form that is not covered.
  std::string text() const;

private:
  /// So many taps are a sum of as many nodes.
  static constexpr int64_t kMostTaps = 64;

  bool isCovered() const;
  int64_t countChannels() const;
  std::string before() const;
  std::string sum() const;
  bool isGated() const { return activation == "silu" || activation == "swish"; }
  std::string axis() const { return isLast ? "1" : "2"; }

  const Call &call;
  const int64_t channels = call.size(1, 0), taps = call.size(1, 2),
                dilation = call.integer("dilation", 1);
  const bool isLast = call.integer("channels_last", 0);
  const std::string activation = call.word("activation", "none");
};
} // namespace

/// Of the tokens; 0 where that is not known.
int64_t CausalConvolution::countChannels() const {
  if (!isLast)
    return call.size(0, 1);
  int64_t count = 1;
  for (int axis = 2; axis < call.rank(0); ++axis)
    count *= call.size(0, axis);
  return count;
}

bool CausalConvolution::isCovered() const {
  int64_t given = countChannels(), rows = dilation * (taps - 1);
  if ((given && given != channels) ||
      (call.has(3) && !call.hasSizes(3, 1, {isLast ? rows : channels})) ||
      (call.has(3) && !isLast && !call.hasSizes(3, 2, {rows})))
    return false;
  return call.integer("ndim", 1) == 1 && call.rank(1) == 3 && channels > 0 &&
         taps > 0 && taps <= kMostTaps && dilation > 0 && !call.wants(2) &&
         call.integer("state_channels_last", -1) == -1 &&
         areZero(call, {"state_window", "state_update_capacity", "state_length",
                        "input_channel_offset", "input_channels"}) &&
         (isGated() || activation == "none") &&
         (isLast ? call.rank(0) >= 3 : call.rank(0) == 3);
}

/// Writes `all`: the tokens behind the state, [batch, channels, tokens], or
/// channels last; a Reshape checks the state that is given.
std::string CausalConvolution::before() const {
  int64_t rows = dilation * (taps - 1);
  std::string body =
      list("flat", isLast ? std::vector<int64_t>{0, 0, channels}
                          : std::vector<int64_t>{0, channels, 0}) +
      list("state_rest", isLast ? std::vector<int64_t>{rows, channels}
                                : std::vector<int64_t>{channels, rows}) +
      "batch = Shape <start = 0, end = 1> (i0)\n"
      "state_sizes = Concat <axis = 0> (batch, state_rest)\n"
      "x_wide = Cast <to = 1> (i0)\nx = Reshape(x_wide, flat)\n";
  if (call.has(3))
    body += "past = Cast <to = 1> (i3)\n"
            "state = Reshape <allowzero = 1> (past, state_sizes)\n";
  else
    body += "zero = Constant <value = float {0.0}> ()\n"
            "state = Expand(zero, state_sizes)\n";
  return body + "all = Concat <axis = " + axis() + "> (state, x)\n" +
         "tokens = Shape <start = " + axis() +
         ", end = " + std::to_string(isLast ? 2 : 3) + "> (x)\n" +
         list("along", {isLast ? 1 : 2});
}

/// Writes `sum`.
std::string CausalConvolution::sum() const {
  std::vector<std::string> columns;
  for (int64_t tap = 0; tap < taps; ++tap)
    columns.push_back("column_" + std::to_string(tap));
  std::string body =
      list("by_channel", isLast ? std::vector<int64_t>{channels}
                                : std::vector<int64_t>{channels, 1}) +
      "weights = Cast <to = 1> (i1)\n" + joined(columns) +
      " = Split <axis = 2, num_outputs = " + std::to_string(taps) +
      "> (weights)\n";
  std::string total;
  if (call.has(2)) {
    body += "bias_wide = Cast <to = 1> (i2)\n"
            "bias = Reshape(bias_wide, by_channel)\n";
    total = "bias";
  }
  for (int64_t tap = 0; tap < taps; ++tap) {
    std::string n = "_" + std::to_string(tap);
    body += list("from" + n, {tap * dilation}) + "to" + n +
            " = Add(tokens, from" + n + ")\npart" + n + " = Slice(all, from" +
            n + ", to" + n + ", along)\nfactor" + n + " = Reshape(column" + n +
            ", by_channel)\nproduct" + n + " = Mul(part" + n + ", factor" + n +
            ")\n";
    if (!total.empty())
      body += "sum" + n + " = Add(" + total + ", product" + n + ")\n";
    total = (total.empty() ? "product" : "sum") + n;
  }
  return body + "sum = Identity(" + total + ")\n";
}

std::string CausalConvolution::text() const {
  if (!isCovered())
    return "";
  std::string body = before() + sum(), result = "sum";
  if (isGated()) {
    body += "gate = Sigmoid(sum)\nactive = Mul(sum, gate)\n";
    result = "active";
  }
  body += "shape = Shape(i0)\nshaped = Reshape <allowzero = 1> (" + result +
          ", shape)\no0 = CastLike(shaped, i0)\n";
  if (!call.wants(1))
    return body;
  body +=
      list("end", {INT64_MAX}) + "present = Slice(all, tokens, end, along)\n";
  if (isLast)
    body += list("state_rows", {dilation * (taps - 1)}) +
            "rest = Shape <start = 2> (i0)\n"
            "present_shape = Concat <axis = 0> (batch, state_rows, rest)\n";
  else
    body += "present_shape = Identity(state_sizes)\n";
  return body + "state_shaped = Reshape <allowzero = 1> (present, "
                "present_shape)\no1 = CastLike(state_shaped, i0)\n";
}

static std::string causalConvolution(const Call &call) {
  return CausalConvolution(call).text();
}

//===----------------------------------------------------------------------===//
// Gates
//===----------------------------------------------------------------------===//

/// decay_scale * softplus(a + dt_bias), computed in f32.
static std::string linearAttentionGate(const Call &call) {
  if (call.wants(1) && !call.has(3))
    return "";
  std::string body = "wide = Cast <to = 1> (i0)\nsum = Add(wide, i1)\n"
                     "soft = Softplus(sum)\nscaled = Mul(soft, i2)\n"
                     "o0 = CastLike(scaled, i0)\n";
  return call.wants(1) ? body + "o1 = Sigmoid(i3)\n" : body;
}

/// Groups of as many channels as there are scales are normalized, in f32.
static std::string gatedRmsNormalization(const Call &call) {
  std::string activation = call.word("activation", "silu");
  bool isSilu = activation == "silu" || activation == "swish";
  if (!isSilu && activation != "sigmoid")
    return "";
  std::string body =
      list("rest", {-1}) +
      "x = Cast <to = 1> (i0)\nscale = Cast <to = 1> (i1)\n"
      "gate = Cast <to = 1> (i2)\nshape = Shape(i0)\nwidth = Shape(i1)\n"
      "outer = Shape <end = -1> (i0)\n"
      "by_group = Concat <axis = 0> (outer, rest, width)\n"
      "groups = Reshape(x, by_group)\n"
      "normal = RMSNormalization <axis = -1, stash_type = 1, epsilon = " +
      text(call.real("epsilon", 1e-5)) +
      "> (groups, scale)\nwhole = Reshape(normal, shape)\n"
      "open = Sigmoid(gate)\n";
  std::string by = "open";
  if (isSilu) {
    body += "factor = Mul(gate, open)\n";
    by = "factor";
  }
  return body + "gated = Mul(whole, " + by + ")\no0 = CastLike(gated, i0)\n";
}

/// With a weight, the gate is the sigmoid of a product by it.
static std::string gatedAdd(const Call &call) {
  if (!call.has(3))
    return "scaled = Mul(i1, i2)\no0 = Add(i0, scaled)\n";
  return "score = MatMul(i2, i3)\ngate = Sigmoid(score)\n"
         "scaled = Mul(i1, gate)\no0 = Add(i0, scaled)\n";
}

//===----------------------------------------------------------------------===//
// Gated delta networks
//===----------------------------------------------------------------------===//

namespace {
/// Inputs with tokens of all requests in one axis, or of each in its own, as
/// [batch, tokens, width], in f32.
class ByToken {
public:
  /// So many axes of tokens.
  ByToken(const Call &call, int axes) : call(call), axes(axes) {}

  /// Writes `name`, of `from`, which has the shape of input i.
  void write(const std::string &name, int i, const std::string &from,
             std::string &body) const {
    int64_t width = 1;
    for (int axis = axes; axis < call.rank(i); ++axis)
      width *= call.size(i, axis);
    body += list(name + "_width", {width > 0 ? width : -1}) + name +
            "_sizes = Concat <axis = 0> (requests, length, " + name +
            "_width)\n" + name + " = Reshape(" + from + ", " + name +
            "_sizes)\n";
  }
  void write(const std::string &name, int i, std::string &body) const {
    body += name + "_wide = Cast <to = 1> (" + input(i) + ")\n";
    write(name, i, name + "_wide", body);
  }
  /// Each head of length 1 where the operator says so: over the root of its
  /// squares' sum and a little, which onnxruntime 1.32 has more of for Kimi's
  /// gate.
  void writeHeads(const std::string &name, int i, std::string &body) const {
    if (!call.integer("qk_l2_norm", 0))
      return write(name, i, body);
    std::string gate = call.word("gate_activation", "none");
    bool isKimi = gate == "sigmoid" || gate == "kda";
    body += name + "_last = Constant <value_ints = [-1]> ()\n" + name +
            "_little = Constant <value = float {" +
            text(isKimi ? 1e-6 : 1e-12) + "}> ()\n" + name +
            "_given = Cast <to = 1> (" + input(i) + ")\n" + name +
            "_squares = ReduceSumSquare <keepdims = 1> (" + name + "_given, " +
            name + "_last)\n" + name + "_sum = Add(" + name + "_squares, " +
            name + "_little)\n" + name + "_length = Sqrt(" + name + "_sum)\n" +
            name + "_unit = Div(" + name + "_given, " + name + "_length)\n";
    write(name, i, name + "_unit", body);
  }

private:
  const Call &call;
  int axes;
};
} // namespace

/// Writes `decay`, as its activation says.
static bool writeDecay(const Call &call, int64_t heads, const ByToken &byToken,
                       std::string &body) {
  std::string activation = call.word("gate_activation", "none");
  byToken.write("decay_given", 4, body);
  if (activation == "none") {
    body += "decay = Identity(decay_given)\n";
    return true;
  }
  if (!call.has(7) || !call.has(8))
    return false;
  // Numbers of a head are of all its channels, where decays are of channels.
  body += list("decay_heads", {0, 0, heads, -1}) +
          list("by_head", {heads, -1}) + list("decay_joined", {0, 0, -1}) +
          "raw = Reshape(decay_given, decay_heads)\n"
          "shift = Reshape(i8, by_head)\nsum = Add(raw, shift)\n"
          "log = Reshape(i7, by_head)\nrate = Exp(log)\n";
  if (activation == "softplus" || activation == "qwen")
    body += "soft = Softplus(sum)\nproduct = Mul(soft, rate)\n"
            "gates = Neg(product)\n";
  else if (activation == "sigmoid" || activation == "kda")
    body += "bound = Constant <value = float {" +
            text(call.real("gate_lower_bound", -5.0)) +
            "}> ()\nproduct = Mul(sum, rate)\nopen = Sigmoid(product)\n"
            "gates = Mul(open, bound)\n";
  else
    return false;
  body += "decay = Reshape(gates, decay_joined)\n";
  return true;
}

/// Tokens before heads; the state has values before keys. Requests of many
/// lengths are not covered.
static std::string gatedDeltaNet(const Call &call) {
  int rank = call.rank(0);
  int64_t heads = call.size(0, rank - 2), keys = call.size(1, rank - 2),
          values = call.size(2, rank - 2);
  if ((rank != 3 && rank != 4) || heads < 1 || keys < 1 || values < 1 ||
      call.has(3) || call.wants(2) || (rank == 3 && !call.has(6)) ||
      !call.hasSizes(
          6, 1, {values, call.size(2, rank - 1), call.size(0, rank - 1)}) ||
      !areZero(call, {"state_update_capacity"}))
    return "";
  std::string body = rank == 4
                         ? "requests = Shape <start = 0, end = 1> (i0)\n"
                           "length = Shape <start = 1, end = 2> (i0)\n"
                           "tokens = Concat <axis = 0> (requests, length)\n"
                         : "requests = Shape <start = 0, end = 1> (i6)\n"
                           "tokens = Shape <start = 0, end = 1> (i0)\n"
                           "length = Div(tokens, requests)\n";
  ByToken byToken(call, rank - 2);
  byToken.writeHeads("q", 0, body);
  byToken.writeHeads("k", 1, body);
  byToken.write("v", 2, body);
  LinearAttention attention = {heads,
                               keys,
                               values,
                               call.real("scale", 0.0),
                               call.word("update_rule", "gated_delta"),
                               "q",
                               "k",
                               "v",
                               "",
                               "",
                               ""};
  if (call.has(6)) {
    body += "old_state = Transpose <perm = [0, 1, 3, 2]> (i6)\n";
    attention.state = "old_state";
  }
  if (call.has(4)) {
    if (!writeDecay(call, values, byToken, body))
      return "";
    attention.decay = "decay";
  }
  if (call.has(5)) {
    std::string activation = call.word("beta_activation", "none");
    if (activation != "none" && activation != "sigmoid")
      return "";
    byToken.write("beta_given", 5, body);
    body +=
        "beta = " + std::string(activation == "none" ? "Identity" : "Sigmoid") +
        "(beta_given)\n";
    attention.beta = "beta";
  }
  if (!attention.write(body))
    return "";
  body += "out_depth = Shape <start = -1> (i2)\n" +
          list("out_heads", {std::max(heads, values)}) +
          "shape = Concat <axis = 0> (tokens, out_heads, out_depth)\n"
          "whole = Reshape(result, shape)\no0 = CastLike(whole, i0)\n";
  return call.wants(1)
             ? body + "o1 = Transpose <perm = [0, 1, 3, 2]> (present)\n"
             : body;
}

void mlir::onnx::addContribRecurrentRules(Rules &rules) {
  rules.insert({{".CausalConvWithState", causalConvolution},
                {"com.microsoft.CausalConvWithState", causalConvolution},
                {"com.microsoft.LinearAttentionGate", linearAttentionGate},
                {"com.microsoft.GatedDeltaNet", gatedDeltaNet},
                {"com.microsoft.GatedRMSNorm", gatedRmsNormalization},
                {"com.microsoft.GatedAdd", gatedAdd}});
}
