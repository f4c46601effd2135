//===- LinearAttentionRules.cpp - linear attention by Scan ----------------===//

#include "LinearAttention.h"
#include "Rules.h"

using namespace mlir::onnx;

/// `to` = `from` in f32, whose last dim is split as `sizes` say behind batch
/// and tokens.
static std::string split(const std::string &to, const std::string &from,
                         std::vector<int64_t> sizes) {
  sizes.insert(sizes.begin(), {0, 0});
  return list(to + "_sizes", sizes) + to + "_wide = Cast <to = 1> (" + from +
         ")\n" + to + " = Reshape(" + to + "_wide, " + to + "_sizes)\n";
}

/// `to`: heads of `from`, each `times` times, [batch, tokens, heads, 1, dim].
static std::string repeated(const std::string &to, const std::string &from,
                            int64_t heads, int64_t times) {
  if (times == 1)
    return split(to, from, {heads, 1, -1});
  return split(to + "_few", from, {heads, 1, -1}) +
         list(to + "_times", {1, 1, 1, times, 1}) +
         list(to + "_all", {0, 0, heads * times, 1, -1}) + to +
         "_many = Expand(" + to + "_few, " + to + "_times)\n" + to +
         " = Reshape(" + to + "_many, " + to + "_all)\n";
}

namespace {
/// What the steps read, one after the other, and the names that they have
/// there.
struct Steps {
  std::vector<std::string> inputs, parameters;
  std::string axes;

  void add(const std::string &input, const std::string &parameter, int rank) {
    std::string type = "float[?";
    for (int i = 1; i < rank; ++i)
      type += ", ?";
    inputs.push_back(input);
    parameters.push_back(type + "] " + parameter);
    axes += axes.empty() ? "1" : ", 1";
  }
};
} // namespace

/// A step: `next` and `out`, of `state` [B, H, Dk, Dv], which rows of depth Dk
/// read at once, the key's first where there is a delta rule, q times k [B, H,
/// group, 1], and the others [B, H, D].
static std::string step(bool isGated, bool isDelta) {
  std::string body = "shared_t = Unsqueeze(state_t, third)\n"
                     "columns_t = Unsqueeze(readers_t, last)\n"
                     "terms_t = Mul(shared_t, columns_t)\n"
                     "found_t = ReduceSum <keepdims = 0> (terms_t, fourth)\n"
                     "value_t = Unsqueeze(v_t, third)\n";
  std::string update = "value_t", read = "found_t", kept = "state_t";
  if (isDelta) {
    body += "known_t, asked_t = Split <axis = 2> (found_t, parts)\n"
            "missing_t = Sub(value_t, known_t)\n"
            "rate_row_t = Unsqueeze(rate_t, third)\n"
            "update_t = Mul(missing_t, rate_row_t)\n";
    update = "update_t", read = "asked_t";
  }
  if (isGated) {
    body += "stay_column_t = Unsqueeze(stay_t, last)\n"
            "left_t = Mul(state_t, stay_column_t)\n";
    kept = "left_t";
  }
  return body + "of_update_t = Mul(turn_t, " + update + ")\nsum_t = Add(" +
         read + ", of_update_t)\ncolumn_t = Unsqueeze(k_t, last)\n" +
         "outer_t = Mul(column_t, " + update + ")\nnext_plain_t = Add(" + kept +
         ", outer_t)\n"
         "next_t = Reshape <allowzero = 1> (next_plain_t, state_shape)\n"
         "out_t = Reshape <allowzero = 1> (sum_t, out_shape)\n";
}

