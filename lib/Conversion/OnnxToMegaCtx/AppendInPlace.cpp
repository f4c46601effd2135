//===- AppendInPlace.cpp - caches that grow where they are ----------------===//
//
// Owns the pass --megactx-append-in-place: a cache that comes in and goes out
// with new rows behind it is a buffer with room, into which they are written.
//
//===----------------------------------------------------------------------===//

#include "Heads.h"
#include "Nodes.h"
#include "megactx/Artifact/Artifact.h"
#include "megactx/Conversion/Passes.h"
#include "megactx/Support/Check.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"

namespace mlir::megactx {
using namespace raise;

#define GEN_PASS_DEF_APPENDINPLACEPASS
#include "megactx/Conversion/Passes.h.inc"

/// The input that says how many tokens caches hold.
static constexpr StringLiteral kLength = "past_sequence_length";

namespace {
/// A Concat of two operands along `axis`, the first of which is an argument of
/// `main` that nothing else reads, and whose result is one of `main`.
struct Cache {
  BlockArgument argument;
  Operation *concat;
  int64_t axis;
  unsigned result;
};

class Appender {
public:
  Appender(func::FuncOp function, func::ReturnOp end)
      : function(function), end(end) {}

  void find();
  LogicalResult run();
  size_t numCaches() const { return caches.size(); }

private:
  std::optional<Cache> cacheAt(unsigned result);
  LogicalResult addLength();
  void checkSizes(StringRef dim);
  void rename(const Cache &cache);
  void append(const Cache &cache);

  func::FuncOp function;
  func::ReturnOp end;
  SmallVector<Cache> caches;
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

std::optional<Cache> Appender::cacheAt(unsigned result) {
  Operation *concat = withoutCopies(end.getOperand(result)).getDefiningOp();
  if (typeOf(concat) != "Concat" || concat->getNumOperands() != 2 ||
      concat->getBlock() != &function.front())
    return std::nullopt;
  auto argument = dyn_cast<BlockArgument>(withoutCopies(concat->getOperand(0)));
  auto type = argument ? dyn_cast<RankedTensorType>(argument.getType())
                       : RankedTensorType();
  auto isAlike = [&](Value value) {
    auto other = dyn_cast<RankedTensorType>(value.getType());
    return other && other.getRank() == type.getRank() &&
           other.getElementType() == type.getElementType();
  };
  if (!type || !isAlike(concat->getOperand(1)) ||
      !isAlike(concat->getResult(0)))
    return std::nullopt;
  int64_t axis = integerAttr(concat, "axis", 0);
  axis += axis < 0 ? type.getRank() : 0;
  if (axis < 0 || axis >= type.getRank() || !type.isDynamicDim(axis) ||
      !isReadBy(argument, concat))
    return std::nullopt;
  return Cache{argument, concat, axis, result};
}

void Appender::find() {
  SmallPtrSet<Operation *, 8> seen;
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (auto cache = cacheAt(i); cache && seen.insert(cache->concat).second)
      caches.push_back(*cache);
}

/// The argument that says how many tokens there are, and its number as an
/// index.
LogicalResult Appender::addLength() {
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto name = function.getArgAttrOfType<StringAttr>(i, "onnx.name");
        name && name.getValue() == kLength)
      return function.emitError("caches cannot be written in place: the model "
                                "has an input '")
             << kLength << "' of its own";
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToStart(&function.front());
  auto type = RankedTensorType::get({}, b.getI64Type());
  unsigned number = function.getNumArguments();
  auto attrs = b.getDictionaryAttr(
      b.getNamedAttr("onnx.name", b.getStringAttr(kLength)));
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

static StringRef dimName(func::FuncOp function, unsigned argument,
                         int64_t dim) {
  auto names = function.getArgAttrOfType<ArrayAttr>(argument, "onnx.dims");
  auto name = names && dim < int64_t(names.size())
                  ? dyn_cast<StringAttr>(names[dim])
                  : StringAttr();
  return name ? name.getValue() : "";
}

/// Other inputs that have as many tokens as the caches held still have to.
void Appender::checkSizes(StringRef dim) {
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointAfter(lengthCheck);
  for (BlockArgument argument : function.getArguments())
    for (int64_t i = 0; i < std::max<int64_t>(rankOf(argument), 0); ++i)
      if (dimName(function, argument.getArgNumber(), i) == dim)
        createCheck(
            b,
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, length,
                                  tensor::DimOp::create(b, argument, i)),
            "inputs disagree on the size of dimension '" + dim + "'");
}

/// The dim with the tokens is what the buffer has room for, not what it holds.
void Appender::rename(const Cache &cache) {
  unsigned number = cache.argument.getArgNumber();
  Builder b(function.getContext());
  SmallVector<Attribute> names;
  for (int64_t i = 0; i < rankOf(cache.argument); ++i) {
    StringRef name = dimName(function, number, i);
    names.push_back(b.getStringAttr(
        i == cache.axis && !name.empty() ? name + "_room" : Twine(name)));
  }
  function.setArgAttr(number, "onnx.dims", b.getArrayAttr(names));
  function.setResultAttr(cache.result, "onnx.dims", b.getArrayAttr(names));
  function.setResultAttr(cache.result, kUpdatesAttr,
                         b.getI64IntegerAttr(number));
}

/// The buffer's first rows, as many as `count`.
static Value firstRows(ImplicitLocOpBuilder &b, Value buffer, int64_t axis,
                       Value count) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, b.getLoc(), buffer);
  SmallVector<OpFoldResult> zeros(sizes.size(), b.getIndexAttr(0)),
      ones(sizes.size(), b.getIndexAttr(1));
  sizes[axis] = count;
  return tensor::ExtractSliceOp::create(b, buffer, zeros, sizes, ones);
}

