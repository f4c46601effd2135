//===- ContribExperts.cpp - mixtures of experts ---------------------------===//
//
// onnxruntime's MoE and QMoE: a loop over the experts that any token has
// chosen, each of which multiplies the rows of its tokens alone. Semantics and
// defaults: onnxruntime's docs/ContribOperators.md.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

namespace {
/// Where a projection has its inputs, -1 for none of these, and the attribute
/// that says how many bits its weights have.
struct Projection {
  int weights, bias, scales = -1, zeros = -1;
  const char *bits = nullptr;
};

/// Where a mixture has its inputs behind rows and scores.
struct Places {
  Projection first, second, third;
  int shares = -1; ///< what outputs are weighed by, instead of by scores
};
constexpr Places kPlain = {{2, 3}, {4, 5}, {6, 7}};
constexpr Places kQuantized = {{2, 4, 3, 11, "fc1_expert_weight_bits"},
                               {5, 7, 6, 12, "fc2_expert_weight_bits"},
                               {8, 10, 9, 13, "fc3_expert_weight_bits"},
                               14};

class Mixture {
public:
  Mixture(const Call &call, const Places &places)
      : call(call), places(places) {}

  /// Empty for a form that is not covered.
  std::string text();

private:
  bool isCovered() const;
  int64_t bitsOf(const Projection &projection) const;
  int64_t blocksOf(const Projection &projection) const;
  int64_t blockSize(int64_t columns) const;
  bool hasWeights(const Projection &projection, int64_t rows,
                  int64_t columns) const;
  std::string choice() const;
  std::string product(const std::string &to, const std::string &from,
                      const Projection &projection, int64_t rows,
                      int64_t columns) const;
  std::string activated() const;
  std::string expert() const;

  bool isGated() const {
    return activation == "swiglu" || activation == "geglu";
  }
  bool isFused() const { return isGated() && fusion != 0; }

  const Call &call;
  const Places &places;
  const std::string activation = call.word("activation_type", "relu");
  const int64_t fusion = call.integer("swiglu_fusion", 0);
  const int64_t experts = call.size(2, 0), projected = call.size(2, 1);
  const int64_t width = call.size(places.second.weights, 1);
  const int64_t inner = isFused() ? projected / 2 : projected;
};
} // namespace

int64_t Mixture::bitsOf(const Projection &projection) const {
  return call.integer(projection.bits, call.integer("expert_weight_bits", 4));
}

/// Of a row, 0 where that is not known.
int64_t Mixture::blocksOf(const Projection &projection) const {
  int rank = call.rank(projection.scales);
  return rank == 2 ? 1 : rank == 3 ? call.size(projection.scales, 2) : 0;
}

/// A row is one where nothing is said.
int64_t Mixture::blockSize(int64_t columns) const {
  int64_t size = call.integer("block_size", 0);
  return size > 0 ? size : columns;
}

/// [experts, rows, columns], or as many bytes as these have.
bool Mixture::hasWeights(const Projection &projection, int64_t rows,
                         int64_t columns) const {
  int i = projection.weights;
  if (call.rank(i) != 3 || call.size(i, 0) != experts ||
      call.size(i, 1) != rows ||
      (call.has(projection.bias) && (call.rank(projection.bias) != 2 ||
                                     call.size(projection.bias, 1) != rows)))
    return false;
  if (projection.scales < 0)
    return call.size(i, 2) == columns;
  int64_t bits = bitsOf(projection);
  // Zero points of one block a row are packed along rows, not each by itself.
  return (bits == 4 || bits == 8) && call.size(i, 2) * 8 == columns * bits &&
         columns == blockSize(columns) * blocksOf(projection) &&
         (!call.has(projection.zeros) || call.rank(projection.zeros) == 3);
}

bool Mixture::isCovered() const {
  bool hasThird = call.has(places.third.weights);
  // Other orders of bytes say so, but onnxruntime's own for GPUs, which are of
  // numbers of 16 bits, are what is meant where nothing is said.
  bool isPrepacked = places.first.scales >= 0 &&
                     (call.integer("weights_prepacked", -1) == 1 ||
                      (call.integer("weights_prepacked", -1) == -1 &&
                       call.elementType(0) != TensorProto::FLOAT));
  return experts > 0 && width > 0 && inner > 0 && !isPrepacked &&
         isReal(call.elementType(0)) &&
         call.hasSizes(0, call.rank(0) - 1, {width}) &&
         call.integer("k", 1) >= 1 && call.integer("k", 1) <= experts &&
         !call.integer("use_sparse_mixer", 0) &&
         !call.integer("swiglu_limit_after_activation", 0) &&
         call.word("quant_type", "int") == "int" &&
         hasThird == (isGated() && !isFused()) && fusion >= 0 && fusion <= 2 &&
         hasWeights(places.first, projected, width) &&
         hasWeights(places.second, width, inner) &&
         (!hasThird || hasWeights(places.third, inner, width));
}

