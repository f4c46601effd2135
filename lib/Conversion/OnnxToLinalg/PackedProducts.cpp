//===- PackedProducts.cpp - weights of few bits ---------------------------===//
//
// Weights of 4 and 8 bits stay packed. Products of few rows widen them in
// registers; others widen some columns at a time, into memory that the next
// ones use again.
//
//===----------------------------------------------------------------------===//

#include "Quantize.h"
#include "Reduction.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <numeric>

using namespace mlir;
using namespace mlir::megactx;

/// How many weights are widened at a time, about.
static constexpr int64_t kWidened = 1 << 22;

/// Up to so many rows weights are widened in registers; so many sums at a time
/// are as many as tasks unroll.
static constexpr int64_t kFewRows = 16, kSumsAtOnce = 4;

/// Number `place` of those that are packed in a byte, the lowest bits first.
static Value numberIn(OpBuilder &b, Location loc, Value byte, Value place,
                      int64_t bits) {
  // Few machines shift vectors of bytes.
  Type i32 = b.getI32Type();
  Value wide =
      arith::ExtUIOp::create(b, loc, i32, bitsAs(b, loc, byte, b.getI8Type()));
  if (bits < 8) {
    Value shift = arith::MulIOp::create(
        b, loc, arith::IndexCastOp::create(b, loc, i32, place),
        arith::ConstantIntOp::create(b, loc, i32, bits));
    wide = arith::AndIOp::create(
        b, loc, arith::ShRUIOp::create(b, loc, wide, shift),
        arith::ConstantIntOp::create(b, loc, i32, (1 << bits) - 1));
  }
  return arith::SIToFPOp::create(b, loc, b.getF32Type(), wide);
}

namespace {
/// Rows of blocks of numbers of 4 or 8 bits, packed in bytes: [rows, blocks,
/// size * bits / 8], with a scale and a zero point for each block.
struct PackedBlocks {
  int64_t bits;
  Tensor bytes, scales;        ///< scales [rows, blocks]
  std::optional<Tensor> zeros; ///< f32 [rows, blocks]; or 2^(bits - 1)

  PackedBlocks rowsFrom(Graph &graph, Location loc, const IndexExpr &first,
                        const IndexExpr &count) const;
  /// By place, a block's numbers in the lower halves of bytes come first, so
  /// that neighbours in memory are neighbours in the result.
  enum class Order { Own, ByPlace };
  /// (number - zero) * scale: [rows, blocks * size].
  Tensor widen(Graph &graph, Location loc, Type element, Order order) const;
};
} // namespace

PackedBlocks PackedBlocks::rowsFrom(Graph &graph, Location loc,
                                    const IndexExpr &first,
                                    const IndexExpr &count) const {
  auto part = [&](Tensor all) {
    Shape sizes(all.shape), offsets(all.rank(), IndexExpr(0));
    sizes[0] = count;
    offsets[0] = first;
    return graph.slice(loc, all, offsets, sizes,
                       Shape(all.rank(), IndexExpr(1)));
  };
  PackedBlocks rows = {bits, part(bytes), part(scales), std::nullopt};
  if (zeros)
    rows.zeros = part(*zeros);
  return rows;
}

/// (number - zero) * scale, where there is a zero.
static Value widened(OpBuilder &b, Location loc, Value number, Value scale,
                     Value zero, int64_t bits, Type element) {
  if (!zero)
    zero =
        arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1 << (bits - 1)));
  number = arith::SubFOp::create(b, loc, number, zero);
  number =
      arith::MulFOp::create(b, loc, number, quantize::toReal(b, loc, scale));
  return castScalar(b, loc, number, element);
}

