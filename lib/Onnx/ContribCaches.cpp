//===- ContribCaches.cpp - attention over caches of many lengths ----------===//
//
// onnxruntime's GroupQueryAttention as this project's CachedAttention, which
// has neither rotation nor packed operands: see ContribSchemas.h.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

using namespace mlir::onnx;

/// Writes `q`, `k` and `v` [B, N, H * D]. False for widths that are not known.
static bool writeOperands(const Call &call, std::string &body) {
  if (call.has(1)) {
    body += "q = Identity(i0)\nk = Identity(i1)\nv = Identity(i2)\n";
    return call.has(2);
  }
  const auto *width = call.dim(0, 2);
  int64_t heads = call.integer("num_heads", 0),
          keyHeads = call.integer("kv_num_heads", 0),
          all = heads + 2 * keyHeads;
  if (!width || all <= 0 || width->dim_value() <= 0)
    return false;
  std::string depth = std::to_string(width->dim_value() / all * keyHeads);
  body += "widths = Constant <value_ints = [" +
          std::to_string(width->dim_value() / all * heads) + ", " + depth +
          ", " + depth + "]> ()\nq, k, v = Split <axis = -1> (i0, widths)\n";
  return true;
}

/// Writes `lengths` [B], the keys of each batch entry, `starts` [B], how many
/// of them were there before, and `total` [1], the most that one may have. As
/// many new rows as that are a prompt, which starts at 0 and may be padded.
static void writeLengths(std::string &body) {
  body += "one = Constant <value_ints = [1]> ()\n"
          "zero = Constant <value_ints = [0]> ()\n"
          "batch = Shape <start = 0, end = 1> (i0)\n"
          "wide_last = Cast <to = 7> (i5)\nlast = Reshape(wide_last, batch)\n"
          "wide_total = Cast <to = 7> (i6)\n"
          "total = Reshape(wide_total, one)\nlengths = Add(last, one)\n"
          "rows = Shape <start = 1, end = 2> (i0)\n"
          "before = Sub(lengths, rows)\nis_prompt = Equal(rows, total)\n"
          "starts = Where(is_prompt, zero, before)\n";
}

/// Rotates queries and keys in place.
static void writeRotation(const Call &call, std::string &body) {
  std::string positions = "i9";
  if (!call.has(9)) {
    positions = "positions";
    body += "column = Unsqueeze(starts, one)\ncount = Squeeze(rows, zero)\n"
            "first = Constant <value = int64 {0}> ()\n"
            "step = Constant <value = int64 {1}> ()\n"
            "place = Range(first, count, step)\n"
            "positions = Add(column, place)\n";
  }
  int64_t part = 0; // of each head; all of it
  if (const auto *half = call.dim(7, 1))
    part = 2 * half->dim_value();
  auto rotate = [&](const std::string &name, const char *heads) {
    return "rotated_" + name + " = RotaryEmbedding <interleaved = " +
           std::to_string(call.integer("rotary_interleaved", 0)) +
           ", num_heads = " + std::to_string(call.integer(heads, 0)) +
           ", rotary_embedding_dim = " + std::to_string(part) + "> (" + name +
           ", i7, i8, " + positions + ")\n";
  };
  body += rotate("q", "num_heads") + rotate("k", "kv_num_heads");
}

static std::string groupQueryAttention(const Call &call) {
  bool isRotated = call.integer("do_rotary", 0);
  bool isOther =
      call.wants(3) || call.has(12) || call.has(13) || call.has(14) ||
      call.has(15) || call.has(16) || call.integer("sliding_window_cache", 0) ||
      call.integer("local_window_size", -1) == 0 || !call.integer("causal", 1);
  if (isOther || !call.has(5) || !call.has(6) || call.has(3) != call.has(4) ||
      (isRotated && (!call.has(7) || !call.has(8))))
    return "";
  std::string body;
  if (!writeOperands(call, body))
    return "";
  writeLengths(body);
  if (isRotated)
    writeRotation(call, body);
  int64_t window = call.integer("local_window_size", -1);
  std::string pattern = "causal";
  if (window > 0)
    pattern = "window<left = " + std::to_string(window - 1) + ", right = 0>";
  std::string sink = inputOrNone(call, 11);
  if (call.integer("smooth_softmax", 0) && !call.has(11)) {
    body += "sink = Constant <value = float[1] {0.0}> ()\n";
    sink = "sink";
  }
  body += "o0, o1, o2 = ai.megactx.CachedAttention <num_heads = " +
          std::to_string(call.integer("num_heads", 0)) + ", kv_num_heads = " +
          std::to_string(call.integer("kv_num_heads", 0)) +
          ", scale = " + text(call.real("scale", 0.0)) +
          ", softcap = " + text(call.real("softcap", 0.0)) + ", pattern = \"" +
          pattern + "\"> (" + (isRotated ? "rotated_q, rotated_k" : "q, k") +
          ", v, " + inputOrNone(call, 3) + ", " + inputOrNone(call, 4) +
          ", starts, lengths, total, " + inputOrNone(call, 10) + ", " + sink +
          ")\n";
  return body;
}

void mlir::onnx::addCacheRules(Rules &rules) {
  rules["com.microsoft.GroupQueryAttention"] = groupQueryAttention;
}
