//===- RaiseCachedAttention.cpp - caches of a length per batch entry ------===//

#include "BlockLayouts.h"
#include "CacheRows.h"
#include "Heads.h"
#include "Nodes.h"
#include "Operands.h"
#include "RaiseAttention.h"
#include "Remarks.h"
#include "Sinks.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <cmath>

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::raise;

namespace {
/// The node's operands by number.
enum {
  kPastKey = 3,
  kPastValue,
  kStarts,
  kLengths,
  kTotal,
  kBias,
  kSink,
  kBlockRows,
  kBlockColumns,
  kFirst,
  kCapacity
};

class CachedRaiser {
public:
  CachedRaiser(Operation *op, MaskCounts &counts, bool inPlace)
      : op(op), b(op->getLoc(), op), counts(counts), inPlace(inPlace) {}

  std::string run();

private:
  std::string check();
  RankedTensorType typeAt(unsigned i) const {
    return cast<RankedTensorType>(op->getOperand(i).getType());
  }
  Value indices(unsigned i);
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  std::string readPattern();
  void requireTokens();
  void requireLengths();
  Value withPast(unsigned past, Value rows, Value first, Value count);
  std::optional<unsigned> resultOf(unsigned past) const;
  void noteUpdates();
  Value updated(Value cache, Value rows);
  Value cacheOf(unsigned past, Value rows);
  Value presentOf(unsigned past, Value rows, Value cache);
  SmallVector<Value> biasesOf(Value query, Value key,
                              pattern::Pattern &pattern);
  void build();

  Operation *op;
  ImplicitLocOpBuilder b;
  MaskCounts &counts;
  bool inPlace;        ///< whether caches are written where they are
  Value starts, total; ///< [B] of index; an index
  float scale = 0;
  pattern::Pattern own = pattern::Pattern(); ///< what the operator says
  std::optional<BlockLayouts> blocks;
};
} // namespace

std::string CachedRaiser::check() {
  if (op->getNumOperands() <= kTotal)
    return "it has too few operands";
  for (unsigned i : {0, 1, 2})
    if (rankOf(op->getOperand(i)) != 3)
      return "its operands have no known rank 3";
  Type element = typeAt(0).getElementType();
  for (unsigned i : {0, 1, 2, int(kPastKey), int(kPastValue)})
    if (hasOperand(op, i) &&
        (rankOf(op->getOperand(i)) < 0 ||
         typeAt(i).getElementType() != element ||
         (!element.isF32() && !element.isF16() && !element.isBF16())))
      return "its element types are not all f32, f16 or bf16";
  for (StringRef attr : {"num_heads", "kv_num_heads"})
    if (integerAttr(op, attr, 0) <= 0)
      return "it has no " + attr.str();
  for (unsigned i : {kPastKey, kPastValue})
    if (hasOperand(op, kPastKey) != hasOperand(op, i) ||
        (hasOperand(op, i) && rankOf(op->getOperand(i)) != 4))
      return "its cache has no known rank 4";
  for (unsigned i : {kStarts, kLengths, kTotal, kFirst, kCapacity})
    if ((i <= kTotal || hasOperand(op, i)) &&
        (rankOf(op->getOperand(i)) != 1 ||
         !typeAt(i).getElementType().isInteger(64)))
      return "its lengths are no lists of i64";
  if (hasOperand(op, kFirst) != hasOperand(op, kCapacity) ||
      (hasOperand(op, kFirst) && !hasOperand(op, kPastKey)))
    return "it drops rows of no cache";
  if (hasOperand(op, kBias) && rankOf(op->getOperand(kBias)) != 4)
    return "its bias has no known rank 4";
  if (hasOperand(op, kSink) &&
      (rankOf(op->getOperand(kSink)) != 1 ||
       !isa<FloatType>(typeAt(kSink).getElementType())))
    return "its sinks are no list of numbers";
  return "";
}

Value CachedRaiser::indices(unsigned i) {
  auto type = RankedTensorType::get(typeAt(i).getShape(), b.getIndexType());
  return arith::IndexCastOp::create(b, type, op->getOperand(i));
}

