//===- RecurrentRules.cpp - LSTM, GRU, RNN by Scan ------------------------===//
//
// A product for all steps of the inputs, and a Scan over the steps for each
// direction. Texts of a direction have @ in their names, for its number.
//
//===----------------------------------------------------------------------===//

#include "Activations.h"
#include "Rules.h"
#include <algorithm>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// The element type's name in ONNX's text; empty for one that no operator here
/// has.
static std::string nameOf(int elementType) {
  switch (elementType) {
  case TensorProto::FLOAT:
    return "float";
  case TensorProto::DOUBLE:
    return "double";
  case TensorProto::FLOAT16:
    return "float16";
  case TensorProto::BFLOAT16:
    return "bfloat16";
  default:
    return "";
  }
}

static std::string ofDirection(std::string text, int64_t direction) {
  std::string number = "_" + std::to_string(direction);
  for (size_t at; (at = text.find('@')) != std::string::npos;)
    text.replace(at, 1, number);
  return text;
}

/// `name`: the lengths of so many `entries`, a list of one; a run refuses one
/// below zero or beyond `most`, another, as no shape has a size below zero.
static std::string checkedLengths(const std::string &name,
                                  const std::string &given,
                                  const std::string &entries,
                                  const std::string &most) {
  return "lengths_wide = Cast <to = 7> (" + given +
         ")\nlengths_given = Reshape(lengths_wide, " + entries + ")\n" +
         list("lengths_none", {0}) + list("lengths_one", {1}) +
         "lengths_all = Concat <axis = 0> (lengths_given, lengths_none)\n"
         "lengths_most = ReduceMax <keepdims = 0> (lengths_all)\n"
         "lengths_left = Sub(" +
         most +
         ", lengths_most)\n"
         "lengths_room = ConstantOfShape(lengths_left)\n"
         "lengths_room_size = Shape(lengths_room)\n"
         "lengths_last = Sub(" +
         most +
         ", lengths_room_size)\n"
         "lengths_below = Min(lengths_given, lengths_last)\n"
         "lengths_least = ReduceMin <keepdims = 0> (lengths_all)\n"
         "lengths_least_list = Reshape(lengths_least, lengths_one)\n"
         "lengths_rest = ConstantOfShape(lengths_least_list)\n"
         "lengths_first = Shape(lengths_rest)\n" +
         name + " = Max(lengths_below, lengths_first)\n";
}

namespace {
/// One of the three operators. Its inputs are X, W, R, B, sequence_lens,
/// initial_h, and of an LSTM initial_c and P; where weights are quantized,
/// these are transposed, and W's scale and zero point and R's are inputs 8
/// to 11.
class Recurrent {
public:
  Recurrent(const Call &call, int64_t gates,
            std::vector<std::string> activations, bool hasCells = false)
      : call(call), isQuantized(call.type() == "DynamicQuantizeLSTM"),
        gates(gates), activations(std::move(activations)), hasCells(hasCells) {}
  virtual ~Recurrent() = default;

  std::string text();

protected:
  /// The nodes before the Scan that it takes; `given@` is what the step adds
  /// to, of all gates, from `product@` and the bias's halves `bias_w@` and
  /// `bias_r@`.
  virtual std::string before() const;
  /// The nodes of a step: `h_new@`, and of an LSTM `c_new@`, from `now@`,
  /// `h@` and `c@`, where `recur@` is R transposed.
  virtual std::string step() const = 0;

  /// Of x and the direction's weights, `input` or `recur`.
  std::string product(const std::string &result, const std::string &x,
                      const std::string &weights) const;
  /// Of the step's direction, the i-th activation of x.
  std::string activation(size_t i, const std::string &result,
                         const std::string &x) const {
    return applied(*own[i].function, own[i].parameters, result, x);
  }
  /// The same of a sum, which a threshold clips.
  std::string activatedSum(size_t i, const std::string &result,
                           const std::string &sum) const;
  bool hasBias() const { return call.has(3); }

  const Call &call;
  const bool isQuantized;
  int64_t hidden = 0;

private:
  bool isCovered();
  bool fitsWeights() const;
  bool findActivations();
  std::string shared() const;
  std::string weights() const;
  std::string scan(bool isReversed) const;
  std::string stacked(const std::string &name, const std::string &result,
                      int64_t axis) const;
  std::string results() const;