Tensor PackedBlocks::widen(Graph &graph, Location loc, Type element,
                           Order order) const {
  Tensor packed = bytes, factors = scales;
  SmallVector<Value> inputs = {graph.materialize(loc, packed),
                               graph.materialize(loc, factors)};
  MLIRContext *context = graph.b.getContext();
  unsigned ofPlace = order == Order::Own ? 3 : 2;
  AffineMap perByte =
      AffineMap::getMultiDimIdentityMap(4, context).dropResult(ofPlace);
  AffineMap perBlock = perByte.dropResult(2);
  SmallVector<AffineMap> maps = {perByte, perBlock};
  if (zeros) {
    Tensor points = *zeros;
    inputs.push_back(graph.materialize(loc, points));
    maps.push_back(perBlock);
  }
  Shape shape(packed.shape);
  shape.insert(shape.begin() + ofPlace, IndexExpr(8 / bits));
  Tensor wide = graph.parallel(
      loc, inputs, maps, shape, element,
      [&](OpBuilder &b, Location l, ValueRange args) {
        Value place = linalg::IndexOp::create(b, l, ofPlace);
        return widened(b, l, numberIn(b, l, args[0], place, bits), args[1],
                       args.size() > 2 ? args[2] : Value(), bits, element);
      });
  IndexExpr width = shape[1] * shape[2] * shape[3];
  return graph.reshape(loc, wide, {shape[0], width});
}

/// Says so where an input has another size than `perRow` in each row, as far as
/// sizes are known; others are checked when the program runs.
static LogicalResult checkRows(Node &node, unsigned i, const IndexExpr &rows,
                               int64_t perRow, StringRef what) {
  auto count = node.in(i).staticCount(), known = rows.constant();
  if (!count || !known || *count == *known * perRow)
    return success();
  return node.error() << "expected " << *known * perRow << " " << what
                      << ", but got " << *count;
}

/// Zero points as f32 [rows, blocks]: they are packed as the numbers are, each
/// row from a byte on, or of the scales' type.
static FailureOr<Tensor> zerosOf(Node &node, unsigned i, const IndexExpr &rows,
                                 int64_t blocks, int64_t bits) {
  Graph &graph = node.graph;
  Tensor &given = node.in(i);
  Location loc = node.loc();
  Type f32 = graph.b.getF32Type();
  bool isReal = isFloat(given.elementType);
  int64_t perRow = isReal ? blocks : (blocks * bits + 7) / 8;
  if (failed(checkRows(node, i, rows, perRow,
                       isReal ? "zero points" : "bytes of zero points")))
    return failure();
  if (isReal) {
    Tensor wide = graph.reshape(loc, given, {rows, IndexExpr(blocks)});
    wide = graph.cast(loc, wide, f32);
    graph.materialize(loc, wide);
    return wide;
  }
  if (!signlessOf(given.elementType).isInteger(8))
    return node.error() << "no lowering of zero points of type "
                        << given.elementType;
  Tensor packed = graph.reshape(loc, given, {rows, IndexExpr(perRow)});
  Value all = graph.materialize(loc, packed);
  return graph.parallel(
      loc, {}, {}, {rows, IndexExpr(blocks)}, f32,
      [&](OpBuilder &b, Location l, ValueRange) {
        Value row = linalg::IndexOp::create(b, l, 0),
              block = linalg::IndexOp::create(b, l, 1);
        Value perByte = arith::ConstantIndexOp::create(b, l, 8 / bits);
        Value byte = arith::DivUIOp::create(b, l, block, perByte),
              place = arith::RemUIOp::create(b, l, block, perByte);
        Value packedByte =
            tensor::ExtractOp::create(b, l, all, ValueRange{row, byte});
        return numberIn(b, l, packedByte, place, bits);
      });
}