bool LinearAttention::write(std::string &body) const {
  bool isGated = rule == "gated" || rule == "gated_delta",
       isDelta = rule == "delta" || rule == "gated_delta";
  bool isShared = queryHeads < valueHeads;
  if (queryHeads < 1 || keyHeads < 1 || valueHeads < 1 ||
      valueHeads % keyHeads ||
      (isShared ? valueHeads % queryHeads : queryHeads % valueHeads) ||
      (rule != "linear" && !isGated && !isDelta) ||
      (isGated && decay.empty()) || (isDelta && beta.empty()))
    return false;
  int64_t group = isShared ? 1 : queryHeads / valueHeads;
  body +=
      list("last", {-1}) + list("third", {2}) + list("fourth", {3}) +
      (isShared ? repeated("all_q", query, queryHeads, valueHeads / queryHeads)
                : split("all_q", query, {valueHeads, group, -1})) +
      repeated("any_k", key, keyHeads, valueHeads / keyHeads) +
      // As deep as queries; a depth of 1 is not one for all.
      "k_outer = Shape <start = 0, end = 4> (any_k)\n"
      "query_depth = Shape <start = 4> (all_q)\n"
      "k_shape = Concat <axis = 0> (k_outer, query_depth)\n"
      "all_k = Reshape <allowzero = 1> (any_k, k_shape)\n" +
      split("all_v", value, {valueHeads, -1}) +
      "flat_k = Squeeze(all_k, fourth)\n"
      "products = Mul(all_q, all_k)\n"
      "turns = ReduceSum <keepdims = 1> (products, last)\n"
      "batch = Shape <start = 0, end = 1> (all_q)\n"
      "key_depth = Shape <start = 4> (all_k)\n"
      "value_depth = Shape <start = 3> (all_v)\n" +
      list("heads", {valueHeads}) + list("group", {group}) +
      "state_shape = Concat <axis = 0> (batch, heads, key_depth, "
      "value_depth)\n"
      "out_shape = Concat <axis = 0> (batch, heads, group, value_depth)\n";
  std::string queries = "all_q", keys = "all_k";
  if (isGated) {
    body += split("all_decay", decay, {valueHeads, -1}) +
            "stays = Exp(all_decay)\nstays_row = Unsqueeze(stays, fourth)\n"
            "late_q = Mul(all_q, stays_row)\n";
    queries = "late_q";
  }
  if (isDelta && isGated) {
    body += "late_k = Mul(all_k, stays_row)\n";
    keys = "late_k";
  }
  if (isDelta) {
    body += split("rates", beta, {-1, 1}) + list("parts", {1, group}) +
            "readers = Concat <axis = 3> (" + keys + ", " + queries + ")\n";
    queries = "readers";
  }
  Steps steps;
  steps.add(queries, "readers_t", 4);
  steps.add("turns", "turn_t", 4);
  steps.add("flat_k", "k_t", 3);
  steps.add("all_v", "v_t", 3);
  if (isGated)
    steps.add("stays", "stay_t", 3);
  if (isDelta)
    steps.add("rates", "rate_t", 3);
  body += state.empty() ? "zero = Constant <value = float {0.0}> ()\n"
                          "first = Expand(zero, state_shape)\n"
                        : "first_wide = Cast <to = 1> (" + state +
                              ")\nfirst = Reshape <allowzero = 1> (first_wide, "
                              "state_shape)\n";
  std::string stateType = "float[?, ?, ?, ?] ";
  body += "present, outs = Scan <num_scan_inputs = " +
          std::to_string(steps.inputs.size()) + ", scan_input_axes = [" +
          steps.axes + "], scan_output_axes = [1], body = step (" + stateType +
          "state_t, " + joined(steps.parameters) + ") => (" + stateType +
          "next_t, " + stateType + "out_t) {\n" + step(isGated, isDelta) +
          "}> (first, " + joined(steps.inputs) + ")\n";
  body += list("joined", {0, 0, -1}) + "flat = Reshape(outs, joined)\n";
  if (scale != 0.0)
    body += "factor = Constant <value = float {" + text(scale) + "}> ()\n";
  else
    body += "depth_wide = Cast <to = 1> (key_depth)\n"
            "root = Sqrt(depth_wide)\nfactor = Reciprocal(root)\n";
  body += "result = Mul(flat, factor)\n";
  return true;
}

/// ONNX's own, and onnxruntime's, which has other numbers of heads.
static std::string linearAttention(const Call &call) {
  int64_t heads = call.integer("q_num_heads", 0),
          values = call.integer("kv_num_heads", 0), keyHeads = values,
          width = call.size(0, 2), keyWidth = call.size(1, 2);
  if (heads < 1 || values < 1 || call.integer("state_window", 0))
    return "";
  if (width > 0 && keyWidth > 0 && width % heads == 0)
    keyHeads = keyWidth / (width / heads);
  if (!call.hasSizes(3, 1, {values, width / heads, call.size(2, 2) / values}))
    return "";
  auto named = [&](int i) { return call.has(i) ? input(i) : ""; };
  LinearAttention attention = {heads,
                               keyHeads,
                               values,
                               call.real("scale", 0.0),
                               call.word("update_rule", "gated_delta"),
                               input(0),
                               input(1),
                               input(2),
                               named(3),
                               named(4),
                               named(5)};
  std::string body;
  if (!attention.write(body))
    return "";
  body += "o0 = CastLike(result, i0)\n";
  return call.wants(1) ? body + "o1 = CastLike(present, " +
                             input(call.has(3) ? 3 : 0) + ")\n"
                       : body;
}

void mlir::onnx::addLinearAttentionRules(Rules &rules) {
  rules[".LinearAttention"] = linearAttention;
  rules["com.microsoft.LinearAttention"] = linearAttention;
}