  int64_t gates;
  std::vector<std::string> activations; ///< of a direction, where none is given
  std::vector<ParameterizedActivation> all,
      own; ///< of all directions, of the step's
  bool hasCells;
  bool isBatchFirst = false;
  int64_t directions = 1;
  std::string type;
};
} // namespace

/// Whether an axis has that size, or none is known.
static bool fits(const Call &call, int i, int axis, int64_t size) {
  const auto *found = call.dim(i, axis);
  return !found || !found->has_dim_value() || found->dim_value() == size;
}

bool Recurrent::fitsWeights() const {
  int across = isQuantized ? 2 : 1, along = 3 - across;
  if (isQuantized &&
      !(call.has(8) && call.has(9) && call.has(10) && call.has(11)))
    return false;
  return fits(call, 1, 0, directions) &&
         fits(call, 1, across, gates * hidden) &&
         fits(call, 2, 0, directions) &&
         fits(call, 2, across, gates * hidden) && fits(call, 2, along, hidden);
}

bool Recurrent::isCovered() {
  const auto *dim = call.dim(2, isQuantized ? 1 : 2);
  hidden = call.integer("hidden_size", dim ? dim->dim_value() : 0);
  isBatchFirst = call.integer("layout", 0) != 0;
  directions = call.word("direction", "forward") == "bidirectional" ? 2 : 1;
  type = nameOf(call.elementType(0));
  if (call.attribute("clip") && !(call.real("clip", 0) >= 0))
    return false;
  constexpr int64_t kMost = 1 << 24; // so that products of it are sizes
  const std::string way = call.word("direction", "forward");
  return hidden > 0 && hidden <= kMost && !type.empty() &&
         (way == "forward" || way == "reverse" || directions == 2) &&
         fitsWeights() && fits(call, 3, 0, directions) &&
         fits(call, 3, 1, 2 * gates * hidden) && fits(call, 5, 2, hidden) &&
         fits(call, 5, isBatchFirst, directions) && fits(call, 6, 2, hidden) &&
         fits(call, 6, isBatchFirst, directions) &&
         fits(call, 7, 0, directions) && fits(call, 7, 1, 3 * hidden);
}

bool Recurrent::findActivations() {
  std::vector<std::string> names;
  const AttributeProto *given = call.attribute("activations");
  if (given && given->strings_size() > 0)
    names.assign(given->strings().begin(), given->strings().end());
  else
    for (int64_t d = 0; d < directions; ++d)
      names.insert(names.end(), activations.begin(), activations.end());
  if (names.size() != directions * activations.size())
    return false;
  auto found = activationsOf(call, names);
  all = found.value_or(std::vector<ParameterizedActivation>());
  return found.has_value();
}

std::string Recurrent::activatedSum(size_t i, const std::string &result,
                                    const std::string &sum) const {
  if (!call.attribute("clip"))
    return activation(i, result, sum);
  double threshold = call.real("clip", 0);
  const std::string low = result + "_low", high = result + "_high";
  return scalarLike(low, -threshold, sum) + scalarLike(high, threshold, sum) +
         result + "_clipped = Clip(" + sum + ", " + low + ", " + high + ")\n" +
         activation(i, result, result + "_clipped");
}

/// What the directions have in common.
std::string Recurrent::shared() const {
  std::string body = isBatchFirst
                         ? "x_all = Transpose <perm = [1, 0, 2]> (i0)\n"
                         : "x_all = Identity(i0)\n";
  body += "batch = Shape <start = 1, end = 2> (x_all)\n" +
          list("hidden", {hidden}) + list("first", {0}) + list("second", {1}) +
          list("third", {2}) +
          "state_shape = Concat <axis = 0> (batch, hidden)\n"
          "zeros_wide = ConstantOfShape(state_shape)\n"
          "zeros = CastLike(zeros_wide, i0)\n";
  if (call.has(4))
    body += "from = Constant <value = int64 {0}> ()\n"
            "by = Constant <value = int64 {1}> ()\n"
            "length = Shape <start = 0, end = 1> (x_all)\n" +
            checkedLengths("lengths", "i4", "batch", "length") +
            "to = Squeeze(length, first)\nsteps = Range(from, to, by)\n"
            "column = Unsqueeze(steps, second)\n"
            "row = Unsqueeze(lengths, first)\nalive = Less(column, row)\n"
            "live = Unsqueeze(alive, third)\n"
            "isSome = Greater(lengths, from)\n"
            "some = Unsqueeze(isSome, second)\n";
  if (!isQuantized || !call.has(4))
    return body + "x = Identity(x_all)\n";
  // Padding has no say in the scale.
  return body + "nothing = Constant <value = float {0.0}> ()\n"
                "x = Where(live, x_all, nothing)\n";
}