/// The node's bytes, scales and zero points: inputs of these numbers.
static FailureOr<PackedBlocks> blocksOf(Node &node, ArrayRef<unsigned> inputs,
                                        int64_t bits, const IndexExpr &rows,
                                        int64_t blocks, int64_t size) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  if (bits != 4 && bits != 8)
    return node.error() << "expected numbers of 4 or 8 bits, but got " << bits;
  if (size < 2 || size % 2 != 0)
    return node.error() << "expected blocks of an even size, but got " << size;
  Tensor &bytes = node.in(inputs[0]), &scales = node.in(inputs[1]);
  if (!signlessOf(bytes.elementType).isInteger(8) ||
      !isFloat(scales.elementType))
    return node.error() << "no lowering of numbers of type "
                        << bytes.elementType << " with scales of type "
                        << scales.elementType;
  if (failed(checkRows(node, inputs[0], rows, blocks * (size * bits / 8),
                       "bytes of weights")) ||
      failed(checkRows(node, inputs[1], rows, blocks, "scales")))
    return failure();
  PackedBlocks packed = {
      bits,
      graph.reshape(loc, bytes,
                    {rows, IndexExpr(blocks), IndexExpr(size * bits / 8)}),
      graph.reshape(loc, scales, {rows, IndexExpr(blocks)}), std::nullopt};
  if (!node.has(inputs[2]))
    return packed;
  FailureOr<Tensor> zeros = zerosOf(node, inputs[2], rows, blocks, bits);
  if (failed(zeros))
    return failure();
  packed.zeros = *zeros;
  return packed;
}

/// A divisor of `rows` with about kWidened numbers in so many rows.
static int64_t rowsAtOnce(int64_t rows, int64_t width) {
  int64_t most = std::max<int64_t>(kWidened / std::max<int64_t>(width, 1), 1);
  for (int64_t count = std::min(rows, most); 2 * count > most; --count)
    if (rows % count == 0)
      return count;
  return rows;
}

/// [1, M, K] with columns in the order of weights by place: zeros complete the
/// last block.
static Tensor byPlace(Graph &graph, Location loc, Tensor a,
                      const PackedBlocks &weights) {
  IndexExpr blocks = weights.bytes.shape[1], bytes = weights.bytes.shape[2],
            places(8 / weights.bits);
  IndexExpr missing = blocks * bytes * places - a.shape[2];
  if (!missing.is(0)) {
    Tensor zeros = graph.splat(graph.b.getZeroAttr(a.elementType),
                               {a.shape[0], a.shape[1], missing});
    a = graph.concat(loc, {&a, &zeros}, 2);
  }
  if (places.is(1))
    return a;
  Tensor apart = graph.reshape(loc, a, {a.shape[1], blocks, bytes, places});
  apart = graph.transpose(loc, apart, {0, 1, 3, 2});
  return graph.reshape(loc, apart,
                       {IndexExpr(1), a.shape[1], blocks * bytes * places});
}

/// [1, M, K] in the order by place times packed [N, K], transposed: [1, M, N].
/// Some rows of weights are widened at a time, into memory that the next ones
/// use again.
static Tensor multiplyMany(Graph &graph, Location loc, Tensor a,
                           const PackedBlocks &weights, int64_t rows) {
  OpBuilder &b = graph.b;
  IndexExpr k = a.shape[2];
  auto columns = [&](const PackedBlocks &some, int64_t count) {
    Tensor wide =
        some.widen(graph, loc, a.elementType, PackedBlocks::Order::ByPlace);
    wide = graph.reshape(loc, wide, {IndexExpr(1), IndexExpr(count), k});
    Shape shape = {IndexExpr(1), k, IndexExpr(count)};
    Value view =
        TransposeViewOp::create(b, loc, graph.typeOf(shape, a.elementType),
                                wide.value, b.getDenseI64ArrayAttr({0, 2, 1}));
    Tensor right = graph.wrap(view, shape);
    return graph.contract(loc, a, right);
  };
  int64_t count = rowsAtOnce(rows, *k.constant());
  if (count == rows)
    return columns(weights, rows);
  Shape shape = {IndexExpr(1), a.shape[1], IndexExpr(rows)};
  Value out = graph.empty(loc, shape, a.elementType);
  auto index = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  graph.materialize(loc, a);
  auto loop = scf::ForOp::create(b, loc, index(0), index(rows), index(count),
                                 ValueRange{out});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  IndexExpr first = graph.ix.symbol(loop.getInductionVar(), 0);
  Tensor part =
      columns(weights.rowsFrom(graph, loc, first, IndexExpr(count)), count);
  SmallVector<OpFoldResult> offsets(3, b.getIndexAttr(0)),
      strides(3, b.getIndexAttr(1));
  offsets[2] = loop.getInductionVar();
  Value next = tensor::InsertSliceOp::create(
      b, loc, part.value, loop.getRegionIterArg(0), offsets,
      graph.ix.fold(loc, part.shape), strides);
  scf::YieldOp::create(b, loc, next);
  return graph.wrap(loop.getResult(0), shape);
}

