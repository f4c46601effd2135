//===- Rotations.cpp - halves of rows that turn with each other -----------===//
//
// A half of a value is followed back through what only moves elements (slices,
// concatenations, transpositions) and what maps them one by one, each element's
// place being a list of affine expressions of the loops. What is left are reads
// of tensors in memory. Where both halves read one tensor at both of its
// halves, they turn with each other, and one op reads it once for both.
//
//===----------------------------------------------------------------------===//

#include "Rotations.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace mlir::megactx;

using Place = SmallVector<AffineExpr>;

/// Ops that one expression follows, at most.
static constexpr size_t kMostOps = 64;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// A linalg.generic that maps elements, each of its result from one of each
/// operand. Null for other ops.
static linalg::GenericOp mapOf(Operation *op) {
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  if (!generic || generic.getNumResults() != 1 ||
      generic.getNumLoops() != generic.getNumParallelLoops() ||
      !generic.hasPureTensorSemantics() || generic.hasIndexSemantics() ||
      generic.payloadUsesValueFromOperand(generic.getDpsInitOperand(0)) ||
      !generic.getMatchingIndexingMap(generic.getDpsInitOperand(0))
           .isIdentity())
    return {};
  bool reads = false; // from tensors at places of its own
  generic.getBody()->walk([&](Operation *inner) {
    reads |= inner->getNumRegions() || !isPure(inner) ||
             isa<tensor::ExtractOp>(inner);
  });
  return reads ? linalg::GenericOp() : generic;
}

static bool onlyMoves(Operation *op) {
  if (isa<tensor::ExtractSliceOp, tensor::InsertSliceOp>(op))
    return true;
  auto generic = dyn_cast<linalg::GenericOp>(op);
  return generic &&
         isa<BlockArgument>(generic.getBody()->getTerminator()->getOperand(0));
}

namespace {
/// Where a loop reads a tensor.
using Read = std::pair<Value, AffineMap>;

/// One value as an expression of reads, half by half.
class Rotation {
public:
  explicit Rotation(Value value)
      : root(value), rank(typeOf(value).getRank()),
        half(typeOf(value).getDimSize(rank - 1) / 2) {}

  /// Finds the reads. False where the value is no rotation; `why` says what
  /// keeps it from being one where it looks like one.
  bool find(std::string &why);
  Value emit(RewriterBase &rewriter);
  int64_t numOps() const { return inlined.size(); }

private:
  Place placeOf(int64_t part);
  Value follow(Value value, const Place &at, OpBuilder *b);
  Value step(Value value, const Place &at, OpBuilder *b);
  Value read(Value value, const Place &at, OpBuilder *b);
  Value evaluate(linalg::GenericOp op, const Place &at, OpBuilder *b);
  std::optional<std::pair<Value, Place>> source(Value value, const Place &at);
  std::optional<std::pair<Value, Place>> joined(tensor::InsertSliceOp op,
                                                const Place &at);
  bool isCheap(linalg::GenericOp op, const Place &at);
  bool isOwn(Operation *op, DenseMap<Operation *, bool> &own);
  bool turns();
  Read sliced(ImplicitLocOpBuilder &b, const Read &read,
              ArrayRef<OpFoldResult> sizes);

  Value root;
  int64_t rank, half;
  SetVector<Operation *> inlined;
  DenseSet<Operation *> kept; ///< computed once for others, too: read
  SetVector<Read> reads[2], all;
  DenseMap<Read, Value> known; ///< elements already followed
  unsigned part = 0;           ///< the half at hand
  ValueRange elements;
};
} // namespace

/// The place in the root of the loops' point (.., part, k).
Place Rotation::placeOf(int64_t part) {
  MLIRContext *context = root.getContext();
  Place at;
  for (int64_t i = 0; i + 1 < rank; ++i)
    at.push_back(getAffineDimExpr(i, context));
  at.push_back(getAffineDimExpr(rank, context) + part * half);
  return at;
}

/// What a place's column is beyond the innermost loop's index: k + offset.
static std::optional<int64_t> columnOffset(AffineExpr expr, unsigned loop) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dim.getPosition() == loop ? std::optional<int64_t>(0) : std::nullopt;
  auto sum = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!sum || sum.getKind() != AffineExprKind::Add)
    return std::nullopt;
  auto dim = dyn_cast<AffineDimExpr>(sum.getLHS());
  auto offset = dyn_cast<AffineConstantExpr>(sum.getRHS());
  if (!dim || dim.getPosition() != loop || !offset)
    return std::nullopt;
  return offset.getValue();
}