std::string Recurrent::before() const {
  return hasBias() ? "bias@ = Add(bias_w@, bias_r@)\n"
                     "given@ = Add(product@, bias@)\n"
                   : "given@ = Identity(product@)\n";
}

/// Steps beyond an entry's length leave its states, and give zeros.
std::string Recurrent::scan(bool isReversed) const {
  std::string axis = std::to_string(int(isBatchFirst));
  auto state = [&](const std::string &name, int i) {
    return call.has(i) ? name + "_given@ = Gather <axis = " + axis + "> (" +
                             input(i) + ", which@)\n" + name +
                             "_first@ = Reshape <allowzero = 1> (" + name +
                             "_given@, state_shape)\n"
                       : name + "_first@ = Identity(zeros)\n";
  };
  std::string body = state("h", 5) + (hasCells ? state("c", 6) : "");
  std::string rows = type + "[?, ?] ";
  std::string way = isReversed ? "1" : "0", ways = way;
  std::string slices = rows + "now@", taken = "given@";
  if (call.has(4)) {
    slices += ", bool[?, 1] live@";
    taken += ", live";
    ways += ", " + way;
  }
  auto cell = [&](const std::string &text) {
    return hasCells ? ", " + text : "";
  };
  body += "h_last@" + cell("c_last@") +
          ", all@ = Scan <num_scan_inputs = " + (call.has(4) ? "2" : "1") +
          ", scan_input_directions = [" + ways +
          "], scan_output_directions = [" + way + "], body = step@ (" + rows +
          "h@" + cell(rows + "c@") + ", " + slices + ") => (" + rows +
          "h_after@" + cell(rows + "c_after@") + ", " + rows + "y@) {\n" +
          step();
  // Sizes stay as they are, whatever is known of operands.
  auto after = [&](const std::string &name, const std::string &isNot,
                   const std::string &is) {
    return name + "_plain = " +
           (call.has(4) ? "Where(live@, " + is + ", " + isNot + ")"
                        : "Identity(" + is + ")") +
           "\n" + name + " = Reshape <allowzero = 1> (" + name +
           "_plain, state_shape)\n";
  };
  body += after("h_after@", "h@", "h_new@") + after("y@", "zeros", "h_new@") +
          (hasCells ? after("c_after@", "c@", "c_new@") : "");
  return body + "}> (h_first@" + cell("c_first@") + ", " + taken + ")\n";
}

/// The directions' tensors along an axis of their own.
std::string Recurrent::stacked(const std::string &name,
                               const std::string &result, int64_t axis) const {
  std::string body, along = axis ? "second" : "first";
  std::vector<std::string> parts;
  for (int64_t d = 0; d < directions; ++d) {
    const std::string part = name + "_" + std::to_string(d);
    parts.push_back(name + "_part_" + std::to_string(d));
    // As onnxruntime: an entry without steps has no state.
    body += call.has(4) && name != "all"
                ? part + "_kept = Where(some, " + part + ", zeros)\n"
                : part + "_kept = Identity(" + part + ")\n";
    body += parts.back() + " = Unsqueeze(" + part + "_kept, " + along + ")\n";
  }
  return body + result + " = Concat <axis = " + std::to_string(axis) + "> (" +
         joined(parts) + ")\n";
}

std::string Recurrent::results() const {
  std::string body;
  if (call.wants(0))
    body += isBatchFirst ? stacked("all", "whole", 1) +
                               "o0 = Transpose <perm = [2, 0, 1, 3]> (whole)\n"
                         : stacked("all", "o0", 1);
  if (call.wants(1))
    body += stacked("h_last", "o1", isBatchFirst);
  if (hasCells && call.wants(2))
    body += stacked("c_last", "o2", isBatchFirst);
  return body;
}

