//===- Conv.cpp - windows and convolutions --------------------------------===//

#include "Convolution.h"
#include "Reduction.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::megactx;

/// One entry of at least `least` per spatial axis; `otherwise` where the node
/// has no such list.
static FailureOr<SmallVector<int64_t>> axisList(Node &node, StringRef name,
                                                size_t rank, int64_t least,
                                                int64_t otherwise) {
  auto list = node.integers(name).value_or(SmallVector<int64_t>());
  if (list.empty())
    list.assign(rank, otherwise);
  // Larger numbers are no windows, and their products would overflow.
  if (list.size() != rank || llvm::any_of(list, [&](int64_t entry) {
        return entry < least || entry > std::numeric_limits<int32_t>::max();
      }))
    return node.error() << "expected " << rank << " " << name << " of at least "
                        << least;
  return list;
}

/// What is padded on the axis so that there are as many windows as strides.
static void padSame(Node &node, Windows &w, size_t axis, bool isLower) {
  IndexSpace &ix = node.graph.ix;
  Location loc = node.loc();
  const IndexExpr &size = node.in(0).shape[2 + axis];
  IndexExpr stride(w.strides[axis]);
  IndexExpr span =
      (w.kernel[axis] - IndexExpr(1)) * IndexExpr(w.dilations[axis]);
  IndexExpr last = ix.floorDiv(loc, size - IndexExpr(1), stride);
  IndexExpr all = ix.max(loc, last * stride + span + IndexExpr(1) - size, 0);
  IndexExpr less = ix.floorDiv(loc, all, IndexExpr(2));
  w.before[axis] = isLower ? all - less : less;
  w.after[axis] = all - w.before[axis];
}

FailureOr<Windows> mlir::megactx::windowsOf(Node &node,
                                            ArrayRef<IndexExpr> kernel) {
  IndexSpace &ix = node.graph.ix;
  Location loc = node.loc();
  size_t rank = kernel.size();
  auto strides = axisList(node, "strides", rank, 1, 1);
  auto dilations = axisList(node, "dilations", rank, 1, 1);
  auto pads = axisList(node, "pads", 2 * rank, 0, 0);
  if (failed(strides) || failed(dilations) || failed(pads))
    return failure();
  Windows w{*strides, *dilations, Shape(kernel), {}, {}, {}};
  StringRef rule = node.string("auto_pad", "NOTSET");
  if (rule != "NOTSET" && rule != "VALID" && rule != "SAME_LOWER" &&
      rule != "SAME_UPPER")
    return node.error() << "expected auto_pad to be NOTSET, VALID, SAME_LOWER "
                           "or SAME_UPPER, but got '"
                        << rule << "'";
  for (size_t i = 0; i < rank; ++i) {
    w.before.push_back(IndexExpr(rule == "NOTSET" ? (*pads)[i] : 0));
    w.after.push_back(IndexExpr(rule == "NOTSET" ? (*pads)[rank + i] : 0));
    if (rule.starts_with("SAME"))
      padSame(node, w, i, rule == "SAME_LOWER");
    const IndexExpr &size = node.in(0).shape[2 + i];
    IndexExpr stride(w.strides[i]);
    IndexExpr span = (kernel[i] - IndexExpr(1)) * IndexExpr(w.dilations[i]);
    IndexExpr free = size + w.before[i] + w.after[i] - span - IndexExpr(1);
    bool isCeil = node.integer("ceil_mode", 0) && !rule.starts_with("SAME");
    IndexExpr steps =
        ix.floorDiv(loc, isCeil ? free + stride - IndexExpr(1) : free, stride);
    // The last window begins in the data or before.
    if (isCeil)
      steps =
          ix.min(loc, steps,
                 ix.floorDiv(loc, size + w.before[i] - IndexExpr(1), stride));
    w.counts.push_back(steps + IndexExpr(1));
    if (failed(node.requireSize(w.counts.back())))
      return failure();
  }
  return w;
}

