//===- Route.cpp - clusters of rows as linalg and loops -------------------===//
//
// A cluster's least score is found by halving: 32 counts of the scores that are
// at least as great, parallel over clusters, where sorting would not be. One
// walk over the rows, in order, then takes what is greater and, of what is
// equal, the first.
//
//===----------------------------------------------------------------------===//

#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

using Sizes = SmallVector<OpFoldResult>;

/// For all places of these sizes, in row-major order: carried = step(place,
/// carried).
using NestStep =
    llvm::function_ref<SmallVector<Value>(Emitter &, ValueRange, ValueRange)>;
static SmallVector<Value> emitNest(Emitter &b, ArrayRef<Value> sizes,
                                   ValueRange carried, NestStep step,
                                   ArrayRef<Value> place = {}) {
  if (place.size() == sizes.size())
    return step(b, place, carried);
  return emitFor(b, b.index(0), sizes[place.size()], carried,
                 [&](Emitter &in, Value i, ValueRange x) {
                   SmallVector<Value> next(place);
                   next.push_back(i);
                   return emitNest(in, sizes, x, step, next);
                 });
}

/// carried = step(carried) where the condition holds.
static SmallVector<Value>
emitIf(Emitter &b, Value condition, ValueRange carried,
       llvm::function_ref<SmallVector<Value>(Emitter &)> step) {
  auto choice = scf::IfOp::create(
      b, condition,
      [&](OpBuilder &nested, Location loc) {
        Emitter in(loc, nested);
        scf::YieldOp::create(in, step(in));
      },
      [&](OpBuilder &nested, Location loc) {
        scf::YieldOp::create(nested, loc, carried);
      });
  return SmallVector<Value>(choice.getResults());
}

static Value emitNumber(Emitter &b, int32_t value) {
  return arith::ConstantIntOp::create(b, value, 32);
}

//===----------------------------------------------------------------------===//
// route
//===----------------------------------------------------------------------===//

namespace {
class Router {
public:
  Router(RouteOp op, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder), rows(b.dim(op.getRows(), 2)) {}

  SmallVector<Value> run(const ReifiedRankedShapedTypeDims &shapes);

private:
  Value length(Emitter &in, Value batch);
  Value wanted(Emitter &in, Value batch);
  void setKeys();
  Value countKeys(Value least, arith::CmpIPredicate predicate);
  void setLeast();
  Value pick(Value members);
  Value emitCounts(const Sizes &sizes);

  RouteOp op;
  Emitter b;
  Value rows, most;  ///< N, M
  Sizes perCluster;  ///< B, H, C
  Value keys, least; ///< i32 [B, H, C, N], the least that is taken [B, H, C]
};
} // namespace

/// How many rows a batch row has.
Value Router::length(Emitter &in, Value batch) {
  if (!op.getLengths())
    return rows;
  return in.max(in.index(0), in.min(rows, in.extract(op.getLengths(), batch)));
}

/// How many members its clusters have.
Value Router::wanted(Emitter &in, Value batch) {
  return in.min(most, length(in, batch));
}

/// An integer that ascends with the score: NaN is least. A sum that began with
/// 0 is never -0, which would differ from its equal.
static Value emitKey(Emitter &b, Value score) {
  Value isNone =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, score, score);
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), score);
  // Of negative numbers the bits without the sign descend.
  Value sign = arith::ShRSIOp::create(b, bits, emitNumber(b, 31));
  Value flip = arith::AndIOp::create(b, sign, emitNumber(b, INT32_MAX));
  Value key = arith::XOrIOp::create(b, bits, flip);
  return b.select(isNone, emitNumber(b, INT32_MIN), key);
}

void Router::setKeys() {
  const SmallVector<int64_t> all = {0, 1, 2, 3};
  Sizes sizes = perCluster;
  sizes.push_back(tensor::getMixedSize(b, b.getLoc(), op.getRows(), 2));
  Value scores = emitGeneric(
      b, {op.getRows(), op.getCentroids()}, b.filled(sizes, emitFloat(b, 0)),
      {{0, 1, 3, 4}, {1, 2, 4}, all}, [](Emitter &in, ValueRange x) -> Value {
        Value term = arith::MulFOp::create(in, in.toF32(x[0]), in.toF32(x[1]));
        return arith::AddFOp::create(in, x[2], term);
      });
  Value empty = tensor::EmptyOp::create(b, sizes, b.getI32Type());
  keys =
      emitGeneric(b, scores, empty, {all, all},
                  [](Emitter &in, ValueRange x) { return emitKey(in, x[0]); });
}

