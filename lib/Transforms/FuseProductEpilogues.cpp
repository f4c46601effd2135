//===- FuseProductEpilogues.cpp - what follows products, as part of them --===//

#include "ActivatedSum.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_FUSEPRODUCTEPILOGUESPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// A product, and what of the ops behind it is its epilogue.
struct Epilogue {
  Value bias, residual; ///< as the ops behind the product have them
  /// Whether the residual has another shape than the product, which then is one
  /// matrix.
  bool reshapesResidual = false;
  Activation activation = Activation::None;
  Value result;                            ///< of the last op
  SmallVector<Operation *> reshapes, path; ///< ops behind the product
  /// Whether the last op's element type is f32, the product's is not.
  bool isWide = false;
};

/// One product with the longest epilogue that is found.
class Fusion {
public:
  /// Of linalg's product or of one with an epilogue.
  explicit Fusion(Operation *product);

  /// Whether there is an epilogue.
  bool find();
  ProductOp build();

private:
  std::optional<Epilogue> next(const Epilogue &before);
  std::optional<Epilogue> afterReshape(Epilogue epilogue, Operation *reshape);
  std::optional<Epilogue> afterMap(Epilogue epilogue, linalg::GenericOp map,
                                   OpOperand &use);
  bool addTerm(Epilogue &epilogue, linalg::GenericOp map, OpOperand &term);
  bool takesBias(linalg::GenericOp map, OpOperand &term);
  bool takesActivation(Activation activation) const;
  Value narrow(Value value);
  Value asVector(ImplicitLocOpBuilder &b, Value bias);
  Value asMatrix(ImplicitLocOpBuilder &b, Value residual);

  Operation *product;
  RankedTensorType type;
  Value init;
  Epilogue best;
};
} // namespace

/// The tensor that zeros are written to; null where a product starts from
/// others.
static Value emptyOf(linalg::GenericOp product) {
  auto fill = product.getDpsInits()[0].getDefiningOp<linalg::FillOp>();
  return fill && matchPattern(fill.value(), m_AnyZeroFloat())
             ? fill.getOutputs()[0]
             : Value();
}

/// Whether the last dim is one by itself on both sides.
template <typename Reshape> static bool keepsLastDim(Reshape reshape) {
  auto groups = reshape.getReassociationIndices();
  return !groups.empty() && groups.back().size() == 1;
}

Fusion::Fusion(Operation *product)
    : product(product),
      type(cast<RankedTensorType>(product->getResultTypes()[0])) {
  best.result = product->getResult(0);
  if (auto known = dyn_cast<ProductOp>(product)) {
    best.bias = known.getBias();
    best.residual = known.getResidual();
    best.activation = known.getActivation();
    init = known.getOut();
  } else {
    init = emptyOf(cast<linalg::GenericOp>(product));
  }
}

bool Fusion::find() {
  auto lhs = cast<RankedTensorType>(product->getOperand(0).getType());
  if (!init || lhs.isDynamicDim(2) || lhs.getDimSize(2) == 0)
    return false;
  for (std::optional<Epilogue> epilogue = next(best); epilogue;
       epilogue = next(*epilogue))
    // What ends in a reshape or in f32 is no end.
    if (!epilogue->isWide &&
        isa<linalg::GenericOp>(epilogue->result.getDefiningOp()))
      best = *epilogue;
  return !best.path.empty();
}

std::optional<Epilogue> Fusion::next(const Epilogue &before) {
  if (!before.result.hasOneUse())
    return std::nullopt;
  OpOperand &use = *before.result.use_begin();
  Operation *user = use.getOwner();
  // A product must not move into a loop.
  if (user->getBlock() != product->getBlock())
    return std::nullopt;
  Epilogue epilogue = before;
  epilogue.path.push_back(user);
  if (auto map = dyn_cast<linalg::GenericOp>(user))
    return afterMap(std::move(epilogue), map, use);
  return afterReshape(std::move(epilogue), user);
}

