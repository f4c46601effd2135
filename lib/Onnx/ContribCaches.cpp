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
/// Where an operator has its inputs; -1: it has none of these.
struct Places {
  int lengths, total, cosines, sines;
  int beyondLast; ///< what its lengths lack of the number of keys
  int positions = -1, queryScales = -1, keyScales = -1, rows = -1;
};
constexpr Places kGroupQuery = {
    /*lengths=*/5,      /*total=*/6,      /*cosines=*/7,
    /*sines=*/8,        /*beyondLast=*/1, /*positions=*/9,
    /*queryScales=*/14, /*keyScales=*/15, /*rows=*/16};
constexpr Places kSparse = {/*lengths=*/8, /*total=*/7, /*cosines=*/9,
                            /*sines=*/10, /*beyondLast=*/0};
} // namespace

/// Writes `q`, `k` and `v` [B, N, H * D]. False for widths that are not known.
static bool writeOperands(const Call &call, std::string &body) {
  if (call.has(1)) {
    body += "q = Identity(i0)\nk = Identity(i1)\nv = Identity(i2)\n";
    return call.has(2);
  }
  int64_t width = call.size(0, 2);
  int64_t heads = call.integer("num_heads", 0),
          keyHeads = call.integer("kv_num_heads", 0),
          all = heads + 2 * keyHeads;
  if (width <= 0 || all <= 0)
    return false;
  std::string depth = std::to_string(width / all * keyHeads);
  body += "widths = Constant <value_ints = [" +
          std::to_string(width / all * heads) + ", " + depth + ", " + depth +
          "]> ()\nq, k, v = Split <axis = -1> (i0, widths)\n";
  return true;
}

/// Writes `lengths` [B], the keys of each batch entry, `starts` [B], how many
/// of them were there before, and `total` [1], the most that one may have.
/// Where nothing says how many rows of an entry are new, as many new rows as
/// that are a prompt, which starts at 0 and may be padded.
static void writeLengths(const Call &call, const Places &places,
                         std::string &body) {
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
          "rows = Shape <start = 1, end = 2> (i0)\n";
  if (call.has(places.rows))
    body += "wide_rows = Cast <to = 7> (" + input(places.rows) +
            ")\nnew_rows = Reshape(wide_rows, batch)\n"
            "starts = Sub(lengths, new_rows)\n";
  else
    body += "before = Sub(lengths, rows)\nis_prompt = Equal(rows, total)\n"
            "starts = Where(is_prompt, zero, before)\n";
}

/// Normalizes each head of `name` by input `scales`.
static void writeNorm(const Call &call, const std::string &name, int scales,
                      const char *epsilon, std::string &body) {
  double shared = call.real("qk_norm_epsilon", 1e-6);
  body += list(name + "_heads", {0, 0, -1}) + name + "_width = Shape(" +
          input(scales) + ")\n" + name + "_split = Concat <axis = 0> (" + name +
          "_heads, " + name + "_width)\n" + name + "_by_head = Reshape(" +
          name + ", " + name + "_split)\n" + name +
          "_normal = RMSNormalization <axis = -1, epsilon = " +
          text(call.real(epsilon, shared)) + "> (" + name + "_by_head, " +
          input(scales) + ")\nnormal_" + name + " = Reshape(" + name +
          "_normal, " + name + "_heads)\n";
}

/// Writes `rotated_q` and `rotated_k`, of `before` and the name without it.
static void writeRotation(const Call &call, const Places &places,
                          const std::string &before, std::string &body) {
  std::string positions = "positions";
  if (call.has(places.positions))
    positions = input(places.positions);
  else
    body += counted("place", "rows") +
            "column = Unsqueeze(starts, one)\npositions = Add(column, place)\n";
  int64_t part = 2 * call.size(places.cosines, 1); // 0: all of each head
  auto rotate = [&](const std::string &name, const char *heads) {
    return "rotated_" + name + " = RotaryEmbedding <interleaved = " +
           std::to_string(call.integer("rotary_interleaved", 0)) +
           ", num_heads = " + std::to_string(call.integer(heads, 0)) +
           ", rotary_embedding_dim = " + std::to_string(part) + "> (" + before +
           name + ", " + input(places.cosines) + ", " + input(places.sines) +
           ", " + positions + ")\n";
  };
  body += rotate("q", "num_heads") + rotate("k", "kv_num_heads");
}

namespace {
/// What is before the attention itself; the body is empty for a form that is
/// not covered.
struct Operands {
  std::string body;
  std::string prefix; ///< of the names `q` and `k`
};
} // namespace