/// `input@` and `recur@`, with the gates of their columns last.
std::string Recurrent::weights() const {
  std::string body;
  for (auto [i, name] : {std::pair(1, "input"), {2, "recur"}}) {
    std::string own = name, taken = "Gather(" + input(i) + ", which@)\n";
    // Sizes that steps keep are known before the first.
    std::string shaped = i == 1 ? own + "@" : own + "_plain@";
    body += isQuantized
                ? shaped + " = " + taken
                : own + "_rows@ = " + taken + shaped +
                      " = Transpose <perm = [1, 0]> (" + own + "_rows@)\n";
    if (isQuantized)
      body += own + "_scale@ = Gather(" + input(6 + 2 * i) + ", which@)\n" +
              own + "_zero@ = Gather(" + input(7 + 2 * i) + ", which@)\n";
  }
  return body + "recur@ = Reshape(recur_plain@, recur_shape)\n";
}

std::string Recurrent::product(const std::string &result, const std::string &x,
                               const std::string &weights) const {
  if (!isQuantized)
    return result + " = MatMul(" + x + ", " + weights + "@)\n";
  return result + "_x, " + result + "_scale, " + result +
         "_zero = DynamicQuantizeLinear(" + x + ")\n" + result +
         "_sums = MatMulInteger(" + result + "_x, " + weights + "@, " + result +
         "_zero, " + weights + "_zero@)\n" + result +
         "_wide = Cast <to = 1> (" + result + "_sums)\n" + result +
         "_scales = Mul(" + result + "_scale, " + weights + "_scale@)\n" +
         result + " = Mul(" + result + "_wide, " + result + "_scales)\n";
}

std::string Recurrent::text() {
  if (!isCovered() || !findActivations())
    return "";
  std::string body = shared() + list("recur_shape", {hidden, gates * hidden}) +
                     list("product_shape", {0, 0, gates * hidden});
  for (int64_t d = 0; d < directions; ++d) {
    auto first = all.begin() + d * activations.size();
    own.assign(first, first + activations.size());
    std::string own = "which@ = Constant <value = int64 {" + std::to_string(d) +
                      "}> ()\n" + weights() +
                      product("product_plain@", "x", "input") +
                      "product@ = Reshape(product_plain@, product_shape)\n";
    if (hasBias())
      own += "biases@ = Gather(i3, which@)\n"
             "bias_w@, bias_r@ = Split <num_outputs = 2> (biases@)\n";
    bool isReversed = d == 1 || call.word("direction", "forward") == "reverse";
    body += ofDirection(own + before() + scan(isReversed), d);
  }
  return body + results();
}

