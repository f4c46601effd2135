//===- ContribOps.cpp - onnxruntime's operators in ONNX's -----------------===//
//
// Semantics and defaults: onnxruntime's docs/ContribOperators.md.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

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
  return "wide = Constant <value = float {" + text(call.real("alpha", 1.702)) +
         "}> ()\nalpha = CastLike(wide, i0)\nscaled = Mul(i0, alpha)\n"
         "gate = Sigmoid(scaled)\no0 = Mul(i0, gate)";
}

static std::string fusedMatMul(const Call &call) {
  if (call.integer("transBatchA", 0) || call.integer("transBatchB", 0))
    return "";
  std::string body, operands[] = {"i0", "i1"};
  for (int i : {0, 1}) {
    if (!call.integer(i ? "transB" : "transA", 0))
      continue;
    int rank = call.rank(i);
    if (rank < 2)
      return "";
    std::string perm;
    for (int axis = 0; axis < rank - 2; ++axis)
      perm += std::to_string(axis) + ", ";
    perm += std::to_string(rank - 1) + ", " + std::to_string(rank - 2);
    operands[i] = "swapped" + std::to_string(i);
    body += operands[i] + " = Transpose <perm = [" + perm + "]> (" + input(i) +
            ")\n";
  }
  std::string product = " = MatMul(" + operands[0] + ", " + operands[1] + ")\n";
  double alpha = call.real("alpha", 1.0);
  if (alpha == 1.0)
    return body + "o0" + product;
  return body + "product" + product + "wide = Constant <value = float {" +
         text(alpha) +
         "}> ()\nalpha = CastLike(wide, i0)\no0 = Mul(product, alpha)";
}

static std::string rotaryEmbedding(const Call &call) {
  const auto *half = call.dim(2, 1);
  const auto *width = call.dim(0, 2);
  int64_t heads = call.integer("num_heads", 0);
  int64_t part = call.integer("rotary_embedding_dim", 0);
  if (call.rank(1) != 2 || call.real("scale", 1.0) != 1.0 || !half || !width ||
      (call.rank(0) != 3 && call.rank(0) != 4))
    return "";
  if (call.rank(0) == 3 && heads == 0) {
    if (half->dim_value() <= 0 || width->dim_value() <= 0)
      return "";
    heads = width->dim_value() / (2 * half->dim_value());
  }
  return "o0 = RotaryEmbedding <interleaved = " +
         std::to_string(call.integer("interleaved", 0)) +
         ", num_heads = " + std::to_string(heads) +
         ", rotary_embedding_dim = " + std::to_string(part) +
         "> (i0, i2, i3, i1)";
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
            keys +
            ")\nfirst = Constant <value_ints = [0]> ()\n"
            "count = Squeeze(sizes, first)\n"
            "zero = Constant <value = int64 {0}> ()\n"
            "one = Constant <value = int64 {1}> ()\n"
            "place = Range(zero, count, one)\nkeep = Less(place, last)\n";
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

static std::string attentionOf(const Call &call, const std::string &operands) {
  std::string heads = std::to_string(call.integer("num_heads", 0));
  std::string body =
      " = Attention <q_num_heads = " + heads + ", kv_num_heads = " + heads +
      ", is_causal = " + std::to_string(call.integer("unidirectional", 0));
  if (double scale = call.real("scale", 0.0); scale != 0.0)
    body += ", scale = " + text(scale);
  return body + "> (" + operands + ")\n";
}

/// One product projects queries, keys and values; it may be there already.
template <bool isProjected> static std::string attention(const Call &call) {
  if (call.has(4) || call.has(6) || call.wants(1) ||
      call.integer("do_rotary", 0))
    return "";
  std::string all = isProjected ? "i0" : "projected",
              body = isProjected ? "" : "projected = MatMul(i0, i1)\n";
  if (call.has(2)) {
    body += "all = Add(" + all + ", i2)\n";
    all = "all";
  }
  if (const AttributeProto *sizes = call.attribute("qkv_hidden_sizes")) {
    std::string list;
    for (int64_t size : sizes->ints())
      list += (list.empty() ? "" : ", ") + std::to_string(size);
    body += "widths = Constant <value_ints = [" + list +
            "]> ()\nq, k, v = Split <axis = -1> (" + all + ", widths)\n";
  } else {
    body += "q, k, v = Split <axis = -1, num_outputs = 3> (" + all + ")\n";
  }
  if (!writeMask(call, 3, 5, "i0", body))
    return "";
  bool isMasked = call.has(3) || call.has(5);
  return body + "o0" +
         attentionOf(call, isMasked ? "q, k, v, mask" : "q, k, v");
}

/// Queries, keys and values as [B, N, H * D], with a bias for all three.
static std::string multiHeadAttention(const Call &call) {
  bool hasPast = call.has(6) && call.has(7);
  if (call.rank(0) != 3 || call.rank(1) != 3 || call.rank(2) != 3 ||
      call.has(6) != call.has(7) || call.has(8) || call.has(9))
    return "";
  std::string body, q = "i0", k = "i1", v = "i2";
  if (call.has(3)) {
    const auto *query = call.dim(0, 2), *value = call.dim(2, 2);
    if (!query->dim_value() || !value->dim_value())
      return "";
    std::string width = std::to_string(query->dim_value());
    body = "widths = Constant <value_ints = [" + width + ", " + width + ", " +
           std::to_string(value->dim_value()) +
           "]> ()\nbq, bk, bv = Split <axis = 0> (i3, widths)\n"
           "q = Add(i0, bq)\nk = Add(i1, bk)\nv = Add(i2, bv)\n";
    q = "q", k = "k", v = "v";
  }
  if (!writeMask(call, 4, 5, hasPast ? "" : "i1", body))
    return "";
  bool isMasked = call.has(4) || call.has(5);
  std::string operands = q + ", " + k + ", " + v;
  if (isMasked || hasPast)
    operands += isMasked ? ", mask" : ", none";
  if (hasPast)
    operands += ", i6, i7";
  bool hasPresent = call.wants(1) || call.wants(2);
  return body + (hasPresent ? "o0, o1, o2" : "o0") +
         attentionOf(call, operands);
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
       {"com.microsoft.FusedMatMul", fusedMatMul},
       {"com.microsoft.RotaryEmbedding", rotaryEmbedding},
       {"com.microsoft.Attention", attention<false>},
       {"ai.megactx.ProjectedAttention", attention<true>},
       {"com.microsoft.MultiHeadAttention", multiHeadAttention}});
}