FailureOr<Tensor> mlir::megactx::padded(Node &node, Tensor &x,
                                        ArrayRef<IndexExpr> before,
                                        ArrayRef<IndexExpr> after) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Shape low(2, IndexExpr(0)), high(low);
  bool isPadded = false;
  for (size_t i = 0; i < before.size(); ++i) {
    for (const IndexExpr &pad : {before[i], after[i]}) {
      if (failed(node.requireSize(pad)))
        return failure();
      isPadded |= !pad.is(0);
    }
    low.push_back(before[i]);
    high.push_back(after[i]);
  }
  if (!isPadded)
    return x;
  Value zero = constantOf(b, loc, b.getZeroAttr(x.elementType));
  return graph.pad(loc, x, low, high, zero);
}

/// Loops: n, group, m, spatial..., then c, kernel...
Tensor mlir::megactx::convolve(Node &node, Tensor &x, Tensor &w,
                               const Convolution &with) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  // One group needs no loop.
  unsigned rank = with.counts.size(), first = with.group > 1 ? 3 : 2;
  unsigned channel = first + rank;
  IndexExpr groups(with.group);
  auto dim = [&](unsigned i) { return b.getAffineDimExpr(i); };
  auto split = [&](const IndexExpr &size) {
    return graph.ix.floorDiv(loc, size, groups);
  };
  Shape data = {x.shape[0], split(x.shape[1])};
  Shape kernel = {split(w.shape[0]), w.shape[1]};
  IndexExpr filters = with.isTransposed ? kernel[1] : kernel[0];
  Shape shape = {x.shape[0], filters};
  SmallVector<AffineExpr> dataMap = {dim(0), dim(channel)},
                          kernelMap = {dim(first - 1), dim(channel)},
                          outMap = {dim(0), dim(first - 1)};
  if (with.isTransposed)
    std::swap(kernelMap[0], kernelMap[1]);
  if (with.group > 1) {
    for (Shape *sizes : {&data, &shape})
      sizes->insert(sizes->begin() + 1, groups);
    for (auto *map : {&dataMap, &outMap})
      map->insert(map->begin() + 1, dim(1));
    kernel.insert(kernel.begin(), groups);
    kernelMap.insert(kernelMap.begin(), dim(1));
  }
  for (unsigned i = 0; i < rank; ++i) {
    data.push_back(x.shape[2 + i]);
    kernel.push_back(w.shape[2 + i]);
    shape.push_back(with.counts[i]);
    AffineExpr tap = dim(channel + 1 + i);
    dataMap.push_back(dim(first + i) * with.strides[i] +
                      tap * with.dilations[i]);
    kernelMap.push_back(tap);
    outMap.push_back(dim(first + i));
  }
  SmallVector<utils::IteratorType> iterators(channel + 1 + rank,
                                             utils::IteratorType::reduction);
  std::fill_n(iterators.begin(), channel, utils::IteratorType::parallel);
  auto map = [&](ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(iterators.size(), 0, exprs, b.getContext());
  };
  Tensor grouped = graph.reshape(loc, x, data),
         kernels = graph.reshape(loc, w, kernel);
  Value init =
      graph.filled(loc, shape, b.getZeroAttr(accumulatorType(x.elementType)));
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange{init.getType()},
      ValueRange{graph.materialize(loc, grouped),
                 graph.materialize(loc, kernels)},
      ValueRange{init}, {map(dataMap), map(kernelMap), map(outMap)}, iterators,
      [](OpBuilder &nested, Location l, ValueRange args) {
        multiplyAdd(nested, l, args, kAnyOrder);
      });
  Tensor result = graph.wrap(op.getResult(0), shape);
  Shape flat = {x.shape[0], groups * filters};
  flat.append(with.counts.begin(), with.counts.end());
  return graph.reshape(loc, result, flat);
}

/// Whether windows begin and end in the data or in less than a window of zeros
/// around them, so that each has some of the data; all sizes of windows are
/// known.
static bool isPaddedLittle(const Windows &windows) {
  for (int64_t i = 0; i < windows.rank(); ++i) {
    auto kernel = windows.kernel[i].constant();
    for (const IndexExpr &pad : {windows.before[i], windows.after[i]}) {
      auto zeros = pad.constant();
      if (!kernel || !zeros || *zeros < 0 ||
          *zeros > (*kernel - 1) * windows.dilations[i])
        return false;
    }
  }
  return true;
}