/// A run fails where the rows are of other sizes than the cache, or where it
/// has no room for them behind `length` others.
static void checkRoom(ImplicitLocOpBuilder &b, Value buffer, Value rows,
                      int64_t axis, Value length) {
  auto sizeOf = [&](Value value, int64_t i) -> Value {
    return tensor::DimOp::create(b, value, i);
  };
  auto compare = [&](arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, predicate, x, y);
  };
  auto known = cast<RankedTensorType>(buffer.getType()).getShape(),
       given = cast<RankedTensorType>(rows.getType()).getShape();
  for (int64_t i = 0, rank = known.size(); i < rank; ++i)
    if (i != axis && (known[i] != given[i] || ShapedType::isDynamic(known[i])))
      createCheck(
          b,
          compare(arith::CmpIPredicate::eq, sizeOf(buffer, i), sizeOf(rows, i)),
          "the cache's sizes are not those of the new rows");
  Value left =
      arith::SubIOp::create(b, sizeOf(buffer, axis), sizeOf(rows, axis));
  createCheck(b, compare(arith::CmpIPredicate::sle, length, left),
              "a cache that is written in place has no room for all tokens");
}

void Appender::append(const Cache &cache) {
  ImplicitLocOpBuilder b(cache.concat->getLoc(), cache.concat);
  Value rows = cache.concat->getOperand(1), buffer = cache.argument;
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
  // What the rows say of their sizes is known of the cache.
  SmallVector<int64_t> shape(type.getShape());
  for (auto [i, size] : llvm::enumerate(shape))
    if (int64_t(i) != cache.axis && ShapedType::isDynamic(size))
      size = cast<RankedTensorType>(rows.getType()).getDimSize(i);
  Value known = withKnownType(b, buffer, type.clone(shape));
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
  Value result = cache.concat->getResult(0);
  result.replaceAllUsesWith(withKnownType(b, all, result.getType()));
  end.setOperand(cache.result, withKnownType(b, updated, type));
  cache.concat->erase();
}

LogicalResult Appender::run() {
  if (failed(addLength()))
    return failure();
  llvm::StringSet<> dims;
  for (const Cache &cache : caches)
    dims.insert(dimName(function, cache.argument.getArgNumber(), cache.axis));
  for (const Cache &cache : caches)
    rename(cache);
  for (const auto &dim : dims)
    if (!dim.getKey().empty())
      checkSizes(dim.getKey());
  for (const Cache &cache : caches)
    append(cache);
  function.setType(FunctionType::get(function.getContext(),
                                     function.getArgumentTypes(),
                                     end.getOperandTypes()));
  return success();
}

namespace {
struct AppendInPlace : impl::AppendInPlacePassBase<AppendInPlace> {
  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || !llvm::hasSingleElement(function.getBody()))
      return;
    auto end = dyn_cast<func::ReturnOp>(function.front().getTerminator());
    if (!end)
      return;
    Appender appender(function, end);
    appender.find();
    numCaches += appender.numCaches();
    if (appender.numCaches() && failed(appender.run()))
      return signalPassFailure();
    bool anyUpdates =
        llvm::any_of(llvm::seq(function.getNumResults()), [&](unsigned result) {
          return function.getResultAttr(result, kUpdatesAttr);
        });
    if (anyUpdates)
      return;
    getOperation().emitError(
        "no cache can be written in place: expected one that comes into the "
        "model, gets new rows (by Concat, or in an attention with lengths, as "
        "GroupQueryAttention), is read for nothing else, and comes out");
    signalPassFailure();
  }
};
} // namespace
} // namespace mlir::megactx