/// How many keys of a cluster's rows that exist compare so with its `least`:
/// index [B, H, C].
Value Router::countKeys(Value least, arith::CmpIPredicate predicate) {
  const SmallVector<int64_t> cluster = {0, 1, 2};
  return emitGeneric(b, {keys, least}, b.filled(perCluster, b.index(0)),
                     {{0, 1, 2, 3}, cluster, cluster},
                     [&](Emitter &in, ValueRange x) -> Value {
                       Value batch = linalg::IndexOp::create(in, 0);
                       Value row = linalg::IndexOp::create(in, 3);
                       Value exists = in.lt(row, length(in, batch));
                       Value counts =
                           in.both(exists, in.cmp(predicate, x[0], x[1]));
                       Value one = in.select(counts, in.index(1), in.index(0));
                       return in.add(x[2], one);
                     });
}

/// The greatest key that at least as many rows as wanted reach, bit by bit.
void Router::setLeast() {
  const SmallVector<int64_t> cluster = {0, 1, 2};
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Value> inits = {b.filled(perCluster, emitNumber(b, INT32_MIN)),
                              emitNumber(b, INT32_MIN)};
  auto loop = scf::ForOp::create(b, b.index(0), b.index(32), b.index(1), inits);
  b.setInsertionPointToStart(loop.getBody());
  // The first step wraps around from the least integer to 0.
  Value known = loop.getRegionIterArg(0), bit = loop.getRegionIterArg(1);
  Value empty = tensor::EmptyOp::create(b, perCluster, b.getI32Type());
  Value higher =
      emitGeneric(b, known, empty, {cluster, cluster},
                  [&](Emitter &in, ValueRange x) { return in.add(x[0], bit); });
  Value reach = countKeys(higher, arith::CmpIPredicate::sge);
  Value next = emitGeneric(
      b, {higher, reach}, known, {cluster, cluster, cluster},
      [&](Emitter &in, ValueRange x) {
        Value batch = linalg::IndexOp::create(in, 0);
        return in.select(in.le(wanted(in, batch), x[1]), x[0], x[2]);
      });
  Value lower = arith::ShRUIOp::create(b, bit, emitNumber(b, 1));
  scf::YieldOp::create(b, ValueRange{next, lower});
  least = loop.getResult(0);
}

/// The members, ascending, in place of the first of `members` [B H C, M].
Value Router::pick(Value members) {
  Value above = countKeys(least, arith::CmpIPredicate::sgt);
  Value heads = b.dim(op.getRows(), 1), clusters = b.dim(op.getCentroids(), 1);
  SmallVector<Value> sizes = {b.dim(op.getRows(), 0), heads, clusters};
  return emitNest(
      b, sizes, members, [&](Emitter &in, ValueRange at, ValueRange carried) {
        Value number = in.add(
            in.mul(in.add(in.mul(at[0], heads), at[1]), clusters), at[2]);
        Value edge = in.extract(least, at), zero = in.index(0);
        Value equals = in.sub(wanted(in, at[0]), in.extract(above, at));
        SmallVector<Value> inits = {carried[0], zero, equals};
        SmallVector<Value> done = emitFor(
            in, zero, length(in, at[0]), inits,
            [&](Emitter &i, Value row, ValueRange x) {
              Value key = i.extract(keys, {at[0], at[1], at[2], row});
              Value more = i.cmp(arith::CmpIPredicate::sgt, key, edge);
              Value equal = i.both(i.eq(key, edge), i.lt(i.index(0), x[2]));
              Value taken = i.either(more, equal), one = i.index(1);
              Value written = emitIf(i, taken, x[0], [&](Emitter &w) {
                return SmallVector<Value>{w.insert(row, x[0], {number, x[1]})};
              })[0];
              return SmallVector<Value>{
                  written, i.add(x[1], i.select(taken, one, i.index(0))),
                  i.sub(x[2], i.select(equal, one, i.index(0)))};
            });
        return SmallVector<Value>{done[0]};
      })[0];
}

Value Router::emitCounts(const Sizes &sizes) {
  Value perBatch = b.max(
      b.index(1), b.mul(b.dim(op.getRows(), 1), b.dim(op.getCentroids(), 1)));
  Value empty = tensor::EmptyOp::create(b, sizes, b.getIndexType());
  return emitGeneric(b, {}, empty, {{0}}, [&](Emitter &in, ValueRange) {
    Value number = linalg::IndexOp::create(in, 0);
    return wanted(in, in.floorDiv(number, perBatch));
  });
}

SmallVector<Value> Router::run(const ReifiedRankedShapedTypeDims &shapes) {
  most = b.min(b.index(op.getWindow()), rows);
  perCluster = {tensor::getMixedSize(b, b.getLoc(), op.getRows(), 0),
                tensor::getMixedSize(b, b.getLoc(), op.getRows(), 1),
                tensor::getMixedSize(b, b.getLoc(), op.getCentroids(), 1)};
  setKeys();
  setLeast();
  Value members = pick(b.filled(shapes[0], b.index(-1)));
  return {members, emitCounts(shapes[1])};
}

FailureOr<SmallVector<Value>> RouteOp::decomposeOperation(OpBuilder &builder) {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(builder, shapes)))
    return failure();
  return Router(*this, builder).run(shapes);
}

//===----------------------------------------------------------------------===//
// gather_rows, scatter_mean
//===----------------------------------------------------------------------===//

