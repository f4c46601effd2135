//===- PlanArena.cpp - one allocation for a function's buffers ------------===//
//
// Owns the pass --megactx-plan-arena: which buffers take part, how their sizes
// are compared, and the IR that computes where they lie. ArenaPlan.h says how
// they share memory.
//
//===----------------------------------------------------------------------===//

#include "SampledSizes.h"
#include "megactx/Dialect/MegaCtx/IR/Sizes.h"
#include "megactx/Transforms/ArenaPlan.h"
#include "megactx/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::megactx {
#define GEN_PASS_DEF_PLANARENAPASS
#include "megactx/Transforms/Passes.h.inc"

namespace {
/// Bytes. Buffers start at multiples, as those of the runtime do.
constexpr int64_t kAlignment = 64;
/// Sizes are cut off here, where the runtime refuses to allocate.
constexpr int64_t kAbsurd = int64_t(1) << 46;

/// Product of integers from 0 to kAbsurd, at most that.
int64_t saturated(int64_t a, int64_t b) {
  int64_t product;
  return llvm::MulOverflow(a, b, product) ? kAbsurd
                                          : std::min(product, kAbsurd);
}

/// coefficient x symbols, the latter by number.
struct Size {
  int64_t coefficient = 1;
  SmallVector<unsigned> symbols;
};

struct Buffer {
  memref::AllocOp alloc;
  memref::DeallocOp dealloc;
  int64_t first, last; ///< numbers of ops
  Size bytes;
};

/// `bytes` x symbols, as a multiple of the alignment.
struct Unit {
  int64_t bytes;
  SmallVector<unsigned> symbols;
  bool operator==(const Unit &other) const {
    return bytes == other.bytes && symbols == other.symbols;
  }
};

/// A height in the arena: nothing, some of one unit, or what is computed.
struct Height {
  int64_t count = 0;
  unsigned unit = 0;
  Value value;

  bool isZero() const { return !value && count == 0; }
  bool isOf(unsigned number) const { return !value && unit == number; }
};

/// The buffers of a block that are allocated and freed in it.
class BlockBuffers {
public:
  BlockBuffers(func::FuncOp function, Block &block)
      : block(block), aliases(function) {
    for (auto [number, op] : llvm::enumerate(block))
      numbers[&op] = number;
  }
  SmallVector<Buffer> find();

private:
  std::optional<Buffer> bufferOf(memref::AllocOp alloc);

  Block &block;
  BufferViewFlowAnalysis aliases;
  DenseMap<Operation *, int64_t> numbers;
};

/// Places buffers whose sizes can be known before the first of them.
class Arena {
public:
  Arena(SmallVector<Buffer> found);
  void build();

  SmallVector<Buffer> buffers;
  int64_t staticBytes = 0;      ///< of all buffers, where sizes are static
  std::optional<int64_t> bytes; ///< of the arena, where sizes are static

private:
  bool isKnownEarly(Value value);
  bool measure(Buffer &buffer);
  void addSymbol(Value value, Size &size);
  void hoist();
  unsigned unitOf(const Size &size);
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value times(Value x, Value y);
  Value bytesOf(const Unit &unit);
  Height heightOf(const Size &size);
  SmallVector<int64_t> sampled(const Size &size, SampledSizes &samples);
  Value valueOf(const Height &height);
  Height top(ArrayRef<Height> heights);
  Height onTopOf(const Height &start, const Height &size);
  Value offsetOf(const Height &start);
  void replace(ArrayRef<Height> starts, Value end);

  ImplicitLocOpBuilder b; ///< before the first buffer
  Operation *start;
  llvm::SetVector<Value> symbols;
  llvm::SetVector<Operation *> hoisted; ///< defs after `start` that sizes need
  SmallVector<Unit> units;
  SmallVector<Value> unitBytes;
  DenseMap<std::pair<unsigned, int64_t>, Value> multiples; ///< of units
};
} // namespace

//===----------------------------------------------------------------------===//
// Buffers and their life
//===----------------------------------------------------------------------===//

