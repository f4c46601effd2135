//===- ContribRecurrent.cpp - onnxruntime's layers that carry a state -----===//
//
// Linear attention, its gates, and causal convolutions, in ONNX's own.
// Semantics and defaults: onnxruntime's docs/ContribOperators.md.
//
//===----------------------------------------------------------------------===//

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

/// Of an axis that is known.
static int64_t sizeOf(const Call &call, int i, int axis) {
  const auto *found = call.dim(i, axis);
  return found ? found->dim_value() : 0;
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

/// A state of no tokens' values, or the given one, checked by a Reshape:
/// [batch, channels, `rows`].
static std::string stateBefore(const Call &call, int64_t channels, int64_t rows,
                               bool isLast) {
  std::string sizes =
      "batch = Shape <start = 0, end = 1> (i0)\n" +
      list("state_rest", isLast ? std::vector<int64_t>{rows, channels}
                                : std::vector<int64_t>{channels, rows}) +
      "state_sizes = Concat <axis = 0> (batch, state_rest)\n";
  if (!call.has(3))
    return sizes + "zero = Constant <value = float {0.0}> ()\n"
                   "no_state = Expand(zero, state_sizes)\n"
                   "state = CastLike(no_state, i0)\n";
  return sizes + "state = Reshape(i3, state_sizes)\n";
}

/// Of one dim; channels first, or last and of one axis or more.
static std::string causalConvolution(const Call &call) {
  int64_t channels = sizeOf(call, 1, 0), taps = sizeOf(call, 1, 2),
          dilation = call.integer("dilation", 1);
  bool isLast = call.integer("channels_last", 0);
  std::string activation = call.word("activation", "none");
  bool isGated = activation == "silu" || activation == "swish";
  if (call.integer("ndim", 1) != 1 || call.rank(1) != 3 || channels < 1 ||
      taps < 1 || dilation < 1 || call.wants(2) ||
      call.integer("state_channels_last", -1) != -1 ||
      !areZero(call, {"state_window", "state_update_capacity", "state_length",
                      "input_channel_offset", "input_channels"}) ||
      (!isGated && activation != "none") || call.rank(0) < 3 ||
      (!isLast && call.rank(0) != 3))
    return "";
  int64_t rows = dilation * (taps - 1);
  std::string body = stateBefore(call, channels, rows, isLast);
  if (isLast)
    body += list("flat", {0, 0, channels}) +
            "last_x = Reshape(i0, flat)\n"
            "x = Transpose <perm = [0, 2, 1]> (last_x)\n"
            "past = Transpose <perm = [0, 2, 1]> (state)\n";
  else
    body += "x = Identity(i0)\npast = Identity(state)\n";
  body += "all = Concat <axis = 2> (past, x)\nsums = Conv <group = " +
          std::to_string(channels) + ", dilations = [" +
          std::to_string(dilation) + "]> (all, i1, " + inputOrNone(call, 2) +
          ")\n";
  std::string result = "sums";
  if (isGated) {
    body += "gate = Sigmoid(sums)\ny = Mul(sums, gate)\n";
    result = "y";
  }
  if (call.wants(1))
    body += list("axis", {2}) + list("end", {INT64_MAX}) +
            "first = Shape <start = 2, end = 3> (x)\n"
            "present = Slice(all, first, end, axis)\n";
  if (!isLast)
    return body + "o0 = Identity(" + result + ")\n" +
           (call.wants(1) ? "o1 = Identity(present)\n" : "");
  body += "back = Transpose <perm = [0, 2, 1]> (" + result +
          ")\nshape = Shape(i0)\no0 = Reshape(back, shape)\n";
  if (!call.wants(1))
    return body;
  return body +
         "rows = Transpose <perm = [0, 2, 1]> (present)\n"
         "rest = Shape <start = 2> (i0)\n" +
         list("state_rows", {rows}) +
         "present_shape = Concat <axis = 0> (batch, state_rows, rest)\n"
         "o1 = Reshape(rows, present_shape)\n";
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
// Linear attention
//===----------------------------------------------------------------------===//

/// Writes `to`, the heads of `from` [batch, tokens, heads * head dim], each
/// `times` times.
static void writeRepeated(const std::string &to, const std::string &from,
                          int64_t heads, int64_t times, std::string &body) {
  if (times == 1) {
    body += to + " = Identity(" + from + ")\n";
    return;
  }
  body += list(to + "_split", {0, 0, heads, 1, -1}) +
          list(to + "_times", {1, 1, 1, times, 1}) +
          list(to + "_joined", {0, 0, -1}) + to + "_heads = Reshape(" + from +
          ", " + to + "_split)\n" + to + "_all = Expand(" + to + "_heads, " +
          to + "_times)\n" + to + " = Reshape(" + to + "_all, " + to +
          "_joined)\n";
}

namespace {
/// ONNX's operator over `q`, `k` and `v` of so many heads.
struct LinearAttention {
  int64_t queryHeads, keyHeads, valueHeads;
  double scale;

  /// Writes `result`, [batch, tokens, heads * head dim], and `present`. State,
  /// decay and beta by name, or `none`.
  bool write(const Call &call, const std::string &state,
             const std::string &decay, const std::string &beta,
             std::string &body) const;
};
} // namespace

bool LinearAttention::write(const Call &call, const std::string &state,
                            const std::string &decay, const std::string &beta,
                            std::string &body) const {
  std::string rule = call.word("update_rule", "gated_delta");
  bool isShared = queryHeads < valueHeads;
  if (keyHeads < 1 || queryHeads < 1 || valueHeads % keyHeads ||
      (isShared ? valueHeads % queryHeads : queryHeads % valueHeads) ||
      (rule != "linear" && rule != "gated" && rule != "delta" &&
       rule != "gated_delta"))
    return false;
  writeRepeated("all_q", "q", queryHeads,
                isShared ? valueHeads / queryHeads : 1, body);
  writeRepeated("all_k", "k", keyHeads, valueHeads / keyHeads, body);
  body += "result, present = LinearAttention <q_num_heads = " +
          std::to_string(isShared ? valueHeads : queryHeads) +
          ", kv_num_heads = " + std::to_string(valueHeads) +
          ", update_rule = \"" + rule + "\", scale = " + text(scale) +
          "> (all_q, all_k, v, " + state + ", " + decay + ", " + beta + ")\n";
  return true;
}

static std::string linearAttention(const Call &call) {
  int64_t heads = call.integer("q_num_heads", 0),
          values = call.integer("kv_num_heads", 0), width = sizeOf(call, 0, 2),
          keyWidth = sizeOf(call, 1, 2), keyHeads = values;
  if (heads < 1 || values < 1 || !areZero(call, {"state_window"}))
    return "";
  if (width % heads == 0 && width > 0 && keyWidth > 0)
    keyHeads = keyWidth / (width / heads);
  std::string body = "q = Identity(i0)\nk = Identity(i1)\nv = Identity(i2)\n";
  LinearAttention attention = {heads, keyHeads, values,
                               call.real("scale", 0.0)};
  if (!attention.write(call, inputOrNone(call, 3), inputOrNone(call, 4),
                       inputOrNone(call, 5), body))
    return "";
  return body + "o0 = Identity(result)\n" +
         (call.wants(1) ? "o1 = Identity(present)\n" : "");
}

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
      width *= sizeOf(call, i, axis);
    body += list(name + "_width", {width > 0 ? width : -1}) + name +
            "_sizes = Concat <axis = 0> (batch, length, " + name + "_width)\n" +
            name + " = Reshape(" + from + ", " + name + "_sizes)\n";
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
  int64_t heads = sizeOf(call, 0, rank - 2), keys = sizeOf(call, 1, rank - 2),
          values = sizeOf(call, 2, rank - 2);
  if ((rank != 3 && rank != 4) || heads < 1 || keys < 1 || values < 1 ||
      call.has(3) || call.wants(2) || (rank == 3 && !call.has(6)) ||
      !areZero(call, {"state_update_capacity"}))
    return "";
  std::string body = rank == 4 ? "batch = Shape <start = 0, end = 1> (i0)\n"
                                 "length = Shape <start = 1, end = 2> (i0)\n"
                                 "tokens = Concat <axis = 0> (batch, length)\n"
                               : "batch = Shape <start = 0, end = 1> (i6)\n"
                                 "tokens = Shape <start = 0, end = 1> (i0)\n"
                                 "length = Div(tokens, batch)\n";
  ByToken byToken(call, rank - 2);
  byToken.writeHeads("q", 0, body);
  byToken.writeHeads("k", 1, body);
  byToken.write("v", 2, body);
  std::string state = "none", decay = "none", beta = "none";
  if (call.has(6)) {
    body += "state = Transpose <perm = [0, 1, 3, 2]> (i6)\n";
    state = "state";
  }
  if (call.has(4)) {
    if (!writeDecay(call, values, byToken, body))
      return "";
    decay = "decay";
  }
  if (call.has(5)) {
    std::string activation = call.word("beta_activation", "none");
    if (activation != "none" && activation != "sigmoid")
      return "";
    byToken.write("beta_given", 5, body);
    body +=
        "beta = " + std::string(activation == "none" ? "Identity" : "Sigmoid") +
        "(beta_given)\n";
    beta = "beta";
  }
  LinearAttention attention = {heads, keys, values, call.real("scale", 0.0)};
  if (!attention.write(call, state, decay, beta, body))
    return "";
  body += "depth = Shape <start = -1> (i2)\n" +
          list("out_heads", {std::max(heads, values)}) +
          "shape = Concat <axis = 0> (tokens, out_heads, depth)\n"
          "whole = Reshape(result, shape)\no0 = CastLike(whole, i0)\n";
  return call.wants(1)
             ? body + "o1 = Transpose <perm = [0, 1, 3, 2]> (present)\n"
             : body;
}

void mlir::onnx::addContribRecurrentRules(Rules &rules) {
  rules.insert({{"com.microsoft.CausalConvWithState", causalConvolution},
                {"com.microsoft.LinearAttention", linearAttention},
                {"com.microsoft.LinearAttentionGate", linearAttentionGate},
                {"com.microsoft.GatedDeltaNet", gatedDeltaNet},
                {"com.microsoft.GatedRMSNorm", gatedRmsNormalization},
                {"com.microsoft.GatedAdd", gatedAdd}});
}
