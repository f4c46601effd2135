//===- AttentionShape.cpp - what one attention kernel computes ------------===//

#include "AttentionShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::megactx;

static KernelResult resultOf(AttentionLinkInterface op) {
  if (isa<FusedQueryGradientOp>(*op))
    return KernelResult::QueryGradient;
  if (isa<FusedKeyGradientOp>(*op))
    return KernelResult::KeyGradient;
  if (isa<FusedBiasGradientOp>(*op))
    return KernelResult::BiasGradient;
  return KernelResult::Attention;
}

FailureOr<AttentionShape> AttentionShape::of(AttentionLinkInterface op) {
  auto query = dyn_cast<MemRefType>(op.getQuery().getType());
  auto value = dyn_cast<MemRefType>(op.getValue().getType());
  if (!query || !value)
    return op.emitOpError("expected memrefs; bufferize first");
  if (query.isDynamicDim(3) || value.isDynamicDim(3))
    return op.emitOpError("expected static head dims, but got ")
           << query << " and " << value;
  AttentionShape shape;
  shape.result = resultOf(op);
  shape.pieces = op.getPieceList();
  shape.element = query.getElementType();
  shape.headDim = query.getDimSize(3);
  shape.valueDim = value.getDimSize(3);
  shape.scale = op.getScale().convertToFloat();
  if (op.getSoftcap())
    shape.softcap = op.getSoftcap()->convertToFloat();
  shape.queryStep = op.getQueryStep();
  shape.keyStep = op.getKeyStep();
  for (Value bias : op.getBiases())
    shape.biasPerKey.push_back(cast<MemRefType>(bias.getType()).getDimSize(2) ==
                               1);
  shape.hasLengths = bool(op.getLengths());
  shape.hasSegments = bool(op.getSegmentBounds());
  shape.offsetPerBatch =
      op.getQueryOffset() && isa<MemRefType>(op.getQueryOffset().getType());
  shape.hasQueryPositions = bool(op.getQueryPositions());
  shape.hasKeyPositions = bool(op.getKeyPositions());
  if (auto ofBias = dyn_cast<FusedBiasGradientOp>(*op)) {
    auto sums = cast<MemRefType>(ofBias.getDbias().getType());
    shape.sumsDistances = sums.getRank() == 4;
    shape.sumsQueries = !shape.sumsDistances && sums.getDimSize(3) == 1;
  }
  auto attention = dyn_cast<FusedAttentionOp>(*op);
  shape.accumulate = !attention || attention.getAccumulate();
  return shape;
}

bool AttentionShape::hasTest() const {
  return llvm::any_of(
      pieces, [](const pattern::Piece &piece) { return bool(piece.test); });
}

bool AttentionShape::dependsOnHead() const {
  auto usesHead = [](const pattern::Expr &expr) {
    return expr.uses(pattern::Expr::Kind::Head);
  };
  return llvm::any_of(pieces, [&](const pattern::Piece &piece) {
    return usesHead(piece.heads) || usesHead(piece.test) ||
           llvm::any_of(piece.lo, usesHead) || llvm::any_of(piece.hi, usesHead);
  });
}

std::string AttentionShape::key() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << static_cast<int>(result) << ' ' << element << ' ' << headDim << ' '
     << valueDim << ' ' << scale << ' ' << softcap.value_or(0) << ' '
     << queryStep << ' ' << keyStep << ' ' << hasLengths << hasSegments
     << offsetPerBatch << accumulate << hasQueryPositions << hasKeyPositions
     << sumsDistances << sumsQueries;
  for (bool perKey : biasPerKey)
    os << (perKey ? " key" : " row");
  for (const pattern::Piece &piece : pieces)
    os << " | " << piece.str();
  return text;
}

MemRefType mlir::megactx::stridedType(ArrayRef<int64_t> dims, Type element,
                                      bool unitLast) {
  constexpr int64_t any = ShapedType::kDynamic;
  SmallVector<int64_t> strides(dims.size(), any);
  if (unitLast)
    strides.back() = 1;
  return MemRefType::get(
      dims, element,
      StridedLayoutAttr::get(element.getContext(), any, strides));
}

