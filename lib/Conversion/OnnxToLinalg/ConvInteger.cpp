//===- ConvInteger.cpp - convolutions of bytes ----------------------------===//
//
// Sums of as many products as f32 holds exactly are convolutions of floats;
// these are added as integers.
//
//===----------------------------------------------------------------------===//

#include "Convolution.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace mlir::megactx;

/// Data (0) or kernel (1) of 8 bits less their zero points, one for all or one
/// for each filter, as f32.
static FailureOr<Tensor> centred(Node &node, unsigned i) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &x = node.in(i);
  if (!signlessOf(x.elementType).isInteger(8))
    return node.error() << "expected data and kernel of int8 or uint8";
  SmallVector<Tensor *> inputs = {&x};
  Tensor zeros;
  if (node.has(i + 2)) {
    zeros = node.in(i + 2);
    if (zeros.elementType != x.elementType || zeros.rank() > 1)
      return node.error() << "expected zero points of the operand's type, one "
                             "for all or one for each filter";
    if (zeros.rank() == 1) {
      Shape column(x.rank(), IndexExpr(1));
      column[0] = zeros.shape[0];
      // One that is known at run time only to be one broadcasts.
      IndexExpr wanted = i == 1 ? x.shape[0] : IndexExpr(1);
      if ((i == 0 || zeros.shape[0].constant()) && !zeros.shape[0].is(1) &&
          failed(node.requireEqual(zeros.shape[0], wanted,
                                   "numbers of filters and zero points")))
        return failure();
      zeros = graph.reshape(loc, zeros, column);
    }
    inputs.push_back(&zeros);
  }
  auto shape = graph.broadcastShape(node, inputs);
  if (failed(shape))
    return failure();
  Type real = graph.b.getF32Type();
  return graph.map(loc, inputs, *shape, real,
                   [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                     Value own = castScalar(b, l, args[0], real);
                     if (args.size() == 1)
                       return own;
                     return arith::SubFOp::create(
                         b, l, own, castScalar(b, l, args[1], real));
                   });
}

/// The numbers of a constant of bytes, where they are at hand.
static std::optional<SmallVector<int64_t>> bytesOf(const Tensor &tensor) {
  ElementsAttr constant = tensor.constant;
  if (!constant)
    return std::nullopt;
  auto read = [](auto resource) -> std::optional<SmallVector<int64_t>> {
    auto bytes = resource ? resource.tryGetAsArrayRef() : std::nullopt;
    return bytes ? std::optional(
                       SmallVector<int64_t>(bytes->begin(), bytes->end()))
                 : std::nullopt;
  };
  if (auto numbers = read(dyn_cast<DenseI8ResourceElementsAttr>(constant)))
    return numbers;
  if (auto numbers = read(dyn_cast<DenseUI8ResourceElementsAttr>(constant)))
    return numbers;
  return integersOf(constant, constant.getNumElements());
}

/// The magnitudes of the kernel, less its zero points, summed for each filter
/// and channel; one filter of the largest numbers where they are not known.
static SmallVector<SmallVector<int64_t>>
magnitudesOf(Node &node, int64_t channels, int64_t taps) {
  constexpr int64_t kLargest = 255;
  SmallVector<SmallVector<int64_t>> unknown(
      1, SmallVector<int64_t>(channels, taps * kLargest));
  auto weights = bytesOf(node.in(1));
  std::optional<SmallVector<int64_t>> zeros = SmallVector<int64_t>{0};
  if (node.has(3))
    zeros = bytesOf(node.in(3));
  if (!weights || !zeros || zeros->empty() || channels * taps == 0)
    return unknown;
  size_t filters = weights->size() / (channels * taps);
  if (zeros->size() != 1 && zeros->size() != filters)
    return unknown;
  SmallVector<SmallVector<int64_t>> sums(filters,
                                         SmallVector<int64_t>(channels, 0));
  for (auto [i, weight] : llvm::enumerate(*weights)) {
    size_t filter = i / (channels * taps);
    int64_t zero = (*zeros)[zeros->size() == 1 ? 0 : filter];
    sums[filter][i / taps % channels] += std::abs(weight - zero);
  }
  return sums;
}

