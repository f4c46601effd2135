//===- FuseGradients.cpp - from links of gradients to kernels -------------===//

#include "FuseGradients.h"
#include "PieceGroups.h"
#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::megactx;
using Link = OnlineAttentionBackwardOp;

bool mlir::megactx::isFilledWith(Value value, float wanted) {
  auto fill = value.getDefiningOp<linalg::FillOp>();
  FloatAttr scalar;
  return fill && matchPattern(fill.getInputs()[0], m_Constant(&scalar)) &&
         scalar.getType().isF32() &&
         scalar.getValue().convertToFloat() == wanted;
}

/// The link that alone goes on from all sums of queries of this one, and, where
/// it is of the same keys, from their sums; null where there is none.
static Link nextOf(Link link) {
  if (!link.getResult(0).hasOneUse())
    return {};
  auto next = dyn_cast<Link>(*link.getResult(0).getUsers().begin());
  if (!next || next.getDq() != link.getResult(0))
    return {};
  bool sameKeys = next.getDk() == link.getResult(1);
  if (sameKeys != (next.getDv() == link.getResult(2)))
    return {};
  auto goesOn = [&](Value sum) { return sum.hasOneUse(); };
  if (sameKeys && !llvm::all_of(link->getResults().drop_front(), goesOn))
    return {};
  return next;
}

SmallVector<GradientLinks> mlir::megactx::gradientChains(Operation *root) {
  SmallVector<GradientLinks> chains;
  root->walk([&](Link first) {
    if (!first.hasPureTensorSemantics() || first.getDq().getDefiningOp<Link>())
      return;
    GradientLinks &links = chains.emplace_back();
    for (Link link = first; link; link = nextOf(link))
      links.push_back(link);
  });
  return chains;
}

/// One kernel's worth of what the links of a group add to sums.
template <typename Op, typename... Sums>
static Op createFused(RewriterBase &rewriter, const PieceGroup &group,
                      Sums... sums) {
  auto link = cast<Link>(*group.first);
  return Op::create(
      rewriter, link.getLoc(), TypeRange{sums.getType()...}, link.getQuery(),
      link.getKey(), link.getValue(), link.getBiases(), link.getLengths(),
      link.getSegmentBounds(), link.getQueryOffset(), link.getKeyOffset(),
      link.getQueryPositions(), link.getKeyPositions(), link.getLse(),
      link.getDelta(), link.getDout(), sums..., group.piecesAttr(),
      link.getScaleAttr(), link.getSoftcapAttr(), link.getQueryStepAttr(),
      link.getKeyStepAttr());
}

static SmallVector<PieceGroup> groupLinks(ArrayRef<Link> links, Side side) {
  return groupPieces(
      SmallVector<AttentionLinkInterface>(links.begin(), links.end()), side);
}

/// The fused gradients of queries: sums of all links.
static unsigned fuseQueries(const GradientLinks &links,
                            RewriterBase &rewriter) {
  rewriter.setInsertionPoint(links.back());
  Link first = links.front(), last = links.back();
  Value dq = first.getDq();
  SmallVector<PieceGroup> groups = groupLinks(links, Side::Queries);
  for (const PieceGroup &group : groups)
    dq = createFused<FusedQueryGradientOp>(rewriter, group, dq).getResult(0);
  rewriter.replaceAllUsesWith(last.getResult(0), dq);
  return groups.size();
}

/// The fused gradients of keys and values: sums of links of the same ones.
static unsigned fuseKeys(ArrayRef<Link> links, RewriterBase &rewriter) {
  rewriter.setInsertionPoint(links.back());
  Link first = links.front(), last = links.back();
  Value dk = first.getDk(), dv = first.getDv();
  SmallVector<PieceGroup> groups = groupLinks(links, Side::Keys);
  for (const PieceGroup &group : groups) {
    auto fused = createFused<FusedKeyGradientOp>(rewriter, group, dk, dv);
    dk = fused.getResult(0);
    dv = fused.getResult(1);
  }
  rewriter.replaceAllUsesWith(last.getResult(1), dk);
  rewriter.replaceAllUsesWith(last.getResult(2), dv);
  return groups.size();
}

