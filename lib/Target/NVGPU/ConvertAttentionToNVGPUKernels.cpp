//===- ConvertAttentionToNVGPUKernels.cpp - launches instead of ops -------===//

#include "../Common/KeyViews.h"
#include "Kernel.h"
#include "Launch.h"
#include "MergeParts.h"
#include "Schedule.h"
#include "ScheduleFile.h"
#include "megactx/Dialect/NVX/IR/NVX.h"
#include "megactx/Target/NVGPU/Passes.h"
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
    if (std::string why;
        !schedule.empty() &&
        !(wanted = nvgpu::parseSchedule(&getContext(), schedule, why))) {
      getOperation().emitError("expected ") << why;
      return signalPassFailure();
    }
    if (std::string error; !readMeasured(error)) {
      getOperation().emitError(error);
      return signalPassFailure();
    }
    // The same pass may run on another module, which has no kernel yet.
    kernels.clear();
    SmallVector<AttentionLinkInterface> ops;
    getOperation().walk([&](AttentionLinkInterface op) {
      if (isFused(op))
        ops.push_back(op);
    });
    for (AttentionLinkInterface op : ops)
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

  FailureOr<AttentionShape> shapeOf(AttentionLinkInterface op) {
    FailureOr<AttentionShape> common = AttentionShape::of(op);
    if (failed(common))
      return failure();
    AttentionShape shape = *std::move(common);
    int64_t most = shape.result == KernelResult::Attention
                       ? nvgpu::kMaxHeadDim
                       : nvgpu::kMaxGradientDim;
    for (int64_t dim : {shape.headDim, shape.valueDim})
      if (dim % nvgpu::kHeadDimMultiple || dim < 1 || dim > most)
        return op.emitOpError("expected head dims of 8 to ")
               << most << " that are multiples of 8, but got " << shape.headDim
               << " and " << shape.valueDim;
    return shape;
  }

  LogicalResult convert(AttentionLinkInterface op) {
    FailureOr<AttentionShape> shape = shapeOf(op);
    if (failed(shape))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), op);
    FailureOr<SmallVector<Value>> operands = kernelOperands(b, op, *shape);
    if (failed(operands))
      return failure();
    SmallVector<Choice> chosen = choicesOf(op, *shape);
    for (const Choice &choice : chosen)
      if (failed(nvgpu::verifySchedule(op, *machine, *shape, choice.schedule)))
        return failure();
    nvgpu::LaunchEmitter launches(b, getOperation(), *shape, *operands);
    SmallVector<nvgpu::KernelsUpTo> made;
    for (const Choice &choice : chosen)
      made.push_back({kernelsFor(*shape, choice), choice.mostRows});
    launches.launch(made);
    op.erase();
    ++numLaunches;
    return success();
  }

  /// A schedule, the class that measured schedules have it under, and up to how
  /// many rows of a class it is for, if not for any.
  struct Choice {
    nvx::ScheduleAttr schedule;
    std::string kind;
    std::optional<int64_t> mostRows = std::nullopt;
  };

  /// One; and, where nobody has chosen and the rows are not known, others for
  /// fewer and fewer rows after it.
  SmallVector<Choice> choicesOf(AttentionLinkInterface op,
                                const AttentionShape &shape) {
    nvgpu::LaunchSize size = sizeOf(op, shape);
    auto fixed = op->getAttrOfType<nvx::ScheduleAttr>(nvx::ScheduleAttr::name);
    if (shape.result != KernelResult::Attention) {
      if (!fixed)
        fixed = nvgpu::chooseSchedule(&getContext(), *machine, shape, size);
      return {{fixed, /*kind=*/""}};
    }
    if (!fixed)
      fixed = wanted;
    auto choose = [&]() -> Choice {
      std::string kind = nvgpu::scheduleClass(shape, size.rows);
      if (fixed)
        return {fixed, kind};
      if (nvx::ScheduleAttr best = measured.lookup(kind)) {
        ++numMeasured;
        return {best, kind};
      }
      return {nvgpu::chooseSchedule(&getContext(), *machine, shape, size),
              kind};
    };
    SmallVector<Choice> choices = {choose()};
    if (fixed || size.rows)
      return choices;
    auto addFewer = [&](int64_t mostRows, int64_t rows) {
      size.rows = rows;
      Choice fewer = choose();
      if (fewer.schedule == choices.back().schedule)
        return;
      fewer.mostRows = mostRows;
      choices.push_back(fewer);
    };
    // In one view only a cache's queries are so few: not worth a kernel.
    if (KeyViews::periodOf(shape) > 1)
      addFewer(nvgpu::kShortRows, nvgpu::kShortRows);
    addFewer(nvgpu::kFewRows, /*rows=*/1);
    return choices;
  }

  nvgpu::LaunchSize sizeOf(AttentionLinkInterface op,
                           const AttentionShape &shape) {
    auto sizes = [](Value memory, int64_t i) -> std::optional<int64_t> {
      auto type = cast<MemRefType>(memory.getType());
      if (type.isDynamicDim(i))
        return std::nullopt;
      return type.getDimSize(i);
    };
    auto ofQuery = [&](int64_t i) { return sizes(op.getQuery(), i); };
    nvgpu::LaunchSize size;
    if (ofQuery(2))
      size.rows = llvm::divideCeil(*ofQuery(2), KeyViews::periodOf(shape));
    auto keyHeads = sizes(op.getKey(), 1);
    if (ofQuery(1) && keyHeads && *keyHeads > 0)
      size.group = *ofQuery(1) / *keyHeads;
    if (ofQuery(0) && ofQuery(1))
      size.heads = *ofQuery(0) * *ofQuery(1) * KeyViews::classesOf(shape);
    return size;
  }

  nvgpu::Kernels kernelsFor(const AttentionShape &shape, const Choice &choice) {
    std::string key = shape.key();
    llvm::raw_string_ostream(key) << ' ' << choice.schedule;
    nvgpu::Kernels &made = kernels[key];
    if (!made.attention)
      emit(shape, choice.schedule, made);
    made.kind = choice.kind;
    return made;
  }

  void emit(const AttentionShape &shape, nvx::ScheduleAttr schedule,
            nvgpu::Kernels &made) {
    std::string number = std::to_string(kernels.size() - 1);
    auto b = OpBuilder::atBlockEnd(getOperation().getBody());
    getOperation()->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                            b.getUnitAttr());
    auto module = gpu::GPUModuleOp::create(b, getOperation().getLoc(),
                                           "mctx_attention_module_" + number);
    made.schedule = schedule;
    made.attention =
        nvgpu::emitKernel(module, "mctx_attention_" + number, shape, schedule);
    ++numKernels;
    if (!schedule.getSplit())
      return;
    made.merge = nvgpu::emitMergeKernel(module, "mctx_merge_" + number, shape);
    ++numKernels;
  }

  std::optional<nvgpu::Machine> machine; ///< arch's
  nvx::ScheduleAttr wanted; ///< the option's, null where there is none
  nvgpu::ScheduleTable measured;
  llvm::StringMap<nvgpu::Kernels> kernels;
};
} // namespace
} // namespace mlir::megactx