/// Whether each element of a result is of one of the data's at its place.
static bool isProduct(const Windows &windows) {
  for (int64_t i = 0; i < windows.rank(); ++i)
    if (!windows.kernel[i].is(1) || windows.strides[i] != 1 ||
        !windows.before[i].is(0) || !windows.after[i].is(0))
      return false;
  return true;
}

/// The convolution of data in f32 with the channels last.
static FailureOr<Tensor> convolveLast(Node &node, Tensor &x, Tensor &w,
                                      int64_t group, const Windows &windows) {
  Graph &graph = node.graph;
  OpBuilder &b = graph.b;
  Location loc = node.loc();
  Shape shape = {x.shape[0], w.shape[0]};
  shape.append(windows.counts);
  Value data = graph.channelsLast(loc, x);
  if (group == 1 && isProduct(windows)) {
    Tensor rows = graph.wrap(data, inLastOrder<IndexExpr>(x.shape));
    Tensor matrix = graph.reshape(loc, w, {w.shape[0], w.shape[1]});
    matrix = graph.transpose(loc, matrix, {1, 0});
    // Weights are turned once, when the model is compiled.
    matrix.transposed = {};
    auto sums = multiply(node, rows, matrix);
    if (failed(sums))
      return failure();
    return graph.wrapChannelsLast(graph.materialize(loc, *sums), shape);
  }
  SmallVector<int64_t> pads = llvm::map_to_vector(
      windows.before, [](const IndexExpr &pad) { return *pad.constant(); });
  Value out = graph.empty(loc, inLastOrder<IndexExpr>(shape), x.elementType);
  auto op = ConvolutionOp::create(b, loc, out.getType(), data,
                                  graph.materialize(loc, w), out, group,
                                  windows.strides, windows.dilations, pads);
  return graph.wrapChannelsLast(op.getResult(0), shape);
}

/// The sums, rounded once to the data's type, with the bias if there is one.
static Tensor withBias(Node &node, Tensor &sums) {
  Graph &graph = node.graph;
  Type type = node.in(0).elementType, sum = sums.elementType;
  if (!node.has(2))
    return graph.cast(node.loc(), sums, type);
  Shape column = {node.in(2).shape[0]};
  column.append(sums.rank() - 2, IndexExpr(1));
  Tensor bias = graph.reshape(node.loc(), node.in(2), column);
  return graph.map(node.loc(), {&sums, &bias}, sums.shape, type,
                   [&](OpBuilder &b, Location loc, ValueRange args) {
                     Value added = castScalar(b, loc, args[1], sum);
                     return castScalar(
                         b, loc, arith::AddFOp::create(b, loc, args[0], added),
                         type);
                   });
}

FailureOr<int64_t> mlir::megactx::groupsOf(Node &node, bool isTransposed) {
  Tensor &x = node.in(0), &w = node.in(1);
  int64_t group = node.integer("group", 1);
  if (x.rank() < 3 || w.rank() != x.rank())
    return node.error() << "expected operands of one rank of at least 3";
  if (group < 1)
    return node.error() << "expected at least one group, but got " << group;
  IndexExpr groups(group);
  const IndexExpr &inner = isTransposed ? w.shape[0] : w.shape[1];
  IndexExpr filters = isTransposed ? w.shape[1] * groups : w.shape[0];
  if (failed(node.requireEqual(x.shape[1],
                               isTransposed ? inner : inner * groups,
                               "channels of data and kernel")))
    return failure();
  const IndexExpr &split = isTransposed ? inner : filters;
  if (group > 1 && split.constant().value_or(0) % group)
    return node.error() << "expected the kernel to have channels for " << group
                        << " groups";
  IndexSpace &ix = node.graph.ix;
  if (group > 1)
    node.graph.check(node.loc(),
                     ix.compare(node.loc(), Compare::Eq,
                                ix.mod(node.loc(), split, groups),
                                IndexExpr(0)),
                     "the kernel of " + node.type() + " has no channels for " +
                         Twine(group) + " groups");
  return group;
}

