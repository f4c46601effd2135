//===- Convolution.cpp - linalg's ops that are convolutions ---------------===//

#include "megactx/Dialect/MegaCtx/IR/Convolution.h"
#include "mlir/Analysis/FlatLinearValueConstraints.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::megactx;

/// What a factor is widened from.
static Value wholeOf(Value factor) {
  auto wide = factor.getDefiningOp<arith::ExtFOp>();
  return wide ? wide.getIn() : factor;
}

/// Whether the body adds the product of its operands to what is there.
static bool addsProducts(linalg::GenericOp op) {
  Block &body = *op.getBody();
  auto yield = cast<linalg::YieldOp>(body.getTerminator());
  Operation *sum = yield.getOperand(0).getDefiningOp();
  if (!isa_and_nonnull<arith::AddFOp>(sum) ||
      !llvm::is_contained(sum->getOperands(), body.getArgument(2)))
    return false;
  Value other = sum->getOperand(sum->getOperand(0) == body.getArgument(2));
  auto product = other.getDefiningOp<arith::MulFOp>();
  return product && wholeOf(product.getLhs()) == body.getArgument(0) &&
         wholeOf(product.getRhs()) == body.getArgument(1);
}

static bool isDim(AffineExpr expr, unsigned position) {
  auto dim = dyn_cast<AffineDimExpr>(expr);
  return dim && dim.getPosition() == position;
}

static bool areDims(ArrayRef<AffineExpr> exprs, unsigned first) {
  for (auto [i, expr] : llvm::enumerate(exprs))
    if (!isDim(expr, first + i))
      return false;
  return true;
}

/// The stride and dilation of `element * stride + tap * dilation`.
static std::optional<std::pair<int64_t, int64_t>>
factorsOf(AffineExpr expr, unsigned element, unsigned tap, unsigned numLoops) {
  SmallVector<int64_t> flat;
  if (failed(getFlattenedAffineExpr(expr, numLoops, 0, &flat)) ||
      flat.size() != numLoops + 1)
    return std::nullopt;
  for (auto [i, factor] : llvm::enumerate(flat))
    if (factor != 0 && i != element && i != tap)
      return std::nullopt;
  if (flat[element] < 1 || flat[tap] < 1)
    return std::nullopt;
  return std::pair(flat[element], flat[tap]);
}

std::optional<Convolution> mlir::megactx::convolutionOf(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      !addsProducts(op))
    return std::nullopt;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  ArrayRef<AffineExpr> data = maps[0].getResults(),
                       kernel = maps[1].getResults(),
                       out = maps[2].getResults();
  // A reduction over the channels and a tap for each axis.
  unsigned numLoops = op.getNumLoops(), channel = out.size();
  int axes = int(numLoops) - int(channel) - 1, outer = int(channel) - axes;
  Convolution found;
  found.hasGroups = outer == 3;
  if (axes < 1 || axes > 3 || (outer != 2 && outer != 3) ||
      data.size() != channel || kernel.size() != channel || !areDims(out, 0) ||
      op.getNumParallelLoops() != channel)
    return std::nullopt;
  unsigned filter = outer - 1;
  found.isTransposed = isDim(kernel[filter], filter);
  unsigned from = found.hasGroups;
  if (!areDims(data.take_front(filter), 0) || !isDim(data[filter], channel) ||
      (from && !isDim(kernel[0], 1)) ||
      !isDim(kernel[from], found.isTransposed ? channel : filter) ||
      !isDim(kernel[from + 1], found.isTransposed ? filter : channel) ||
      !areDims(kernel.drop_front(from + 2), channel + 1))
    return std::nullopt;
  for (int axis = 0; axis < axes; ++axis) {
    auto factors = factorsOf(data[outer + axis], outer + axis,
                             channel + 1 + axis, numLoops);
    if (!factors)
      return std::nullopt;
    found.strides.push_back(factors->first);
    found.dilations.push_back(factors->second);
  }
  return found;
}
