//===- TestedTiles.cpp - tiles for which a test holds ---------------------===//

#include "TestedTiles.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::megactx;

void mlir::megactx::cpu::forTestedTiles(
    ImplicitLocOpBuilder &b, const TiledRows &rows,
    function_ref<TestBlocks::Held(Value)> of,
    function_ref<void(Value, Value)> body) {
  Arith a{b};
  Value size = a.c(rows.block), tile = a.c(rows.tile);
  auto tilesOf = [&](TestBlocks::Held held, Value from, Value end) {
    auto ifOp = scf::IfOp::create(
        b, held.any,
        [&](OpBuilder &, Location) {
          emitFor(b, from, end, rows.tile, [&](Value from) {
            Value isAllowed;
            if (rows.tile <= rows.block)
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
          [&](Value block, ValueRange so) -> SmallVector<Value> {
            Value position = a.mul(block, size);
            Value begin = a.sub(position, rows.offset);
            Value from = a.max(begin, so[0]);
            Value end = a.min(a.add(begin, size), rows.end);
            return {tilesOf(of(position), from, end)};
          });
}