namespace {
class RNN final : public Recurrent {
public:
  explicit RNN(const Call &call) : Recurrent(call, 1, {"Tanh"}) {}

protected:
  std::string step() const override {
    return product("recurred@", "h@", "recur") +
           "sum@ = Add(now@, recurred@)\n" + activatedSum(0, "h_new@", "sum@");
  }
};

/// Gates in the order update, reset, hidden.
class GRU final : public Recurrent {
public:
  explicit GRU(const Call &call)
      : Recurrent(call, 3, {"Sigmoid", "Tanh"}),
        resetsProduct(call.integer("linear_before_reset", 0) != 0) {}

protected:
  std::string before() const override {
    std::string body = list("sizes@", {2 * hidden, hidden});
    if (!resetsProduct)
      body += "recur_gates@, recur_hidden@ = Split <axis = 1> (recur@, "
              "sizes@)\n";
    else if (hasBias())
      return body + "given@ = Add(product@, bias_w@)\n";
    return body + Recurrent::before();
  }
  std::string step() const override {
    std::string recurred =
        !resetsProduct ? "recurred_gates@ = MatMul(h@, recur_gates@)\n"
                       : product("plain@", "h@", "recur") +
                             (hasBias() ? "recurred@ = Add(plain@, bias_r@)\n"
                                        : "recurred@ = Identity(plain@)\n") +
                             "recurred_gates@, recurred_hidden@ = "
                             "Split <axis = 1> (recurred@, sizes@)\n";
    return recurred +
           "now_gates@, now_hidden@ = Split <axis = 1> (now@, sizes@)\n"
           "sum_gates@ = Add(now_gates@, recurred_gates@)\n" +
           activatedSum(0, "gates@", "sum_gates@") +
           "update@, reset@ = Split <axis = 1, num_outputs = 2> (gates@)\n" +
           (resetsProduct ? "seen@ = Mul(reset@, recurred_hidden@)\n"
                          : "left@ = Mul(reset@, h@)\n"
                            "seen@ = MatMul(left@, recur_hidden@)\n") +
           "sum@ = Add(now_hidden@, seen@)\n" +
           activatedSum(1, "next@", "sum@") +
           "less@ = Sub(h@, next@)\nkept@ = Mul(update@, less@)\n"
           "h_new@ = Add(next@, kept@)\n";
  }

private:
  bool resetsProduct; ///< of states and weights, not the states before it
};

/// Gates in the order input, output, forget, cell.
class LSTM final : public Recurrent {
public:
  explicit LSTM(const Call &call)
      : Recurrent(call, 4, {"Sigmoid", "Tanh", "Tanh"}, /*hasCells=*/true),
        forgetsInput(call.integer("input_forget", 0) != 0) {}

protected:
  std::string before() const override {
    std::string body = Recurrent::before();
    if (call.has(7))
      body += "peeps@ = Gather(i7, which@)\n"
              "peep_in@, peep_out@, peep_forget@ = Split <num_outputs = 3> "
              "(peeps@)\n";
    return body;
  }
  std::string step() const override {
    return product("recurred@", "h@", "recur") +
           "sums@ = Add(now@, recurred@)\n"
           "sum_in@, sum_out@, sum_forget@, sum_cell@ = "
           "Split <axis = 1, num_outputs = 4> (sums@)\n" +
           gate("in", "c@") +
           (forgetsInput ? scalarLike("whole@", 1, "in@") +
                               "forget@ = Sub(whole@, in@)\n"
                         : gate("forget", "c@")) +
           activatedSum(1, "cell@", "sum_cell@") +
           "kept@ = Mul(forget@, c@)\nadded@ = Mul(in@, cell@)\n"
           "c_new@ = Add(kept@, added@)\n" +
           gate("out", "c_new@") + activation(2, "seen@", "c_new@") +
           "h_new@ = Mul(out@, seen@)\n";
  }

private:
  std::string gate(const std::string &name, const std::string &cells) const {
    if (!call.has(7))
      return activatedSum(0, name + "@", "sum_" + name + "@");
    return "look_" + name + "@ = Mul(peep_" + name + "@, " + cells + ")\nall_" +
           name + "@ = Add(sum_" + name + "@, look_" + name + "@)\n" +
           activatedSum(0, name + "@", "all_" + name + "@");
  }

  bool forgetsInput; ///< what is added is what is forgotten
};
} // namespace

template <typename Operator> static std::string recurrent(const Call &call) {
  return Operator(call).text();
}

/// The first steps of each entry from their last.
static std::string reverseSequence(const Call &call) {
  int64_t time = call.integer("time_axis", 0), rank = call.rank(0);
  if (rank < 2 || time < 0 || time > 1 ||
      call.integer("batch_axis", 1) != 1 - time)
    return "";
  std::vector<int64_t> rest;
  for (int64_t axis = 2; axis < rank; ++axis)
    rest.push_back(axis);
  std::string axis = std::to_string(time);
  return list("first", {0}) + list("across", {1 - time}) +
         list("along", {time}) +
         "from = Constant <value = int64 {0}> ()\n"
         "one = Constant <value = int64 {1}> ()\nshape = Shape(i0)\n"
         "length = Gather(shape, along)\nentries = Gather(shape, across)\n" +
         checkedLengths("lengths_list", "i1", "entries", "length") +
         "to = Squeeze(length, first)\nrange = Range(from, to, one)\n"
         "steps = Unsqueeze(range, across)\n"
         "lengths = Unsqueeze(lengths_list, along)\n"
         "isWithin = Less(steps, lengths)\nleft = Sub(lengths, steps)\n"
         "last = Sub(left, one)\nplaces = Where(isWithin, last, steps)\n" +
         (rest.empty()
              ? "spread = Identity(places)\n"
              : list("rest", rest) + "spread = Unsqueeze(places, rest)\n") +
         "all = Expand(spread, shape)\n"
         "o0 = GatherElements <axis = " +
         axis + "> (i0, all)";
}

void mlir::onnx::addRecurrentRules(Rules &rules) {
  rules[".RNN"] = recurrent<RNN>;
  rules[".GRU"] = recurrent<GRU>;
  rules[".LSTM"] = recurrent<LSTM>;
  rules["com.microsoft.DynamicQuantizeLSTM"] = recurrent<LSTM>;
  rules[".ReverseSequence"] = reverseSequence;
}
