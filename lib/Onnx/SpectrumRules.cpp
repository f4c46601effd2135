//===- SpectrumRules.cpp - discrete Fourier transforms --------------------===//
//
// Products with matrices of sines and cosines, whose angles come from whole
// numbers, as those of long transforms would be inexact.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

static constexpr double kQuarterTurn = 1.5707963267948966;

/// Writes `sines` and `cosines`, [used, waves], of a transform of `length`
/// elements; all three are lists of one. Each angle is a number of quarters,
/// which change signs and places, and a rest, so that those of whole quarters
/// are exact.
static std::string tables(bool isDouble) {
  const std::string real = isDouble ? "11" : "1"; // narrow floats: of f32
  return list("three", {3}) + list("four", {4}) +
         "from = Constant <value = int64 {0}> ()\n"
         "by = Constant <value = int64 {1}> ()\n"
         "to = Squeeze(used, first)\nto_wave = Squeeze(waves, first)\n"
         "elements_list = Range(from, to, by)\n"
         "waves_list = Range(from, to_wave, by)\n"
         "elements_column = Unsqueeze(elements_list, one)\n"
         "waves_row = Unsqueeze(waves_list, first)\n"
         "steps = Mul(elements_column, waves_row)\n"
         "places = Mod(steps, length)\nfourfold = Mul(places, four)\n"
         "quarter = Div(fourfold, length)\nrest = Mod(fourfold, length)\n"
         "wide = Constant <value = double {" +
         text(kQuarterTurn) + "}> ()\nturn = Cast <to = " + real +
         "> (wide)\nrest_real = Cast <to = " + real +
         "> (rest)\nlength_real = Cast <to = " + real +
         "> (length)\nparts = Div(rest_real, length_real)\n"
         "angles = Mul(parts, turn)\nsine = Sin(angles)\n"
         "cosine = Cos(angles)\n"
         "isSecond = Equal(quarter, one)\n"
         "isThird = Equal(quarter, two)\nisLast = Equal(quarter, three)\n"
         "isTurned = Or(isSecond, isLast)\n"
         "isBelow = Or(isThird, isLast)\nisLeft = Or(isSecond, isThird)\n"
         "height = Where(isTurned, cosine, sine)\n"
         "depth = Neg(height)\nheights = Where(isBelow, depth, height)\n"
         "width = Where(isTurned, sine, cosine)\n"
         "left = Neg(width)\nwidths = Where(isLeft, left, width)\n"
         "sines = CastLike(heights, i0)\ncosines = CastLike(widths, i0)\n";
}

namespace {
/// DFT of [..., n, ..., 1 or 2]: real numbers, or real and imaginary parts.
class Transform {
public:
  explicit Transform(const Call &call)
      : call(call), rank(call.rank(0)),
        isInverse(call.integer("inverse", 0) != 0),
        isOneSided(call.integer("onesided", 0) != 0) {}

  std::string text();

private:
  bool isCovered();
  std::string sizes() const;
  std::string half() const;
  std::string products(const char *name, int64_t part) const;
  std::string sums() const;
  std::string results() const;
  bool isRealResult() const { return isInverse && isOneSided; }

  const Call &call;
  int64_t rank, axis = 0;
  bool isInverse, isOneSided, isComplex = false;
  std::vector<int64_t> perm, back; ///< the axis goes last, and where it was
};
} // namespace

bool Transform::isCovered() {
  auto given =
      call.has(2)
          ? call.integers(2)
          : std::optional(std::vector<int64_t>{call.integer("axis", -2)});
  const auto *parts = call.dim(0, int(rank) - 1);
  if (!given || given->size() != 1 || rank < 2 || !parts)
    return false;
  axis = (*given)[0] + ((*given)[0] < 0 ? rank : 0);
  isComplex = parts->dim_value() == 2;
  // One side is of real numbers, and comes back from complex ones.
  if (axis < 0 || axis > rank - 2 || (!isComplex && parts->dim_value() != 1) ||
      (isOneSided && isComplex != isInverse))
    return false;
  back.assign(rank - 1, 0);
  for (int64_t i = 0; i < rank - 1; ++i)
    if (i != axis)
      perm.push_back(i);
  perm.push_back(axis);
  for (int64_t i = 0; i < rank - 1; ++i)
    back[perm[i]] = i;
  return true;
}

/// `length` of the transform, how many elements are `used`, and `waves`.
std::string Transform::sizes() const {
  std::string body = list("first", {0}) + list("one", {1}) + list("two", {2}) +
                     "size = Shape <start = " + std::to_string(axis) +
                     ", end = " + std::to_string(axis + 1) + "> (i0)\n";
  if (call.has(1))
    body += checkedSize("length", "i1");
  else
    body += isRealResult() ? "size_less = Sub(size, one)\n"
                             "length = Mul(size_less, two)\n"
                           : "length = Identity(size)\n";
  body += "half = Div(length, two)\nside = Add(half, one)\n";
  return body +
         (isRealResult() ? "used = Min(size, side)\n"
                         : "used = Min(size, length)\n") +
         (isOneSided && !isInverse ? "waves = Identity(side)\n"
                                   : "waves = Identity(length)\n");
}

