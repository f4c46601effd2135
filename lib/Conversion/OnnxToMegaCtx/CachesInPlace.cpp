//===- CachesInPlace.cpp - caches that are written where they are ---------===//
//
// Owns the pass --megactx-caches-in-place. A cache that comes in and goes out
// with new rows behind it becomes a buffer with room, into which they are
// written; one of which a node writes some rows anew stays what it is.
//
//===----------------------------------------------------------------------===//

#include "CacheRows.h"
#include "Heads.h"
#include "Nodes.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Dialect/Onnx/IR/Onnx.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::megactx {
using namespace raise;

#define GEN_PASS_DEF_CACHESINPLACEPASS
#include "megactx/Conversion/Passes.h.inc"

/// The input that says how many tokens caches hold.
static constexpr StringLiteral kLength = "past_sequence_length";

/// What a run says of rows that a cache cannot have.
static constexpr StringLiteral kOtherSizes =
    "the cache's sizes are not those of the new rows";

namespace {
/// An argument of `main` that becomes a result of it by a node, its first
/// operand, which nothing else reads.
struct Cache {
  BlockArgument argument;
  Operation *node;
  int64_t axis; ///< along which there are rows: of Concat and TensorScatter
  unsigned result;
};

class Updater {
public:
  Updater(func::FuncOp function, func::ReturnOp end)
      : function(function), end(end) {}

  void find();
  LogicalResult run();
  size_t numCaches() const { return appended.size() + written.size(); }

private:
  std::optional<Cache> cacheAt(unsigned result);
  LogicalResult appendAll();
  LogicalResult addLength();
  void checkSizes(StringAttr dim);
  void rename(const Cache &cache);
  void append(const Cache &cache);
  void scatterRows(const Cache &cache);

  func::FuncOp function;
  func::ReturnOp end;
  SmallVector<Cache> appended, written;
  Value length;                     ///< tokens that each cache holds, an index
  Operation *lengthCheck = nullptr; ///< from here on it is no negative number
};
} // namespace

/// A value before nodes that leave it as it is.
static Value withoutCopies(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    bool isCopy = (typeOf(op) == "Identity" || typeOf(op) == "Concat") &&
                  op->getNumOperands() == 1 &&
                  op->getOperand(0).getType() == value.getType();
    if (!isCopy)
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// Whether but for one node only sizes of a value are read.
static bool isReadBy(Value value, Operation *node) {
  return llvm::all_of(value.getUses(), [&](OpOperand &use) {
    Operation *user = use.getOwner();
    if (user == node)
      return use.getOperandNumber() == 0;
    if (typeOf(user) == "Shape" || typeOf(user) == "Size" ||
        isa<tensor::DimOp>(user))
      return true;
    return user->getNumResults() == 1 &&
           withoutCopies(user->getResult(0)) != user->getResult(0) &&
           isReadBy(user->getResult(0), node);
  });
}

/// Nodes whose result is their first operand but for what they write. Rows that
/// go on at the beginning are no rows of one place.
static bool isWriting(Operation *op) {
  if (typeOf(op) == "TensorScatter") {
    auto mode = op->getAttrOfType<StringAttr>("mode");
    return !mode || mode.getValue() == "linear";
  }
  return typeOf(op) == "ScatterND" || typeOf(op) == "ScatterElements";
}

std::optional<Cache> Updater::cacheAt(unsigned result) {
  Operation *node = withoutCopies(end.getOperand(result)).getDefiningOp();
  bool isConcat = typeOf(node) == "Concat" && node->getNumOperands() == 2;
  if ((!isConcat && !isWriting(node)) || node->getBlock() != &function.front())
    return std::nullopt;
  auto argument = dyn_cast<BlockArgument>(withoutCopies(node->getOperand(0)));
  auto type = argument ? dyn_cast<RankedTensorType>(argument.getType())
                       : RankedTensorType();
  auto isAlike = [&](Value value) {
    auto other = dyn_cast<RankedTensorType>(value.getType());
    return other && other.getRank() == type.getRank() &&
           other.getElementType() == type.getElementType();
  };
  if (!type || !isAlike(node->getResult(0)) || !isReadBy(argument, node))
    return std::nullopt;
  Cache cache{argument, node, /*axis=*/-1, result};
  if (!isConcat && typeOf(node) != "TensorScatter")
    return cache;
  cache.axis = axisAttr(node, type.getRank(), isConcat ? 0 : -2);
  bool isAxis = cache.axis >= !isConcat && cache.axis < type.getRank() &&
                (!isConcat || type.isDynamicDim(cache.axis));
  if (!isAxis || !isAlike(node->getOperand(1)))
    return std::nullopt;
  return cache;
}

void Updater::find() {
  SmallPtrSet<Operation *, 8> seen;
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    auto cache = cacheAt(i);
    if (!cache || !seen.insert(cache->node).second)
      continue;
    auto &caches = typeOf(cache->node) == "Concat" ? appended : written;
    caches.push_back(*cache);
  }
}

