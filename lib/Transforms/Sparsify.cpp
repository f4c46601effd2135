//===- Sparsify.cpp - patterns by policy ----------------------------------===//

#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Transforms/Layers.h"
#include "megactx/Transforms/Passes.h"
#include "megactx/Transforms/Policy.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_SPARSIFYPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
struct Sparsify : impl::SparsifyPassBase<Sparsify> {
  using SparsifyPassBase::SparsifyPassBase;

  void runOnOperation() override {
    if (pattern.empty() == policy.empty()) {
      if (!pattern.empty())
        fail("expected either a pattern or a policy, not both");
      return;
    }
    std::string error;
    std::optional<Policy> rules = policy.empty()
                                      ? Policy::ofPattern(pattern, error)
                                      : Policy::read(policy, error);
    if (!rules)
      return fail(error);
    SmallVector<Layer> layers = layersOf(getOperation());
    if (!rules->check(numLayers(layers), error))
      return fail(error);
    SmallVector<std::pair<int64_t, StringRef>> kinds;
    for (auto [op, number] : layers)
      kinds.emplace_back(number, op.getKind());
    for (const std::string &idle : rules->idleRules(kinds))
      getOperation()->emitWarning() << "sparsify: " << idle;
    for (auto [op, number] : layers) {
      int64_t heads = op.getQuery().getType().getDimSize(1);
      auto chosen = rules->patternFor(number, op.getKind(), heads, step, error);
      if (!error.empty())
        return fail(error);
      if (chosen)
        apply(op, *chosen);
    }
  }

  void fail(const Twine &message) {
    getOperation()->emitError() << "sparsify: " << message;
    signalPassFailure();
  }

  /// The model's own mask stays: policy and original. So do keys that stand
  /// nowhere.
  void apply(AttentionOp op, const pattern::Pattern &chosen) {
    for (Value operand : op.getSources())
      if (auto source = operand.getDefiningOp<SourceOp>();
          source && !source.getEverywhere())
        source.setPatternAttr(PatternAttr::get(
            &getContext(), pattern::Pattern::conjunction(
                               chosen, source.getPattern().getPattern())));
    ++numSparsified;
  }
};
} // namespace
} // namespace mlir::megactx