std::optional<Buffer> BlockBuffers::bufferOf(memref::AllocOp alloc) {
  MemRefType type = alloc.getType();
  if (!type.getLayout().isIdentity() || type.getMemorySpace() ||
      !alloc.getSymbolOperands().empty() ||
      !(type.getElementType().isIntOrIndexOrFloat()))
    return std::nullopt;
  Buffer buffer{alloc, {}, INT64_MAX, -1, {}};
  for (Value alias : aliases.resolve(alloc))
    for (Operation *user : alias.getUsers()) {
      if (auto dealloc = dyn_cast<memref::DeallocOp>(user)) {
        // Memory that is freed under another name, or in part of all runs.
        if (buffer.dealloc || alias != alloc.getMemref() ||
            user->getBlock() != &block)
          return std::nullopt;
        buffer.dealloc = dealloc;
        continue;
      }
      Operation *ancestor = block.findAncestorOpInBlock(*user);
      if (!ancestor || ancestor->hasTrait<OpTrait::IsTerminator>())
        return std::nullopt;
      buffer.first = std::min(buffer.first, numbers.lookup(ancestor));
      buffer.last = std::max(buffer.last, numbers.lookup(ancestor));
    }
  if (!buffer.dealloc || buffer.last < 0)
    return std::nullopt;
  return buffer;
}

SmallVector<Buffer> BlockBuffers::find() {
  SmallVector<Buffer> buffers;
  for (auto alloc : block.getOps<memref::AllocOp>())
    if (std::optional<Buffer> buffer = bufferOf(alloc))
      buffers.push_back(*buffer);
  return buffers;
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

Arena::Arena(SmallVector<Buffer> found)
    : b(found.front().alloc.getLoc(), found.front().alloc),
      start(found.front().alloc) {
  for (Buffer &buffer : found)
    if (measure(buffer))
      buffers.push_back(buffer);
}

/// Whether the value is there, or can be computed, before the first buffer.
bool Arena::isKnownEarly(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != start->getBlock() || op->isBeforeInBlock(start))
    return true;
  if (hoisted.contains(op))
    return true;
  if (!isPure(op) || op->getNumRegions() != 0 ||
      !llvm::all_of(op->getOperands(),
                    [&](Value operand) { return isKnownEarly(operand); }))
    return false;
  hoisted.insert(op);
  return true;
}

/// Multiplies the size by a value; equal values are one symbol.
void Arena::addSymbol(Value value, Size &size) {
  APInt number;
  if (matchPattern(value, m_ConstantInt(&number))) {
    // A negative size is as absurd as it is when it is allocated.
    int64_t factor = number.getSExtValue();
    size.coefficient = saturated(
        size.coefficient, factor < 0 ? kAbsurd : std::min(factor, kAbsurd));
    return;
  }
  if (auto product = value.getDefiningOp<arith::MulIOp>()) {
    addSymbol(product.getLhs(), size);
    addSymbol(product.getRhs(), size);
    return;
  }
  if (!symbols.contains(value))
    for (Value known : symbols)
      if (areEqualSizes({known}, {value})) {
        value = known;
        break;
      }
  symbols.insert(value);
  size.symbols.push_back(llvm::find(symbols, value) - symbols.begin());
}

bool Arena::measure(Buffer &buffer) {
  memref::AllocOp alloc = buffer.alloc;
  if (!llvm::all_of(alloc.getDynamicSizes(),
                    [&](Value size) { return isKnownEarly(size); }))
    return false;
  MemRefType type = alloc.getType();
  Size &bytes = buffer.bytes;
  bytes.coefficient =
      DataLayout::closest(alloc).getTypeSize(type.getElementType());
  for (int64_t size : type.getShape())
    if (ShapedType::isStatic(size))
      bytes.coefficient = saturated(bytes.coefficient, std::min(size, kAbsurd));
  for (Value size : alloc.getDynamicSizes())
    addSymbol(size, bytes);
  llvm::sort(bytes.symbols);
  staticBytes += bytes.coefficient;
  if (bytes.symbols.empty())
    bytes.coefficient = llvm::alignTo(bytes.coefficient, kAlignment);
  return true;
}