SmallVector<Type> mlir::megactx::kernelArguments(MLIRContext *context,
                                                 const AttentionShape &shape) {
  constexpr int64_t any = ShapedType::kDynamic;
  Type f32 = Float32Type::get(context), index = IndexType::get(context);
  Type q = stridedType({any, any, any, shape.headDim}, shape.element, true);
  Type v = stridedType({any, any, any, shape.valueDim}, shape.element, true);
  SmallVector<Type> types = {q, q, v};
  types.append(shape.biasPerKey.size(),
               stridedType({any, any, any, any}, f32, false));
  if (shape.hasLengths)
    types.push_back(stridedType({any}, index, false));
  if (shape.hasSegments)
    types.push_back(stridedType({any, any, any}, index, false));
  types.push_back(KernelArguments::typeOfQueryOffset(context, shape));
  types.push_back(index);
  types.append(shape.hasQueryPositions + shape.hasKeyPositions,
               stridedType({any, any}, index, false));
  Type perRow = stridedType({any, any, any}, f32, true);
  auto sum = [&](int64_t dim) {
    return stridedType({any, any, any, dim}, f32, true);
  };
  if (shape.result == KernelResult::Attention) {
    types.append({v, perRow});
    return types;
  }
  types.append({perRow, perRow, v});
  if (shape.result == KernelResult::BiasGradient) {
    SmallVector<int64_t> dims(shape.sumsDistances ? 4 : 5, any);
    types.push_back(stridedType(dims, f32, /*unitLast=*/false));
    return types;
  }
  types.push_back(sum(shape.headDim));
  if (shape.result == KernelResult::KeyGradient)
    types.push_back(sum(shape.valueDim));
  return types;
}

FailureOr<SmallVector<Value>>
mlir::megactx::kernelOperands(ImplicitLocOpBuilder &b,
                              AttentionLinkInterface op,
                              const AttentionShape &shape) {
  SmallVector<Value> operands = {op.getQuery(), op.getKey(), op.getValue()};
  llvm::append_range(operands, op.getBiases());
  if (op.getLengths())
    operands.push_back(op.getLengths());
  if (op.getSegmentBounds())
    operands.push_back(op.getSegmentBounds());
  auto orZero = [&](Value offset) -> Value {
    return offset ? offset : arith::ConstantIndexOp::create(b, 0);
  };
  operands.append({orZero(op.getQueryOffset()), orZero(op.getKeyOffset())});
  for (Value positions : {op.getQueryPositions(), op.getKeyPositions()})
    if (positions)
      operands.push_back(positions);
  llvm::append_range(operands, op.getOwnOperands());
  SmallVector<Type> types = kernelArguments(b.getContext(), shape);
  for (auto [operand, type] : llvm::zip(operands, types)) {
    if (operand.getType() == type)
      continue;
    auto isUnit = [](Type memory) {
      return cast<MemRefType>(memory).getStridesAndOffset().first.back() == 1;
    };
    bool wantsUnit = isa<MemRefType>(type) && isUnit(type);
    if (!memref::CastOp::areCastCompatible(operand.getType(), type) ||
        (wantsUnit && !isUnit(operand.getType())))
      return op.emitOpError("expected rows of unit stride, but got ")
             << operand.getType();
    operand = memref::CastOp::create(b, type, operand);
  }
  return operands;
}

Type KernelArguments::typeOfQueryOffset(MLIRContext *context,
                                        const AttentionShape &shape) {
  Type index = IndexType::get(context);
  return shape.offsetPerBatch
             ? Type(stridedType({ShapedType::kDynamic}, index, false))
             : index;
}

KernelArguments::KernelArguments(ValueRange arguments,
                                 const AttentionShape &shape) {
  auto next = [&, at = 0u]() mutable { return arguments[at++]; };
  query = next();
  key = next();
  value = next();
  for ([[maybe_unused]] bool perKey : shape.biasPerKey)
    biases.push_back(next());
  if (shape.hasLengths)
    lengths = next();
  if (shape.hasSegments)
    segmentBounds = next();
  queryOffset = next();
  keyOffset = next();
  if (shape.hasQueryPositions)
    queryPositions = next();
  if (shape.hasKeyPositions)
    keyPositions = next();
  if (shape.result == KernelResult::Attention) {
    out = next();
    lse = next();
    return;
  }
  lse = next();
  delta = next();
  dout = next();
  if (shape.result == KernelResult::QueryGradient) {
    dq = next();
    return;
  }
  if (shape.result == KernelResult::BiasGradient) {
    dbias = next();
    return;
  }
  dk = next();
  dv = next();
}
