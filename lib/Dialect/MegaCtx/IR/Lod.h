//===- Lod.h - what decompositions of working contexts share ----*- C++ -*-===//

#ifndef MEGACTX_LIB_DIALECT_MEGACTX_IR_LOD_H
#define MEGACTX_LIB_DIALECT_MEGACTX_IR_LOD_H

#include "megactx/Dialect/MegaCtx/IR/Emit.h"

namespace mlir::megactx {

/// Tokens that a row of this level stands for: ratio^level.
int64_t spanOf(int64_t ratio, int64_t level);

/// Whether the entry is before its batch row's length, where there are lengths.
Value emitExists(Emitter &b, Value lengths, Value batch, Value entry);

/// Whether a lod at (batch, entry) must have a row.
using NeedsRow = llvm::function_ref<Value(Emitter &, Value batch, Value entry)>;

/// Ends the run where an entry that needs one has no row in its level. `what`
/// is the op's name.
void emitCheckRows(Emitter &b, Value lods, Value positions, ValueRange levels,
                   int64_t ratio, StringRef what, NeedsRow needsRow);

/// An element of the row of level `lod` that stands for the token at
/// `position`; 0 where lod is no level or the level lacks the row.
Value emitRow(Emitter &b, Value lod, Value position, Value batch, Value column,
              ValueRange levels, int64_t ratio);

} // namespace mlir::megactx

#endif
