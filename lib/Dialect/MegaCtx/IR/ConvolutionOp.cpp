//===- ConvolutionOp.cpp - convolutions of channels that are last ---------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"

using namespace mlir;
using namespace mlir::megactx;

MutableOperandRange ConvolutionOp::getDpsInitsMutable() {
  return getOutMutable();
}

void ConvolutionOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/false, effects);
}

static LogicalResult verifyOperands(ConvolutionOp op) {
  int64_t rank =
      typeOf(op.getKernel()).hasRank() ? typeOf(op.getKernel()).getRank() : 0;
  if (rank < 3 || rank > 5)
    return op.emitOpError("expected 1 to 3 spatial axes, but got ")
           << op.getKernel().getType();
  std::pair<StringRef, Value> operands[] = {
      {"data", op.getData()}, {"kernel", op.getKernel()}, {"out", op.getOut()}};
  for (auto [what, value] : operands) {
    ShapedType type = typeOf(value);
    if (failed(checkForm(op, type, typeOf(op.getOut()))) ||
        failed(checkRank(op, what, type, rank)) ||
        failed(checkF32(op, what, type)))
      return failure();
  }
  if (!typeOf(op.getKernel()).hasStaticShape())
    return op.emitOpError("expected a kernel of static shape, but got ")
           << op.getKernel().getType();
  return success();
}

LogicalResult ConvolutionOp::verify() {
  if (failed(verifyOperands(*this)))
    return failure();
  ShapedType data = typeOf(getData()), kernel = typeOf(getKernel()),
             out = typeOf(getOut());
  int64_t last = kernel.getRank() - 1, axes = last - 1;
  std::tuple<StringRef, ArrayRef<int64_t>, int64_t> lists[] = {
      {"strides", getStrides(), 1},
      {"dilations", getDilations(), 1},
      {"pads", getPads(), 0}};
  for (auto [what, list, least] : lists) {
    auto isLess = [least = least](int64_t entry) { return entry < least; };
    if (int64_t(list.size()) != axes || llvm::any_of(list, isLess))
      return emitOpError("expected ")
             << axes << " " << what << " of at least " << least;
  }
  int64_t groups = getGroups();
  if (groups < 1 || kernel.getDimSize(0) % groups != 0)
    return emitOpError("expected groups of as many filters each, but got ")
           << groups << " of " << kernel.getDimSize(0);
  if (!agree(data.getDimSize(last), groups * kernel.getDimSize(1)))
    return emitOpError("expected data to have ")
           << groups * kernel.getDimSize(1) << " channels, but got "
           << data.getDimSize(last);
  if (failed(checkDim(*this, "data", data, 0, out, 0, "out")) ||
      failed(checkDim(*this, "kernel", kernel, 0, out, last, "out")))
    return failure();
  return checkDestinations(*this);
}