/// Writes `rows` [tokens, width], the experts that they have chosen, `chosen`
/// [tokens * k], `shares` [tokens * k, 1] of f32, and `used`, the experts that
/// any has chosen.
std::string Mixture::choice() const {
  std::string body =
      list("flat", {-1, width}) + list("by_share", {-1, 1}) +
      list("all", {-1}) + list("k", {call.integer("k", 1)}) +
      list("experts", {experts}) +
      "rows = Reshape(i0, flat)\nscores_wide = Cast <to = 1> (i1)\n"
      "many = Shape <start = 0, end = 1> (rows)\n"
      "by_expert = Concat <axis = 0> (many, experts)\n"
      "scores = Reshape <allowzero = 1> (scores_wide, by_expert)\n";
  if (call.has(places.shares))
    body += "best, places = TopK <axis = -1> (scores, k)\n"
            "given = Cast <to = 1> (" +
            input(places.shares) +
            ")\npicked = GatherElements <axis = 1> (given, places)\n";
  else
    body += "probabilities = Softmax <axis = -1> (scores)\n"
            "picked, places = TopK <axis = -1> (probabilities, k)\n";
  std::string shares = "picked";
  if (call.integer("normalize_routing_weights", 0)) {
    // Shares of zero, of which none is one of their sum, stay.
    body += "sum = ReduceSum <keepdims = 1> (picked, all)\n"
            "nothing = Constant <value = float {0.0}> ()\n"
            "whole = Constant <value = float {1.0}> ()\n"
            "is_nothing = Equal(sum, nothing)\n"
            "divisor = Where(is_nothing, whole, sum)\n"
            "normal = Div(picked, divisor)\n";
    shares = "normal";
  }
  return body + "shares = Reshape(" + shares +
         ", by_share)\nchosen = Reshape(places, all)\n" +
         list("marks_none", std::vector<int64_t>(experts, 0)) +
         "count = Shape(chosen)\n"
         "ones = ConstantOfShape <value = int64[1] {1}> (count)\n"
         "marks = ScatterElements <axis = 0> (marks_none, chosen, ones)\n"
         "used_rows = NonZero(marks)\nused = Reshape(used_rows, all)\n";
}

/// `to` = `from` [rows of the expert, columns] times its weights, turned.
std::string Mixture::product(const std::string &to, const std::string &from,
                             const Projection &projection, int64_t rows,
                             int64_t columns) const {
  auto ofExpert = [&](const std::string &name, int i) {
    return name + to + " = Gather(" + input(i) + ", expert)\n";
  };
  std::string body = ofExpert("weights_", projection.weights);
  if (projection.scales < 0) {
    body += "turned_" + to + " = Transpose <perm = [1, 0]> (weights_" + to +
            ")\nproduct_" + to + " = MatMul(" + from + ", turned_" + to + ")\n";
  } else {
    int64_t blocks = blocksOf(projection);
    bool hasZeros = call.has(projection.zeros);
    body += ofExpert("scales_", projection.scales) +
            (hasZeros ? ofExpert("zeros_", projection.zeros) : "") +
            list("by_block_" + to, {rows, blocks, -1}) +
            list("by_row_" + to, {rows, blocks}) + "blocks_" + to +
            " = Reshape(weights_" + to + ", by_block_" + to + ")\nfactors_" +
            to + " = Reshape(scales_" + to + ", by_row_" + to + ")\nproduct_" +
            to +
            " = com.microsoft.MatMulNBits <K = " + std::to_string(columns) +
            ", N = " + std::to_string(rows) +
            ", bits = " + std::to_string(bitsOf(projection)) +
            ", block_size = " + std::to_string(blockSize(columns)) + "> (" +
            from + ", blocks_" + to + ", factors_" + to +
            (hasZeros ? ", zeros_" + to : "") + ")\n";
  }
  if (!call.has(projection.bias))
    return body + to + "_narrow = Identity(product_" + to + ")\n" + to +
           " = Cast <to = 1> (" + to + "_narrow)\n";
  return body + ofExpert("bias_", projection.bias) + to +
         "_narrow = Add(product_" + to + ", bias_" + to + ")\n" + to +
         " = Cast <to = 1> (" + to + "_narrow)\n";
}

