//===- ContribAttention.cpp - onnxruntime's attention in ONNX's -----------===//
//
// Semantics and defaults: onnxruntime's docs/ContribOperators.md. Attention
// over caches with a length for each batch entry is in ContribCaches.cpp.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

//===----------------------------------------------------------------------===//
// Rotary embedding
//===----------------------------------------------------------------------===//

/// How an embedding's node begins: its input follows. Empty for a form that is
/// not covered.
static std::string rotationOf(const Call &call) {
  int64_t heads = call.integer("num_heads", 0), half = call.size(2, 1),
          width = call.size(0, 2);
  int64_t part = call.integer("rotary_embedding_dim", 0);
  if (call.real("scale", 1.0) != 1.0 || !call.dim(2, 1) ||
      call.integer("is_packed_batching", 0) ||
      (call.rank(0) != 3 && call.rank(0) != 4))
    return "";
  if (call.rank(0) == 3 && heads == 0) {
    if (half <= 0 || width <= 0)
      return "";
    heads = width / (2 * half);
  }
  return "o0 = RotaryEmbedding <interleaved = " +
         std::to_string(call.integer("interleaved", 0)) +
         ", num_heads = " + std::to_string(heads) +
         ", rotary_embedding_dim = " + std::to_string(part) + "> (i0, ";
}

/// Positions [batch, tokens], or the first one alone.
static std::string rotaryEmbedding(const Call &call) {
  std::string node = rotationOf(call);
  if (node.empty() || (call.rank(1) != 1 && call.rank(1) != 2))
    return "";
  if (call.rank(1) == 2)
    return node + "i2, i3, i1)";
  int tokens = call.rank(0) - 2;
  return "batch = Shape <start = 0, end = 1> (i0)\n"
         "count = Shape <start = " +
         std::to_string(tokens) + ", end = " + std::to_string(tokens + 1) +
         "> (i0)\n"
         "both = Concat <axis = 0> (batch, count)\n"
         "ones = ConstantOfShape <value = int64[1] {1}> (both)\n"
         "axis = Constant <value = int64 {1}> ()\n"
         "behind = CumSum <exclusive = 1> (ones, axis)\n"
         "positions = Add(behind, i1)\n" +
         node + "i2, i3, positions)";
}

/// Of each channel, which of the three positions of a token it turns by.
static std::vector<int64_t> channelsOf(const std::vector<int64_t> &sections,
                                       bool isInterleaved) {
  std::vector<int64_t> streams;
  for (int64_t stream = 0; stream < 3; ++stream)
    streams.insert(streams.end(), sections[stream], stream);
  if (!isInterleaved)
    return streams;
  for (size_t i = 0; i < streams.size(); ++i)
    streams[i] = int64_t(i) < 3 * sections[i % 3] ? i % 3 : 0;
  return streams;
}