/// Of a tensor that others are written into, the one that holds the place.
std::optional<std::pair<Value, Place>>
Rotation::joined(tensor::InsertSliceOp op, const Place &at) {
  if (at.empty())
    return std::nullopt;
  std::optional<int64_t> column = columnOffset(at.back(), rank);
  RankedTensorType source = op.getSourceType(), whole = op.getDestType();
  if (!column || source.getRank() != whole.getRank() || !op.hasUnitStride())
    return std::nullopt;
  int64_t last = whole.getRank() - 1;
  int64_t offset = op.getStaticOffsets()[last], size = source.getDimSize(last);
  if (ShapedType::isDynamic(offset) || ShapedType::isDynamic(size))
    return std::nullopt;
  Value rest = op.getDest();
  while (auto before = rest.getDefiningOp<tensor::InsertSliceOp>())
    rest = before.getDest();
  auto empty = rest.getDefiningOp<tensor::EmptyOp>();
  if (!empty)
    return std::nullopt;
  // All of the other dims.
  SmallVector<OpFoldResult> sizes = empty.getMixedSizes(),
                            offsets = op.getMixedOffsets(),
                            parts = op.getMixedSizes();
  for (int64_t i = 0; i < last; ++i)
    if (!isZeroInteger(offsets[i]) ||
        !isEqualConstantIntOrValue(parts[i], sizes[i]))
      return std::nullopt;
  if (*column >= offset && *column + half <= offset + size) {
    Place inside(at);
    inside.back() = getAffineDimExpr(rank, op.getContext()) + *column - offset;
    return std::make_pair(Value(op.getSource()), inside);
  }
  if (*column + half <= offset || *column >= offset + size)
    return std::make_pair(Value(op.getDest()), at);
  return std::nullopt;
}

/// Whether each index is a loop's, a constant, or the sum of both, once.
static bool isPlain(const Place &at) {
  return llvm::all_of(at, [](AffineExpr expr) {
    auto sum = dyn_cast<AffineBinaryOpExpr>(expr);
    return isa<AffineDimExpr, AffineConstantExpr>(expr) ||
           (sum && sum.getKind() == AffineExprKind::Add &&
            isa<AffineDimExpr>(sum.getLHS()) &&
            isa<AffineConstantExpr>(sum.getRHS()));
  });
}

static Place inputPlace(linalg::GenericOp op, OpOperand *input,
                        const Place &at) {
  Place inside;
  for (AffineExpr expr : op.getMatchingIndexingMap(input).getResults())
    inside.push_back(expr.replaceDims(at));
  return inside;
}

/// Where the element at a place comes from, one op before.
std::optional<std::pair<Value, Place>> Rotation::source(Value value,
                                                        const Place &at) {
  Operation *op = value.getDefiningOp();
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    return joined(insert, at);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    if (slice.getType().getRank() != slice.getSourceType().getRank() ||
        !slice.hasUnitStride())
      return std::nullopt;
    Place inside(at);
    for (auto [expr, offset] : llvm::zip(inside, slice.getStaticOffsets())) {
      if (ShapedType::isDynamic(offset))
        return std::nullopt;
      expr = expr + offset;
    }
    return std::make_pair(Value(slice.getSource()), inside);
  }
  auto move = cast<linalg::GenericOp>(op);
  auto yielded =
      cast<BlockArgument>(move.getBody()->getTerminator()->getOperand(0));
  OpOperand *input = move.getDpsInputOperand(yielded.getArgNumber());
  return std::make_pair(input->get(), inputPlace(move, input, at));
}

/// Whether to compute at every point what an op computes: arithmetic alone, and
/// no more often than the op does, which heads that share it would.
bool Rotation::isCheap(linalg::GenericOp op, const Place &at) {
  for (int64_t i = 0; i < rank; ++i) {
    unsigned loop = i + 1 < rank ? i : rank;
    bool varies = llvm::any_of(
        at, [&](AffineExpr expr) { return expr.isFunctionOfDim(loop); });
    if (!varies && typeOf(root).getDimSize(i) != 1)
      return false;
  }
  return llvm::all_of(op.getDpsInputOperands(),
                      [&](OpOperand *input) {
                        return isPlain(inputPlace(op, input, at));
                      }) &&
         llvm::all_of(op.getBody()->without_terminator(), [](Operation &inner) {
           return isa<arith::ArithDialect>(inner.getDialect());
         });
}

