//===- Product.cpp - products with epilogues ------------------------------===//

#include "Checks.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlir::megactx;

/// The maps of lhs, rhs and out in loops (b, m, n, k).
static SmallVector<AffineMap> contractionMaps(MLIRContext *context) {
  auto map = [&](ArrayRef<unsigned> loops) {
    return AffineMap::getMultiDimMapWithTargets(4, loops, context);
  };
  return {map({0, 1, 3}), map({0, 3, 2}), map({0, 1, 2})};
}

/// Whether it is a contraction of these shapes, of whatever types.
static bool isContraction(linalg::GenericOp op) {
  return op.getNumDpsInputs() == 2 && op.getNumDpsInits() == 1 &&
         op.getNumLoops() == 4 && linalg::isaContractionOpInterface(op) &&
         op.getIndexingMapsArray() == contractionMaps(op.getContext()) &&
         llvm::all_of(op->getOperandTypes(), llvm::IsaPred<ShapedType>);
}

bool ProductOp::isProduct(linalg::GenericOp op) {
  if (!isContraction(op))
    return false;
  Type element = getElementTypeOrSelf(op.getDpsInits()[0]);
  return isStorage(element) && llvm::all_of(op->getOperandTypes(), [&](Type t) {
           return getElementTypeOrSelf(t) == element;
         });
}

/// Whether the body reads the argument as a number with a sign.
static bool isRead(BlockArgument argument, bool asSigned) {
  return llvm::all_of(argument.getUsers(), [&](Operation *user) {
    // Unsigned types are read as bits.
    if (auto bits = dyn_cast<UnrealizedConversionCastOp>(user))
      return llvm::all_of(bits->getUsers(), llvm::IsaPred<arith::ExtUIOp>) &&
             !asSigned;
    return asSigned ? isa<arith::ExtSIOp>(user) : isa<arith::ExtUIOp>(user);
  });
}

bool ProductOp::isIntegerProduct(linalg::GenericOp op) {
  if (!isContraction(op) ||
      !getElementTypeOrSelf(op.getDpsInits()[0]).isSignlessInteger(32))
    return false;
  auto isOfBytes = [&](unsigned i) {
    return getElementTypeOrSelf(op.getDpsInputs()[i]).isInteger(8);
  };
  BlockArgument lhs = op.getRegionInputArgs()[0],
                rhs = op.getRegionInputArgs()[1];
  return isOfBytes(0) && isOfBytes(1) && isRead(rhs, /*asSigned=*/true) &&
         isRead(lhs, /*asSigned=*/false);
}

MutableOperandRange ProductOp::getDpsInitsMutable() { return getOutMutable(); }

void ProductOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  addDestinationEffects(getOperation(), /*readsInits=*/false, effects);
}

LogicalResult ProductOp::verify() {
  ShapedType lhs = typeOf(getLhs()), rhs = typeOf(getRhs()),
             out = typeOf(getOut());
  bool onTensors = isa<RankedTensorType>(out);
  for (Value operand : getOperands()) {
    ShapedType type = typeOf(operand);
    if (failed(checkForm(*this, type, out)))
      return failure();
    if (!isStorage(type.getElementType()) ||
        type.getElementType() != out.getElementType())
      return emitOpError("expected one element type out of f32, f16 and bf16, "
                         "but got ")
             << type.getElementType() << " and " << out.getElementType();
    if (failed(checkRank(*this, operand == getBias() ? "bias" : "operand", type,
                         operand == getBias() ? 1 : 3)))
      return failure();
  }
  if (failed(checkDim(*this, "lhs", lhs, 0, out, 0, "out")) ||
      failed(checkDim(*this, "lhs", lhs, 1, out, 1, "out")) ||
      failed(checkDim(*this, "rhs", rhs, 0, out, 0, "out")) ||
      failed(checkDim(*this, "rhs", rhs, 2, out, 2, "out")) ||
      failed(checkDim(*this, "rhs", rhs, 1, lhs, 2, "lhs")))
    return failure();
  if (lhs.isDynamicDim(2) || lhs.getDimSize(2) == 0)
    return emitOpError("expected lhs dim 2 to be static and not 0");
  if (getBias() &&
      failed(checkDim(*this, "bias", typeOf(getBias()), 0, out, 2, "out")))
    return failure();
  for (unsigned i : {0, 1, 2})
    if (getResidual() &&
        failed(checkDim(*this, "residual", typeOf(getResidual()), i, out, i,
                        "out")))
      return failure();
  if (getNumResults() != (onTensors ? 1u : 0u))
    return emitOpError("expected one result on tensors, none on memrefs");
  if (onTensors && getResultTypes()[0] != out)
    return emitOpError("expected the result to have out's type, but got ")
           << getResultTypes()[0] << " vs " << out;
  return success();
}

