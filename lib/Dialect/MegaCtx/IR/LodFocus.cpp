//===- LodFocus.cpp - edits of working contexts as loops ------------------===//
//
// Which entries expand or collapse depends on the edits before, so a batch row
// is a sequential loop over its entries; rows of the context are gathered by
// linalg.generic once the new entries are known.
//
//===----------------------------------------------------------------------===//

#include "Lod.h"
#include "Softmax.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

namespace {
/// The entries of working contexts.
struct Timeline {
  Timeline(Emitter &b, Value lods, Value positions, Value lengths,
           int64_t ratio, int64_t top)
      : lods(lods), positions(positions), lengths(lengths), ratio(ratio),
        top(top), width(b.dim(lods, 1)) {}

  /// How many entries a batch row has.
  Value length(Emitter &b, Value batch) const {
    if (!lengths)
      return width;
    return b.max(b.index(0), b.min(width, b.extract(lengths, batch)));
  }
  Value at(Emitter &b, Value of, Value batch, Value entry) const {
    return b.toIndex(b.extract(of, {batch, entry}));
  }
  /// Tokens of an entry of this level, 0 to top + 1.
  Value span(Emitter &b, Value lod) const {
    Value result = b.index(1);
    for (int64_t level = 1; level <= top + 1; ++level)
      result = b.select(b.eq(lod, b.index(level)),
                        b.index(spanOf(ratio, level)), result);
    return result;
  }
  /// The first token of an entry.
  Value start(Emitter &b, Value lod, Value position) const {
    return b.sub(position, b.sub(span(b, lod), b.index(1)));
  }

  Value isFamily(Emitter &b, Value batch, Value entry, Value lod,
                 Value position, Value end) const;
  void check(Emitter &b, StringRef what) const;

  Value lods, positions, lengths;
  int64_t ratio, top;
  Value width;
};
} // namespace

static Value isMultiple(Emitter &b, Value x, Value of) {
  return b.eq(x, b.mul(b.floorDiv(x, of), of));
}

/// Whether the r entries from here, all before `end`, are the children of one
/// parent: r entries that tile a parent from its first token on to its last are
/// of one level, as any finer one comes with r - 1 more.
Value Timeline::isFamily(Emitter &b, Value batch, Value entry, Value lod,
                         Value position, Value end) const {
  Value one = b.index(1), next = b.add(entry, b.index(ratio));
  Value first = start(b, lod, position);
  Value parent = span(b, b.add(lod, one));
  Value last = b.min(b.sub(next, one), b.sub(width, one));
  Value ends =
      b.eq(at(b, positions, batch, last), b.add(first, b.sub(parent, one)));
  return b.both(b.le(next, end), b.both(isMultiple(b, first, parent), ends));
}

/// Ends the run where the entries do not tile the timeline.
void Timeline::check(Emitter &b, StringRef what) const {
  Value ok = emitForAll(b, {lods, positions}, [&](Emitter &in, ValueRange x) {
    Value batch = linalg::IndexOp::create(in, 0);
    Value entry = linalg::IndexOp::create(in, 1);
    Value zero = in.index(0), one = in.index(1);
    Value lod = in.toIndex(x[0]), position = in.toIndex(x[1]);
    Value missing = in.le(length(in, batch), entry);
    Value known = in.both(in.le(zero, lod), in.le(lod, in.index(top)));
    Value first = start(in, lod, position);
    Value aligned = isMultiple(in, first, span(in, lod));
    Value past = in.both(in.le(zero, position), in.le(zero, first));
    Value before = at(in, positions, batch, in.max(in.sub(entry, one), zero));
    Value follows =
        in.either(in.eq(entry, zero), in.eq(before, in.sub(first, one)));
    Value good = in.both(in.both(known, aligned), in.both(past, follows));
    return in.either(missing, good);
  });
  createCheck(b, ok,
              what +
                  ": the entries' lods and positions do not tile the timeline");
}

//===----------------------------------------------------------------------===//
// focus_allocate
//===----------------------------------------------------------------------===//

namespace {
class Allocator {
public:
  Allocator(FocusAllocateOp op, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder),
        timeline(b, op.getLods(), op.getPositions(), op.getLengths(),
                 op.getRatio(), op.getTop()) {}

  Value run(ArrayRef<OpFoldResult> sizes);

private:
  Value keys(ArrayRef<OpFoldResult> sizes);
  SmallVector<Value> greedy(Emitter &in, Value batch, ValueRange carried);
  SmallVector<Value> edit(Emitter &in, Value batch, ValueRange carried);

  FocusAllocateOp op;
  Emitter b;
  Timeline timeline;
};
} // namespace