/// One of two tensors of a shape, as the run decides.
static Tensor choose(Graph &graph, Location loc, const IndexExpr &condition,
                     ArrayRef<IndexExpr> shape, Type element,
                     function_ref<Tensor()> yes, function_ref<Tensor()> no) {
  OpBuilder &b = graph.b;
  RankedTensorType type = graph.typeOf(shape, element);
  auto choice =
      scf::IfOp::create(b, loc, type, graph.ix.condition(loc, condition),
                        /*withElseRegion=*/true);
  for (auto [block, make] : {std::pair(choice.thenBlock(), yes),
                             std::pair(choice.elseBlock(), no)}) {
    Graph::Scope scope(graph);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(block);
    Tensor made = make();
    scf::YieldOp::create(b, loc,
                         b.createOrFold<tensor::CastOp>(
                             loc, type, graph.materialize(loc, made)));
  }
  return graph.wrap(choice.getResult(0), shape);
}

/// How many neighbouring bytes of a block become a vector each, as sums do; 1
/// where there are no such.
static int64_t lanesOf(const PackedBlocks &weights) {
  int64_t bytes = *weights.bytes.shape[2].constant();
  for (int64_t lanes : {32, 16, 8})
    if (bytes % lanes == 0)
      return lanes;
  return 1;
}

/// Sums [N, G, S, lanes], in f32, of rows of `a`, [G, blocks, places, parts, S,
/// lanes], and rows of weights, [N, blocks, parts, lanes], which are widened in
/// registers. S sums are computed at a time, for one would wait for each of its
/// terms: those of S rows. Or, with S in the weights, [N, blocks / S, S, parts,
/// lanes], and `a` [G, blocks / S, S, places, parts, lanes], of one in S
/// blocks.
static Value sumsByLane(Graph &graph, Location loc, Tensor a, Tensor bytes,
                        PackedBlocks weights) {
  OpBuilder &b = graph.b;
  SmallVector<Value> inputs = {graph.materialize(loc, a),
                               graph.materialize(loc, bytes),
                               graph.materialize(loc, weights.scales)};
  // Loops: row of weights, group, block, place, part, which of the sums, lane.
  auto map = [&](ArrayRef<unsigned> dims) {
    return AffineMap::getMultiDimMapWithTargets(7, dims, b.getContext());
  };
  bool ofBlocks = bytes.rank() == 5;
  AffineMap perBlock = ofBlocks ? map({0, 2, 5}) : map({0, 2});
  SmallVector<AffineMap> maps = {
      ofBlocks ? map({1, 2, 5, 3, 4, 6}) : map({1, 2, 3, 4, 5, 6}),
      ofBlocks ? map({0, 2, 5, 4, 6}) : map({0, 2, 4, 6}), perBlock};
  if (weights.zeros) {
    inputs.push_back(graph.materialize(loc, *weights.zeros));
    maps.push_back(perBlock);
  }
  maps.push_back(map({0, 1, 5, 6}));
  using utils::IteratorType;
  SmallVector<IteratorType> loops(7, IteratorType::parallel);
  loops[2] = loops[3] = loops[4] = IteratorType::reduction;
  Type f32 = b.getF32Type();
  IndexExpr atOnce = ofBlocks ? bytes.shape[2] : a.shape[4];
  Value zero = graph.filled(
      loc, {bytes.shape[0], a.shape[0], atOnce, bytes.shape.back()},
      b.getZeroAttr(f32));
  auto sums = linalg::GenericOp::create(
      b, loc, zero.getType(), inputs, zero, maps, loops,
      [&](OpBuilder &inner, Location l, ValueRange args) {
        Value place = linalg::IndexOp::create(inner, l, 3);
        Value weight = widened(
            inner, l, numberIn(inner, l, args[1], place, weights.bits), args[2],
            args.size() > 4 ? args[3] : Value(), weights.bits, f32);
        Value x = castScalar(inner, l, args[0], f32);
        Value term = arith::MulFOp::create(inner, l, x, weight, kAnyOrder);
        Value sum =
            arith::AddFOp::create(inner, l, args.back(), term, kAnyOrder);
        linalg::YieldOp::create(inner, l, sum);
      });
  return sums.getResult(0);
}

