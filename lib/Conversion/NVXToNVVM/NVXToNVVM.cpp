//===- NVXToNVVM.cpp - nvx, one pattern per op ----------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTNVXTONVVMPASS
#include "megactx/Conversion/Passes.h.inc"

namespace {
constexpr unsigned kShared =
    static_cast<unsigned>(NVVM::NVVMMemorySpace::Shared);

/// The one global that stands for the block's dynamic shared memory.
LLVM::GlobalOp sharedGlobal(OpBuilder &b, Operation *op) {
  Operation *table = SymbolTable::getNearestSymbolTable(op);
  StringRef name = "nvx_shared_memory";
  if (auto global = dyn_cast_or_null<LLVM::GlobalOp>(
          SymbolTable::lookupSymbolIn(table, name)))
    return global;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&table->getRegion(0).front());
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
  return LLVM::GlobalOp::create(b, op->getLoc(), type, /*isConstant=*/false,
                                LLVM::Linkage::External, name, Attribute(),
                                /*alignment=*/1024, kShared);
}

struct LowerSharedMemory : OpConversionPattern<nvx::SharedMemoryOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::SharedMemoryOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto type = cast<MemRefType>(op.getMemory().getType());
    LLVM::GlobalOp global = sharedGlobal(rewriter, op);
    Type pointer = LLVM::LLVMPointerType::get(getContext(), kShared);
    Type i64 = b.getI64Type(), one = LLVM::LLVMArrayType::get(i64, 1);
    auto descriptor = LLVM::LLVMStructType::getLiteral(
        getContext(), {pointer, pointer, i64, one, one});
    Value base = LLVM::AddressOfOp::create(b, global);
    auto number = [&](int64_t value) -> Value {
      return LLVM::ConstantOp::create(b, i64, b.getI64IntegerAttr(value));
    };
    Value result = LLVM::PoisonOp::create(b, descriptor);
    auto set = [&](Value value, ArrayRef<int64_t> at) {
      result = LLVM::InsertValueOp::create(b, result, value, at);
    };
    set(base, {0});
    set(base, {1});
    set(number(0), {2});
    set(number(type.getNumElements()), {3, 0});
    set(number(1), {4, 0});
    rewriter.replaceOpWithNewOp<UnrealizedConversionCastOp>(op, type, result);
    return success();
  }
};

struct LowerMmaSync : OpConversionPattern<nvx::MmaSyncOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::MmaSyncOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    bool isBF16 = op.getA().getType().getElementType().isBF16();
    // A register holds two elements: i32 where nvvm has no vector for them.
    auto registers = [&](Value fragment) {
      auto type = cast<VectorType>(fragment.getType());
      SmallVector<Value> values;
      if (isBF16)
        fragment = vector::BitCastOp::create(
            b, VectorType::get({type.getDimSize(0), 1}, b.getI32Type()),
            fragment);
      for (int64_t i = 0; i < type.getDimSize(0); ++i)
        values.push_back(isBF16 ? vector::ExtractOp::create(
                                      b, fragment, ArrayRef<int64_t>{i, 0})
                                : vector::ExtractOp::create(b, fragment, i));
      return values;
    };
    SmallVector<Value> c;
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t j = 0; j < 2; ++j)
        c.push_back(vector::ExtractOp::create(b, adaptor.getC(),
                                              ArrayRef<int64_t>{i, j}));
    auto results = LLVM::LLVMStructType::getLiteral(
        getContext(), SmallVector<Type>(4, b.getF32Type()));
    auto ptx = isBF16 ? NVVM::MMATypes::bf16 : NVVM::MMATypes::f16;
    Value d = NVVM::MmaOp::create(
        b, results, registers(adaptor.getA()), registers(adaptor.getB()), c,
        ArrayRef<int64_t>{16, 8, 16}, std::nullopt, std::nullopt,
        std::array<NVVM::MMATypes, 2>{ptx, ptx},
        std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row,
                                       NVVM::MMALayout::col});
    SmallVector<Value> elements;
    for (int64_t i = 0; i < 4; ++i)
      elements.push_back(LLVM::ExtractValueOp::create(b, d, i));
    rewriter.replaceOpWithNewOp<vector::FromElementsOp>(op, op.getD().getType(),
                                                        elements);
    return success();
  }
};

/// An instruction that LLVM has an intrinsic for, element by element.
template <typename Op> struct LowerApproximate : OpConversionPattern<Op> {
  LowerApproximate(MLIRContext *context, StringRef intrinsic)
      : OpConversionPattern<Op>(context), intrinsic(intrinsic) {}
  LogicalResult
  matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto call = [&](Value x) -> Value {
      return LLVM::CallIntrinsicOp::create(b, b.getF32Type(),
                                           b.getStringAttr(intrinsic), x)
          .getResult(0);
    };
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type) {
      rewriter.replaceOp(op, call(adaptor.getX()));
      return success();
    }
    auto scalars = vector::ToElementsOp::create(b, adaptor.getX());
    SmallVector<Value> elements;
    for (Value x : scalars.getResults())
      elements.push_back(call(x));
    rewriter.replaceOpWithNewOp<vector::FromElementsOp>(op, type, elements);
    return success();
  }
  StringRef intrinsic;
};

struct ConvertNVXToNVVM : impl::ConvertNVXToNVVMPassBase<ConvertNVXToNVVM> {
  void runOnOperation() override {
    ConversionTarget target(getContext());
    target.addIllegalDialect<nvx::NVXDialect>();
    // What other conversions own stays.
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    RewritePatternSet patterns(&getContext());
    patterns.add<LowerSharedMemory, LowerMmaSync>(&getContext());
    patterns.add<LowerApproximate<nvx::Exp2Op>>(&getContext(),
                                                "llvm.nvvm.ex2.approx.ftz.f");
    patterns.add<LowerApproximate<nvx::Log2Op>>(&getContext(),
                                                "llvm.nvvm.lg2.approx.ftz.f");
    getOperation().walk([&](Operation *op) {
      numOps += isa_and_nonnull<nvx::NVXDialect>(op->getDialect());
    });
    ConversionConfig config;
    config.allowPatternRollback = false;
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns), config)))
      signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
