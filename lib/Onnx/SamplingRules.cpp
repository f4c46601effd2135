//===- SamplingRules.cpp - samples between an image's elements ------------===//

#include "Rules.h"
#include <map>
#include <set>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

namespace {
/// GridSample of an image [N, C, size 0, ...] at places [N, ..., axes], of
/// which the last axis is the first number. Each sample is a sum over taps,
/// some along each axis, of which each has a place, a weight, and with zeros
/// around whether it is inside.
class Sampler {
public:
  explicit Sampler(const Call &call)
      : call(call), axes(call.rank(0) - 2),
        isDouble(call.elementType(1) == TensorProto::DOUBLE),
        padding(call.word("padding_mode", "zeros")),
        isAligned(call.integer("align_corners", 0) != 0) {}

  std::string text();

private:
  void number(const std::string &name, double value) {
    body += name + " = Constant <value = " + (isDouble ? "double" : "float") +
            " {" + mlir::onnx::text(value) + "}> ()\n";
  }
  /// result = function(a, b)
  void set(const std::string &result, const char *function,
           const std::string &a, const std::string &b = "") {
    body += result + " = " + function + "(" + a + (b.empty() ? "" : ", " + b) +
            ")\n";
  }
  void findPlaces(const std::string &axis, int64_t number);
  void reflect(const std::string &result, const std::string &place,
               const std::string &axis);
  void addTaps(const std::string &axis);
  void setWeight(const std::string &tap, const std::string &axis, int64_t i);
  void addSample(const std::vector<int64_t> &taps);
  void addSamples();

  const Call &call;
  int64_t axes, numTaps = 0;
  bool isDouble; ///< places; others are of f32, narrow ones too
  std::string padding, body, sum;
  std::set<std::string> indices; ///< of rows that several samples share
  bool isAligned;
};
} // namespace

/// Of places beyond the ends, again and again, until they are between them.
void Sampler::reflect(const std::string &result, const std::string &place,
                      const std::string &axis) {
  const std::string r = result + "_";
  set(r + "off", "Sub", place, "low" + axis);
  set(r + "far", "Abs", r + "off");
  set(r + "turns", "Div", r + "far", "range" + axis);
  set(r + "times", "Floor", r + "turns");
  set(r + "gone", "Mul", r + "times", "range" + axis);
  set(r + "rest", "Sub", r + "far", r + "gone");
  set(r + "back", "Sub", "range" + axis, r + "rest");
  set(r + "half", "Mul", r + "times", "half");
  set(r + "whole", "Floor", r + "half");
  set(r + "isEven", "Equal", r + "half", r + "whole");
  body += r + "in = Where(" + r + "isEven, " + r + "rest, " + r + "back)\n";
  set(r + "inside", "Add", r + "in", "low" + axis);
  // Of one element there is no way to go.
  body += result + " = Where(isOne" + axis + ", none_left, " + r + "inside)\n";
}

/// `at`, [N, samples], in elements.
void Sampler::findPlaces(const std::string &axis, int64_t number) {
  const std::string a = axis;
  body += "size_list" + a + " = Shape <start = " + std::to_string(2 + number) +
          ", end = " + std::to_string(3 + number) + "> (i0)\n" + "which" + a +
          " = Constant <value = int64 {" + std::to_string(axes - 1 - number) +
          "}> ()\nplaced" + a + " = Gather <axis = -1> (grid, which" + a +
          ")\ngiven" + a + " = Reshape <allowzero = 1> (placed" + a +
          ", rows)\n";
  set("size" + a, "CastLike", "size_list" + a, "grid");
  set("last" + a, "Sub", "size" + a, "unit");
  set("above" + a, "Add", "given" + a, "unit");
  if (isAligned) {
    set("part" + a, "Mul", "above" + a, "half");
    set("raw" + a, "Mul", "part" + a, "last" + a);
    set("low" + a, "Identity", "none_left");
    set("range" + a, "Identity", "last" + a);
  } else {
    set("part" + a, "Mul", "above" + a, "size" + a);
    set("less" + a, "Sub", "part" + a, "unit");
    set("raw" + a, "Mul", "less" + a, "half");
    set("low" + a, "Neg", "half");
    set("range" + a, "Identity", "size" + a);
  }
  set("isOne" + a, "Equal", "last" + a, "none_left");
  std::string found = numTaps == 1 ? "near" + a : "raw" + a;
  if (numTaps == 1)
    set(found, "Round", "raw" + a);
  // A cubic tap's distance is from where the place is, also outside.
  bool isMoved = numTaps < 4;
  if (isMoved && padding == "reflection") {
    reflect("at" + a, found, a);
  } else if (isMoved && padding == "border") {
    set("at_least" + a, "Max", found, "none_left");
    set("at" + a, "Min", "at_least" + a, "last" + a);
  } else {
    set("at" + a, "Identity", found);
  }
}