static Operands operandsOf(const Call &call, const Places &places) {
  std::string body, prefix;
  bool isRotated = call.integer("do_rotary", 0),
       isNormal = call.has(places.queryScales);
  if (!call.has(places.lengths) || !call.has(places.total) ||
      call.has(3) != call.has(4) || isNormal != call.has(places.keyScales) ||
      (isRotated && (!call.has(places.cosines) || !call.has(places.sines))) ||
      !writeOperands(call, body))
    return {};
  writeLengths(call, places, body);
  if (isNormal) {
    writeNorm(call, "q", places.queryScales, "q_norm_epsilon", body);
    writeNorm(call, "k", places.keyScales, "k_norm_epsilon", body);
    prefix = "normal_";
  }
  if (isRotated) {
    writeRotation(call, places, prefix, body);
    prefix = "rotated_";
  }
  return {body, prefix};
}

namespace {
/// The attention's other operands by name.
struct Cache {
  std::string starts = "starts", lengths = "lengths", total = "total";
  std::string first, capacity; ///< of the rows that stay; empty: all do
};
} // namespace

/// The attention over `q`, `k` and `v`; `attributes` and `others` beyond what
/// all have.
static std::string cachedAttention(const Call &call, const Operands &operands,
                                   const Cache &cache,
                                   const std::string &attributes,
                                   const std::string &others) {
  return "o0, o1, o2 = ai.megactx.CachedAttention <num_heads = " +
         std::to_string(call.integer("num_heads", 0)) +
         ", kv_num_heads = " + std::to_string(call.integer("kv_num_heads", 0)) +
         ", scale = " + text(call.real("scale", 0.0)) + ", " + attributes +
         "> (" + operands.prefix + "q, " + operands.prefix + "k, v, " +
         inputOrNone(call, 3) + ", " + inputOrNone(call, 4) + ", " +
         cache.starts + ", " + cache.lengths + ", " + cache.total + ", " +
         others +
         (cache.first.empty()
              ? ""
              : ", none, none, " + cache.first + ", " + cache.capacity) +
         ")\n";
}

/// A cache of C rows, of which the first L(T) hold the last of T tokens: where
/// more than C would, as many go at once as leave a window of W, so that
/// L(T) = T - g * ceil((T - C) / g) of g = C - W + 1. Positions count from the
/// oldest token that is there.
static Cache windowOfCache(const Call &call, std::string &body) {
  int64_t window = call.integer("local_window_size", -1);
  body += list("window_less", {window - 1}) +
          "capacity = Shape <start = 2, end = 3> (i3)\n"
          "room = Sub(capacity, window_less)\n" +
          checkedSize("gap", "room") +
          "gap_less = Sub(gap, one)\n"
          "since = Max(starts, zero)\n";
  for (auto [count, left] : {std::pair("since", "kept"), {"lengths", "stay"}})
    body += std::string(left) + "_beyond = Sub(" + count + ", capacity)\n" +
            left + "_over = Max(" + left + "_beyond, zero)\n" + left +
            "_up = Add(" + left + "_over, gap_less)\n" + left +
            "_times = Div(" + left + "_up, gap)\n" + left + "_gone = Mul(" +
            left + "_times, gap)\n" + left + " = Sub(" + count + ", " + left +
            "_gone)\n";
  body += "new_ones = Sub(lengths, since)\nall_rows = Add(kept, new_ones)\n"
          "most = Add(capacity, rows)\npassed = Sub(all_rows, stay)\n";
  return {"kept", "all_rows", "most", "passed", "capacity"};
}

static std::string groupQueryAttention(const Call &call) {
  int64_t window = call.integer("local_window_size", -1);
  bool isWindow = call.integer("sliding_window_cache", 0);
  if (call.wants(3) || call.has(12) || call.has(13) || window == 0 ||
      !call.integer("causal", 1) ||
      (isWindow && (window < 1 || !call.has(3) || call.has(10))))
    return "";
  Operands operands = operandsOf(call, kGroupQuery);
  std::string body = operands.body;
  if (body.empty())
    return "";
  std::string pattern = "causal";
  if (window > 0)
    pattern = "window<left = " + std::to_string(window - 1) + ", right = 0>";
  std::string sink = inputOrNone(call, 11);
  if (call.integer("smooth_softmax", 0) && !call.has(11)) {
    body += "sink = Constant <value = float[1] {0.0}> ()\n";
    sink = "sink";
  }
  Cache cache;
  if (isWindow)
    cache = windowOfCache(call, body);
  return body + cachedAttention(call, operands, cache,
                                "softcap = " + text(call.real("softcap", 0.0)) +
                                    ", pattern = \"" + pattern + "\"",
                                inputOrNone(call, 10) + ", " + sink);
}

/// Its blocks become a pattern where they are constants.
static std::string sparseAttention(const Call &call) {
  Operands operands = operandsOf(call, kSparse);
  int64_t block = call.integer("sparse_block_size", 0);
  if (operands.body.empty() || !call.has(5) || !call.has(6) || block < 1)
    return "";
  return operands.body +
         cachedAttention(call, operands, Cache(),
                         "block_size = " + std::to_string(block),
                         "none, none, i5, i6");
}

void mlir::onnx::addCacheRules(Rules &rules) {
  rules["com.microsoft.GroupQueryAttention"] = groupQueryAttention;
  rules["com.microsoft.SparseAttention"] = sparseAttention;
}
