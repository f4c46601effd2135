//===- NVXToNVVM.cpp - nvx, one pattern per op ----------------------------===//

#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
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

/// Inline assembly that stays where it is.
Value inlineAssembly(ImplicitLocOpBuilder &b, Type result, ValueRange operands,
                     StringRef text, StringRef constraints) {
  return LLVM::InlineAsmOp::create(
             b, result, operands, text, constraints, /*has_side_effects=*/true,
             /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None,
             LLVM::AsmDialectAttr::get(b.getContext(),
                                       LLVM::AsmDialect::AD_ATT),
             /*operand_attrs=*/ArrayAttr())
      .getResult(0);
}

struct LowerRecompute : OpConversionPattern<nvx::RecomputeOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::RecomputeOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Type type = b.getI64Type();
    Value x = arith::IndexCastOp::create(b, type, adaptor.getX());
    Value y = inlineAssembly(b, type, x, "mov.b64 $0, $1;", "=l,l");
    rewriter.replaceOpWithNewOp<arith::IndexCastOp>(op, rewriter.getIndexType(),
                                                    y);
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

/// Bytes of a row of a panel, as swizzles and descriptors have them.
constexpr int64_t kRowBytes = 128;

/// The address of an element of `bytes` bytes, in memory whose map is none.
Value addressOf(ImplicitLocOpBuilder &b, Value memory, Value index,
                int64_t bytes) {
  Value begin = memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
  Value distance =
      arith::MulIOp::create(b, index, arith::ConstantIndexOp::create(b, bytes));
  return arith::IndexCastOp::create(b, b.getI64Type(),
                                    arith::AddIOp::create(b, begin, distance));
}

struct LowerWgmmaDescriptor : OpConversionPattern<nvx::WgmmaDescriptorOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::WgmmaDescriptorOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    constexpr int64_t swizzle128 = 1;
    int64_t rows = cast<MemRefType>(op.getTile().getType()).getDimSize(1);
    // In units of 16 bytes. Only a transposed operand steps between panels.
    int64_t leading = op.getTranspose() ? rows * kRowBytes / 16 : 1;
    int64_t stride = 8 * kRowBytes / 16;
    auto number = [&](int64_t value) -> Value {
      return arith::ConstantIntOp::create(b, value, 64);
    };
    Value address =
        addressOf(b, adaptor.getTile(), adaptor.getRow(), kRowBytes);
    address = arith::AndIOp::create(b, address, number(0x3ffff));
    address = arith::ShRUIOp::create(b, address, number(4));
    rewriter.replaceOpWithNewOp<arith::OrIOp>(
        op, address, number(swizzle128 << 62 | stride << 32 | leading << 16));
    return success();
  }
};

/// The tensor map is a pointer by now.
struct LowerLoadBox : OpConversionPattern<nvx::LoadBoxOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::LoadBoxOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    constexpr int64_t barrierBytes = 8;
    auto pointer = [&](Value memory, Value index, int64_t bytes) -> Value {
      return LLVM::IntToPtrOp::create(
          b, LLVM::LLVMPointerType::get(getContext(), kShared),
          addressOf(b, memory, index, bytes));
    };
    int64_t rows = cast<MemRefType>(op.getTile().getType()).getDimSize(1);
    Value before = arith::MulIOp::create(
        b, adaptor.getPanel(), arith::ConstantIndexOp::create(b, rows));
    Value row = arith::AddIOp::create(b, before, adaptor.getTo());
    Value to = LLVM::AddrSpaceCastOp::create(
        b,
        LLVM::LLVMPointerType::get(
            getContext(),
            static_cast<unsigned>(NVVM::NVVMMemorySpace::SharedCluster)),
        pointer(adaptor.getTile(), row, kRowBytes));
    Value barrier =
        pointer(adaptor.getBarriers(), adaptor.getAt(), barrierBytes);
    SmallVector<Value> from;
    for (Value x : {adaptor.getColumn(), adaptor.getRow(), adaptor.getHead(),
                    adaptor.getBatch()})
      from.push_back(arith::IndexCastOp::create(b, b.getI32Type(), x));
    rewriter.replaceOpWithNewOp<NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp>(
        op, to, adaptor.getMap(), from, barrier, /*im2colOffsets=*/ValueRange(),
        /*multicastMask=*/Value(), /*l2CacheHint=*/Value(),
        NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false,
        /*group=*/NVVM::CTAGroupKindAttr(), /*predicate=*/Value());
    return success();
  }
};