/// |score| of entries that could be edited if no other was, else -1.
Value Allocator::keys(ArrayRef<OpFoldResult> sizes) {
  using Float = arith::CmpFPredicate;
  const SmallVector<int64_t> entry = {0, 1};
  Value empty = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  return emitGeneric(
      b, {op.getScores(), op.getLods(), op.getPositions()}, empty,
      {entry, entry, entry, entry}, [&](Emitter &in, ValueRange x) -> Value {
        Value batch = linalg::IndexOp::create(in, 0);
        Value entry = linalg::IndexOp::create(in, 1);
        Value lod = in.toIndex(x[1]), position = in.toIndex(x[2]);
        Value end =
            in.sub(timeline.length(in, batch), in.index(op.getRecent()));
        Value most = emitFloat(in, op.getExpandThreshold().convertToFloat());
        Value least =
            emitFloat(in, -op.getCollapseThreshold().convertToFloat());
        Value high = arith::CmpFOp::create(in, Float::OGE, x[0], most);
        Value low = arith::CmpFOp::create(in, Float::OLE, x[0], least);
        Value expand =
            in.both(high, in.both(in.lt(in.index(0), lod), in.lt(entry, end)));
        Value family = timeline.isFamily(in, batch, entry, lod, position, end);
        Value collapse =
            in.both(low, in.both(in.lt(lod, in.index(op.getTop())), family));
        return in.select(in.either(expand, collapse),
                         math::AbsFOp::create(in, x[0]), emitFloat(in, -1));
      });
}

/// Makes the edit of the entry `best` if it may be: carried is edits, keys,
/// room for more entries, edits left; then best. The entries that it takes
/// away, or else it alone, are out of the running.
SmallVector<Value> Allocator::edit(Emitter &in, Value batch,
                                   ValueRange carried) {
  Value edits = carried[0], keys = carried[1], room = carried[2],
        left = carried[3], best = carried[4];
  Value zero = in.index(0), one = in.index(1), ratio = in.index(op.getRatio());
  Value score = in.extract(op.getScores(), {batch, best});
  Value expand = arith::CmpFOp::create(in, arith::CmpFPredicate::OGT, score,
                                       emitFloat(in, 0));
  Value size = in.select(expand, one, ratio);
  Value cost = in.sub(in.select(expand, ratio, one), size);
  Value alone =
      emitFor(in, best, in.add(best, size), in.truth(true),
              [&](Emitter &i, Value entry, ValueRange x) {
                Value other = timeline.at(i, edits, batch, entry);
                return SmallVector<Value>{i.both(x[0], i.eq(other, zero))};
              })[0];
  Value fits = in.either(in.le(cost, zero), in.le(cost, room));
  Value made = in.both(alone, fits);
  Value code = in.select(expand, one, in.index(-1));
  edits = in.insert(in.select(made, code, zero), edits, {batch, best});
  Value end = in.add(best, in.select(made, size, one));
  keys =
      emitFor(in, best, end, keys, [&](Emitter &i, Value entry, ValueRange x) {
        return SmallVector<Value>{
            i.insert(emitFloat(i, -1), x[0], {batch, entry})};
      })[0];
  room = in.sub(room, in.select(made, cost, zero));
  left = in.sub(left, in.select(made, one, zero));
  return {edits, keys, room, left};
}

/// The edits of one batch row; carried is edits, keys.
SmallVector<Value> Allocator::greedy(Emitter &in, Value batch,
                                     ValueRange carried) {
  Value room = in.sub(in.index(op.getBudget()), timeline.length(in, batch));
  SmallVector<Value> inits = {carried[0], carried[1], room,
                              in.index(op.getMaxEdits())};
  SmallVector<Type> types(ValueRange(inits).getTypes());
  types.push_back(in.getIndexType());
  auto loop = scf::WhileOp::create(
      in, types, inits,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Emitter i(loc, nested);
        SmallVector<Value> start = {emitFloat(i, -1), i.index(0)};
        SmallVector<Value> best =
            emitFor(i, i.index(0), timeline.length(i, batch), start,
                    [&](Emitter &e, Value entry, ValueRange x) {
                      Value key = e.extract(args[1], {batch, entry});
                      Value more = arith::CmpFOp::create(
                          e, arith::CmpFPredicate::OGT, key, x[0]);
                      return SmallVector<Value>{e.select(more, key, x[0]),
                                                e.select(more, entry, x[1])};
                    });
        Value any = arith::CmpFOp::create(i, arith::CmpFPredicate::OGE, best[0],
                                          emitFloat(i, 0));
        SmallVector<Value> next(args);
        next.push_back(best[1]);
        scf::ConditionOp::create(i, i.both(any, i.lt(i.index(0), args[3])),
                                 next);
      },
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Emitter i(loc, nested);
        scf::YieldOp::create(i, edit(i, batch, args));
      });
  return {loop.getResult(0), loop.getResult(1)};
}

