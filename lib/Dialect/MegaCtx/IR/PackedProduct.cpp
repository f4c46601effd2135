//===- PackedProduct.cpp - products of rows and packed weights ------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;

MutableOperandRange PackedProductOp::getDpsInitsMutable() {
  return getOutMutable();
}

void PackedProductOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/false, effects);
}

/// Rank, sizes but the number of rows, and element type of one operand.
static LogicalResult verifyOperand(PackedProductOp op, StringRef what,
                                   Value value, int64_t rank, bool isOfRows,
                                   function_ref<bool(Type)> isElement) {
  ShapedType type = typeOf(value);
  if (failed(checkForm(op, type, typeOf(op.getOut()))) ||
      failed(checkRank(op, what, type, rank)))
    return failure();
  if (!isElement(type.getElementType()))
    return op.emitOpError("expected another element type of ")
           << what << ", but got " << type;
  for (int64_t i = isOfRows; i < rank; ++i)
    if (type.isDynamicDim(i) || type.getDimSize(i) == 0)
      return op.emitOpError("expected ")
             << what << " dim " << i << " to be static and not 0";
  return success();
}

static LogicalResult verifyOperands(PackedProductOp op) {
  auto isWord = [](Type type) { return type.isSignlessInteger(32); };
  auto isReal = [](Type type) { return type.isF32(); };
  if (failed(verifyOperand(op, "out", op.getOut(), 2, true, isReal)) ||
      failed(verifyOperand(op, "rows", op.getRows(), 3, true, isWord)) ||
      failed(
          verifyOperand(op, "rowScales", op.getRowScales(), 2, true, isReal)) ||
      failed(verifyOperand(op, "rowSums", op.getRowSums(), 2, true, isWord)) ||
      failed(verifyOperand(op, "words", op.getWords(), 2, false, isWord)) ||
      failed(verifyOperand(op, "scales", op.getScales(), 2, false, isStorage)))
    return failure();
  if (op.getZeros())
    return verifyOperand(op, "zeros", op.getZeros(), 2, false, [](Type type) {
      return type.isF32() || type.isSignlessInteger(8);
    });
  return success();
}

LogicalResult PackedProductOp::verify() {
  if (failed(verifyOperands(*this)))
    return failure();
  ShapedType rows = typeOf(getRows()), rowScales = typeOf(getRowScales()),
             rowSums = typeOf(getRowSums()), words = typeOf(getWords()),
             scales = typeOf(getScales()), out = typeOf(getOut());
  if (failed(checkDim(*this, "rows", rows, 0, out, 0, "out")) ||
      failed(checkDim(*this, "rowScales", rowScales, 0, out, 0, "out")) ||
      failed(checkDim(*this, "rowSums", rowSums, 0, out, 0, "out")) ||
      failed(checkDim(*this, "words", words, 0, out, 1, "out")) ||
      failed(checkDim(*this, "scales", scales, 0, out, 1, "out")) ||
      failed(checkDim(*this, "rows", rows, 1, words, 1, "words")) ||
      failed(checkDim(*this, "rowSums", rowSums, 1, rowScales, 1, "rowScales")))
    return failure();
  for (unsigned i : {0, 1})
    if (getZeros() && failed(checkDim(*this, "zeros", typeOf(getZeros()), i,
                                      scales, i, "scales")))
      return failure();
  int64_t bits = getBits();
  if (bits != 4 && bits != 8)
    return emitOpError("expected 4 or 8 bits, but got ") << bits;
  if (rows.getDimSize(2) != 16 / bits)
    return emitOpError("expected rows dim 2 (pairs of a word) to be ")
           << 16 / bits << ", but got " << rows.getDimSize(2);
  int64_t chains = rowScales.getDimSize(1), blocks = scales.getDimSize(1);
  if (words.getDimSize(1) % chains != 0 || chains % blocks != 0)
    return emitOpError("expected words to be a multiple of chains, and these "
                       "of blocks, but got ")
           << words.getDimSize(1) << ", " << chains << " and " << blocks;
  int64_t numbers = words.getDimSize(1) / chains * (32 / bits),
          most = int64_t(1) << (16 - bits);
  if (numbers > most)
    return emitOpError("expected at most ")
           << most << " numbers in a chain, but got " << numbers;
  return checkDestinations(*this);
}
