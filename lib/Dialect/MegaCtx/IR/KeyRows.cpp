//===- KeyRows.cpp - what is computed of a source's rows ------------------===//

#include "Lod.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

void mlir::megactx::emitCheckAscending(OpBuilder &builder, Location loc,
                                       Value rows, Value lengths,
                                       StringRef what) {
  Emitter b(loc, builder);
  Value ok = emitForAll(b, {rows}, [&](Emitter &in, ValueRange x) {
    Value batch = linalg::IndexOp::create(in, 0);
    Value entry = linalg::IndexOp::create(in, 1);
    Value previous = in.max(in.sub(entry, in.index(1)), in.index(0));
    Value ordered = in.le(in.extract(rows, {batch, previous}), x[0]);
    Value exists = emitExists(in, lengths, batch, entry);
    return in.either(in.eq(exists, in.truth(false)), ordered);
  });
  createCheck(b, ok, "megactx.attention: " + what + " decrease");
}

/// How many of the first `rows` ids, which ascend, are below that of a row; or,
/// with `orSame`, no greater. A row past the others stands for the last one.
static Value countBelow(Emitter &b, Value ids, Value batch, Value row,
                        Value rows, Value orSame) {
  Type index = b.getIndexType();
  Value own = b.max(b.min(row, b.sub(rows, b.index(1))), b.index(0));
  auto loop = scf::WhileOp::create(
      b, TypeRange{index, index}, ValueRange{b.index(0), rows},
      [&](OpBuilder &nested, Location loc, ValueRange range) {
        Emitter in(loc, nested);
        scf::ConditionOp::create(in, in.lt(range[0], range[1]), range);
      },
      [&](OpBuilder &nested, Location loc, ValueRange range) {
        Emitter in(loc, nested);
        Value middle = in.floorDiv(in.add(range[0], range[1]), in.index(2));
        Value id = in.extract(ids, {batch, own});
        Value other = in.extract(ids, {batch, middle});
        Value isBelow =
            in.either(in.lt(other, id), in.both(orSame, in.eq(other, id)));
        scf::YieldOp::create(
            in, ValueRange{
                    in.select(isBelow, in.add(middle, in.index(1)), range[0]),
                    in.select(isBelow, range[1], middle)});
      });
  return loop.getResult(0);
}

Value mlir::megactx::emitSegmentBounds(OpBuilder &builder, Location loc,
                                       Value ids, Value lengths) {
  emitCheckAscending(builder, loc, ids, lengths, "the segment ids of keys");
  Emitter b(loc, builder);
  Value keys = b.dim(ids, 1);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, loc, ids);
  sizes[1] = getAsOpFoldResult(b.add(keys, b.index(1)));
  sizes.push_back(b.getIndexAttr(2));
  Value init = tensor::EmptyOp::create(b, sizes, b.getIndexType());
  return emitGeneric(b, {}, init, {{0, 1, 2}}, [&](Emitter &in, ValueRange) {
    Value batch = linalg::IndexOp::create(in, 0);
    Value row = linalg::IndexOp::create(in, 1);
    Value isEnd = in.eq(linalg::IndexOp::create(in, 2), in.index(1));
    Value rows = keys;
    if (lengths)
      rows = in.max(in.min(rows, in.extract(lengths, batch)), in.index(0));
    return countBelow(in, ids, batch, row, rows, isEnd);
  });
}