unsigned Arena::unitOf(const Size &size) {
  bool isMultiple = size.coefficient % kAlignment == 0;
  Unit unit{isMultiple ? kAlignment : size.coefficient, size.symbols};
  auto found = llvm::find(units, unit);
  if (found == units.end())
    found = units.insert(found, unit);
  return found - units.begin();
}

//===----------------------------------------------------------------------===//
// The IR
//===----------------------------------------------------------------------===//

/// Moves up what sizes need, and the checks that can be made there: what they
/// refuse is to be told before memory runs out.
void Arena::hoist() {
  for (auto check :
       llvm::make_early_inc_range(start->getBlock()->getOps<cf::AssertOp>()))
    if (start->isBeforeInBlock(check) && isKnownEarly(check.getArg()))
      hoisted.insert(check);
  SmallVector<Operation *> ops = hoisted.takeVector();
  llvm::sort(ops,
             [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
  for (Operation *op : ops)
    op->moveBefore(start);
}

/// The unsigned product, cut off.
Value Arena::times(Value x, Value y) {
  APInt p, q;
  bool isConstant = matchPattern(x, m_ConstantInt(&p));
  if (isConstant && p.isOne())
    return y;
  if (isConstant && matchPattern(y, m_ConstantInt(&q)))
    return constant(saturated(p.getSExtValue(), q.getSExtValue()));
  auto product = arith::MulUIExtendedOp::create(b, x, y);
  Value cap = constant(kAbsurd);
  Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                     product.getHigh(), constant(0));
  return arith::MinUIOp::create(
      b, arith::SelectOp::create(b, fits, product.getLow(), cap), cap);
}

Value Arena::bytesOf(const Unit &unit) {
  Value bytes = constant(unit.bytes);
  for (unsigned symbol : unit.symbols)
    bytes = times(bytes, symbols[symbol]);
  if (unit.bytes % kAlignment == 0)
    return bytes;
  Value up = arith::AddIOp::create(b, bytes, constant(kAlignment - 1));
  return arith::AndIOp::create(b, up, constant(-kAlignment));
}

Height Arena::heightOf(const Size &size) {
  unsigned unit = unitOf(size);
  int64_t bytes = units[unit].bytes;
  return {bytes ? size.coefficient / bytes : 0, unit, {}};
}

/// Bytes for some choices of what sizes depend on. What is absurd is as absurd
/// as the rest.
SmallVector<int64_t> Arena::sampled(const Size &size, SampledSizes &samples) {
  SmallVector<int64_t> bytes(symbols.empty() ? 1 : SampledSizes::kChoices,
                             size.coefficient);
  for (unsigned symbol : size.symbols)
    for (auto [product, number] :
         llvm::zip_equal(bytes, samples.of(symbols[symbol])))
      product = saturated(product, std::clamp<int64_t>(number, 0, kAbsurd));
  for (int64_t &product : bytes)
    product = llvm::alignTo(product, kAlignment);
  return bytes;
}

Value Arena::valueOf(const Height &height) {
  if (height.value)
    return height.value;
  Value &value = multiples[{height.unit, height.count}];
  if (!value)
    value = times(constant(height.count), unitBytes[height.unit]);
  return value;
}

/// The greatest. Of one unit that is known.
Height Arena::top(ArrayRef<Height> heights) {
  SmallVector<Height> parts;
  for (const Height &height : heights) {
    if (height.isZero())
      continue;
    auto same = llvm::find_if(parts, [&](const Height &part) {
      return height.value ? part.value == height.value : part.isOf(height.unit);
    });
    if (same == parts.end())
      parts.push_back(height);
    else
      same->count = std::max(same->count, height.count);
  }
  if (parts.size() <= 1)
    return parts.empty() ? Height() : parts[0];
  Value most = valueOf(parts[0]);
  for (const Height &part : ArrayRef(parts).drop_front())
    most = b.createOrFold<arith::MaxUIOp>(most, valueOf(part));
  return {0, 0, most};
}

Height Arena::onTopOf(const Height &start, const Height &size) {
  if (start.isZero())
    return size;
  if (size.isZero())
    return start;
  if (start.isOf(size.unit))
    return {start.count + size.count, size.unit, {}};
  return {0, 0, b.createOrFold<arith::AddIOp>(valueOf(start), valueOf(size))};
}

/// Where this wraps around, the arena is absurd and there is none.
Value Arena::offsetOf(const Height &start) {
  if (start.value)
    return start.value;
  return b.createOrFold<arith::MulIOp>(unitBytes[start.unit],
                                       constant(start.count));
}

void Arena::replace(ArrayRef<Height> starts, Value end) {
  auto type = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  auto arena = memref::AllocOp::create(b, type, ValueRange{end},
                                       b.getI64IntegerAttr(kAlignment));
  for (auto [buffer, start] : llvm::zip_equal(buffers, starts)) {
    Value offset = offsetOf(start);
    OpBuilder at(buffer.alloc);
    auto view = memref::ViewOp::create(at, buffer.alloc.getLoc(),
                                       buffer.alloc.getType(), arena, offset,
                                       buffer.alloc.getDynamicSizes());
    buffer.dealloc.erase();
    buffer.alloc.replaceAllUsesWith(view.getResult());
  }
  // The first is where the builder stands.
  for (Buffer &buffer : buffers)
    buffer.alloc.erase();
  OpBuilder atEnd(arena->getBlock()->getTerminator());
  memref::DeallocOp::create(atEnd, arena.getLoc(), arena);
}

void Arena::build() {
  hoist();
  SampledSizes samples;
  SmallVector<ArenaBuffer> boxes;
  SmallVector<Height> sizes;
  for (const Buffer &buffer : buffers) {
    boxes.push_back(
        {buffer.first, buffer.last, sampled(buffer.bytes, samples)});
    sizes.push_back(heightOf(buffer.bytes));
  }
  for (const Unit &unit : units)
    unitBytes.push_back(bytesOf(unit));
  ArenaPlan plan = ArenaPlan::make(boxes);
  SmallVector<Height> starts(buffers.size()), ends(buffers.size());
  for (unsigned number : plan.order) {
    starts[number] = top(llvm::map_to_vector(
        plan.below[number], [&](unsigned other) { return ends[other]; }));
    ends[number] = onTopOf(starts[number], sizes[number]);
  }
  // Those that others lie on end before these do.
  llvm::BitVector isCovered(buffers.size());
  for (ArrayRef<unsigned> below : plan.below)
    for (unsigned other : below)
      isCovered.set(other);
  SmallVector<Height> highest;
  for (auto [number, height] : llvm::enumerate(ends))
    if (!isCovered[number])
      highest.push_back(height);
  Value end = valueOf(top(highest));
  APInt number;
  if (symbols.empty() && matchPattern(end, m_ConstantInt(&number)))
    bytes = number.getSExtValue();
  replace(starts, end);
}

namespace {
struct PlanArena : impl::PlanArenaPassBase<PlanArena> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    function.walk([&](memref::AllocOp) { ++numLeft; });
    // A branch, and each step of a loop, has an arena of its own: its sizes may
    // be computed inside, and a branch that is not taken needs none.
    SmallVector<Block *> blocks;
    function.walk([&](Block *block) {
      // One buffer is an allocation as it is.
      if (llvm::hasNItemsOrMore(block->getOps<memref::AllocOp>(), 2))
        blocks.push_back(block);
    });
    for (Block *block : blocks)
      plan(*block);
  }

  void plan(Block &block) {
    SmallVector<Buffer> found = BlockBuffers(getOperation(), block).find();
    if (found.size() < 2)
      return;
    Arena arena(std::move(found));
    if (arena.buffers.size() < 2)
      return;
    arena.build();
    numPlaced += arena.buffers.size();
    numLeft -= arena.buffers.size();
    if (arena.bytes) {
      numBufferBytes += arena.staticBytes;
      numArenaBytes += *arena.bytes;
    }
  }
};
} // namespace
} // namespace mlir::megactx