/// The element of a value at a place. Without a builder, only notes what is
/// read and which ops are followed.
Value Rotation::follow(Value value, const Place &at, OpBuilder *b) {
  Read here(value, AffineMap::get(rank + 1, 0, at, root.getContext()));
  auto [it, isNew] = known.try_emplace(here);
  if (!isNew)
    return it->second;
  Value element = step(value, at, b);
  return known[here] = element;
}

Value Rotation::step(Value value, const Place &at, OpBuilder *b) {
  Operation *op = value.getDefiningOp();
  bool isStep =
      isa_and_nonnull<tensor::InsertSliceOp, tensor::ExtractSliceOp>(op);
  linalg::GenericOp map = mapOf(op);
  if ((!isStep && !map) || kept.contains(op) ||
      op->getBlock() != root.getParentBlock())
    return read(value, at, b);
  bool mayFollow = !b && inlined.size() < kMostOps;
  if (!mayFollow && !inlined.contains(op))
    return read(value, at, b);
  if (!onlyMoves(op)) {
    if (!isCheap(map, at))
      return read(value, at, b);
    inlined.insert(op);
    return evaluate(map, at, b);
  }
  auto from = source(value, at);
  if (!from || !isPlain(from->second))
    return read(value, at, b);
  inlined.insert(op);
  return follow(from->first, from->second, b);
}

Value Rotation::read(Value value, const Place &at, OpBuilder *b) {
  Read here(value, AffineMap::get(rank + 1, 0, at, root.getContext()));
  if (b)
    return elements[llvm::find(all, here) - all.begin()];
  reads[part].insert(here);
  all.insert(here);
  return {};
}

Value Rotation::evaluate(linalg::GenericOp op, const Place &at, OpBuilder *b) {
  IRMapping values;
  for (OpOperand *input : op.getDpsInputOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(input);
    if (argument.use_empty())
      continue;
    Value element = follow(input->get(), inputPlace(op, input, at), b);
    if (b)
      values.map(argument, element);
  }
  if (!b)
    return {};
  for (Operation &inner : op.getBody()->without_terminator())
    b->clone(inner, values);
  return values.lookupOrDefault(op.getBody()->getTerminator()->getOperand(0));
}

/// Whether an op serves nothing but the root.
bool Rotation::isOwn(Operation *op, DenseMap<Operation *, bool> &own) {
  if (op == root.getDefiningOp())
    return true;
  auto [it, isNew] = own.try_emplace(op, true);
  if (!isNew)
    return it->second;
  bool result = llvm::all_of(op->getUsers(), [&](Operation *user) {
    return inlined.contains(user) && isOwn(user, own);
  });
  return own[op] = result;
}

/// Whether each half reads some tensor at two columns that are half apart.
bool Rotation::turns() {
  // Numbers without dims have no column.
  auto columnOf = [&](const Read &read) -> std::optional<int64_t> {
    if (read.second.getNumResults() == 0)
      return std::nullopt;
    return columnOffset(read.second.getResults().back(), rank);
  };
  return llvm::all_of(reads, [&](const SetVector<Read> &some) {
    return llvm::any_of(some, [&](const Read &low) {
      auto column = columnOf(low);
      return column && llvm::any_of(some, [&](const Read &high) {
               auto other = columnOf(high);
               return other && high.first == low.first &&
                      *other == *column + half &&
                      low.second.getResults().drop_back() ==
                          high.second.getResults().drop_back();
             });
    });
  });
}

bool Rotation::find(std::string &why) {
  bool looksLikeOne = false;
  for (bool again = true; again;) {
    again = false;
    inlined.clear();
    all.clear();
    for (part = 0; part < 2; ++part) {
      reads[part].clear();
      known.clear();
      follow(root, placeOf(part), nullptr);
    }
    looksLikeOne |= turns();
    DenseMap<Operation *, bool> own;
    for (Operation *op : inlined)
      if (!onlyMoves(op) && !isOwn(op, own)) {
        kept.insert(op);
        again = true;
      }
  }
  if (!llvm::any_of(inlined, llvm::IsaPred<tensor::InsertSliceOp>))
    return false;
  if (turns())
    return true;
  // What is mapped from a rotation is none itself.
  if (looksLikeOne && root.getDefiningOp<tensor::InsertSliceOp>())
    why = "what its halves are made of is used elsewhere, too";
  return false;
}

