//===- RemarkReach.cpp - what a stack of layers reaches -------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Pattern/DescribeReach.h"
#include "megactx/Transforms/Layers.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_REMARKREACHPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
remark::RemarkOpts optionsOf(AttentionOp op, StringRef name) {
  return remark::RemarkOpts::name(name)
      .category("remark-reach")
      .function(op->getParentOfType<FunctionOpInterface>().getName());
}

struct RemarkReach : impl::RemarkReachPassBase<RemarkReach> {
  using RemarkReachPassBase::RemarkReachPassBase;

  void runOnOperation() override {
    if (tokens < 1 || gist < 1) {
      getOperation().emitError("remark-reach: expected at least one token and "
                               "gists of at least one, but got ")
          << tokens.getValue() << " and " << gist.getValue();
      return signalPassFailure();
    }
    pattern::NumberedStack stack;
    DenseMap<int64_t, AttentionOp> ops;
    // Of a layer that branches have, the first is taken.
    for (auto [op, number] : layersOf(getOperation()))
      if (ops.try_emplace(number, op).second && op.getKind() == "self")
        add(stack, number, op);
    if (stack.layers.empty())
      return;
    pattern::StackReach report = pattern::reachOf(std::move(stack), tokens);
    remarkReach(report, ops[report.stack.numbers.front()]);
    if (report.mend) {
      AttentionOp mended = ops[report.stack.numbers[report.mend->layer]];
      remark::analysis(mended.getLoc(), optionsOf(mended, "mend"))
          << remark::add("{0}", pattern::describeMend(report));
    }
    for (const auto &[layer, misaligned] : report.stack.misaligned)
      remark::missed(ops[layer].getLoc(),
                     optionsOf(ops[layer], "misaligned-with-gists"))
          << remark::add("{0}", pattern::describe(misaligned));
  }

  void add(pattern::NumberedStack &stack, int64_t number, AttentionOp op) {
    int64_t heads = op.getQuery().getType().getDimSize(1);
    // What is not known at compile time counts once.
    stack.addLayer(number, ShapedType::isDynamic(heads) ? 1 : heads);
    for (Value operand : op.getSources())
      if (auto source = operand.getDefiningOp<SourceOp>();
          source && !source.getEverywhere())
        stack.addSource(source.getPattern().getPattern(), source.getKeyStep(),
                        gist);
  }

  void remarkReach(const pattern::StackReach &report, AttentionOp op) {
    std::string verdict = pattern::verdictOf(report);
    std::optional<int64_t> hops = report.reach.hops;
    if (hops && *hops <= int64_t(report.stack.layers.size())) {
      remark::passed(op.getLoc(), optionsOf(op, "reached"))
          << remark::add("{0}", verdict);
      return;
    }
    remark::missed(op.getLoc(), optionsOf(op, "not-reached"))
        << remark::add("{0}", verdict)
        << remark::reason("{0}", missingInOneLine(report));
  }

  static std::string missingInOneLine(const pattern::StackReach &report) {
    std::string text;
    for (StringRef line : pattern::describeMissing(report)) {
      if (!text.empty())
        text += text.back() == ':' ? " " : "; ";
      text += line.trim();
    }
    return text;
  }
};
} // namespace
} // namespace mlir::megactx