/// The same of floats, which may have a bias for each filter.
static FailureOr<int64_t> floatGroupsOf(Node &node, bool isTransposed) {
  Tensor &x = node.in(0), &w = node.in(1);
  auto group = groupsOf(node, isTransposed);
  if (failed(group))
    return failure();
  if (!isFloat(x.elementType) || w.elementType != x.elementType)
    return node.error() << "expected float operands of one type";
  if (!node.has(2))
    return group;
  if (node.in(2).rank() != 1 || node.in(2).elementType != x.elementType)
    return node.error() << "expected a bias of one dim and of the data's type";
  IndexExpr filters =
      isTransposed ? w.shape[1] * IndexExpr(*group) : w.shape[0];
  if (failed(node.requireEqual(node.in(2).shape[0], filters,
                               "sizes of kernel and bias")))
    return failure();
  return group;
}

FailureOr<Windows> mlir::megactx::windowsOfKernel(Node &node) {
  ArrayRef<IndexExpr> kernel = ArrayRef(node.in(1).shape).drop_front(2);
  if (auto sizes = node.integers("kernel_shape")) {
    if (sizes->size() != kernel.size())
      return node.error() << "expected " << kernel.size()
                          << " sizes in kernel_shape";
    for (auto [size, own] : llvm::zip_equal(*sizes, kernel))
      if (failed(node.requireEqual(IndexExpr(size), own,
                                   "sizes of kernel_shape and kernel")))
        return failure();
  }
  return windowsOf(node, kernel);
}

/// The sums of the node's data, padded as the windows say.
static FailureOr<Tensor> sumsOf(Node &node, int64_t group,
                                const Windows &windows) {
  Tensor &x = node.in(0), &w = node.in(1);
  // Where each channel has a kernel, moving them takes longer than convolving.
  bool isWorthMoving = group == 1 || !w.shape[1].is(1) || x.channelsLast;
  if (node.graph.options.channelsLast && x.elementType.isF32() &&
      windows.rank() >= 2 && w.staticCount() && isWorthMoving &&
      isPaddedLittle(windows))
    return convolveLast(node, x, w, group, windows);
  auto data = padded(node, x, windows.before, windows.after);
  if (failed(data))
    return failure();
  return convolve(node, *data, w, {group, windows});
}

static LogicalResult lowerConv(Node &node) {
  auto group = floatGroupsOf(node, /*isTransposed=*/false);
  if (failed(group))
    return failure();
  auto windows = windowsOfKernel(node);
  if (failed(windows))
    return failure();
  auto sums = sumsOf(node, *group, *windows);
  if (failed(sums))
    return failure();
  node.set(0, withBias(node, *sums));
  return success();
}

namespace {
/// Per spatial axis of a transposed convolution: what is cut off each end of
/// the sums, and what is added after them.
struct Cut {
  IndexExpr before, after, extra;
};
} // namespace

static FailureOr<SmallVector<Cut>> cutsOf(Node &node, const Windows &w) {
  IndexSpace &ix = node.graph.ix;
  size_t rank = w.rank();
  auto extra = axisList(node, "output_padding", rank, 0, 0);
  if (failed(extra))
    return failure();
  auto wanted = node.integers("output_shape");
  if (wanted && wanted->size() != rank && wanted->size() != rank + 2)
    return node.error() << "expected " << rank << " sizes in output_shape";
  StringRef rule = node.string("auto_pad", "NOTSET");
  auto given = node.integers("pads");
  SmallVector<Cut> cuts;
  for (size_t i = 0; i < rank; ++i) {
    IndexExpr more((*extra)[i]);
    const IndexExpr &size = node.in(0).shape[2 + i];
    if (!wanted && !rule.starts_with("SAME")) {
      bool hasPads = given && !given->empty() && rule == "NOTSET";
      cuts.push_back({IndexExpr(hasPads ? (*given)[i] : 0),
                      IndexExpr(hasPads ? (*given)[rank + i] : 0), more});
      continue;
    }
    IndexExpr full = (size - IndexExpr(1)) * IndexExpr(w.strides[i]) + more +
                     (w.kernel[i] - IndexExpr(1)) * IndexExpr(w.dilations[i]) +
                     IndexExpr(1);
    IndexExpr target = wanted ? IndexExpr((*wanted)[wanted->size() - rank + i])
                              : size * IndexExpr(w.strides[i]);
    IndexExpr all = ix.max(node.loc(), full - target, 0);
    // A kernel that spans less than its stride leaves what it does not reach.
    if (wanted)
      more = more + ix.max(node.loc(), target - full, 0);
    IndexExpr less = ix.floorDiv(node.loc(), all, IndexExpr(2));
    bool isLower = rule != "SAME_UPPER";
    cuts.push_back(
        {isLower ? all - less : less, isLower ? less : all - less, more});
  }
  return cuts;
}