/// The argument that says how many tokens there are, and its number as an
/// index.
LogicalResult Updater::addLength() {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto name = function.getArgAttrOfType<StringAttr>(
            i, onnx::OnnxDialect::kNameAttr);
        name && name.getValue() == kLength)
      return function.emitError("caches cannot be written in place: the model "
                                "has an input '")
             << kLength << "' of its own";
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToStart(&function.front());
  auto type = RankedTensorType::get({}, b.getI64Type());
  unsigned number = function.getNumArguments();
  auto attrs = b.getDictionaryAttr(
      b.getNamedAttr(onnx::OnnxDialect::kNameAttr, b.getStringAttr(kLength)));
  if (failed(function.insertArgument(number, type, attrs, b.getLoc())))
    return failure();
  Value given =
      tensor::ExtractOp::create(b, function.getArgument(number), ValueRange());
  length = arith::IndexCastOp::create(b, b.getIndexType(), given);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  createCheck(b,
              arith::CmpIOp::create(b, arith::CmpIPredicate::sle, zero, length),
              "past_sequence_length is negative");
  lengthCheck = &*std::prev(b.getInsertionPoint());
  return success();
}

/// Other inputs that have as many tokens as the caches held still have to.
void Updater::checkSizes(StringAttr dim) {
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointAfter(lengthCheck);
  for (BlockArgument argument : function.getArguments())
    for (int64_t i = 0; i < std::max<int64_t>(rankOf(argument), 0); ++i)
      if (dimName(argument, i) == dim)
        createCheck(
            b,
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, length,
                                  tensor::DimOp::create(b, argument, i)),
            "inputs disagree on the size of dimension '" + dim.getValue() +
                "'");
}

/// The dim with the tokens is what the buffer has room for, not what it holds.
void Updater::rename(const Cache &cache) {
  unsigned number = cache.argument.getArgNumber();
  Builder b(function.getContext());
  SmallVector<Attribute> names;
  for (int64_t i = 0; i < rankOf(cache.argument); ++i) {
    StringAttr known = dimName(cache.argument, i);
    std::string name = known ? known.str() : "";
    if (i == cache.axis && known)
      name += "_room";
    names.push_back(b.getStringAttr(name));
  }
  function.setArgAttr(number, onnx::OnnxDialect::kDimsAttr,
                      b.getArrayAttr(names));
  function.setResultAttr(cache.result, onnx::OnnxDialect::kDimsAttr,
                         b.getArrayAttr(names));
}

/// A run fails where the cache has no room for the rows behind `length` others.
static void checkRoom(ImplicitLocOpBuilder &b, Value buffer, Value rows,
                      int64_t axis, Value length) {
  Value left = arith::SubIOp::create(b, tensor::DimOp::create(b, buffer, axis),
                                     tensor::DimOp::create(b, rows, axis));
  createCheck(b,
              arith::CmpIOp::create(b, arith::CmpIPredicate::sle, length, left),
              kNoRoom);
}

void Updater::append(const Cache &cache) {
  ImplicitLocOpBuilder b(cache.node->getLoc(), cache.node);
  Value rows = cache.node->getOperand(1), buffer = cache.argument;
  auto type = cast<RankedTensorType>(buffer.getType());
  // Until now sizes were those of what the cache holds.
  auto readers = llvm::map_to_vector(buffer.getUses(),
                                     [](OpOperand &use) { return &use; });
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointAfter(lengthCheck);
    Value past =
        withKnownType(b, firstRows(b, buffer, cache.axis, length), type);
    for (OpOperand *reader : readers)
      reader->set(past);
  }
  Value known = withSizesOf(b, buffer, rows, cache.axis);
  requireSizes(b, buffer, rows, cache.axis, kOtherSizes);
  checkRoom(b, buffer, rows, cache.axis, length);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), rows),
                            offsets(sizes.size(), b.getIndexAttr(0)),
                            ones(sizes.size(), b.getIndexAttr(1));
  offsets[cache.axis] = length;
  Value updated =
      tensor::InsertSliceOp::create(b, rows, known, offsets, sizes, ones);
  Value total = arith::AddIOp::create(
      b, length, tensor::DimOp::create(b, rows, cache.axis));
  Value all = firstRows(b, updated, cache.axis, total);
  Value result = cache.node->getResult(0);
  result.replaceAllUsesWith(withKnownType(b, all, result.getType()));
  end.setOperand(cache.result, withKnownType(b, updated, type));
  cache.node->erase();
}