Value Allocator::run(ArrayRef<OpFoldResult> sizes) {
  timeline.check(b, "megactx.focus_allocate");
  Type type = op.getResult().getType().getElementType();
  SmallVector<Value> inits = {b.filled(sizes, b.fromIndex(b.index(0), type)),
                              keys(sizes)};
  return emitFor(b, b.index(0), b.dim(op.getLods(), 0), inits,
                 [&](Emitter &in, Value batch, ValueRange x) {
                   return greedy(in, batch, x);
                 })[0];
}

FailureOr<SmallVector<Value>>
FocusAllocateOp::decomposeOperation(OpBuilder &builder) {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(builder, shapes)))
    return failure();
  return SmallVector<Value>{Allocator(*this, builder).run(shapes[0])};
}

//===----------------------------------------------------------------------===//
// focus_apply
//===----------------------------------------------------------------------===//

namespace {
/// Walks the old entries of each batch row and writes the new ones.
class Applier {
public:
  Applier(FocusApplyOp op, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder), levels(op.getLevels()),
        timeline(b, op.getLods(), op.getPositions(), op.getLengths(),
                 op.getRatio(), levels.size() - 1) {}

  SmallVector<Value> run(const ReifiedRankedShapedTypeDims &shapes);

private:
  Value mayEdit(Emitter &in, Value batch, Value entry, Value edit, Value lod,
                Value position);
  SmallVector<Value> step(Emitter &in, Value batch, ValueRange carried);
  SmallVector<Value> walk(Emitter &in, Value batch, ValueRange carried);
  Value rows(ArrayRef<OpFoldResult> sizes, Value lods, Value positions,
             Value origins);

  FocusApplyOp op;
  Emitter b;
  SmallVector<Value> levels;
  Timeline timeline;
};
} // namespace

Value Applier::mayEdit(Emitter &in, Value batch, Value entry, Value edit,
                       Value lod, Value position) {
  Value zero = in.index(0), one = in.index(1), ratio = in.index(op.getRatio());
  Value collapses = in.eq(edit, in.index(-1));
  Value family = timeline.isFamily(in, batch, entry, lod, position,
                                   timeline.length(in, batch));
  Value end = in.select(in.both(collapses, family), in.add(entry, ratio), zero);
  Value alone =
      emitFor(in, in.add(entry, one), end, in.truth(true),
              [&](Emitter &i, Value other, ValueRange x) {
                Value none =
                    i.eq(timeline.at(i, op.getEdits(), batch, other), zero);
                return SmallVector<Value>{i.both(x[0], none)};
              })[0];
  Value lower = in.lt(lod, in.index(timeline.top));
  Value collapse = in.both(in.both(collapses, lower), in.both(family, alone));
  Value expand = in.both(in.eq(edit, one), in.lt(zero, lod));
  return in.either(in.eq(edit, zero), in.either(expand, collapse));
}

/// One old entry, and its siblings where it collapses; carried is entry, new
/// entry, new lods, positions and origins (old entries, -1 for rows of levels),
/// whether all edits could be made. Nothing is written past the budget.
SmallVector<Value> Applier::step(Emitter &in, Value batch, ValueRange carried) {
  Value entry = carried[0], slot = carried[1];
  Value zero = in.index(0), one = in.index(1), ratio = in.index(op.getRatio());
  Value none = in.index(-1), budget = in.index(op.getBudget());
  Value lod = timeline.at(in, op.getLods(), batch, entry);
  Value position = timeline.at(in, op.getPositions(), batch, entry);
  Value wanted = timeline.at(in, op.getEdits(), batch, entry);
  Value may = mayEdit(in, batch, entry, wanted, lod, position);
  Value edit = in.select(may, wanted, zero);
  Value first = timeline.start(in, lod, position);
  Value newLod = in.sub(lod, edit), span = timeline.span(in, newLod);
  Value origin = in.select(in.eq(edit, zero), entry, none);
  Value end = in.add(slot, in.select(in.eq(edit, one), ratio, one));
  SmallVector<Value> written =
      emitFor(in, slot, in.min(end, budget), carried.slice(2, 3),
              [&](Emitter &i, Value at, ValueRange x) {
                Value after = i.mul(i.add(i.sub(at, slot), i.index(1)), span);
                Value last = i.sub(i.add(first, after), i.index(1));
                return SmallVector<Value>{i.insert(newLod, x[0], {batch, at}),
                                          i.insert(last, x[1], {batch, at}),
                                          i.insert(origin, x[2], {batch, at})};
              });
  Value next = in.add(entry, in.select(in.eq(edit, none), ratio, one));
  SmallVector<Value> result = {next, end};
  result.append(written);
  result.push_back(in.both(carried[5], may));
  return result;
}

