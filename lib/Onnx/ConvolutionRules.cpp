//===- ConvolutionRules.cpp - what convolutions of constants do -----------===//

#include "Rules.h"
#include <set>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

std::string mlir::onnx::ofConvolution(const Call &call) {
  const std::string padding = call.word("auto_pad", "NOTSET");
  static const std::set<std::string> paddings = {"NOTSET", "SAME_LOWER",
                                                 "SAME_UPPER", "VALID"};
  if (!paddings.count(padding))
    return "";
  std::vector<std::string> attributes = {
      "group = " + std::to_string(call.integer("group", 1)),
      "auto_pad = \"" + padding + "\""};
  for (const char *name : {"dilations", "kernel_shape", "pads", "strides"})
    if (const auto *found = call.attribute(name))
      attributes.push_back(
          std::string(name) + " = " +
          listed({found->ints().begin(), found->ints().end()}));
  return joined(attributes);
}

namespace {
/// Blocks [N, C * elements, steps] summed where they overlap in an image [N, C,
/// ...]: a transposed convolution, of which the filter of each element is 1 at
/// its place.
class BlockSum {
public:
  explicit BlockSum(const Call &call) : call(call) {}

  std::string text();

private:
  bool findSizes();

  const Call &call;
  std::vector<int64_t> image, block, strides, dilations, pads;
  std::vector<int64_t> steps, rest; ///< of blocks; of the image behind the last
};
} // namespace

bool BlockSum::findSizes() {
  auto sizes = call.integers(1), ofBlock = call.integers(2);
  if (!sizes || !ofBlock || sizes->size() != ofBlock->size() ||
      call.rank(0) != 3)
    return false;
  image = *sizes;
  block = *ofBlock;
  size_t axes = image.size();
  auto read = [&](const char *name, size_t count, int64_t otherwise) {
    const AttributeProto *given = call.attribute(name);
    return given ? std::vector<int64_t>(given->ints().begin(),
                                        given->ints().end())
                 : std::vector<int64_t>(count, otherwise);
  };
  strides = read("strides", axes, 1);
  dilations = read("dilations", axes, 1);
  pads = read("pads", 2 * axes, 0);
  constexpr int64_t kMost = 1 << 24;
  auto areSizes = [&](const std::vector<int64_t> &list, int64_t least) {
    for (int64_t size : list)
      if (size < least || size > kMost)
        return false;
    return true;
  };
  if (strides.size() != axes || dilations.size() != axes ||
      pads.size() != 2 * axes || !areSizes(image, 1) || !areSizes(block, 1) ||
      !areSizes(strides, 1) || !areSizes(dilations, 1) || !areSizes(pads, 0))
    return false;
  for (size_t i = 0; i < axes; ++i) {
    int64_t free =
        image[i] + pads[i] + pads[axes + i] - dilations[i] * (block[i] - 1) - 1;
    if (free < 0)
      return false;
    steps.push_back(free / strides[i] + 1);
    rest.push_back(free % strides[i]);
  }
  return true;
}

std::string BlockSum::text() {
  if (!isReal(call.elementType(0)) || !findSizes())
    return "";
  int64_t elements = 1;
  for (int64_t size : block)
    elements *= size;
  constexpr int64_t kMostElements = 1 << 12;
  if (elements > kMostElements)
    return "";
  std::vector<int64_t> blocks = {-1, elements}, filters = {elements, 1};
  blocks.insert(blocks.end(), steps.begin(), steps.end());
  filters.insert(filters.end(), block.begin(), block.end());
  return list("blocks", blocks) + list("filters", filters) +
         list("square", {elements, elements}) + list("sizes", image) +
         list("channels", {-1}) +
         "batch = Shape <start = 0, end = 1> (i0)\n"
         "images = Reshape(i0, blocks)\n"
         "zeros = ConstantOfShape(square)\nones = EyeLike(zeros)\n"
         "typed = CastLike(ones, i0)\nplaced = Reshape(typed, filters)\n"
         "summed = ConvTranspose <kernel_shape = " +
         listed(block) + ", strides = " + listed(strides) +
         ", dilations = " + listed(dilations) + ", pads = " + listed(pads) +
         ", output_padding = " + listed(rest) +
         "> (images, placed)\n"
         "shape = Concat <axis = 0> (batch, channels, sizes)\n"
         "o0 = Reshape(summed, shape)";
}

static std::string col2Im(const Call &call) { return BlockSum(call).text(); }

void mlir::onnx::addConvolutionRules(Rules &rules) {
  rules[".Col2Im"] = col2Im;
}
