//===- RandomRules.cpp - random numbers -----------------------------------===//
//
// Of a seed and each element's number by integer hashes, so that every run of
// a model has the same numbers, and all elements can be made at once.
//
//===----------------------------------------------------------------------===//

#include "Rules.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

static constexpr double kTurn = 6.283185307179586;

static std::string number(const char *name, double value) {
  return std::string(name) + " = Constant <value = float {" + text(value) +
         "}> ()\n";
}

/// Writes `name`, well mixed bits of `x`, u32: lowbias32 of C. Wellons'
/// "Prospecting for Hash Functions" (nullprogram.com/blog/2018/07/31).
static std::string mixed(const std::string &name, const std::string &x) {
  const std::string n = name + "_";
  auto fold = [&](const std::string &to, const std::string &from,
                  const char *shift) {
    return n + to + "_low = BitShift <direction = \"RIGHT\"> (" + from + ", " +
           shift + ")\n" + n + to + " = BitwiseXor(" + from + ", " + n + to +
           "_low)\n";
  };
  return fold("first", x, "shift16") + n + "second = Mul(" + n +
         "first, factor1)\n" + fold("third", n + "second", "shift15") + n +
         "fourth = Mul(" + n + "third, factor2)\n" +
         fold("fifth", n + "fourth", "shift16") + name + " = Identity(" + n +
         "fifth)\n";
}

/// Writes `name`, a multiple of 2^-24 in [0, 1) per element, or with `isOpen`
/// one of the middles between these.
static std::string uniform(const std::string &name, uint32_t key, bool isOpen) {
  const std::string n = name + "_";
  return n + "key = Constant <value = uint32 {" + std::to_string(key) +
         "}> ()\n" + n + "keyed = BitwiseXor(places, " + n + "key)\n" +
         mixed(n + "bits", n + "keyed") + n +
         "top = BitShift <direction = \"RIGHT\"> (" + n + "bits, shift8)\n" +
         n + "whole = Cast <to = 1> (" + n + "top)\n" +
         (isOpen ? n + "moved = Add(" + n + "whole, half)\n"
                 : n + "moved = Identity(" + n + "whole)\n") +
         name + " = Mul(" + n + "moved, unit)\n";
}

/// Writes `places`, mixed numbers of a list's elements, for a list of `shape`.
static std::string places() {
  auto bits = [](const char *name, uint32_t value) {
    return std::string(name) + " = Constant <value = uint32 {" +
           std::to_string(value) + "}> ()\n";
  };
  return bits("shift8", 8) + bits("shift15", 15) + bits("shift16", 16) +
         bits("factor1", 0x7feb352d) + bits("factor2", 0x846ca68b) +
         number("half", 0.5) + number("unit", 1.0 / (1 << 24)) +
         "from = Constant <value = int64 {0}> ()\n"
         "by = Constant <value = int64 {1}> ()\n"
         "count = ReduceProd <keepdims = 0> (shape)\n"
         "list = Range(from, count, by)\nnumbers = Cast <to = 12> (list)\n" +
         mixed("places", "numbers");
}

/// Of the attribute, or the result's name.
static uint32_t seedOf(const Call &call) {
  if (call.attribute("seed")) {
    float seed = float(call.real("seed", 0.0));
    uint32_t bits;
    std::memcpy(&bits, &seed, sizeof(bits));
    return bits;
  }
  uint32_t hash = 2166136261; // FNV-1a
  for (unsigned char c : call.output(0))
    hash = (hash ^ c) * 16777619;
  return hash;
}

/// Writes `values`, by Box and Muller's transform.
static std::string normalNumbers(const Call &call, int64_t) {
  uint32_t seed = seedOf(call);
  return uniform("first", seed, true) + uniform("second", ~seed, false) +
         number("minus", -2.0) + number("turn", kTurn) +
         number("mean", call.real("mean", 0.0)) +
         number("scale", call.real("scale", 1.0)) +
         "logarithm = Log(first)\nsquare = Mul(logarithm, minus)\n"
         "radius = Sqrt(square)\nangle = Mul(second, turn)\n"
         "wave = Cos(angle)\nplain = Mul(radius, wave)\n"
         "scaled = Mul(plain, scale)\nvalues = Add(scaled, mean)\n";
}

/// The next lower number of so many binary digits, or one below that.
static double below(double number, int digits) {
  int exponent;
  std::frexp(number, &exponent);
  constexpr int kLeast = -14; // of the narrowest type
  return number - std::ldexp(1.0, std::max(exponent, kLeast) - digits);
}

/// Writes `values`, below `high` also where a sum, or its type, would round up
/// to it. Nothing where there are none.
static std::string uniformNumbers(const Call &call, int64_t type) {
  double low = call.real("low", 0.0), high = call.real("high", 1.0);
  if (!(low < high) || !std::isfinite(float(high - low)))
    return "";
  int digits = type == TensorProto::FLOAT16    ? 11
               : type == TensorProto::BFLOAT16 ? 8
                                               : 24;
  return uniform("plain", seedOf(call), false) + number("low", low) +
         number("range", high - low) +
         number("most", std::max(low, below(high, digits))) +
         "scaled = Mul(plain, range)\nsum = Add(scaled, low)\n"
         "values = Min(sum, most)\n";
}

template <std::string (*valuesOf)(const Call &, int64_t)>
static std::string random(const Call &call) {
  bool isLike = call.has(0);
  const AttributeProto *sizes = call.attribute("shape");
  int64_t type = call.integer("dtype", isLike ? call.elementType(0) : 1);
  if (!isReal(type) || (!isLike && !sizes))
    return "";
  if (!isLike && std::any_of(sizes->ints().begin(), sizes->ints().end(),
                             [](int64_t size) { return size < 0; }))
    return "";
  std::string values = valuesOf(call, type);
  if (values.empty())
    return "";
  return (isLike
              ? "shape = Shape(i0)\n"
              : list("shape", {sizes->ints().begin(), sizes->ints().end()})) +
         places() + values + "typed = Cast <to = " + std::to_string(type) +
         "> (values)\no0 = Reshape <allowzero = 1> (typed, shape)";
}

/// 1 where a uniform number is below its chance. (ONNX's own body has it the
/// other way round.)
static std::string bernoulli(const Call &call) {
  int64_t type = call.integer("dtype", call.elementType(0));
  if (type == 0)
    return "";
  std::string seed =
      call.attribute("seed") ? ", seed = " + text(call.real("seed", 0.0)) : "";
  return "number = RandomUniformLike <dtype = 1" + seed +
         "> (i0)\nchance = Cast <to = 1> (i0)\n"
         "isOne = Less(number, chance)\no0 = Cast <to = " +
         std::to_string(type) + "> (isOne)";
}

void mlir::onnx::addRandomRules(Rules &rules) {
  rules[".Bernoulli"] = bernoulli;
  rules[".RandomNormal"] = random<normalNumbers>;
  rules[".RandomNormalLike"] = random<normalNumbers>;
  rules[".RandomUniform"] = random<uniformNumbers>;
  rules[".RandomUniformLike"] = random<uniformNumbers>;
}