namespace {
/// Members [R, M] of clusters of the rows of a tensor [B, H, N, D].
class Clusters {
public:
  Clusters(Emitter &b, Value members, Value tensor)
      : members(members), heads(b.dim(tensor, 1)), rows(b.dim(tensor, 2)) {
    groups = b.mul(b.dim(tensor, 0), heads);
    perGroup = b.floorDiv(b.dim(members, 0), b.max(groups, b.index(1)));
  }

  void check(Emitter &b, StringRef what) const;

  /// The batch row and head of a cluster.
  std::pair<Value, Value> groupOf(Emitter &b, Value cluster) const {
    Value group = b.floorDiv(cluster, b.max(perGroup, b.index(1)));
    Value batch = b.floorDiv(group, b.max(heads, b.index(1)));
    return {batch, b.sub(group, b.mul(batch, heads))};
  }

private:
  Value members, heads, rows, groups, perGroup;
};
} // namespace

/// Ends the run where clusters or members are none of the tensor's.
void Clusters::check(Emitter &b, StringRef what) const {
  Value whole = b.eq(b.mul(perGroup, groups), b.dim(members, 0));
  createCheck(b, whole,
              what + ": the clusters are not as many for each "
                     "batch row and head");
  Value ok = emitForAll(b, members, [&](Emitter &in, ValueRange x) {
    Value row = in.both(in.le(in.index(0), x[0]), in.lt(x[0], rows));
    return in.either(in.eq(x[0], in.index(-1)), row);
  });
  createCheck(b, ok, what + ": a member is neither -1 nor one of the rows");
}

FailureOr<SmallVector<Value>>
GatherRowsOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  Clusters clusters(b, getMembers(), getRows());
  clusters.check(b, "megactx.gather_rows");
  Type element = getResult().getType().getElementType();
  Value empty = tensor::EmptyOp::create(b, shapes[0], element);
  return SmallVector<Value>{emitGeneric(
      b, getMembers(), empty, {{0, 2}, {0, 1, 2, 3}},
      [&](Emitter &in, ValueRange x) -> Value {
        Value cluster = linalg::IndexOp::create(in, 0);
        Value column = linalg::IndexOp::create(in, 3);
        Value zero =
            arith::ConstantOp::create(in, in.getFloatAttr(element, 0.0));
        // There may be no row at all.
        return emitIf(in, in.le(in.index(0), x[0]), zero, [&](Emitter &i) {
          auto [batch, head] = clusters.groupOf(i, cluster);
          return SmallVector<Value>{
              i.extract(getRows(), {batch, head, x[0], column})};
        })[0];
      })};
}

FailureOr<SmallVector<Value>>
ScatterMeanOp::decomposeOperation(OpBuilder &builder) {
  Emitter b(getLoc(), builder);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(b, shapes)))
    return failure();
  Clusters clusters(b, getMembers(), getInit());
  clusters.check(b, "megactx.scatter_mean");
  Value none = emitFloat(b, 0), width = b.dim(getRows(), 3);
  SmallVector<Value> inits = {
      b.filled(shapes[0], none),
      b.filled(ArrayRef(shapes[0]).take_front(3), none)};
  SmallVector<Value> sizes = {b.dim(getMembers(), 0), b.dim(getMembers(), 1)};
  auto add = [](Emitter &in, Value term, Value tensor, ValueRange at) {
    Value sum = arith::AddFOp::create(in, in.extract(tensor, at), term);
    return SmallVector<Value>{in.insert(sum, tensor, at)};
  };
  SmallVector<Value> sums =
      emitNest(b, sizes, inits, [&](Emitter &in, ValueRange at, ValueRange x) {
        Value row = in.extract(getMembers(), at);
        return emitIf(in, in.le(in.index(0), row), x, [&](Emitter &i) {
          auto [batch, head] = clusters.groupOf(i, at[0]);
          std::array<Value, 3> group = {batch, head, row};
          SmallVector<Value> result = emitFor(
              i, i.index(0), width, x[0],
              [&](Emitter &e, Value column, ValueRange y) {
                Value term = e.toF32(
                    e.extract(getRows(), {at[0], e.index(0), at[1], column}));
                return add(e, term, y[0], {group[0], group[1], row, column});
              });
          result.append(add(i, emitFloat(i, 1), x[1], group));
          return result;
        });
      });
  const SmallVector<int64_t> all = {0, 1, 2, 3};
  Type element = getInit().getType().getElementType();
  return SmallVector<Value>{
      emitGeneric(b, sums, getInit(), {all, {0, 1, 2}, all},
                  [&](Emitter &in, ValueRange x) -> Value {
                    Value some = arith::CmpFOp::create(
                        in, arith::CmpFPredicate::OGT, x[1], emitFloat(in, 0));
                    Value mean = arith::DivFOp::create(in, x[0], x[1]);
                    return in.select(some, in.fromF32(mean, element), x[2]);
                  })};
}