/// `count` rows of the cache with new rows [B, H, N, D] from `starts` on, those
/// from `first` [B] or 0 on: one pass over it.
Value CachedRaiser::withPast(unsigned past, Value rows, Value first,
                             Value count) {
  Value old = op->getOperand(past);
  auto type = cast<RankedTensorType>(rows.getType());
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), rows);
  Value oldRows = tensor::DimOp::create(b, old, 2),
        newRows = tensor::DimOp::create(b, rows, 2);
  sizes[2] = count;
  Value empty = tensor::EmptyOp::create(b, sizes, type.getElementType());
  AffineMap ofBatch = AffineMap::get(4, 0, b.getAffineDimExpr(0));
  SmallVector<Value> ofBatches = {starts};
  if (first)
    ofBatches.push_back(first);
  SmallVector<AffineMap> maps(ofBatches.size(), ofBatch);
  maps.push_back(b.getMultiDimIdentityMap(4));
  SmallVector<utils::IteratorType> loops(4, utils::IteratorType::parallel);
  auto made = linalg::GenericOp::create(
      b, empty.getType(), ofBatches, empty, maps, loops,
      [&](OpBuilder &builder, Location loc, ValueRange args) {
        ImplicitLocOpBuilder in(loc, builder);
        SmallVector<Value> at;
        for (int64_t i = 0; i < 4; ++i)
          at.push_back(linalg::IndexOp::create(in, i));
        if (first)
          at[2] = arith::AddIOp::create(in, at[2], args[1]);
        SmallVector<Value> from(at);
        from[2] = arith::SubIOp::create(in, at[2], args[0]);
        auto less = [&](Value x, Value y) -> Value {
          return arith::CmpIOp::create(in, arith::CmpIPredicate::ult, x, y);
        };
        auto choose = [&](OpBuilder &nested, Value condition,
                          function_ref<Value(OpBuilder &)> yes,
                          function_ref<Value(OpBuilder &)> no) -> Value {
          auto yields = [&](function_ref<Value(OpBuilder &)> value) {
            return [value](OpBuilder &inner, Location l) {
              scf::YieldOp::create(inner, l, value(inner));
            };
          };
          return scf::IfOp::create(nested, loc, condition, yields(yes),
                                   yields(no))
              .getResult(0);
        };
        // Unsigned: rows before the first new one are none of these.
        Value isNew = less(from[2], newRows), isOld = less(at[2], oldRows);
        Value result = choose(
            in, isNew,
            [&](OpBuilder &inner) -> Value {
              return tensor::ExtractOp::create(inner, loc, rows, from);
            },
            [&](OpBuilder &inner) -> Value {
              return choose(
                  inner, isOld,
                  [&](OpBuilder &last) -> Value {
                    return tensor::ExtractOp::create(last, loc, old, at);
                  },
                  [&](OpBuilder &last) -> Value {
                    return arith::ConstantOp::create(
                        last, loc,
                        cast<TypedAttr>(b.getZeroAttr(type.getElementType())));
                  });
            });
        linalg::YieldOp::create(in, result);
      });
  return made.getResult(0);
}

/// The result of `main` that a cache is with the new rows, where it is an
/// argument that nothing else reads.
std::optional<unsigned> CachedRaiser::resultOf(unsigned past) const {
  if (!hasOperand(op, past) || hasOperand(op, kFirst))
    return std::nullopt;
  auto argument = dyn_cast<BlockArgument>(op->getOperand(past));
  auto function = dyn_cast<func::FuncOp>(op->getParentOp());
  Value present = op->getResult(past - kPastKey + 1);
  if (!argument || !function || function.getName() != "main" ||
      !argument.hasOneUse() || !present.hasOneUse() ||
      !isa<func::ReturnOp>(*present.user_begin()))
    return std::nullopt;
  return present.use_begin()->getOperandNumber();
}

/// Decides whether caches are written in place: both or none.
void CachedRaiser::noteUpdates() {
  auto key = resultOf(kPastKey), value = resultOf(kPastValue);
  inPlace = inPlace && key && value;
  if (!inPlace)
    return;
  auto function = cast<func::FuncOp>(op->getParentOp());
  for (auto [past, result] : {std::pair(kPastKey, *key), {kPastValue, *value}})
    function.setResultAttr(
        result, kUpdatesAttr,
        b.getI64IntegerAttr(
            cast<BlockArgument>(op->getOperand(past)).getArgNumber()));
}

