//===- SizeChecks.cpp - sizes that only a run knows -----------------------===//
//
// What the verifiers of attention and its sources say of static sizes, said of
// the others when the program runs.
//
//===----------------------------------------------------------------------===//

#include "megactx/Dialect/MegaCtx/IR/Emit.h"
#include "megactx/Dialect/MegaCtx/IR/MegaCtx.h"
#include "megactx/Dialect/MegaCtx/IR/Sizes.h"
#include "megactx/Support/Check.h"

using namespace mlir;
using namespace mlir::megactx;

static constexpr int64_t kMostKeyOffset = INT32_MAX;

namespace {
struct Dim {
  StringRef what;
  Value tensor;
  int64_t number;

  bool isDynamic() const { return size() == ShapedType::kDynamic; }
  int64_t size() const {
    return cast<RankedTensorType>(tensor.getType()).getDimSize(number);
  }
};

class SizeChecks {
public:
  SizeChecks(OpBuilder &builder, Location loc) : b(loc, builder) {}

  void equal(const Dim &dim, const Dim &other, bool orOne = false);
  void multiple(const Dim &heads, const Dim &keyHeads);
  /// What a result's type says, of which there is no tensor yet.
  void said(StringRef what, Value result, int64_t number, const Dim &other);
  void offset(Value tokens);

private:
  void check(Value ok, const Twine &message) {
    if (!matchPattern(ok, m_One()))
      createCheck(b, ok, "attention: " + message);
  }

  Emitter b;
};
} // namespace

static std::string name(const Dim &dim) {
  return (dim.what + " dim " + Twine(dim.number)).str();
}

void SizeChecks::equal(const Dim &dim, const Dim &other, bool orOne) {
  if (!dim.isDynamic() && (!other.isDynamic() || (orOne && dim.size() == 1)))
    return;
  if (areEqualSizes({dim.tensor, dim.number}, {other.tensor, other.number}))
    return;
  Value size = b.dim(dim.tensor, dim.number);
  Value ok = b.eq(size, b.dim(other.tensor, other.number));
  if (orOne)
    ok = b.either(ok, b.eq(size, b.index(1)));
  check(ok, "expected " + name(dim) + (orOne ? " to be 1 or " : " to equal ") +
                name(other));
}

void SizeChecks::multiple(const Dim &heads, const Dim &keyHeads) {
  if (!heads.isDynamic() && !keyHeads.isDynamic())
    return;
  Value all = b.dim(heads.tensor, heads.number);
  Value own = b.dim(keyHeads.tensor, keyHeads.number);
  Value times = b.floorDiv(all, b.max(own, b.index(1)));
  check(b.eq(b.mul(times, own), all),
        "expected the number of query heads to be a multiple of the key heads");
}

void SizeChecks::said(StringRef what, Value result, int64_t number,
                      const Dim &other) {
  Dim dim = {what, result, number};
  if (dim.isDynamic() || !other.isDynamic())
    return;
  check(b.eq(b.dim(other.tensor, other.number), b.index(dim.size())),
        "expected " + name(other) + " to be " + Twine(dim.size()) +
            ", as that of " + what);
}

/// Kernels number the keys of a class of residues from position 0 on, in 32
/// bits.
void SizeChecks::offset(Value tokens) {
  if (!tokens)
    return;
  Value most = b.index(kMostKeyOffset);
  check(b.both(b.le(tokens, most), b.le(b.sub(b.index(0), most), tokens)),
        "expected a key offset of at most " + Twine(kMostKeyOffset) +
            " tokens");
}

/// Those of an attention or of its gradients.
template <typename Op> static void checkOperands(SizeChecks &checks, Op op) {
  Value query = op.getQuery(), firstValue;
  auto perBatch = [&](StringRef what, Value tensor, Dim batch) {
    if (tensor && isa<RankedTensorType>(tensor.getType()))
      checks.equal({what, tensor, 0}, batch);
  };
  auto perRow = [&](StringRef what, Value tensor, StringRef other, Value rows) {
    perBatch(what, tensor, {other, rows, 0});
    if (tensor)
      checks.equal({what, tensor, 1}, {other, rows, 2});
  };
  perBatch("offset", op.getOffset(), {"query", query, 0});
  perRow("positions", op.getPositions(), "query", query);
  for (Value operand : op.getSources()) {
    auto source = operand.getDefiningOp<SourceOp>();
    Value key = source.getKey(), value = source.getValue();
    for (int64_t i : {0, 3})
      checks.equal({"key", key, i}, {"query", query, i});
    for (int64_t i : {0, 1, 2})
      checks.equal({"value", value, i}, {"key", key, i});
    checks.multiple({"query", query, 1}, {"key", key, 1});
    firstValue = firstValue ? firstValue : value;
    checks.equal({"value", value, 3}, {"value", firstValue, 3});
    checks.offset(source.getOffset());
    perBatch("lengths", source.getLengths(), {"key", key, 0});
    perRow("segments", source.getSegments(), "key", key);
    perRow("positions", source.getPositions(), "key", key);
    for (Value bias : source.getBiases()) {
      for (int64_t i : {0, 1, 2})
        checks.equal({"bias", bias, i}, {"query", query, i}, /*orOne=*/true);
      checks.equal({"bias", bias, 3}, {"key", key, 2}, /*orOne=*/true);
    }
  }
}

void mlir::megactx::emitCheckSizes(OpBuilder &builder, AttentionOp op) {
  SizeChecks checks(builder, op.getLoc());
  checkOperands(checks, op);
  std::pair<StringRef, Value> results[] = {{"out", op.getOut()},
                                           {"lse", op.getLse()}};
  for (auto [what, result] : results)
    for (int64_t i : {0, 1, 2})
      if (result)
        checks.said(what, result, i, {"query", op.getQuery(), i});
  auto source = op.getSources().front().getDefiningOp<SourceOp>();
  checks.said("out", op.getOut(), 3, {"value", source.getValue(), 3});
}

void mlir::megactx::emitCheckSizes(OpBuilder &builder, AttentionBackwardOp op) {
  SizeChecks checks(builder, op.getLoc());
  checkOperands(checks, op);
  Value query = op.getQuery();
  std::pair<StringRef, Value> rows[] = {{"out", op.getOut()},
                                        {"lse", op.getLse()},
                                        {"dout", op.getDout()},
                                        {"dlse", op.getDlse()}};
  for (auto [what, tensor] : rows)
    for (int64_t i : {0, 1, 2})
      if (tensor)
        checks.equal({what, tensor, i}, {"query", query, i});
  auto source = op.getSources().front().getDefiningOp<SourceOp>();
  for (auto [what, tensor] : {rows[0], rows[2]})
    checks.equal({what, tensor, 3}, {"value", source.getValue(), 3});
}