namespace {
/// The fused gradients of one bias: sums of links of the same keys.
class BiasGradient {
public:
  BiasGradient(ArrayRef<Link> links, unsigned number, int64_t parts,
               RewriterBase &rewriter)
      : parts(parts), groups(groupLinks(links, Side::Queries)),
        init(Link(links.front()).getDbiases()[number]),
        sum(Link(links.back()).getResult(3 + number)),
        b(sum.getLoc(), rewriter), rewriter(rewriter) {
    b.setInsertionPoint(links.back());
    rewriter.setInsertionPoint(links.back());
  }

  unsigned fuse();

private:
  DiagonalSumsOp diagonals();
  Value fused(Value parts);
  Value inPlace(Value init);
  Value sumOfParts(Value init);

  int64_t parts;
  SmallVector<PieceGroup> groups;
  Value init, sum;
  Emitter b;
  RewriterBase &rewriter;
};
} // namespace

/// The op that alone reads the sum, which starts from zero; null where there is
/// none.
DiagonalSumsOp BiasGradient::diagonals() {
  Value value = sum;
  while (value.hasOneUse()) {
    Operation *user = *value.getUsers().begin();
    if (auto sums = dyn_cast<DiagonalSumsOp>(user))
      return isFilledWith(init, 0.0f) ? sums : nullptr;
    if (!isa<tensor::CastOp>(user))
      return {};
    value = user->getResult(0);
  }
  return {};
}

Value BiasGradient::fused(Value parts) {
  for (const PieceGroup &group : groups)
    parts =
        createFused<FusedBiasGradientOp>(rewriter, group, parts).getResult(0);
  return parts;
}

/// All sums are added to `init`.
Value BiasGradient::inPlace(Value init) {
  auto type = cast<RankedTensorType>(init.getType());
  SmallVector<ReassociationIndices> dims = {{0, 1}};
  for (int64_t i = 2; i <= type.getRank(); ++i)
    dims.push_back({i});
  SmallVector<int64_t> shape(type.getShape());
  shape.insert(shape.begin(), 1);
  Value parts = tensor::ExpandShapeOp::create(
      b, RankedTensorType::get(shape, type.getElementType()), init, dims);
  return tensor::CollapseShapeOp::create(b, type, fused(parts), dims);
}

/// The sum of as many parts as are made at the same time, added to `init`.
Value BiasGradient::sumOfParts(Value init) {
  if (parts == 1)
    return inPlace(init);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), init);
  SmallVector<int64_t> all = llvm::to_vector(llvm::seq<int64_t>(
                           0, static_cast<int64_t>(sizes.size()) + 1)),
                       own(llvm::drop_begin(all));
  sizes.insert(sizes.begin(), b.getIndexAttr(parts));
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  return emitGeneric(b, fused(b.filled(sizes, zero)), init, {all, own},
                     [](Emitter &in, ValueRange x) -> Value {
                       return arith::AddFOp::create(in, x[1], x[0]);
                     });
}

unsigned BiasGradient::fuse() {
  if (sum.use_empty())
    return 0;
  auto type = cast<RankedTensorType>(init.getType());
  if (DiagonalSumsOp sums = diagonals()) {
    sums.getMatrixMutable().assign(init);
    Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
    Value table = sumOfParts(b.filled(sums.sizes(b), zero));
    if (table.getType() != sums.getType())
      table = tensor::CastOp::create(b, sums.getType(), table);
    rewriter.replaceOp(sums, table);
    return groups.size();
  }
  // Where queries have elements of their own, their sums are one task's.
  bool isPerKey = type.getDimSize(2) == 1;
  rewriter.replaceAllUsesWith(sum, isPerKey ? sumOfParts(init) : inPlace(init));
  return groups.size();
}

unsigned mlir::megactx::fuseGradients(const GradientLinks &links,
                                      int64_t biasParts,
                                      RewriterBase &rewriter) {
  unsigned count = 0;
  for (auto begin = links.begin(); begin != links.end();) {
    auto end = std::next(begin);
    while (end != links.end() &&
           Link(*end).getDk() == Link(*std::prev(end)).getResult(1))
      ++end;
    ArrayRef<Link> ofKeys(begin, end);
    count += fuseKeys(ofKeys, rewriter);
    for (unsigned i = 0; i < Link(*begin).getDbiases().size(); ++i)
      count += BiasGradient(ofKeys, i, biasParts, rewriter).fuse();
    begin = end;
  }
  count += fuseQueries(links, rewriter);
  for (Link link : llvm::reverse(links))
    rewriter.eraseOp(link);
  return count;
}