/// [1, M, K] in the order by place times packed [N, K], transposed: [1, M, N].
/// No weight goes to memory, and `atOnce` rows read each once.
static Tensor multiplyFew(Node &node, Tensor a, PackedBlocks weights,
                          int64_t atOnce) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  IndexExpr few = a.shape[1], rows = weights.bytes.shape[0],
            blocks = weights.bytes.shape[1], places(8 / weights.bits),
            lanes(lanesOf(weights)), group(atOnce),
            parts(*weights.bytes.shape[2].constant() / lanesOf(weights));
  IndexExpr groups = graph.ix.floorDiv(loc, few + (atOnce - 1), group);
  if (IndexExpr missing = groups * group - few; !missing.is(0)) {
    Tensor zeros = graph.splat(graph.b.getZeroAttr(a.elementType),
                               {IndexExpr(1), missing, a.shape[2]});
    a = graph.concat(loc, {&a, &zeros}, 1);
  }
  Tensor bytes = weights.bytes;
  IndexExpr atATime = group;
  if (atOnce == 1) {
    atATime = IndexExpr(std::gcd(*blocks.constant(), kSumsAtOnce));
    blocks = IndexExpr(*blocks.constant() / *atATime.constant());
    a = graph.reshape(loc, a, {groups, blocks, atATime, places, parts, lanes});
    bytes = graph.reshape(loc, bytes, {rows, blocks, atATime, parts, lanes});
    weights.scales =
        graph.reshape(loc, weights.scales, {rows, blocks, atATime});
    if (weights.zeros)
      weights.zeros =
          graph.reshape(loc, *weights.zeros, {rows, blocks, atATime});
  } else {
    a = graph.reshape(loc, a, {groups, group, blocks, places, parts, lanes});
    a = graph.transpose(loc, a, {0, 2, 3, 4, 1, 5});
    bytes = graph.reshape(loc, bytes, {rows, blocks, parts, lanes});
  }
  Tensor sums = graph.wrap(sumsByLane(graph, loc, a, bytes, weights),
                           {rows, groups, atATime, lanes});
  Tensor out =
      reduce(node, sums, {false, false, atOnce == 1, true}, Reduce::Sum);
  out = graph.reshape(loc, out, {rows, groups * group});
  out = graph.transpose(loc, out, {1, 0});
  out = graph.cast(loc, out, a.elementType);
  out = graph.reshape(loc, out, {IndexExpr(1), groups * group, rows});
  return graph.slice(loc, out, Shape(3, IndexExpr(0)),
                     {IndexExpr(1), few, rows}, Shape(3, IndexExpr(1)));
}

/// Upstream folds such into a constant of its type, which may have no sign
/// where a generic op has it for an operand.
static bool isOneNumber(const Tensor &tensor) {
  auto constant = dyn_cast_or_null<DenseElementsAttr>(tensor.constant);
  return tensor.splat || (constant && constant.isSplat()) ||
         (tensor.elements && llvm::all_equal(*tensor.elements));
}