/// One batch row; carried is new lods, positions, origins, lengths, whether all
/// edits could be made: tensors, so that no batch row waits for another.
SmallVector<Value> Applier::walk(Emitter &in, Value batch, ValueRange carried) {
  SmallVector<Value> inits = {in.index(0), in.index(0), carried[0],
                              carried[1],  carried[2],  in.truth(true)};
  auto loop = scf::WhileOp::create(
      in, TypeRange(ValueRange(inits)), inits,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Emitter i(loc, nested);
        Value more = i.lt(args[0], timeline.length(i, batch));
        scf::ConditionOp::create(i, more, args);
      },
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Emitter i(loc, nested);
        scf::YieldOp::create(i, step(i, batch, args));
      });
  return {loop.getResult(2), loop.getResult(3), loop.getResult(4),
          in.insert(loop.getResult(1), carried[3], batch),
          in.insert(loop.getResult(5), carried[4], batch)};
}

/// Rows of the old context where there is an origin, of levels elsewhere.
Value Applier::rows(ArrayRef<OpFoldResult> sizes, Value lods, Value positions,
                    Value origins) {
  const SmallVector<int64_t> entry = {0, 1};
  Type element = op.getNewContext().getType().getElementType();
  Value empty = tensor::EmptyOp::create(b, sizes, element);
  return emitGeneric(
      b, {lods, positions, origins}, empty, {entry, entry, entry, {0, 1, 2}},
      [&](Emitter &in, ValueRange x) -> Value {
        Value batch = linalg::IndexOp::create(in, 0);
        Value column = linalg::IndexOp::create(in, 2);
        Value kept = in.le(in.index(0), x[2]);
        Value lod = in.select(kept, in.index(-1), in.toIndex(x[0]));
        Value made = emitRow(in, lod, in.toIndex(x[1]), batch, column, levels,
                             op.getRatio());
        auto choice = scf::IfOp::create(
            in, kept,
            [&](OpBuilder &nested, Location loc) {
              Emitter i(loc, nested);
              scf::YieldOp::create(
                  i, i.extract(op.getRows(), {batch, x[2], column}));
            },
            [&](OpBuilder &nested, Location loc) {
              scf::YieldOp::create(nested, loc, made);
            });
        return choice.getResult(0);
      });
}

SmallVector<Value> Applier::run(const ReifiedRankedShapedTypeDims &shapes) {
  timeline.check(b, "megactx.focus_apply");
  Type type = op.getNewLods().getType().getElementType();
  Value none = b.index(-1);
  SmallVector<Value> inits = {
      b.filled(shapes[1], b.fromIndex(none, type)),
      b.filled(shapes[1], b.fromIndex(none, type)), b.filled(shapes[1], none),
      b.filled(shapes[3], b.index(0)), b.filled(shapes[3], b.truth(true))};
  SmallVector<Value> x =
      emitFor(b, b.index(0), b.dim(op.getLods(), 0), inits,
              [&](Emitter &in, Value batch, ValueRange carried) {
                return walk(in, batch, carried);
              });
  Value made =
      emitForAll(b, x[4], [](Emitter &, ValueRange good) { return good[0]; });
  createCheck(b, made,
              "megactx.focus_apply: an edit is not one that its "
              "entry can make");
  Value fits = emitForAll(b, x[3], [&](Emitter &in, ValueRange length) {
    return in.le(length[0], in.index(op.getBudget()));
  });
  createCheck(b, fits,
              "megactx.focus_apply: the edits make more entries than "
              "the budget");
  emitCheckRows(b, x[0], x[1], levels, op.getRatio(), "megactx.focus_apply",
                [&](Emitter &in, Value batch, Value entry) {
                  Value origin = in.extract(x[2], {batch, entry});
                  Value exists = in.lt(entry, in.extract(x[3], batch));
                  return in.both(exists, in.lt(origin, in.index(0)));
                });
  return {rows(shapes[0], x[0], x[1], x[2]), x[0], x[1], x[3]};
}

FailureOr<SmallVector<Value>>
FocusApplyOp::decomposeOperation(OpBuilder &builder) {
  ReifiedRankedShapedTypeDims shapes;
  if (failed(reifyResultShapes(builder, shapes)))
    return failure();
  return Applier(*this, builder).run(shapes);
}