/// Where to cut the channels so that f32 holds each sum of products; nothing
/// where it may not hold one channel's.
static std::optional<SmallVector<int64_t>> exactBlocks(Node &node) {
  constexpr int64_t kHeld = int64_t(1) << 24, kLargestData = 255;
  int64_t taps = 1;
  for (const IndexExpr &size : ArrayRef(node.in(1).shape).drop_front(2)) {
    if (!size.constant() ||
        __builtin_mul_overflow(taps, *size.constant(), &taps))
      return std::nullopt;
  }
  auto channels = node.in(1).shape[1].constant();
  if (!channels || taps > kHeld)
    return std::nullopt;
  auto magnitudes = magnitudesOf(node, *channels, taps);
  SmallVector<int64_t> ends;
  SmallVector<int64_t> sums(magnitudes.size(), 0);
  for (int64_t channel = 0; channel < *channels; ++channel) {
    auto exceeds = [&](int64_t sum) { return sum * kLargestData > kHeld; };
    bool isCut = false;
    for (auto [sum, own] : llvm::zip_equal(sums, magnitudes)) {
      if (exceeds(own[channel]))
        return std::nullopt;
      isCut |= exceeds(sum += own[channel]);
    }
    if (!isCut)
      continue;
    ends.push_back(channel);
    for (auto [sum, own] : llvm::zip_equal(sums, magnitudes))
      sum = own[channel];
  }
  ends.push_back(*channels);
  return ends;
}

/// Channels from `first` to `end` of each group, of a tensor that has them
/// along dim 1.
static Tensor channelsOf(Graph &graph, Location loc, Tensor &x, int64_t groups,
                         int64_t first, int64_t end) {
  Shape split = {x.shape[0], IndexExpr(groups),
                 graph.ix.floorDiv(loc, x.shape[1], IndexExpr(groups))};
  split.append(x.shape.begin() + 2, x.shape.end());
  Tensor grouped = graph.reshape(loc, x, split);
  Shape offsets(split.size(), IndexExpr(0)), ones(split.size(), IndexExpr(1));
  offsets[2] = IndexExpr(first);
  split[2] = IndexExpr(end - first);
  Tensor some = graph.slice(loc, grouped, offsets, split, ones);
  Shape joined = x.shape;
  joined[1] = IndexExpr(groups * (end - first));
  return graph.reshape(loc, some, joined);
}

static LogicalResult lowerConvInteger(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  auto group = groupsOf(node, /*isTransposed=*/false);
  if (failed(group))
    return failure();
  auto x = centred(node, 0), w = centred(node, 1);
  if (failed(x) || failed(w))
    return failure();
  auto windows = windowsOfKernel(node);
  if (failed(windows))
    return failure();
  auto data = padded(node, *x, windows->before, windows->after);
  if (failed(data))
    return failure();
  Type i32 = graph.b.getI32Type();
  auto blocks = exactBlocks(node);
  if (!blocks) {
    Tensor a = graph.cast(loc, *data, i32), c = graph.cast(loc, *w, i32);
    return node.set(0, convolve(node, a, c, {*group, *windows})), success();
  }
  Tensor sums;
  int64_t first = 0;
  for (int64_t end : *blocks) {
    bool isWhole = blocks->size() == 1;
    Tensor a = isWhole ? *data
                       : channelsOf(graph, loc, *data, *group, first, end),
           c = isWhole ? *w : channelsOf(graph, loc, *w, 1, first, end);
    Tensor part = convolve(node, a, c, {*group, *windows});
    SmallVector<Tensor *> terms = {&part};
    if (first > 0)
      terms.push_back(&sums);
    sums = graph.map(loc, terms, part.shape, i32,
                     [&](OpBuilder &b, Location l, ValueRange args) -> Value {
                       Value own = castScalar(b, l, args[0], i32);
                       if (args.size() == 1)
                         return own;
                       return arith::AddIOp::create(b, l, own, args[1]);
                     });
    first = end;
  }
  node.set(0, sums);
  return success();
}

void mlir::megactx::registerConvInteger(Registry &registry) {
  registry["ConvInteger"] = lowerConvInteger;
}