/// The weight of the i-th tap, by `share`, how far the place is from the
/// element before it: linear, or Keys' cubic convolution with a = -0.75.
void Sampler::setWeight(const std::string &tap, const std::string &axis,
                        int64_t i) {
  const std::string w = "weight" + tap, share = "share" + axis,
                    rest = "rest" + axis;
  if (numTaps == 2) {
    set(w, "Identity", i ? share : rest);
    return;
  }
  bool isInner = i == 1 || i == 2;
  const std::string &x = i < 2 ? share : rest;
  if (isInner) { // (a + 2) x³ - (a + 3) x² + 1
    set(w + "_cubed", "Mul", "inner_cube", x);
    set(w + "_line", "Sub", w + "_cubed", "inner_square");
    set(w + "_once", "Mul", w + "_line", x);
    set(w + "_twice", "Mul", w + "_once", x);
    set(w, "Add", w + "_twice", "unit");
    return;
  }
  // a y³ - 5 a y² + 8 a y - 4 a with y = x + 1: a x (x - 1)².
  set(w + "_less", "Sub", x, "unit");
  set(w + "_square", "Mul", w + "_less", w + "_less");
  set(w + "_line", "Mul", w + "_square", x);
  set(w, "Mul", w + "_line", "outer_factor");
}

void Sampler::addTaps(const std::string &axis) {
  const std::string at = "at" + axis;
  set("before" + axis, "Floor", at);
  if (numTaps > 1) {
    set("share" + axis, "Sub", at, "before" + axis);
    set("rest" + axis, "Sub", "unit", "share" + axis);
  }
  for (int64_t i = 0; i < numTaps; ++i) {
    const std::string tap = axis + "_" + std::to_string(i),
                      place = "place" + tap;
    number("step" + tap, double(numTaps == 4 ? i - 1 : i));
    set(place, "Add", "before" + axis, "step" + tap);
    std::string found = place;
    if (padding == "reflection")
      reflect(found = "mirrored" + tap, place, axis);
    set("atLeast" + tap, "Max", found, "none_left");
    set("clamped" + tap, "Min", "atLeast" + tap, "last" + axis);
    body += "element" + tap + " = Cast <to = 7> (clamped" + tap + ")\n";
    if (numTaps > 1)
      setWeight(tap, axis, i);
    if (padding == "zeros")
      set("isIn" + tap, "Equal", place, "clamped" + tap);
  }
}