struct LowerAtomicAdd : OpConversionPattern<nvx::AtomicAddOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::AtomicAddOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    constexpr int64_t bytes = 4;
    auto strided =
        memref::ExtractStridedMetadataOp::create(b, adaptor.getMemory());
    Value at = strided.getOffset();
    for (auto [index, stride] :
         llvm::zip(adaptor.getIndices(), strided.getStrides()))
      at =
          arith::AddIOp::create(b, at, arith::MulIOp::create(b, index, stride));
    Value pointer = LLVM::IntToPtrOp::create(
        b,
        LLVM::LLVMPointerType::get(
            getContext(), static_cast<unsigned>(NVVM::NVVMMemorySpace::Global)),
        addressOf(b, adaptor.getMemory(), at, bytes));
    LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::fadd, pointer,
                              adaptor.getValue(),
                              LLVM::AtomicOrdering::monotonic,
                              /*syncscope=*/"device", /*alignment=*/bytes);
    rewriter.eraseOp(op);
    return success();
  }
};

/// Text of inline assembly whose first operands are `count` results, in
/// registers that come in with values where they are tied.
struct Assembly {
  std::string text, constraints;
  SmallVector<Value> operands;

  /// A list of `size` operands from the number `first` on.
  static std::string list(unsigned first, unsigned size) {
    std::string names;
    for (unsigned i = first; i < first + size; ++i)
      names += (i == first ? "$" : ", $") + std::to_string(i);
    return names;
  }
  void results(unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      constraints += i ? ",=f" : "=f";
  }
  void tied(ValueRange values) {
    for (auto [i, value] : llvm::enumerate(values)) {
      constraints += "," + std::to_string(i);
      operands.push_back(value);
    }
  }
  void operand(Value value, StringRef constraint) {
    constraints += "," + constraint.str();
    operands.push_back(value);
  }
  /// One f32 for each of `count` results.
  SmallVector<Value> create(ImplicitLocOpBuilder &b, unsigned count) const {
    auto type = LLVM::LLVMStructType::getLiteral(
        b.getContext(), SmallVector<Type>(count, b.getF32Type()));
    Value all = inlineAssembly(b, type, operands, text, constraints);
    SmallVector<Value> results;
    for (unsigned i = 0; i < count; ++i)
      results.push_back(LLVM::ExtractValueOp::create(b, all, i));
    return results;
  }
};

struct LowerWgmma : OpConversionPattern<nvx::WgmmaOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::WgmmaOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    VectorType type = op.getD().getType();
    unsigned count = type.getNumElements();
    Assembly assembly;
    assembly.results(count);
    if (op.getC())
      assembly.tied(
          vector::ToElementsOp::create(b, adaptor.getC()).getResults());
    unsigned next = op.getC() ? 2 * count : count;
    StringRef element = op.getElement().isBF16() ? "bf16" : "f16";
    llvm::raw_string_ostream text(assembly.text);
    text << "wgmma.mma_async.sync.aligned.m64n" << 8 * type.getDimSize(0)
         << "k16.f32." << element << "." << element << " {"
         << Assembly::list(0, count) << "}, ";
    bool isFragment = isa<VectorType>(op.getA().getType());
    if (isFragment) {
      Value words = vector::BitCastOp::create(
          b, VectorType::get({4, 1}, b.getI32Type()), adaptor.getA());
      for (int64_t i = 0; i < 4; ++i)
        assembly.operand(
            vector::ExtractOp::create(b, words, ArrayRef<int64_t>{i, 0}), "r");
      text << "{" << Assembly::list(next, 4) << "}";
      next += 4;
    } else {
      assembly.operand(adaptor.getA(), "l");
      text << Assembly::list(next++, 1);
    }
    assembly.operand(adaptor.getB(), "l");
    // Whether c is added, signs of a and b, which operands are transposed.
    text << ", " << Assembly::list(next, 1) << ", " << (op.getC() ? 1 : 0)
         << ", 1, 1" << (isFragment ? "" : ", 0") << ", "
         << (op.getTranspose() ? 1 : 0) << ";";
    rewriter.replaceOpWithNewOp<vector::FromElementsOp>(
        op, type, assembly.create(b, count));
    return success();
  }
};