/// Positions [3, batch, tokens]; channel c of a token turns by what row
/// positions[stream of c] of the caches has for it.
static std::string multimodalRotaryEmbedding(const Call &call) {
  const AttributeProto *sections = call.attribute("mrope_section");
  int64_t half = call.size(2, 1);
  std::string node = rotationOf(call);
  int64_t layout = call.integer("mrope_layout", 0);
  if (node.empty() || call.rank(1) != 3 || !call.hasSizes(1, 0, {3}) ||
      !sections || sections->ints_size() != 3 || (layout != 0 && layout != 1))
    return "";
  std::vector<int64_t> widths(sections->ints().begin(), sections->ints().end());
  int64_t channels = 0;
  for (int64_t width : widths) {
    if (width < 0 || width > half)
      return "";
    channels += width;
  }
  if (channels == 0 || channels != half)
    return "";
  std::vector<int64_t> places;
  for (int64_t channel = 0; channel < channels; ++channel)
    places.push_back(channel);
  return list("streams", channelsOf(widths, layout)) + list("places", places) +
         list("width", {channels}) + list("flat", {-1}) +
         "last = Transpose <perm = [1, 2, 0]> (i1)\n"
         "wide = Cast <to = 7> (last)\n"
         "rows = Gather <axis = 2> (wide, streams)\n"
         "starts = Mul(rows, width)\nindices = Add(starts, places)\n"
         "all_cosines = Reshape(i2, flat)\nall_sines = Reshape(i3, flat)\n"
         "cosines = Gather(all_cosines, indices)\n"
         "sines = Gather(all_sines, indices)\n" +
         node + "cosines, sines)";
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Writes `mask`: mask input i as numbers to add to scores, with what is in
/// `bias` added. False for a form that is not covered. `keys` is the tensor
/// whose dim 1 counts the keys, where lengths say the mask.
static bool writeMask(const Call &call, int i, int bias,
                      const std::string &keys, std::string &body) {
  if (!call.has(i)) {
    if (call.has(bias))
      body += "mask = Identity(" + input(bias) + ")\n";
    return true;
  }
  int rank = call.rank(i);
  if (rank == 1) {
    if (keys.empty())
      return false;
    // Other lists than one length per batch entry have other sizes, which
    // Reshape finds.
    body += "length = Cast <to = 7> (" + input(i) +
            ")\nbatch = Shape <start = 0, end = 1> (i0)\n"
            "ones = Constant <value_ints = [1, 1, 1]> ()\n"
            "column = Concat <axis = 0> (batch, ones)\n"
            "last = Reshape(length, column)\n"
            "sizes = Shape <start = 1, end = 2> (" +
            keys + ")\n" + counted("place", "sizes") +
            "keep = Less(place, last)\n";
  } else if (rank == 2 || rank == 3) {
    body += "axes = Constant <value_ints = [" +
            std::string(rank == 2 ? "1, 2" : "1") + "]> ()\nwide = Unsqueeze(" +
            input(i) + ", axes)\nkeep = Cast <to = 9> (wide)\n";
  } else {
    return false;
  }
  body += "show = Constant <value = float {0.0}> ()\n"
          "hide = Constant <value = float {" +
          text(call.real("mask_filter_value", -10000.0)) + "}> ()\n" +
          (call.has(bias) ? "hidden" : "mask") + " = Where(keep, show, hide)\n";
  if (call.has(bias))
    body += "mask = Add(hidden, " + input(bias) + ")\n";
  return true;
}

/// ONNX's node behind its results. `past`: keys and values by name, or empty.
static std::string attentionOf(const Call &call, const std::string &operands,
                               bool isMasked, const std::string &past) {
  std::string heads = std::to_string(call.integer("num_heads", 0));
  std::string body =
      " = Attention <q_num_heads = " + heads + ", kv_num_heads = " + heads +
      ", is_causal = " + std::to_string(call.integer("unidirectional", 0));
  if (double scale = call.real("scale", 0.0); scale != 0.0)
    body += ", scale = " + text(scale);
  body += "> (" + operands;
  if (isMasked || !past.empty())
    body += isMasked ? ", mask" : ", none";
  return body + (past.empty() ? "" : ", " + past) + ")\n";
}

/// Writes `past_k` and `past_v`, the halves of input `past`.
static void writePast(int past, std::string &body) {
  for (const char *half : {"0", "1"})
    body += "at" + std::string(half) + " = Constant <value = int64 {" + half +
            "}> ()\npast_" + (*half == '0' ? "k" : "v") + " = Gather(" +
            input(past) + ", at" + half + ")\n";
}

/// One product projects queries, keys and values; it may be there already.
/// past and o1 are [2, batch, heads, tokens, head dim].
template <bool isProjected> static std::string attention(const Call &call) {
  bool hasPast = call.has(4);
  if (call.has(6) || call.integer("do_rotary", 0) ||
      !call.hasSizes(4, 0, {2}) || call.integer("past_present_share_buffer", 0))
    return "";
  std::string all = isProjected ? "i0" : "projected",
              body = isProjected ? "" : "projected = MatMul(i0, i1)\n";
  if (call.has(2)) {
    body += "all = Add(" + all + ", i2)\n";
    all = "all";
  }
  if (const AttributeProto *sizes = call.attribute("qkv_hidden_sizes"))
    body += list("widths", {sizes->ints().begin(), sizes->ints().end()}) +
            "q, k, v = Split <axis = -1> (" + all + ", widths)\n";
  else
    body += "q, k, v = Split <axis = -1, num_outputs = 3> (" + all + ")\n";
  if (!writeMask(call, 3, 5, hasPast ? "" : "i0", body))
    return "";
  if (hasPast)
    writePast(4, body);
  std::string node = attentionOf(call, "q, k, v", call.has(3) || call.has(5),
                                 hasPast ? "past_k, past_v" : "");
  if (!call.wants(1))
    return body + "o0" + node;
  return body + "o0, key, value" + node + list("front", {0}) +
         "keys = Unsqueeze(key, front)\nvalues = Unsqueeze(value, front)\n"
         "o1 = Concat <axis = 0> (keys, values)\n";
}

/// Writes `names`, the parts of input i, which is packed as [batch, tokens,
/// heads, parts, head dim], as [batch, tokens, heads * head dim].
static void writeUnpacked(int i, const std::vector<std::string> &names,
                          std::string &body) {
  std::vector<std::string> parts;
  for (const std::string &name : names)
    parts.push_back("packed_" + name);
  body += list("joined", {0, 0, -1}) + joined(parts) +
          " = Split <axis = 3, num_outputs = " + std::to_string(parts.size()) +
          "> (" + input(i) + ")\n";
  for (const std::string &name : names)
    body += name + " = Reshape(packed_" + name + ", joined)\n";
}

/// Writes `name`, whose last dim holds the heads, as [batch, heads, tokens,
/// head dim].
static void writeHeads(const Call &call, const std::string &name,
                       const std::string &from, std::string &body) {
  body += list(name + "_split", {0, 0, call.integer("num_heads", 0), -1}) +
          name + "_rows = Reshape(" + from + ", " + name + "_split)\n" + name +
          " = Transpose <perm = [0, 2, 1, 3]> (" + name + "_rows)\n";
}

/// Writes `q`, `k` and `v`: [batch, tokens, heads * head dim], or with heads
/// before tokens where keys and values have them so.
static bool writeHeadOperands(const Call &call, std::string &body) {
  int ranks[] = {call.rank(0), call.rank(1), call.rank(2)};
  int64_t heads = call.integer("num_heads", 0);
  for (int i : {0, 1, 2})
    if ((ranks[i] == 5 && !call.hasSizes(i, 2, {heads})) ||
        (ranks[i] == 4 && !call.hasSizes(i, 1, {heads})))
      return false;
  if (ranks[0] == 5 && !call.has(1) && !call.has(2)) {
    writeUnpacked(0, {"q", "k", "v"}, body);
  } else if (ranks[0] == 3 && ranks[1] == 5 && !call.has(2)) {
    writeUnpacked(1, {"k", "v"}, body);
    body += "q = Identity(i0)\n";
  } else if (ranks[0] == 3 && ranks[1] == 4 && ranks[2] == 4) {
    writeHeads(call, "q", "i0", body);
    body += "k = Identity(i1)\nv = Identity(i2)\n";
    return !call.has(3);
  } else if (ranks[0] == 3 && ranks[1] == 3 && ranks[2] == 3) {
    body += "q = Identity(i0)\nk = Identity(i1)\nv = Identity(i2)\n";
  } else {
    return false;
  }
  return true;
}

/// Adds input 3, a bias for all three, to them.
static bool writeBias(const Call &call, std::string &operands,
                      std::string &body) {
  operands = "q, k, v";
  if (!call.has(3))
    return true;
  int64_t all = call.size(3, 0),
          width = call.rank(0) == 5
                      ? call.integer("num_heads", 0) * call.size(0, 4)
                      : call.size(0, 2);
  if (width <= 0 || all <= 2 * width)
    return false;
  body += list("widths", {width, width, all - 2 * width}) +
          "bq, bk, bv = Split <axis = 0> (i3, widths)\n"
          "biased_q = Add(q, bq)\nbiased_k = Add(k, bk)\n"
          "biased_v = Add(v, bv)\n";
  operands = "biased_q, biased_k, biased_v";
  return true;
}

static std::string multiHeadAttention(const Call &call) {
  bool hasPast = call.has(6) && call.has(7), hasHeads = call.rank(1) == 4;
  if (call.has(6) != call.has(7) || call.has(8) || call.has(9) ||
      call.wants(3) ||
      (hasHeads && (hasPast || call.integer("num_heads", 0) < 1)))
    return "";
  std::string body, operands;
  if (!writeHeadOperands(call, body) || !writeBias(call, operands, body) ||
      !writeMask(call, 4, 5, hasPast || hasHeads ? "" : "k", body))
    return "";
  std::string node = attentionOf(call, operands, call.has(4) || call.has(5),
                                 hasPast ? "i6, i7" : "");
  std::string present = call.wants(1) || call.wants(2) ? ", o1, o2" : "";
  if (!hasHeads)
    return body + "o0" + present + node;
  return body + "rows" + present + node + list("joined", {0, 0, -1}) +
         "tokens = Transpose <perm = [0, 2, 1, 3]> (rows)\n"
         "o0 = Reshape(tokens, joined)\n";
}

void mlir::onnx::addContribAttentionRules(Rules &rules) {
  rules.insert({{"com.microsoft.RotaryEmbedding", rotaryEmbedding},
                {"com.microsoft.MRotaryEmbedding", multimodalRotaryEmbedding},
                {"com.microsoft.Attention", attention<false>},
                {"ai.megactx.ProjectedAttention", attention<true>},
                {"com.microsoft.MultiHeadAttention", multiHeadAttention}});
}