//===----------------------------------------------------------------------===//
// As linalg
//===----------------------------------------------------------------------===//

/// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
static Value geluTanh(ImplicitLocOpBuilder &b, Value x) {
  auto constant = [&](double value) {
    return arith::ConstantOp::create(b, b.getFloatAttr(x.getType(), value));
  };
  Value square = arith::MulFOp::create(b, x, x);
  Value cubic = arith::MulFOp::create(b, square, constant(0.044715));
  Value factor = arith::AddFOp::create(b, cubic, constant(1.0));
  Value inner = arith::MulFOp::create(b, x, factor);
  inner = arith::MulFOp::create(b, inner, constant(0.7978845608028654));
  Value tanh = math::TanhOp::create(b, inner);
  Value half = arith::MulFOp::create(b, x, constant(0.5));
  return arith::MulFOp::create(b, half,
                               arith::AddFOp::create(b, tanh, constant(1.0)));
}

static Value activate(ImplicitLocOpBuilder &b, Activation activation, Value x) {
  switch (activation) {
  case Activation::None:
    return x;
  case Activation::Relu: {
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(x.getType()));
    return arith::MaximumFOp::create(b, x, zero);
  }
  case Activation::GeluTanh:
    return geluTanh(b, x);
  }
  llvm_unreachable("all activations are handled");
}

/// The product alone, onto zeros. On memrefs what is returned is the
/// destination.
static Value contract(ImplicitLocOpBuilder &b, ProductOp op) {
  Type element = getElementTypeOrSelf(op.getOut());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(element));
  auto fill = linalg::FillOp::create(b, op.getResultTypes(), zero, op.getOut());
  Value start = op->getNumResults() ? fill.getResult(0) : op.getOut();
  using utils::IteratorType;
  SmallVector<IteratorType> loops(3, IteratorType::parallel);
  loops.push_back(IteratorType::reduction);
  auto product = linalg::GenericOp::create(
      b, op.getResultTypes(), ValueRange{op.getLhs(), op.getRhs()},
      ValueRange{start}, contractionMaps(op.getContext()), loops,
      [](OpBuilder &b, Location loc, ValueRange args) {
        Value term = arith::MulFOp::create(b, loc, args[0], args[1]);
        Value sum = arith::AddFOp::create(b, loc, args[2], term);
        linalg::YieldOp::create(b, loc, sum);
      });
  return op->getNumResults() ? product.getResult(0) : op.getOut();
}

FailureOr<SmallVector<Value>> ProductOp::decomposeOperation(OpBuilder &within) {
  ImplicitLocOpBuilder b(getLoc(), within);
  Value product = contract(b, *this);
  SmallVector<Value> inputs;
  auto identity = b.getMultiDimIdentityMap(3);
  SmallVector<AffineMap> maps;
  if (getBias()) {
    inputs.push_back(getBias());
    maps.push_back(AffineMap::get(3, 0, b.getAffineDimExpr(2)));
  }
  if (getResidual()) {
    inputs.push_back(getResidual());
    maps.push_back(identity);
  }
  maps.push_back(identity);
  auto map = linalg::GenericOp::create(
      b, getResultTypes(), inputs, ValueRange{product}, maps,
      SmallVector<utils::IteratorType>(3, utils::IteratorType::parallel),
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder in(loc, nested);
        Value x = args.back();
        for (Value term : args.drop_back())
          x = arith::AddFOp::create(in, x, term);
        linalg::YieldOp::create(in, activate(in, getActivation(), x));
      });
  within.restoreInsertionPoint(b.saveInsertionPoint());
  return SmallVector<Value>(map.getResults());
}