std::optional<Epilogue> Fusion::afterReshape(Epilogue epilogue,
                                             Operation *reshape) {
  auto expand = dyn_cast<tensor::ExpandShapeOp>(reshape);
  auto collapse = dyn_cast<tensor::CollapseShapeOp>(reshape);
  if (epilogue.isWide ||
      !(expand ? keepsLastDim(expand) : collapse && keepsLastDim(collapse)))
    return std::nullopt;
  epilogue.reshapes.push_back(reshape);
  epilogue.result = reshape->getResult(0);
  return epilogue;
}

std::optional<Epilogue>
Fusion::afterMap(Epilogue epilogue, linalg::GenericOp map, OpOperand &use) {
  std::optional<ActivatedSum> sum = ActivatedSum::of(map);
  OpOperand *out = map.getDpsInitOperand(0);
  if (!sum || !llvm::is_contained(sum->inputs, use.getOperandNumber()) ||
      !map.getMatchingIndexingMap(&use).isIdentity() ||
      !map.getMatchingIndexingMap(out).isIdentity())
    return std::nullopt;
  bool isCast = sum->inputs.size() == 1 && sum->activation == Activation::None;
  if (!isCast && epilogue.activation != Activation::None)
    return std::nullopt;
  Type element = getElementTypeOrSelf(map.getResultTypes()[0]);
  epilogue.isWide = element != type.getElementType();
  if (epilogue.isWide && !element.isF32())
    return std::nullopt;
  for (unsigned number : sum->inputs) {
    OpOperand &term = map->getOpOperand(number);
    if (&term != &use && !addTerm(epilogue, map, term))
      return std::nullopt;
  }
  if (sum->activation != Activation::None) {
    if (!takesActivation(sum->activation))
      return std::nullopt;
    epilogue.activation = sum->activation;
  }
  epilogue.result = map.getResult(0);
  return epilogue;
}

bool Fusion::addTerm(Epilogue &epilogue, linalg::GenericOp map,
                     OpOperand &term) {
  // Scalars are no tensors.
  Value value = isa<RankedTensorType>(term.get().getType()) ? narrow(term.get())
                                                            : Value();
  if (!value)
    return false;
  if (!epilogue.bias && takesBias(map, term)) {
    epilogue.bias = value;
    return true;
  }
  // The rows of a batch are those of one matrix, however they are shaped.
  bool isMatrix = type.getDimSize(0) == 1 && map.getNumLoops() >= 2;
  epilogue.reshapesResidual = !epilogue.reshapes.empty();
  if (epilogue.residual || !map.getMatchingIndexingMap(&term).isIdentity() ||
      (epilogue.reshapesResidual && !isMatrix))
    return false;
  epilogue.residual = value;
  return true;
}

/// Whether the term is one row, the same for each of the product's.
bool Fusion::takesBias(linalg::GenericOp map, OpOperand &term) {
  auto row = cast<RankedTensorType>(term.get().getType());
  AffineMap at = map.getMatchingIndexingMap(&term);
  auto lhs = cast<RankedTensorType>(product->getOperand(0).getType());
  // Single columns and terms are as unusual for cuBLASLt as they are here:
  // PyTorch does not ask it for them either.
  return type.getDimSize(0) == 1 && type.getDimSize(2) > 1 &&
         lhs.getDimSize(2) > 1 && row.getRank() > 0 &&
         row.getShape().back() == type.getDimSize(2) &&
         llvm::all_of(row.getShape().drop_back(),
                      [](int64_t size) { return size == 1; }) &&
         at.getResults().back() ==
             getAffineDimExpr(map.getNumLoops() - 1, map.getContext());
}

/// cuBLASLt's GELU is documented by its formula, not by an error: in f32 it may
/// be less exact than ours is.
bool Fusion::takesActivation(Activation activation) const {
  return activation != Activation::GeluTanh || !type.getElementType().isF32();
}

/// The value in the product's element type, where that is what it was before a
/// cast. Null otherwise.
Value Fusion::narrow(Value value) {
  Type element = type.getElementType();
  if (getElementTypeOrSelf(value) == element)
    return value;
  auto cast = value.getDefiningOp<linalg::GenericOp>();
  if (!cast || cast.getNumDpsInputs() != 1)
    return nullptr;
  std::optional<ActivatedSum> sum = ActivatedSum::of(cast);
  if (!sum || sum->activation != Activation::None ||
      getElementTypeOrSelf(cast.getDpsInputs()[0]) != element ||
      !llvm::all_of(cast.getIndexingMapsArray(),
                    [](AffineMap map) { return map.isIdentity(); }))
    return nullptr;
  return cast.getDpsInputs()[0];
}