/// The cache with the new rows of each entry in it, as far as they are of it.
Value CachedRaiser::updated(Value cache, Value rows) {
  Value room = tensor::DimOp::create(b, cache, 2),
        count = tensor::DimOp::create(b, rows, 2), zero = index(0);
  createCheck(b,
              arith::CmpIOp::create(b, arith::CmpIPredicate::sle, total, room),
              kNoRoom);
  auto loop = scf::ForOp::create(b, zero, tensor::DimOp::create(b, rows, 0),
                                 index(1), cache);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value entry = loop.getInductionVar(), so = loop.getRegionIterArg(0);
  Value start = tensor::ExtractOp::create(b, starts, entry);
  Value from =
      arith::MaxSIOp::create(b, arith::SubIOp::create(b, zero, start), zero);
  from = arith::MinSIOp::create(b, from, count);
  Value at =
      arith::MinSIOp::create(b, arith::MaxSIOp::create(b, start, zero), room);
  Value many = arith::MinSIOp::create(b, arith::SubIOp::create(b, count, from),
                                      arith::SubIOp::create(b, room, at));
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), rows),
                            offsets(4, b.getIndexAttr(0)),
                            ones(4, b.getIndexAttr(1));
  sizes[0] = b.getIndexAttr(1);
  sizes[2] = many;
  offsets[0] = entry;
  offsets[2] = from;
  Value part = tensor::ExtractSliceOp::create(b, rows, offsets, sizes, ones);
  offsets[2] = at;
  Value next = tensor::InsertSliceOp::create(b, part, so, offsets, sizes, ones);
  scf::YieldOp::create(b, next);
  return loop.getResult(0);
}

/// All rows that there are: the past ones and the new ones.
Value CachedRaiser::cacheOf(unsigned past, Value rows) {
  if (!hasOperand(op, past))
    return rows;
  Value old = op->getOperand(past);
  requireSizes(b, old, rows, /*axis=*/2,
               "the cache's batch, heads or head dim are not those of the new "
               "rows");
  if (inPlace)
    return updated(withSizesOf(b, old, rows, /*axis=*/2), rows);
  Value oldRows = tensor::DimOp::create(b, old, 2);
  return withPast(past, rows, /*first=*/{},
                  arith::MaxSIOp::create(b, oldRows, total));
}

/// What the cache is afterwards: `cache`, or the rows of it that stay.
Value CachedRaiser::presentOf(unsigned past, Value rows, Value cache) {
  if (!hasOperand(op, kFirst))
    return cache;
  Value count = tensor::ExtractOp::create(b, indices(kCapacity), index(0));
  return withPast(past, rows, indices(kFirst), count);
}

SmallVector<Value> CachedRaiser::biasesOf(Value query, Value key,
                                          pattern::Pattern &pattern) {
  if (!hasOperand(op, kBias))
    return {};
  Masks masks(op->getContext());
  masks.setOperands(query, key, /*isSelf=*/false);
  Term term = {op->getOperand(kBias), Value(), false, op};
  // Where queries stand is known at run time only.
  return masks.biasesOf(b, term, pattern, counts, /*hasPatterns=*/false);
}

/// As many tokens as the cache and the new rows hold, and in each entry as many
/// as that, the new ones among them.
void CachedRaiser::requireLengths() {
  Emitter in(b.getLoc(), b);
  Value rows = in.dim(op->getOperand(1), 1);
  if (hasOperand(op, kPastKey))
    rows = in.add(rows, in.dim(op->getOperand(kPastKey), 2));
  Value fits = in.both(in.le(in.index(0), total), in.le(total, rows));
  createCheck(b, fits,
              "total_sequence_length is not between 0 and the rows of "
              "the cache and the new ones");
  Value isWithin = emitForAll(
      b, {indices(kLengths), starts}, [&](Emitter &each, ValueRange x) {
        return each.both(
            each.le(x[0], total),
            each.both(each.le(each.index(0), x[1]), each.le(x[1], x[0])));
      });
  createCheck(b, isWithin,
              "a batch entry has more keys than "
              "total_sequence_length, or fewer than new rows");
}

/// Blocks are of a table with an end.
void CachedRaiser::requireTokens() {
  if (!blocks)
    return;
  Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, total,
                                     index(blocks->tokens()));
  createCheck(b, fits,
              "there are more keys than the blocks' " +
                  std::to_string(blocks->tokens()) + " tokens");
}

