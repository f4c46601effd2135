//===- ConvertAttentionToNVGPUKernels.cpp - launches instead of ops -------===//

#include "../Common/KeyViews.h"
#include "Kernel.h"
#include "ScheduleFile.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Passes.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_CONVERTATTENTIONTONVGPUKERNELSPASS
#include "megactx/Target/NVGPU/Passes.h.inc"

namespace {
/// Of a launch: which measured schedules are for it.
constexpr StringLiteral kClassAttr = "megactx.schedule_class";

struct ConvertAttentionToNVGPUKernels
    : impl::ConvertAttentionToNVGPUKernelsPassBase<
          ConvertAttentionToNVGPUKernels> {
  using ConvertAttentionToNVGPUKernelsPassBase::
      ConvertAttentionToNVGPUKernelsPassBase;

  void runOnOperation() override {
    machine = nvgpu::machineOf(arch);
    if (!machine) {
      InFlightDiagnostic error =
          getOperation().emitError("expected a known architecture of sm_80 or "
                                   "later, but got '")
          << arch << "'";
      if (auto nearest = nvgpu::nearestArchitecture(arch))
        error << "; did you mean '" << *nearest << "'?";
      return signalPassFailure();
    }
    if (!schedule.empty() && !(wanted = parseSchedule())) {
      getOperation().emitError("expected a valid #nvx.schedule, but got '")
          << schedule << "'";
      return signalPassFailure();
    }
    if (std::string error; !readMeasured(error)) {
      getOperation().emitError(error);
      return signalPassFailure();
    }
    // The same pass may run on another module, which has no kernel yet.
    kernels.clear();
    SmallVector<FusedAttentionOp> ops;
    getOperation().walk([&](FusedAttentionOp op) { ops.push_back(op); });
    for (FusedAttentionOp op : ops)
      if (failed(convert(op)))
        return signalPassFailure();
  }

  bool readMeasured(std::string &error) {
    measured.clear();
    if (schedules.empty())
      return true;
    auto table =
        nvgpu::readSchedules(&getContext(), schedules, machine->arch, error);
    if (table)
      measured = *std::move(table);
    return table.has_value();
  }

  nvx::ScheduleAttr parseSchedule() {
    // Errors are the option's, not of a text without a place.
    ScopedDiagnosticHandler quiet(&getContext(),
                                  [](Diagnostic &) { return success(); });
    return dyn_cast_or_null<nvx::ScheduleAttr>(
        parseAttribute(schedule, &getContext()));
  }

  FailureOr<AttentionShape> shapeOf(FusedAttentionOp op) {
    FailureOr<AttentionShape> common = AttentionShape::of(op);
    if (failed(common))
      return failure();
    AttentionShape shape = *std::move(common);
    Type element = shape.element;
    if (!element.isF16() && !element.isBF16() && !element.isF32())
      return op.emitOpError("expected f16, bf16 or f32 on this target, but "
                            "got ")
             << element;
    for (int64_t dim : {shape.headDim, shape.valueDim})
      if (dim % nvgpu::kHeadDimMultiple || dim < 1 || dim > nvgpu::kMaxHeadDim)
        return op.emitOpError("expected head dims of 8 to 256 that are "
                              "multiples of 8, but got ")
               << shape.headDim << " and " << shape.valueDim;
    if (op.getQueryPositions() || op.getKeyPositions())
      return op.emitOpError("expected rows at steps and offsets, not at "
                            "positions, on this target");
    return shape;
  }

  LogicalResult convert(FusedAttentionOp op) {
    FailureOr<AttentionShape> shape = shapeOf(op);
    if (failed(shape))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    Arith a{b};
    FailureOr<SmallVector<Value>> operands = kernelOperands(b, op, *shape);
    if (failed(operands))
      return failure();
    std::optional<int64_t> classRows = rowsOf(op, *shape);
    std::string kind = nvgpu::scheduleClass(*shape, classRows);
    FailureOr<nvx::ScheduleAttr> chosen =
        scheduleOf(op, *shape, kind, classRows);
    if (failed(chosen))
      return failure();
    gpu::GPUFuncOp kernel = kernelFor(*shape, *chosen);
    nvgpu::Tiling tiling(*shape, *chosen);
    auto dim = [&](int64_t i) -> Value {
      return memref::DimOp::create(b, op.getQuery(), i);
    };
    Value rows = a.ceilDiv(dim(2), a.c(KeyViews::periodOf(*shape)));
    Value blocks = a.mul(a.ceilDiv(rows, a.c(tiling.rows)),
                         a.c(KeyViews::classesOf(*shape)));
    Value bytes = arith::ConstantIntOp::create(b, tiling.bytes(), 32);
    auto launch = gpu::LaunchFuncOp::create(
        b, kernel, gpu::KernelDim3{blocks, dim(1), dim(0)},
        gpu::KernelDim3{a.c(tiling.threads), a.c(1), a.c(1)}, bytes, *operands);
    launch->setAttr(nvx::ScheduleAttr::name, *chosen);
    launch->setAttr(kClassAttr, b.getStringAttr(kind));
    op.erase();
    ++numLaunches;
    return success();
  }

  /// Of a class of the view, where known.
  static std::optional<int64_t> rowsOf(FusedAttentionOp op,
                                       const AttentionShape &shape) {
    auto query = cast<MemRefType>(op.getQuery().getType());
    if (query.isDynamicDim(2))
      return std::nullopt;
    return llvm::divideCeil(query.getDimSize(2), KeyViews::periodOf(shape));
  }

  FailureOr<nvx::ScheduleAttr> scheduleOf(FusedAttentionOp op,
                                          const AttentionShape &shape,
                                          StringRef kind,
                                          std::optional<int64_t> rows) {
    auto chosen = op->getAttrOfType<nvx::ScheduleAttr>(nvx::ScheduleAttr::name);
    if (!chosen)
      chosen = wanted;
    if (!chosen && (chosen = measured.lookup(kind)))
      ++numMeasured;
    if (!chosen)
      chosen = nvgpu::chooseSchedule(&getContext(), *machine, shape, rows);
    if (failed(nvgpu::verifySchedule(op, *machine, shape, chosen)))
      return failure();
    return chosen;
  }

  gpu::GPUFuncOp kernelFor(const AttentionShape &shape,
                           nvx::ScheduleAttr chosen) {
    std::string key = shape.key();
    llvm::raw_string_ostream(key) << ' ' << chosen;
    gpu::GPUFuncOp &kernel = kernels[key];
    if (kernel)
      return kernel;
    std::string number = std::to_string(kernels.size() - 1);
    ++numKernels;
    auto b = OpBuilder::atBlockEnd(getOperation().getBody());
    getOperation()->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                            b.getUnitAttr());
    auto module = gpu::GPUModuleOp::create(b, getOperation().getLoc(),
                                           "mctx_attention_module_" + number);
    return kernel = nvgpu::emitKernel(module, "mctx_attention_" + number, shape,
                                      chosen);
  }

  std::optional<nvgpu::Machine> machine; ///< arch's
  nvx::ScheduleAttr wanted; ///< the option's, null where there is none
  nvgpu::ScheduleTable measured;
  llvm::StringMap<gpu::GPUFuncOp> kernels;
};
} // namespace
} // namespace mlir::megactx
