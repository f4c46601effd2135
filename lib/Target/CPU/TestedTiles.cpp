//===- TestedTiles.cpp - tiles for which a test holds ---------------------===//

#include "TestedTiles.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

void mlir::megactx::cpu::forTiles(ImplicitLocOpBuilder &b,
                                  const std::optional<TestBlocks> &test,
                                  const TaskLanes &lanes, const TiledRows &rows,
                                  function_ref<void(Value, Value)> body) {
  if (!test)
    return emitFor(b, rows.begin, rows.end, rows.tile,
                   [&](Value from) { body(from, Value()); });
  Arith a{b};
  int64_t block = lanes.areQueries ? test->keys : test->queries;
  Value size = a.c(block), tile = a.c(rows.tile);
  auto positionOf = [&](Value lane) {
    Value row = memref::LoadOp::create(b, lanes.rowOf, lane);
    return lanes.areQueries ? lanes.views.positionOf(row)
                            : lanes.views.positionOfKey(row);
  };
  TestBlocks::Range inLanes{positionOf(a.c(0)),
                            positionOf(a.sub(lanes.count, a.c(1)))};
  auto heldAt = [&](Value position) {
    TestBlocks::Range row{position, position};
    return lanes.areQueries ? test->held(b, lanes.views, inLanes, row)
                            : test->held(b, lanes.views, row, inLanes);
  };
  auto tilesOf = [&](TestBlocks::Held held, Value from, Value end) {
    auto ifOp = scf::IfOp::create(
        b, held.any,
        [&](OpBuilder &, Location) {
          emitFor(b, from, end, rows.tile, [&](Value from) {
            Value isAllowed;
            if (rows.tile <= block)
              isAllowed = a.both(held.all, a.le(a.add(from, tile), end));
            body(from, isAllowed);
          });
          Value count = a.ceilDiv(a.max(a.sub(end, from), a.c(0)), tile);
          scf::YieldOp::create(b, a.add(from, a.mul(count, tile)));
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(b, from); });
    return ifOp.getResult(0);
  };
  emitFor(b, emitFloorDiv(b, a.add(rows.begin, rows.offset), size),
          a.ceilDiv(a.add(rows.end, rows.offset), size), 1, rows.begin,
          [&](Value number, ValueRange so) -> SmallVector<Value> {
            Value position = a.mul(number, size);
            Value begin = a.sub(position, rows.offset);
            Value from = a.max(begin, so[0]);
            Value end = a.min(a.add(begin, size), rows.end);
            return {tilesOf(heldAt(position), from, end)};
          });
}