/// One tap along each axis.
void Sampler::addSample(const std::vector<int64_t> &taps) {
  std::string name, element, weight, isInside;
  std::vector<std::string> factors;
  for (int64_t a = 0; a < axes; ++a) {
    std::string axis = "_" + std::to_string(a),
                tap = axis + "_" + std::to_string(taps[a]);
    name += tap;
    if (numTaps > 1)
      factors.push_back("weight" + tap);
    if (a == 0) {
      element = "element" + tap;
      isInside = "isIn" + tap;
      continue;
    }
    std::string index = "index" + name;
    if (indices.insert(index).second) {
      set("row" + name, "Mul", element, "size_list" + axis);
      set(index, "Add", "row" + name, "element" + tap);
      if (padding == "zeros")
        set("areIn" + name, "And", isInside, "isIn" + tap);
    }
    element = index;
    isInside = "areIn" + name;
  }
  set("found" + name, "Unsqueeze", element, "last_axis");
  body += "values" + name + " = GatherND <batch_dims = 1> (elements, found" +
          name + ")\n";
  std::string sample = "values" + name;
  // What is not there is 0, also where the element beside it is not finite.
  if (padding == "zeros") {
    set("isThere" + name, "Unsqueeze", isInside, "last_axis");
    body += "visible" + name + " = Where(isThere" + name + ", " + sample +
            ", nothing)\n";
    sample = "visible" + name;
  }
  for (size_t i = 0; i < factors.size(); ++i) {
    std::string all = "product" + name + "_" + std::to_string(i);
    if (i == 0)
      set(all, "Identity", factors[i]);
    else
      set(all, "Mul", weight, factors[i]);
    weight = all;
  }
  if (!weight.empty()) {
    set("column" + name, "Unsqueeze", weight, "last_axis");
    set("factor" + name, "CastLike", "column" + name, "i0");
    set("sample" + name, "Mul", sample, "factor" + name);
    sample = "sample" + name;
  }
  if (!sum.empty())
    set("sum" + name, "Add", sum, sample);
  sum = sum.empty() ? sample : "sum" + name;
}

void Sampler::addSamples() {
  std::vector<int64_t> taps(axes, 0);
  for (;;) {
    addSample(taps);
    int64_t axis = axes - 1;
    while (axis >= 0 && ++taps[axis] == numTaps)
      taps[axis--] = 0;
    if (axis < 0)
      return;
  }
}

/// Of an input's sizes from an axis on to before another, as a list of one.
static std::string product(const std::string &name, const std::string &input,
                           int64_t from, int64_t to) {
  std::string body, all;
  for (int64_t axis = from; axis < to; ++axis) {
    std::string size = name + "_" + std::to_string(axis);
    body += size + " = Shape <start = " + std::to_string(axis) +
            ", end = " + std::to_string(axis + 1) + "> (" + input + ")\n";
    if (!all.empty())
      body += size + "_all = Mul(" + all + ", " + size + ")\n";
    all = all.empty() ? size : size + "_all";
  }
  return body + name + " = Identity(" + all + ")\n";
}

std::string Sampler::text() {
  static const std::map<std::string, int64_t> tapsOf = {{"nearest", 1},
                                                        {"linear", 2},
                                                        {"bilinear", 2},
                                                        {"cubic", 4},
                                                        {"bicubic", 4}};
  auto mode = tapsOf.find(call.word("mode", "linear"));
  const auto *numbers = call.dim(1, int(axes) + 1);
  if (axes < 1 || axes > 3 || mode == tapsOf.end() ||
      call.rank(1) != call.rank(0) ||
      (numbers->has_dim_value() && numbers->dim_value() != axes) ||
      (padding != "zeros" && padding != "border" && padding != "reflection"))
    return "";
  numTaps = mode->second;
  body = list("last_axis", {-1}) +
         "grid = Cast <to = " + (isDouble ? "11" : "1") +
         "> (i1)\nbatch = Shape <end = 1> (i1)\n" +
         product("samples", "i1", 1, axes + 1) +
         product("elements_each", "i0", 2, axes + 2) +
         "rows = Concat <axis = 0> (batch, samples)\n"
         "outside = Shape <end = 2> (i0)\n"
         "columns = Concat <axis = 0> (outside, elements_each)\n"
         "zero = Constant <value = float {0.0}> ()\n"
         "nothing = CastLike(zero, i0)\n";
  number("unit", 1.0);
  number("half", 0.5);
  number("none_left", 0.0);
  number("inner_cube", 1.25);
  number("inner_square", 2.25);
  number("outer_factor", -0.75);
  for (int64_t a = 0; a < axes; ++a) {
    std::string axis = "_" + std::to_string(a);
    findPlaces(axis, a);
    addTaps(axis);
  }
  body += "channels = Reshape <allowzero = 1> (i0, columns)\n"
          "elements = Transpose <perm = [0, 2, 1]> (channels)\n";
  addSamples();
  body += "across = Transpose <perm = [0, 2, 1]> (" + sum +
          ")\ninside = Shape <start = 1, end "
          "= -1> (i1)\nshape = Concat <axis = 0> (outside, inside)\n"
          "o0 = Reshape <allowzero = 1> (across, shape)\n";
  return body;
}

