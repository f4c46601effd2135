//===- ContribCaches.cpp - attention over caches of many lengths ----------===//
//
// onnxruntime's GroupQueryAttention and SparseAttention as this project's
// CachedAttention, which has neither rotation nor packed operands: see
// ContribSchemas.h.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

using namespace mlir::onnx;

namespace {
/// Where an operator has its inputs.
struct Places {
  int lengths, total, cosines, sines, positions; ///< -1: it has none
  int beyondLast; ///< what its lengths lack of the number of keys
};
constexpr Places kGroupQuery = {
    /*lengths=*/5, /*total=*/6,     /*cosines=*/7,
    /*sines=*/8,   /*positions=*/9, /*beyondLast=*/1};
constexpr Places kSparse = {
    /*lengths=*/8, /*total=*/7,      /*cosines=*/9,
    /*sines=*/10,  /*positions=*/-1, /*beyondLast=*/0};
} // namespace

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
static void writeLengths(const Places &places, std::string &body) {
  body += list("one", {1}) + list("zero", {0}) +
          list("missing", {places.beyondLast}) +
          "batch = Shape <start = 0, end = 1> (i0)\n"
          "wide_last = Cast <to = 7> (" +
          input(places.lengths) +
          ")\nlast = Reshape(wide_last, batch)\n"
          "wide_total = Cast <to = 7> (" +
          input(places.total) +
          ")\n"
          "total = Reshape(wide_total, one)\nlengths = Add(last, missing)\n"
          "rows = Shape <start = 1, end = 2> (i0)\n"
          "before = Sub(lengths, rows)\nis_prompt = Equal(rows, total)\n"
          "starts = Where(is_prompt, zero, before)\n";
}

/// Rotates queries and keys in place.
static void writeRotation(const Call &call, const Places &places,
                          std::string &body) {
  std::string positions = "positions";
  if (call.has(places.positions))
    positions = input(places.positions);
  else
    body += "column = Unsqueeze(starts, one)\ncount = Squeeze(rows, zero)\n"
            "first = Constant <value = int64 {0}> ()\n"
            "step = Constant <value = int64 {1}> ()\n"
            "place = Range(first, count, step)\n"
            "positions = Add(column, place)\n";
  int64_t part = 0; // of each head; all of it
  if (const auto *half = call.dim(places.cosines, 1))
    part = 2 * half->dim_value();
  auto rotate = [&](const std::string &name, const char *heads) {
    return "rotated_" + name + " = RotaryEmbedding <interleaved = " +
           std::to_string(call.integer("rotary_interleaved", 0)) +
           ", num_heads = " + std::to_string(call.integer(heads, 0)) +
           ", rotary_embedding_dim = " + std::to_string(part) + "> (" + name +
           ", " + input(places.cosines) + ", " + input(places.sines) + ", " +
           positions + ")\n";
  };
  body += rotate("q", "num_heads") + rotate("k", "kv_num_heads");
}

/// All before the attention itself, or nothing for a form that is not covered.
static std::string operandsOf(const Call &call, const Places &places) {
  std::string body;
  bool isRotated = call.integer("do_rotary", 0);
  if (!call.has(places.lengths) || !call.has(places.total) ||
      call.has(3) != call.has(4) ||
      (isRotated && (!call.has(places.cosines) || !call.has(places.sines))) ||
      !writeOperands(call, body))
    return "";
  writeLengths(places, body);
  if (isRotated)
    writeRotation(call, places, body);
  return body;
}

/// The attention over `q`, `k` and `v`; `attributes` and `operands` beyond what
/// all have.
static std::string cachedAttention(const Call &call,
                                   const std::string &attributes,
                                   const std::string &operands) {
  return "o0, o1, o2 = ai.megactx.CachedAttention <num_heads = " +
         std::to_string(call.integer("num_heads", 0)) +
         ", kv_num_heads = " + std::to_string(call.integer("kv_num_heads", 0)) +
         ", scale = " + text(call.real("scale", 0.0)) + ", " + attributes +
         "> (" +
         (call.integer("do_rotary", 0) ? "rotated_q, rotated_k" : "q, k") +
         ", v, " + inputOrNone(call, 3) + ", " + inputOrNone(call, 4) +
         ", starts, lengths, total, " + operands + ")\n";
}

static std::string groupQueryAttention(const Call &call) {
  bool isOther =
      call.wants(3) || call.has(12) || call.has(13) || call.has(14) ||
      call.has(15) || call.has(16) || call.integer("sliding_window_cache", 0) ||
      call.integer("local_window_size", -1) == 0 || !call.integer("causal", 1);
  std::string body = isOther ? "" : operandsOf(call, kGroupQuery);
  if (body.empty())
    return "";
  int64_t window = call.integer("local_window_size", -1);
  std::string pattern = "causal";
  if (window > 0)
    pattern = "window<left = " + std::to_string(window - 1) + ", right = 0>";
  std::string sink = inputOrNone(call, 11);
  if (call.integer("smooth_softmax", 0) && !call.has(11)) {
    body += "sink = Constant <value = float[1] {0.0}> ()\n";
    sink = "sink";
  }
  return body + cachedAttention(call,
                                "softcap = " + text(call.real("softcap", 0.0)) +
                                    ", pattern = \"" + pattern + "\"",
                                inputOrNone(call, 10) + ", " + sink);
}

/// Its blocks become a pattern where they are constants.
static std::string sparseAttention(const Call &call) {
  std::string body = operandsOf(call, kSparse);
  int64_t block = call.integer("sparse_block_size", 0);
  if (body.empty() || !call.has(5) || !call.has(6) || block < 1)
    return "";
  return body + cachedAttention(call, "block_size = " + std::to_string(block),
                                "none, none, i5, i6");
}

void mlir::onnx::addCacheRules(Rules &rules) {
  rules["com.microsoft.GroupQueryAttention"] = groupQueryAttention;
  rules["com.microsoft.SparseAttention"] = sparseAttention;
}