void CachedRaiser::build() {
  Value query =
      splitHeads(b, op->getOperand(0), integerAttr(op, "num_heads", 1));
  int64_t keyHeads = integerAttr(op, "kv_num_heads", 1);
  starts = indices(kStarts);
  total = tensor::ExtractOp::create(b, indices(kTotal), index(0));
  requireTokens();
  noteUpdates();
  requireLengths();
  Value newKeys = splitHeads(b, op->getOperand(1), keyHeads),
        newValues = splitHeads(b, op->getOperand(2), keyHeads);
  StringRef kind = kindByRows(op, "self", query, newKeys, Standing::FirstSaid);
  Value allKeys = cacheOf(kPastKey, newKeys),
        allValues = cacheOf(kPastValue, newValues);
  // The rows that any batch entry may have.
  auto rowsOf = [&](Value cache) {
    return hasOperand(op, kPastKey) ? firstRows(b, cache, /*axis=*/2, total)
                                    : cache;
  };
  Value key = rowsOf(allKeys), value = rowsOf(allValues);
  pattern::Pattern pattern = own;
  SmallVector<Value> biases = biasesOf(query, key, pattern);
  auto keyType = cast<RankedTensorType>(key.getType());
  auto valueType = cast<RankedTensorType>(value.getType());
  auto queryType = cast<RankedTensorType>(query.getType());
  Value source = SourceOp::create(
      b, SourceType::get(b.getContext(), keyType, valueType), key, value,
      biases, indices(kLengths), /*segments=*/Value(), /*offset=*/Value(),
      /*positions=*/Value(), PatternAttr::get(b.getContext(), pattern),
      b.getI64IntegerAttr(1));
  SmallVector<int64_t> shape(queryType.getShape());
  shape[3] = valueType.getDimSize(3);
  FloatAttr softcap = op->getAttrOfType<FloatAttr>("softcap");
  if (softcap && softcap.getValueAsDouble() == 0.0)
    softcap = {};
  auto lse =
      RankedTensorType::get(ArrayRef(shape).take_front(3), b.getF32Type());
  auto attention = AttentionOp::create(
      b, queryType.clone(shape), hasOperand(op, kSink) ? Type(lse) : Type(),
      query, source, starts, /*positions=*/Value(), b.getF32FloatAttr(scale),
      softcap, b.getI64IntegerAttr(1), b.getStringAttr(kind));
  passed(op, kAttentionRaised) << remark::add("{0}", pattern.str());
  Value out = attention.getOut();
  if (hasOperand(op, kSink)) {
    auto type = RankedTensorType::get({1, typeAt(kSink).getDimSize(0), 1, 1},
                                      typeAt(kSink).getElementType());
    out = withSink(
        b, attention,
        createNode(b, "Reshape",
                   {op->getOperand(kSink), integerList(b, {1, -1, 1, 1})},
                   type));
  }
  Value results[] = {joinHeads(b, out), presentOf(kPastKey, newKeys, allKeys),
                     presentOf(kPastValue, newValues, allValues)};
  for (auto [old, made] : llvm::zip(op->getResults(), results))
    old.replaceAllUsesWith(withKnownType(b, made, old.getType()));
}

std::string CachedRaiser::readPattern() {
  auto attr = op->getAttrOfType<StringAttr>("pattern");
  std::string text = attr ? attr.str() : "causal", fault;
  if (hasOperand(op, kBlockRows) && hasOperand(op, kBlockColumns)) {
    blocks = {op->getOperand(kBlockRows), op->getOperand(kBlockColumns),
              integerAttr(op, "block_size", 0)};
    if (std::string reason = blocks->toPattern(text); !reason.empty())
      return reason;
    int64_t layouts = typeAt(kBlockRows).getDimSize(0);
    if (integerAttr(op, "num_heads", 0) % layouts != 0)
      return "its heads are no multiple of the layouts of blocks";
  }
  auto parsed = pattern::Pattern::parse(
      text, [&](size_t, const Twine &message) { fault = message.str(); });
  if (!parsed)
    return "its pattern is none: " + fault;
  own = *parsed;
  return "";
}

std::string CachedRaiser::run() {
  if (std::string reason = check(); !reason.empty())
    return reason;
  if (std::string reason = readPattern(); !reason.empty())
    return reason;
  int64_t width = typeAt(0).getDimSize(2);
  auto given = op->getAttrOfType<FloatAttr>("scale");
  if (given && given.getValueAsDouble() != 0.0)
    scale = given.getValueAsDouble();
  else if (ShapedType::isDynamic(width))
    return "its scale follows from an unknown head dim";
  else
    scale = 1.0 / std::sqrt(double(width / integerAttr(op, "num_heads", 1)));
  build();
  return "";
}

std::string mlir::megactx::raise::raiseCachedAttention(Operation *op,
                                                       MaskCounts &counts,
                                                       bool inPlace) {
  return CachedRaiser(op, counts, inPlace).run();
}