/// [1, M, K] times packed [N, K], transposed: [1, M, N].
static Tensor multiplyPacked(Node &node, Tensor a, PackedBlocks weights,
                             int64_t rows) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  a = byPlace(graph, loc, a, weights);
  if (isOneNumber(node.in(1)) || lanesOf(weights) == 1)
    return multiplyMany(graph, loc, a, weights, rows);
  // For both, before the run decides.
  graph.materialize(loc, a);
  for (Tensor *operand : {&weights.bytes, &weights.scales})
    graph.materialize(loc, *operand);
  Shape shape = {IndexExpr(1), a.shape[1], IndexExpr(rows)};
  auto atMost = [&](int64_t most, function_ref<Tensor()> yes,
                    function_ref<Tensor()> no) {
    IndexExpr is = graph.ix.compare(loc, Compare::Le, a.shape[1], most);
    if (is.constant())
      return is.is(0) ? no() : yes();
    return choose(graph, loc, is, shape, a.elementType, yes, no);
  };
  auto one = [&] { return multiplyFew(node, a, weights, 1); };
  auto few = [&] { return multiplyFew(node, a, weights, kSumsAtOnce); };
  auto many = [&] { return multiplyMany(graph, loc, a, weights, rows); };
  return atMost(1, one, [&] { return atMost(kFewRows, few, many); });
}

static LogicalResult lowerMatMulNBits(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  int64_t k = node.integer("K", 0), n = node.integer("N", 0);
  int64_t size = node.integer("block_size", 0), bits = node.integer("bits", 4);
  Tensor a = node.in(0);
  if (k < 1 || n < 1 || size < 1)
    return node.error() << "expected K, N and block_size of at least 1";
  if (node.has(4) || node.integer("weight_prepacked", 0))
    return node.error() << "no lowering of weights in another order";
  if (a.rank() < 1 || !isFloat(a.elementType))
    return node.error() << "expected rows of numbers";
  Shape outer(ArrayRef(a.shape).drop_back());
  a = graph.reshape(loc, a, {IndexExpr(1), product(outer), IndexExpr(k)});
  FailureOr<PackedBlocks> weights = blocksOf(
      node, {1, 2, 3}, bits, IndexExpr(n), (k + size - 1) / size, size);
  if (failed(weights))
    return failure();
  if (node.has(5)) {
    Tensor &bias = node.in(5);
    if (bias.rank() != 1 || bias.elementType != a.elementType)
      return node.error() << "expected a bias of rank 1 and element type "
                          << a.elementType;
    if (failed(node.requireEqual(bias.shape[0], IndexExpr(n), "bias and N")))
      return failure();
  }
  Tensor product = multiplyPacked(node, a, *weights, n);
  outer.push_back(IndexExpr(n));
  product = graph.reshape(loc, product, outer);
  if (node.has(5))
    product = graph.map(loc, {&product, &node.in(5)}, outer, a.elementType,
                        [](OpBuilder &b, Location l, ValueRange args) -> Value {
                          return arith::AddFOp::create(b, l, args[0], args[1]);
                        });
  node.set(0, product);
  return success();
}

/// Rows of packed blocks, wide.
static LogicalResult lowerDequantizeBlocks(Node &node) {
  Graph &graph = node.graph;
  Location loc = node.loc();
  Tensor &bytes = node.in(0), &scales = node.in(1);
  int64_t bits = node.integer("bits", 4), size = node.integer("block_size", 0);
  auto blocks = scales.rank() ? scales.shape.back().constant() : std::nullopt;
  if (!blocks || bytes.rank() != scales.rank())
    return node.error() << "expected a known number of blocks in each row";
  Shape shape(ArrayRef(scales.shape).drop_back());
  FailureOr<PackedBlocks> packed =
      blocksOf(node, {0, 1, 2}, bits, product(shape), *blocks, size);
  if (failed(packed))
    return failure();
  Tensor wide =
      packed->widen(graph, loc, scales.elementType, PackedBlocks::Order::Own);
  shape.push_back(IndexExpr(*blocks * size));
  node.set(0, graph.reshape(loc, wide, shape));
  return success();
}

void mlir::megactx::registerPackedProducts(Registry &registry) {
  registry["com.microsoft.MatMulNBits"] = lowerMatMulNBits;
  registry["ai.megactx.DequantizeBlocks"] = lowerDequantizeBlocks;
}