/// [1, ..., 1, N] as [N].
Value Fusion::asVector(ImplicitLocOpBuilder &b, Value bias) {
  int64_t rank = cast<RankedTensorType>(bias.getType()).getRank();
  if (rank == 1)
    return bias;
  return tensor::CollapseShapeOp::create(
      b, bias,
      SmallVector<ReassociationIndices>{
          llvm::to_vector(llvm::seq<int64_t>(0, rank))});
}

/// [..., N] as [1, M, N].
Value Fusion::asMatrix(ImplicitLocOpBuilder &b, Value residual) {
  auto given = cast<RankedTensorType>(residual.getType());
  int64_t last = given.getRank() - 1;
  if (last > 1)
    residual = tensor::CollapseShapeOp::create(
        b, residual,
        SmallVector<ReassociationIndices>{
            llvm::to_vector(llvm::seq<int64_t>(0, last)), {last}});
  given = cast<RankedTensorType>(residual.getType());
  SmallVector<OpFoldResult> sizes = {b.getIndexAttr(1),
                                     b.getIndexAttr(given.getDimSize(0)),
                                     b.getIndexAttr(given.getDimSize(1))};
  for (unsigned i : {0, 1})
    if (given.isDynamicDim(i))
      sizes[i + 1] = getValueOrCreateConstantIndexOp(
          b, b.getLoc(), tensor::getMixedSize(b, b.getLoc(), init, i + 1));
  auto shaped = RankedTensorType::get(
      {1, given.getDimSize(0), given.getDimSize(1)}, given.getElementType());
  return tensor::ExpandShapeOp::create(
      b, shaped, residual, SmallVector<ReassociationIndices>{{0, 1}, {2}},
      sizes);
}

ProductOp Fusion::build() {
  ImplicitLocOpBuilder b(product->getLoc(), best.path.back());
  Value bias = best.bias ? asVector(b, best.bias) : Value();
  Value residual =
      best.reshapesResidual ? asMatrix(b, best.residual) : best.residual;
  auto fused = ProductOp::create(b, TypeRange{type}, product->getOperand(0),
                                 product->getOperand(1), bias, residual, init,
                                 best.activation);
  IRMapping map;
  Value before = product->getResult(0), now = fused.getResult(0);
  for (Operation *reshape : best.reshapes) {
    map.map(before, now);
    map.map(reshape->getOperand(0), now);
    now = b.clone(*reshape, map)->getResult(0);
  }
  if (now.getType() != best.result.getType())
    now = tensor::CastOp::create(b, best.result.getType(), now);
  best.result.replaceAllUsesWith(now);
  for (Operation *op : llvm::reverse(best.path))
    op->erase();
  product->erase();
  return fused;
}

namespace {
struct FuseProductEpilogues
    : impl::FuseProductEpiloguesPassBase<FuseProductEpilogues> {
  void runOnOperation() override {
    SmallVector<Operation *> products;
    getOperation()->walk([&](Operation *op) {
      auto map = dyn_cast<linalg::GenericOp>(op);
      bool isProduct = isa<ProductOp>(op) || (map && ProductOp::isProduct(map));
      if (isProduct && op->getNumResults() == 1)
        products.push_back(op);
    });
    for (Operation *product : products) {
      auto known = dyn_cast<ProductOp>(product);
      bool hadBias = known && known.getBias();
      bool hadResidual = known && known.getResidual();
      bool wasActivated = known && known.getActivation() != Activation::None;
      Fusion fusion(product);
      if (!fusion.find())
        continue;
      ProductOp fused = fusion.build();
      numBiases += fused.getBias() && !hadBias;
      numResiduals += fused.getResidual() && !hadResidual;
      numActivations +=
          fused.getActivation() != Activation::None && !wasActivated;
    }
  }
};
} // namespace
} // namespace mlir::megactx
