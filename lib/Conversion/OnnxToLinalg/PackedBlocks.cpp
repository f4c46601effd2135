//===- PackedBlocks.cpp - numbers of few bits in blocks -------------------===//

#include "PackedBlocks.h"
#include "Quantize.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/SwapByteOrder.h"

using namespace mlir;
using namespace mlir::megactx;

Value mlir::megactx::numberIn(OpBuilder &b, Location loc, Value packed,
                              Value place, int64_t bits) {
  // Few machines shift vectors of bytes.
  Type i32 = b.getI32Type();
  Value wide = packed;
  unsigned width = packed.getType().getIntOrFloatBitWidth();
  if (width < 32)
    wide = arith::ExtUIOp::create(b, loc, i32,
                                  bitsAs(b, loc, packed, b.getI8Type()));
  if (bits < width) {
    Value shift = arith::MulIOp::create(
        b, loc, arith::IndexCastOp::create(b, loc, i32, place),
        arith::ConstantIntOp::create(b, loc, i32, bits));
    wide = arith::AndIOp::create(
        b, loc, arith::ShRUIOp::create(b, loc, wide, shift),
        arith::ConstantIntOp::create(b, loc, i32, (1 << bits) - 1));
  }
  return arith::SIToFPOp::create(b, loc, b.getF32Type(), wide);
}

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
  PackedBlocks rows = {bits, part(bytes), part(scales), {}, {}};
  if (zeros)
    rows.zeros = part(*zeros);
  return rows;
}

Value mlir::megactx::zeroPoint(OpBuilder &b, Location loc, Value zero) {
  if (zero.getType().isF32())
    return zero;
  Value wide = arith::ExtUIOp::create(b, loc, b.getI32Type(), zero);
  return arith::SIToFPOp::create(b, loc, b.getF32Type(), wide);
}

Value mlir::megactx::widened(OpBuilder &b, Location loc, Value number,
                             Value scale, Value zero, int64_t bits,
                             Type element) {
  if (!zero)
    zero =
        arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1 << (bits - 1)));
  number = arith::SubFOp::create(b, loc, number, zeroPoint(b, loc, zero));
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

/// The zero points of a constant, each in a byte: unpacking them takes long
/// where rows are few, and they are few next to the numbers. Nothing where the
/// contents are not at hand.
static std::optional<Tensor> bytesOfZeros(Graph &graph, Location loc,
                                          const Tensor &packed, int64_t rows,
                                          int64_t blocks, int64_t bits) {
  ArrayRef<char> bytes = quantize::bytesOf(packed.constant);
  int64_t perRow = (blocks * bits + 7) / 8;
  if (static_cast<int64_t>(bytes.size()) != rows * perRow)
    return std::nullopt;
  SmallVector<char> points;
  points.reserve(rows * blocks);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t block = 0; block < blocks; ++block) {
      uint8_t byte = bytes[row * perRow + block * bits / 8];
      points.push_back((byte >> (block * bits % 8)) & ((1 << bits) - 1));
    }
  auto type = RankedTensorType::get({rows, blocks}, graph.b.getI8Type());
  auto constant = DenseResourceElementsAttr::get(
      type, "zero_points",
      HeapAsmResourceBlob::allocateAndCopyInferAlign(ArrayRef(points)));
  return graph.wrap(loc, arith::ConstantOp::create(graph.b, loc, constant));
}

/// Zero points [rows, blocks]: they are packed as the numbers are, each row
/// from a byte on, or of the scales' type.
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
  if (auto count = rows.constant())
    if (auto points = bytesOfZeros(graph, loc, given, *count, blocks, bits))
      return *points;
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

/// A constant's bytes as words, the first one lowest; nothing where a block is
/// no whole words, or the contents are not in memory.
static std::optional<Tensor> wordsOf(Graph &graph, Location loc,
                                     const Tensor &bytes, int64_t rows,
                                     int64_t blocks, int64_t perBlock) {
  auto stored = dyn_cast_or_null<DenseResourceElementsAttr>(bytes.constant);
  if (!stored || perBlock % 4 != 0 || llvm::sys::IsBigEndianHost)
    return std::nullopt;
  auto type =
      RankedTensorType::get({rows, blocks, perBlock / 4}, graph.b.getI32Type());
  auto words = DenseResourceElementsAttr::get(type, stored.getRawHandle());
  return graph.wrap(loc, arith::ConstantOp::create(graph.b, loc, words));
}

FailureOr<PackedBlocks>
mlir::megactx::blocksOf(Node &node, ArrayRef<unsigned> inputs, int64_t bits,
                        const IndexExpr &rows, int64_t blocks, int64_t size) {
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
      graph.reshape(loc, scales, {rows, IndexExpr(blocks)}),
      {},
      {}};
  if (auto count = rows.constant())
    packed.words = wordsOf(graph, loc, bytes, *count, blocks, size * bits / 8);
  if (!node.has(inputs[2]))
    return packed;
  FailureOr<Tensor> zeros = zerosOf(node, inputs[2], rows, blocks, bits);
  if (failed(zeros))
    return failure();
  packed.zeros = *zeros;
  return packed;
}