static std::string gridSample(const Call &call) { return Sampler(call).text(); }

/// Writes `name`, the coordinates along one of `axes` axes, [..., n, ..., 1]:
/// from -1 to 1 of the first to the last element's centres, or of the ends.
static std::string coordinates(const std::string &name, int64_t axis,
                               int64_t axes, bool isAligned) {
  const std::string n = name + "_";
  std::vector<int64_t> shape(axes + 1, 1);
  shape[axis] = -1;
  std::string body =
      list(n + "which", {2 + axis}) + n + "size = Gather(i1, " + n +
      "which)\n" + n + "count = Squeeze(" + n + "size, first)\n" + n +
      "list = Range(from, " + n + "count, by)\n" + n + "places = CastLike(" +
      n + "list, theta)\n" + n + "twice = Mul(" + n + "places, two)\n" + n +
      "all = CastLike(" + n + "size, theta)\n";
  if (isAligned)
    body += n + "less = Sub(" + n + "all, unit)\n" + n + "steps = Max(" + n +
            "less, unit)\n" + n + "parts = Div(" + n + "twice, " + n +
            "steps)\n";
  else
    body += n + "centres = Add(" + n + "twice, unit)\n" + n + "parts = Div(" +
            n + "centres, " + n + "all)\n";
  return body + n + "line = Sub(" + n + "parts, unit)\n" +
         list(n + "shape", shape) + n + "plain = Reshape(" + n + "line, " + n +
         "shape)\n" + name + " = Expand(" + n + "plain, extents)\n";
}

/// The points [..., x, y, (z,) 1] of a grid, each times theta [N, axes, axes +
/// 1].
static std::string affineGrid(const Call &call) {
  const auto *rows = call.dim(0, 1), *sizes = call.dim(1, 0);
  int64_t axes = rows && rows->has_dim_value() ? rows->dim_value()
                 : sizes                       ? sizes->dim_value() - 2
                                               : 0;
  if (axes != 2 && axes != 3)
    return "";
  std::vector<int64_t> spatial;
  std::string columns;
  for (int64_t axis = 0; axis < axes; ++axis)
    spatial.push_back(2 + axis);
  int real = call.elementType(0) == TensorProto::DOUBLE ? TensorProto::DOUBLE
                                                        : TensorProto::FLOAT;
  std::string body =
      list("first", {0}) + list("one", {1}) + list("spatial", spatial) +
      list("columns", {axes}) + list("flat", {-1, axes + 1}) +
      "from = Constant <value = int64 {0}> ()\n"
      "by = Constant <value = int64 {1}> ()\ntheta = Cast <to = " +
      std::to_string(real) +
      "> (i0)\nunit = CastLike(one, theta)\ntwo = Add(unit, unit)\n"
      "sizes = Gather(i1, spatial)\n"
      "extents = Concat <axis = 0> (sizes, one)\n";
  for (int64_t axis = axes - 1; axis >= 0; --axis) {
    std::string name = "axis" + std::to_string(axis);
    body += coordinates(name, axis, axes, call.integer("align_corners", 0));
    columns += name + ", ";
  }
  return body + "units = Expand(unit, extents)\npoints = Concat <axis = -1> (" +
         columns + "units)\nlisted = Reshape(points, flat)\n" +
         "turned = Transpose <perm = [0, 2, 1]> (theta)\n"
         "moved = MatMul(listed, turned)\n"
         "batch = Shape <start = 0, end = 1> (i0)\n"
         "shape = Concat <axis = 0> (batch, sizes, columns)\n"
         "grid = Reshape <allowzero = 1> (moved, shape)\n"
         "o0 = CastLike(grid, i0)";
}

void mlir::onnx::addSamplingRules(Rules &rules) {
  rules[".AffineGrid"] = affineGrid;
  rules[".GridSample"] = gridSample;
}