/// `active` of `first`, and of `third` where there is one, in f32.
std::string Mixture::activated() const {
  if (activation == "relu")
    return "active = Relu(first)\n";
  if (activation == "relu2")
    return "positive = Relu(first)\nactive = Mul(positive, positive)\n";
  if (activation == "identity")
    return "active = Identity(first)\n";
  if (activation == "gelu")
    return "active = Gelu <approximate = \"tanh\"> (first)\n";
  if (activation == "silu")
    return "open = Sigmoid(first)\nactive = Mul(first, open)\n";
  if (!isGated())
    return "";
  std::string body;
  if (fusion == 1)
    body = list("by_pair", {0, inner, 2}) + list("last", {-1}) +
           "pairs = Reshape(first, by_pair)\n"
           "gates, lines = Split <axis = 2, num_outputs = 2> (pairs)\n"
           "gate = Squeeze(gates, last)\nline = Squeeze(lines, last)\n";
  else if (fusion == 2)
    body = "gate, line = Split <axis = 1, num_outputs = 2> (first)\n";
  else
    body = "gate = Identity(first)\nline = Identity(third)\n";
  if (activation == "geglu")
    return body + "soft = Gelu <approximate = \"tanh\"> (gate)\n"
                  "active = Mul(soft, line)\n";
  std::string gate = "gate", line = "line";
  if (call.attribute("swiglu_limit")) {
    std::string limit = mlir::onnx::text(call.real("swiglu_limit", 0.0));
    body += "most = Constant <value = float {" + limit +
            "}> ()\nleast = Neg(most)\ngate_below = Min(gate, most)\n"
            "line_inside = Clip(line, least, most)\n";
    gate = "gate_below", line = "line_inside";
  }
  return body + "alpha = Constant <value = float {" +
         mlir::onnx::text(call.real("activation_alpha", 1.0)) +
         "}> ()\nbeta = Constant <value = float {" +
         mlir::onnx::text(call.real("activation_beta", 0.0)) +
         "}> ()\nsteep = Mul(" + gate +
         ", alpha)\nopen = Sigmoid(steep)\nswish = Mul(" + gate +
         ", open)\nmoved = Add(" + line +
         ", beta)\nactive = Mul(swish, moved)\n";
}

/// A turn of the loop: what expert `used[turn]` gives, added to `sums`.
std::string Mixture::expert() const {
  std::string body =
      "go_on = Identity(is_on)\nexpert = Gather(used, turn)\n"
      "is_mine = Equal(chosen, expert)\nmine_rows = NonZero(is_mine)\n"
      "mine = Reshape(mine_rows, all)\ntokens = Div(mine, k)\n"
      "x = Gather(rows, tokens)\n" +
      product("first", "x", places.first, projected, width);
  if (call.has(places.third.weights))
    body += product("third", "x", places.third, inner, width);
  std::string active = activated();
  if (active.empty())
    return "";
  return body + active + "narrow = CastLike(active, i0)\n" +
         product("second", "narrow", places.second, width, inner) +
         "share = Gather(shares, mine)\npart = Mul(second, share)\n"
         "to_tokens = Reshape(tokens, by_share)\n"
         "next = ScatterND <reduction = \"add\"> (sums, to_tokens, part)\n";
}

std::string Mixture::text() {
  std::string turn = isCovered() ? expert() : "";
  if (turn.empty())
    return "";
  std::string sums = "float[tokens, " + std::to_string(width) + "] ";
  return choice() +
         "turns = Size(used)\nyes = Constant <value = bool {1}> ()\n"
         "zero = Constant <value = float {0.0}> ()\nsizes = Shape(rows)\n"
         "zeros = Expand(zero, sizes)\n"
         "total = Loop(turns, yes, zeros) <body = turn_of_expert (int64 turn, "
         "bool "
         "is_on, " +
         sums + "sums) => (bool go_on, " + sums + "next) {\n" + turn +
         "}>\nshape = Shape(i0)\nall_sums = Reshape <allowzero = 1> (total, "
         "shape)\n"
         "o0 = CastLike(all_sums, i0)\n";
}

static std::string mixtureOfExperts(const Call &call) {
  return Mixture(call, kPlain).text();
}

static std::string quantizedMixtureOfExperts(const Call &call) {
  return Mixture(call, kQuantized).text();
}

void mlir::onnx::addExpertRules(Rules &rules) {
  rules["com.microsoft.MoE"] = mixtureOfExperts;
  rules["com.microsoft.QMoE"] = quantizedMixtureOfExperts;
}