LogicalResult Updater::appendAll() {
  if (failed(addLength()))
    return failure();
  llvm::SetVector<StringAttr> dims;
  for (const Cache &cache : appended)
    if (StringAttr name = dimName(cache.argument, cache.axis))
      dims.insert(name);
  for (const Cache &cache : appended)
    rename(cache);
  for (StringAttr dim : dims)
    checkSizes(dim);
  for (const Cache &cache : appended)
    append(cache);
  return success();
}

/// The rows of each batch entry from its place on.
void Updater::scatterRows(const Cache &cache) {
  ImplicitLocOpBuilder b(cache.node->getLoc(), cache.node);
  Value rows = cache.node->getOperand(1), buffer = cache.argument;
  Value zero = arith::ConstantIndexOp::create(b, 0),
        one = arith::ConstantIndexOp::create(b, 1);
  requireSizes(b, buffer, rows, cache.axis, kOtherSizes);
  auto loop = scf::ForOp::create(b, zero, tensor::DimOp::create(b, rows, 0),
                                 one, buffer);
  Value result = cache.node->getResult(0);
  result.replaceAllUsesWith(
      withKnownType(b, loop.getResult(0), result.getType()));
  b.setInsertionPointToStart(loop.getBody());
  Value entry = loop.getInductionVar(), start = zero;
  if (hasOperand(cache.node, 2)) {
    start = tensor::ExtractOp::create(b, cache.node->getOperand(2), entry);
    start = arith::IndexCastOp::create(b, b.getIndexType(), start);
    createCheck(
        b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, zero, start),
        "rows of a cache are written to a negative place");
  }
  checkRoom(b, buffer, rows, cache.axis, start);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), rows),
                            offsets(sizes.size(), b.getIndexAttr(0)),
                            ones(sizes.size(), b.getIndexAttr(1));
  sizes[0] = b.getIndexAttr(1);
  offsets[0] = entry;
  Value part = tensor::ExtractSliceOp::create(b, rows, offsets, sizes, ones);
  offsets[cache.axis] = start;
  Value next = tensor::InsertSliceOp::create(b, part, loop.getRegionIterArg(0),
                                             offsets, sizes, ones);
  scf::YieldOp::create(b, next);
  cache.node->erase();
}

LogicalResult Updater::run() {
  for (const Cache &cache : llvm::concat<Cache>(appended, written))
    function.setResultAttr(
        cache.result, kUpdatesAttr,
        IntegerAttr::get(IntegerType::get(function.getContext(), 64),
                         cache.argument.getArgNumber()));
  for (const Cache &cache : written) {
    if (typeOf(cache.node) == "TensorScatter")
      scatterRows(cache);
    // Of the argument's type, whatever is known of the node's.
    ImplicitLocOpBuilder b(end.getLoc(), end);
    end.setOperand(cache.result,
                   withKnownType(b, withoutCopies(end.getOperand(cache.result)),
                                 cache.argument.getType()));
  }
  if (!appended.empty() && failed(appendAll()))
    return failure();
  function.setType(FunctionType::get(function.getContext(),
                                     function.getArgumentTypes(),
                                     end.getOperandTypes()));
  return success();
}

namespace {
struct CachesInPlace : impl::CachesInPlacePassBase<CachesInPlace> {
  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || !llvm::hasSingleElement(function.getBody()))
      return;
    auto end = dyn_cast<func::ReturnOp>(function.front().getTerminator());
    if (!end)
      return;
    Updater updater(function, end);
    updater.find();
    numCaches += updater.numCaches();
    if (failed(updater.run()))
      return signalPassFailure();
    bool anyUpdates =
        llvm::any_of(llvm::seq(function.getNumResults()), [&](unsigned result) {
          return function.getResultAttr(result, kUpdatesAttr);
        });
    if (anyUpdates)
      return;
    getOperation().emitError(
        "no cache can be written in place: expected one that comes into the "
        "model, gets new rows (by Concat, TensorScatter or ScatterND, or in an "
        "attention with lengths, as GroupQueryAttention), is read for nothing "
        "else, and comes out");
    signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