/// The part of a tensor that is read, so that loops have the extents of what
/// they read. `sizes`: extents of the loops.
Read Rotation::sliced(ImplicitLocOpBuilder &b, const Read &read,
                      ArrayRef<OpFoldResult> sizes) {
  auto [value, map] = read;
  SmallVector<OpFoldResult> offsets, parts;
  SmallVector<AffineExpr> places;
  bool isWhole = true;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    AffineExpr place = expr;
    int64_t offset = 0;
    if (auto sum = dyn_cast<AffineBinaryOpExpr>(expr)) {
      place = sum.getLHS();
      offset = cast<AffineConstantExpr>(sum.getRHS()).getValue();
    } else if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
      place = b.getAffineConstantExpr(0);
      offset = constant.getValue();
    }
    auto loop = dyn_cast<AffineDimExpr>(place);
    parts.push_back(loop ? sizes[loop.getPosition()]
                         : OpFoldResult(b.getIndexAttr(1)));
    offsets.push_back(b.getIndexAttr(offset));
    places.push_back(place);
    isWhole &= offset == 0 && !typeOf(value).isDynamicDim(i) &&
               isConstantIntValue(parts.back(), typeOf(value).getDimSize(i));
  }
  SmallVector<OpFoldResult> strides(parts.size(), b.getIndexAttr(1));
  if (!isWhole)
    value = tensor::ExtractSliceOp::create(b, value, offsets, parts, strides);
  return {value, AffineMap::get(rank + 1, 0, places, b.getContext())};
}

Value Rotation::emit(RewriterBase &rewriter) {
  Operation *last = root.getDefiningOp();
  rewriter.setInsertionPoint(last);
  ImplicitLocOpBuilder b(root.getLoc(), rewriter);
  Value shape = root; // whose sizes are known without the root
  while (Operation *op = shape.getDefiningOp()) {
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
      shape = insert.getDest();
    else if (auto map = mapOf(op))
      shape = map.getDpsInits()[0];
    else
      break;
  }
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), shape);
  sizes.back() = b.getIndexAttr(2);
  sizes.push_back(b.getIndexAttr(half));
  Value empty =
      tensor::EmptyOp::create(b, sizes, typeOf(root).getElementType());
  SmallVector<Value> sources;
  SmallVector<AffineMap> maps;
  for (const Read &read : all) {
    auto [value, map] = sliced(b, read, sizes);
    sources.push_back(value);
    maps.push_back(map);
  }
  maps.push_back(b.getMultiDimIdentityMap(rank + 1));
  SmallVector<utils::IteratorType> loops(rank + 1,
                                         utils::IteratorType::parallel);
  auto turned = linalg::GenericOp::create(
      b, empty.getType(), sources, empty, maps, loops,
      [&](OpBuilder &nested, Location loc, ValueRange arguments) {
        elements = arguments.drop_back();
        known.clear();
        Value halves[2];
        for (part = 0; part < 2; ++part)
          halves[part] = follow(root, placeOf(part), &nested);
        Value which = linalg::IndexOp::create(nested, loc, rank - 1);
        Value zero = arith::ConstantIndexOp::create(nested, loc, 0);
        Value isFirst = arith::CmpIOp::create(
            nested, loc, arith::CmpIPredicate::eq, which, zero);
        Value element =
            arith::SelectOp::create(nested, loc, isFirst, halves[0], halves[1]);
        linalg::YieldOp::create(nested, loc, element);
      });
  SmallVector<ReassociationIndices> groups;
  for (int64_t i = 0; i + 1 < rank; ++i)
    groups.push_back({i});
  groups.push_back({rank - 1, rank});
  return tensor::CollapseShapeOp::create(b, typeOf(root), turned.getResult(0),
                                         groups);
}

static bool canTurn(Operation *op) {
  if (!isa<tensor::InsertSliceOp>(op) && !mapOf(op))
    return false;
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  int64_t rank = type.getRank();
  return rank >= 2 && !type.isDynamicDim(rank - 1) &&
         type.getDimSize(rank - 1) >= 2 && type.getDimSize(rank - 1) % 2 == 0 &&
         isa<FloatType>(type.getElementType());
}

void mlir::megactx::fuseRotations(Block &block, RewriterBase &rewriter,
                                  const RotationReport &report) {
  // Backwards, so that what follows a concatenation takes it along.
  for (Operation *op = block.empty() ? nullptr : &block.back(); op;) {
    Operation *before = op->getPrevNode();
    if (!op->use_empty() && canTurn(op)) {
      std::string why;
      Rotation rotation(op->getResult(0));
      if (rotation.find(why)) {
        report.fused(op->getLoc(), typeOf(op->getResult(0)), rotation.numOps());
        rewriter.replaceOp(op, rotation.emit(rewriter));
      } else if (!why.empty()) {
        report.missed(op->getLoc(), why);
      }
    } else if (isOpTriviallyDead(op)) {
      rewriter.eraseOp(op);
    }
    op = before;
  }
}