/// The kernel with its spatial axes from their ends.
static Tensor flipped(Node &node, Tensor &w) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Value from = graph.materialize(loc, w);
  SmallVector<Value> lasts;
  for (const IndexExpr &size : w.shape)
    lasts.push_back(graph.ix.value(loc, size - IndexExpr(1)));
  return graph.parallel(loc, {}, {}, w.shape, w.elementType,
                        [&](OpBuilder &b, Location l, ValueRange) -> Value {
                          SmallVector<Value> place =
                              loopIndices(b, l, lasts.size());
                          for (size_t i = 2; i < lasts.size(); ++i)
                            place[i] =
                                arith::SubIOp::create(b, l, lasts[i], place[i]);
                          return tensor::ExtractOp::create(b, l, from, place);
                        });
}

/// The data with zeros between its elements, convolved with the kernel from its
/// end.
static LogicalResult lowerConvTranspose(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  auto group = floatGroupsOf(node, /*isTransposed=*/true);
  if (failed(group))
    return failure();
  Tensor &x = node.in(0), &w = node.in(1);
  size_t rank = x.rank() - 2;
  auto strides = axisList(node, "strides", rank, 1, 1);
  auto dilations = axisList(node, "dilations", rank, 1, 1);
  if (failed(strides) || failed(dilations) ||
      failed(axisList(node, "pads", 2 * rank, 0, 0)))
    return failure();
  Windows windows{*strides, *dilations, Shape(ArrayRef(w.shape).drop_front(2)),
                  {},       {},         {}};
  auto cuts = cutsOf(node, windows);
  if (failed(cuts))
    return failure();
  Shape spread = x.shape, counts, before, after, steps(x.rank(), IndexExpr(1));
  // Pads larger than what the kernel reaches beyond the data cut off sums.
  Shape offsets(2, IndexExpr(0)), sizes = {x.shape[0], w.shape[1] * *group};
  for (size_t i = 0; i < rank; ++i) {
    steps[2 + i] = IndexExpr((*strides)[i]);
    spread[2 + i] = x.shape[2 + i] * steps[2 + i];
    IndexExpr span =
        (windows.kernel[i] - IndexExpr(1)) * IndexExpr((*dilations)[i]);
    const Cut &cut = (*cuts)[i];
    IndexExpr low = span - cut.before, high = span - cut.after + cut.extra;
    // There are zeros after the last element, too.
    high = high - steps[2 + i] + IndexExpr(1);
    before.push_back(graph.ix.max(loc, low, 0));
    after.push_back(graph.ix.max(loc, high, 0));
    counts.push_back(spread[2 + i] + before[i] + after[i] - span);
    offsets.push_back(before[i] - low);
    sizes.push_back(spread[2 + i] + low + high - span);
    if (failed(node.requireSize(sizes.back())))
      return failure();
  }
  Tensor data = x;
  if (!llvm::all_of(*strides, [](int64_t stride) { return stride == 1; })) {
    Value zeros = graph.filled(loc, spread, graph.b.getZeroAttr(x.elementType));
    if (!isEmpty(x.shape)) {
      SmallVector<OpFoldResult> firsts(x.rank(), graph.b.getIndexAttr(0));
      zeros = tensor::InsertSliceOp::create(
          graph.b, loc, graph.materialize(loc, x), zeros, firsts,
          graph.ix.fold(loc, x.shape), graph.ix.fold(loc, steps));
    }
    data = graph.wrap(zeros, spread);
  }
  auto around = padded(node, data, before, after);
  if (failed(around))
    return failure();
  SmallVector<int64_t> ones(rank, 1);
  Tensor kernel = flipped(node, w);
  Tensor sums =
      convolve(node, *around, kernel, {*group, ones, *dilations, counts, true});
  sums = graph.slice(loc, sums, offsets, sizes, Shape(x.rank(), IndexExpr(1)));
  node.set(0, withBias(node, sums));
  return success();
}

void mlir::megactx::registerConv(Registry &registry) {
  registry["Conv"] = lowerConv;
  registry["ConvTranspose"] = lowerConvTranspose;
}