/// The text of the wait names none of the values, which only go through.
struct LowerWgmmaWait : OpConversionPattern<nvx::WgmmaWaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(nvx::WgmmaWaitOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    SmallVector<Value> elements;
    for (Value value : adaptor.getValues())
      llvm::append_range(elements,
                         vector::ToElementsOp::create(b, value).getResults());
    Assembly assembly;
    assembly.results(elements.size());
    assembly.tied(elements);
    // All lanes branch together, so that what is uniform stays so.
    if (op.getAfter()) {
      assembly.text = "{ .reg .pred p; setp.lt.f32 p, " +
                      Assembly::list(2 * elements.size(), 1) +
                      ", 0f00000000; vote.sync.any.pred p, p, 0xffffffff; "
                      "@p trap; } ";
      assembly.operand(adaptor.getAfter(), "f");
    }
    assembly.text +=
        "wgmma.wait_group.sync.aligned " + std::to_string(op.getLeft()) + ";";
    elements = assembly.create(b, elements.size());
    SmallVector<Value> results;
    ArrayRef<Value> rest = elements;
    for (Value value : op.getValues()) {
      auto type = cast<VectorType>(value.getType());
      results.push_back(vector::FromElementsOp::create(
          b, type, rest.take_front(type.getNumElements())));
      rest = rest.drop_front(type.getNumElements());
    }
    rewriter.replaceOp(op, results);
    return success();
  }
};

/// An instruction that LLVM has an intrinsic for, element by element.
template <typename Op> struct LowerElementwise : OpConversionPattern<Op> {
  LowerElementwise(MLIRContext *context, StringRef intrinsic)
      : OpConversionPattern<Op>(context), intrinsic(intrinsic) {}
  LogicalResult
  matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto call = [&](ValueRange operands) -> Value {
      return LLVM::CallIntrinsicOp::create(b, b.getF32Type(),
                                           b.getStringAttr(intrinsic), operands)
          .getResult(0);
    };
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type) {
      rewriter.replaceOp(op, call(adaptor.getOperands()));
      return success();
    }
    SmallVector<SmallVector<Value>> operands(type.getNumElements());
    for (Value operand : adaptor.getOperands())
      for (auto [i, x] : llvm::enumerate(
               vector::ToElementsOp::create(b, operand).getResults()))
        operands[i].push_back(x);
    SmallVector<Value> elements;
    for (ValueRange of : operands)
      elements.push_back(call(of));
    rewriter.replaceOpWithNewOp<vector::FromElementsOp>(op, type, elements);
    return success();
  }
  StringRef intrinsic;
};

/// Kernels get the addresses of their tensor maps.
void takePointersToTensorMaps(gpu::GPUModuleOp module) {
  Type pointer = LLVM::LLVMPointerType::get(module.getContext());
  module.walk([&](FunctionOpInterface function) {
    SmallVector<Type> types(function.getArgumentTypes());
    for (auto [i, type] : llvm::enumerate(types))
      if (isa<nvx::TensorMapType>(type)) {
        type = pointer;
        if (!function.isExternal())
          function.getArgument(i).setType(pointer);
      }
    function.setType(function.cloneTypeWith(types, function.getResultTypes()));
  });
}

struct ConvertNVXToNVVM : impl::ConvertNVXToNVVMPassBase<ConvertNVXToNVVM> {
  void runOnOperation() override {
    ConversionTarget target(getContext());
    target.addIllegalDialect<nvx::NVXDialect>();
    // What other conversions own stays.
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    RewritePatternSet patterns(&getContext());
    patterns
        .add<LowerSharedMemory, LowerRecompute, LowerMmaSync, LowerAtomicAdd,
             LowerWgmmaDescriptor, LowerLoadBox, LowerWgmma, LowerWgmmaWait>(
            &getContext());
    patterns.add<LowerElementwise<nvx::Exp2Op>>(&getContext(),
                                                "llvm.nvvm.ex2.approx.ftz.f");
    patterns.add<LowerElementwise<nvx::Log2Op>>(&getContext(),
                                                "llvm.nvvm.lg2.approx.ftz.f");
    patterns.add<LowerElementwise<nvx::MaxOp>>(&getContext(), "llvm.maxnum");
    getOperation().walk([&](Operation *op) {
      numOps += isa_and_nonnull<nvx::NVXDialect>(op->getDialect());
    });
    takePointersToTensorMaps(getOperation());
    ConversionConfig config;
    config.allowPatternRollback = false;
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns), config)))
      signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