/// Of the waves that the other side has too, what is there counts twice.
std::string Transform::half() const {
  return "isMean = Equal(elements_list, from)\n"
         "doubled = Mul(elements_list, two)\n"
         "isMiddle = Equal(doubled, length)\nisAlone = Or(isMean, isMiddle)\n"
         "times_whole = Where(isAlone, one, two)\n"
         "times = CastLike(times_whole, i0)\n";
}

std::string Transform::products(const char *name, int64_t part) const {
  const std::string n = name;
  return "which_" + n + " = Constant <value = int64 {" + std::to_string(part) +
         "}> ()\npart_" + n + " = Gather <axis = -1> (all, which_" + n +
         ")\nplain_" + n + " = Transpose <perm = " + listed(perm) + "> (part_" +
         n + ")\nrows_" + n +
         (isRealResult() ? " = Mul(plain_" + n + ", times)"
                         : " = Identity(plain_" + n + ")") +
         "\nwith_cos_" + n + " = MatMul(rows_" + n + ", cosines)\nwith_sin_" +
         n + " = MatMul(rows_" + n + ", sines)\n";
}

/// By exp(-i x) forward, exp(i x) back.
std::string Transform::sums() const {
  std::string plus = isInverse ? "Sub" : "Add",
              minus = isInverse ? "Add" : "Sub";
  if (isComplex)
    return "sum_real = " + plus +
           "(with_cos_real, with_sin_imaginary)\nsum_imaginary = " + minus +
           "(with_cos_imaginary, with_sin_real)\n";
  return std::string("sum_real = Identity(with_cos_real)\nsum_imaginary = ") +
         (isInverse ? "Identity" : "Neg") + "(with_sin_real)\n";
}

std::string Transform::results() const {
  std::string body = list("last", {-1});
  std::vector<std::string> parts;
  for (const char *name : {"real", "imaginary"}) {
    if (isRealResult() && !parts.empty())
      break;
    const std::string n = name;
    body += "back_" + n + " = Transpose <perm = " + listed(back) + "> (sum_" +
            n + ")\nresult_" + n + " = Unsqueeze(back_" + n + ", last)\n";
    parts.push_back("result_" + n);
  }
  body += "whole = Concat <axis = -1> (" + joined(parts) + ")\n";
  return body + (isInverse ? "divisor = CastLike(length, i0)\n"
                             "o0 = Div(whole, divisor)\n"
                           : "o0 = Identity(whole)\n");
}

std::string Transform::text() {
  if (!isCovered())
    return "";
  return sizes() + tables(call.elementType(0) == TensorProto::DOUBLE) +
         (isRealResult() ? half() : "") + list("along", {axis}) +
         "all = Slice(i0, first, used, along)\n" + products("real", 0) +
         (isComplex ? products("imaginary", 1) : "") + sums() + results();
}

static std::string dft(const Call &call) { return Transform(call).text(); }

/// Transforms of frames of a signal [B, L, 1 or 2], a step apart, each times
/// the window: [B, frames, waves, 2].
static std::string stft(const Call &call) {
  if (call.rank(0) != 3 || (!call.has(2) && !call.has(3)))
    return "";
  std::string body =
      list("first", {0}) + list("one", {1}) +
      "size = Shape <start = 1, end = 2> (i0)\n" + checkedSize("step", "i1") +
      (call.has(3) ? checkedSize("length", "i3") : "length = Shape(i2)\n");
  body += "from = Constant <value = int64 {0}> ()\n"
          "by = Constant <value = int64 {1}> ()\nfree = Sub(size, length)\n"
          "steps = Div(free, step)\ncount = Add(steps, one)\n"
          "to = Squeeze(count, first)\nto_element = Squeeze(length, first)\n"
          "numbers = Range(from, to, by)\nstarts = Mul(numbers, step)\n"
          "rows = Unsqueeze(starts, one)\n"
          "offsets = Range(from, to_element, by)\n"
          "columns = Unsqueeze(offsets, first)\n"
          "places = Add(rows, columns)\n"
          "frames = Gather <axis = 1> (i0, places)\n";
  if (call.has(2))
    body += "whole = Reshape(i2, length)\nwindow = Unsqueeze(whole, one)\n"
            "weighted = Mul(frames, window)\n";
  else
    body += "weighted = Identity(frames)\n";
  return body +
         "axis = Constant <value = int64 {2}> ()\no0 = DFT <onesided = " +
         std::to_string(call.integer("onesided", 1)) +
         "> (weighted, none, axis)\n";
}

void mlir::onnx::addSpectrumRules(Rules &rules) {
  rules[".DFT"] = dft;
  rules[".STFT"] = stft;
}
