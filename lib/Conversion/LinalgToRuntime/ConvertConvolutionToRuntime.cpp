//===- ConvertConvolutionToRuntime.cpp - convolutions as calls ------------===//

#include "../LinalgLoops/LinalgLoops.h"
#include "RuntimeFunction.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/MegaCtx/IR/Convolution.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTCONVOLUTIONTORUNTIMEPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
/// Whether groups and their channels are one dim in memory.
bool haveJointGroups(linalg::GenericOp op) {
  return llvm::all_of(op->getOperands(), [](Value operand) {
    return cast<MemRefType>(operand.getType()).getLayout().isIdentity();
  });
}

/// Whether the runtime has a function for the data's type: data and kernel of
/// one, sums in f32.
bool haveTypes(linalg::GenericOp op) {
  auto types = llvm::map_to_vector(op->getOperandTypes(), [](Type type) {
    return getElementTypeOrSelf(type);
  });
  return types.size() == 3 && types[0] == types[1] && types[2].isF32() &&
         (types[0].isF32() || types[0].isF16() || types[0].isBF16());
}

/// Whether each channel has a kernel of its own, which it meets step by step
/// along the last axis: loops over that are faster than what a library takes to
/// bring channels together.
bool isOfSingleChannels(linalg::GenericOp op, const Convolution &convolution) {
  auto kernel = cast<MemRefType>(op.getDpsInputs()[1].getType());
  return convolution.hasGroups && !convolution.isTransposed &&
         convolution.strides.back() == 1 && kernel.getDimSize(2) == 1;
}

/// With the loop over the last axis innermost.
void runAlongLastAxis(linalg::GenericOp op, unsigned axes) {
  IRRewriter rewriter(op);
  // Entry, group, filter, axes, channel, the kernel's axes.
  unsigned last = 2 + axes;
  SmallVector<unsigned> order;
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    if (loop != last)
      order.push_back(loop);
  order.push_back(last);
  [[maybe_unused]] auto done =
      linalg::interchangeGenericOp(rewriter, op, order);
  assert(succeeded(done) && "the loops of a convolution are its own");
}

struct ConvertConvolutionToRuntime
    : impl::ConvertConvolutionToRuntimePassBase<ConvertConvolutionToRuntime> {
  void runOnOperation() override {
    SmallVector<std::pair<linalg::GenericOp, Convolution>> found;
    getOperation().walk([&](linalg::GenericOp op) {
      if (!op.hasPureBufferSemantics() || !haveTypes(op))
        return;
      auto convolution = convolutionOf(op);
      if (convolution && (!convolution->hasGroups || haveJointGroups(op)))
        found.push_back({op, *convolution});
    });
    for (auto &[op, convolution] : found) {
      if (isOfSingleChannels(op, convolution))
        runAlongLastAxis(op, convolution.getNumAxes());
      else
        convert(op, convolution);
    }
    SmallVector<ConvolutionOp> last;
    getOperation().walk([&](ConvolutionOp op) { last.push_back(op); });
    for (ConvolutionOp op : last)
      convert(op);
  }

  void convert(linalg::GenericOp op, const Convolution &convolution) {
    // The runtime overwrites. What adds to what is there is left to loops.
    linalg::FillOp fill = fillBefore(op, op.getDpsInitsMutable()[0]);
    if (!fill || !matchPattern(fill.value(), m_AnyZeroFloat()))
      return;
    fill.erase();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> operands = {op.getDpsInputs()[0], op.getDpsInputs()[1],
                                   op.getDpsInits()[0]};
    if (convolution.isTransposed)
      operands[1] = withFiltersFirst(b, operands[1], convolution.hasGroups);
    std::string name = "mctx_rt_convolution_";
    llvm::raw_string_ostream(name) << getElementTypeOrSelf(operands[0]);
    call(b, name, operands, convolution.getNumAxes(),
         {convolution.strides, convolution.dilations});
    op.erase();
  }

  void convert(ConvolutionOp op) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    SmallVector<Value> operands = {op.getData(), op.getKernel(), op.getOut()};
    call(b, "mctx_rt_convolution_last_f32", operands, op.getPads().size(),
         {op.getStrides(), op.getDilations(), op.getPads()}, op.getGroups());
    op.erase();
  }

  /// Calls a function of memrefs, numbers, and lists of one for each axis.
  void call(ImplicitLocOpBuilder &b, StringRef name,
            SmallVector<Value> &operands, int64_t axes,
            ArrayRef<ArrayRef<int64_t>> lists,
            std::optional<int64_t> groups = {}) {
    for (Value &operand : operands) {
      Type own = getElementTypeOrSelf(operand.getType());
      operand = memref::CastOp::create(
          b, UnrankedMemRefType::get(own, Attribute()), operand);
    }
    auto pass = [&](int64_t number) {
      operands.push_back(arith::ConstantIntOp::create(b, number, 64));
    };
    if (groups)
      pass(*groups);
    pass(axes);
    for (ArrayRef<int64_t> list : lists)
      for (unsigned axis = 0; axis < 3; ++axis)
        pass(axis < list.size() ? list[axis] : 1);
    func::FuncOp function =
        runtimeFunction(getOperation(), name, TypeRange(operands));
    func::CallOp::create(b, function, operands);
    ++numConvolutions;
  }

  Value withFiltersFirst(ImplicitLocOpBuilder &b, Value kernel,
                         bool hasGroups) {
    unsigned rank = cast<MemRefType>(kernel.getType()).getRank();
    SmallVector<AffineExpr> dims;
    for (unsigned i = 0; i < rank; ++i)
      dims.push_back(b.getAffineDimExpr(i));
    std::swap(dims[hasGroups], dims[hasGroups + 1]);
    return memref::TransposeOp::create(
        b, kernel,
        AffineMapAttr::get(AffineMap::get(rank, 0, dims, &getContext())));
  }
};
} // namespace
} // namespace mlir::megactx
