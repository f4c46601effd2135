//===- Lowering.h - what the ONNX lowerings share ---------------*- C++ -*-===//
//
// The conversion walks a function once, forwards. Each node's lowering sees its
// operands already converted, with every dimension as an IndexExpr (and, for
// small integer tensors, every element too), so result types are as static as
// the whole prefix of the graph allows, whatever types the nodes declared.
//
// One file per family of operators holds the lowerings; each exports a
// registration function that Registry calls.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_CONVERSION_ONNXTOLINALG_LOWERING_H
#define MEGACTX_CONVERSION_ONNXTOLINALG_LOWERING_H

#include "IndexExpr.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include <memory>

namespace mlir::megactx {

using Shape = SmallVector<IndexExpr>;

/// A converted tensor. At least one of value, elements, splat, constant and
/// channelsLast is there; Graph::materialize makes the value when a consumer
/// needs one.
struct Tensor {
  Type elementType;
  Shape shape;
  Value value;
  /// The contents of a small integer or Boolean tensor, row-major.
  std::optional<SmallVector<IndexExpr>> elements;
  /// The one value that all elements have.
  TypedAttr splat;
  ElementsAttr constant;
  /// Where this tensor is another with its last two dimensions swapped: that
  /// other. Matrix products read it instead.
  Value transposed;
  /// Where this tensor is another with its last dim moved behind the first one:
  /// that other. Convolutions read it and leave the value to who needs that.
  Value channelsLast;
  /// Where this tensor is one of bytes, widened: those. Matrix products of two
  /// such multiply bytes.
  std::shared_ptr<const struct Dequantized> dequantized;

  int64_t rank() const { return shape.size(); }
  /// Whether nobody has needed the value yet that channelsLast stands for.
  bool isChannelsLast() const { return channelsLast && !value; }
  bool hasElements() const { return elements.has_value(); }
  /// The number of elements where it is static.
  std::optional<int64_t> staticCount() const;
  /// By how many elements the next one of each dim stands behind, row-major;
  /// nothing where sizes are not static.
  std::optional<SmallVector<int64_t>> staticStrides() const;
};

/// (bytes - zero) * scale in f32. Scale and zero point, if there is one, are of
/// one element, or one for each entry of the last dim.
struct Dequantized {
  Tensor bytes, scale;
  std::optional<Tensor> zero;
};

class Graph;

/// One ONNX node during its conversion.
class Node {
public:
  Node(Graph &graph, Operation *op) : graph(graph), op(op) {}

  Graph &graph;
  Operation *op;

  Location loc() const { return op->getLoc(); }
  /// The operator with its domain, e.g. `MatMul` or `com.microsoft.Sampling`.
  StringRef type() const;
  unsigned numInputs() const { return op->getNumOperands(); }
  unsigned numOutputs() const { return op->getNumResults(); }
  bool has(unsigned i) const;
  Tensor &in(unsigned i) const;
  /// Whether output i exists and is used.
  bool wants(unsigned i) const;
  void set(unsigned i, Tensor tensor);

  int64_t integer(StringRef name, int64_t otherwise) const;
  double real(StringRef name, double otherwise) const;
  std::optional<SmallVector<int64_t>> integers(StringRef name) const;
  StringRef string(StringRef name, StringRef otherwise) const;

  /// An axis counted from 0, or nullopt where it is out of range.
  std::optional<int64_t> axis(int64_t axis, int64_t rank) const;

  /// The attribute `axis`, counted from 0, along which numbers of operand 0 are
  /// compared; reports that it is out of range, or that they are none.
  FailureOr<int64_t> axisOfNumbers(int64_t otherwise) const;

  /// Per dim 1 where the list of axes has it and 0 elsewhere; axes may be known
  /// at run time only. Reports axes that are out of range.
  FailureOr<SmallVector<IndexExpr>> axisFlags(ArrayRef<IndexExpr> axes,
                                              int64_t rank) const;

  /// The element of operand i, an integer or bool; reports that it is not one.
  FailureOr<IndexExpr> scalar(unsigned i, StringRef what) const;

  /// Checks that two sizes are equal, now or at run time.
  LogicalResult requireEqual(const IndexExpr &a, const IndexExpr &c,
                             StringRef what) const;
  /// Checks that what is computed as a size is not negative.
  LogicalResult requireSize(const IndexExpr &size) const;
  /// Checks that a tensor has no more bytes than a processor can address, nor
  /// than 64 bits can count. At run time only where one of the numbers that
  /// the shape was made of may be anything, as what a model computes; sizes of
  /// other tensors are not negative.
  LogicalResult requireMemory(ArrayRef<IndexExpr> shape, Type elementType,
                              ArrayRef<IndexExpr> numbers) const;

  /// Reports `node 'name' (Op): ` and what follows.
  InFlightDiagnostic error() const;
};

using LowerFn = LogicalResult (*)(Node &);
using Registry = llvm::StringMap<LowerFn>;

void registerElementwise(Registry &registry);
void registerShapeOps(Registry &registry);
void registerMovement(Registry &registry);
void registerGather(Registry &registry);
void registerMatMul(Registry &registry);
void registerEinsum(Registry &registry);
void registerConv(Registry &registry);
void registerConvInteger(Registry &registry);
void registerControl(Registry &registry);
void registerLoops(Registry &registry);
void registerPool(Registry &registry);
void registerReduction(Registry &registry);
void registerOrder(Registry &registry);
void registerTopK(Registry &registry);
void registerScatter(Registry &registry);
void registerResize(Registry &registry);
void registerPad(Registry &registry);
void registerNormalization(Registry &registry);
void registerScan(Registry &registry);
void registerNonZero(Registry &registry);
void registerQuantize(Registry &registry);

/// Builds the scalar computation of one element.
using Body = llvm::function_ref<Value(OpBuilder &, Location, ValueRange)>;

/// See the pass's options.
struct GraphOptions {
  bool channelsLast = false, integerTerms = false, topKOps = false;
};

/// The conversion of one function.
class Graph {
public:
  Graph(func::FuncOp function, const Registry &registry,
        const GraphOptions &options);

  OpBuilder b;
  IndexSpace ix;
  const GraphOptions options;

  /// Converts the function in place. Each of its nodes is in the registry.
  LogicalResult run();

  /// Converts the ops of a node's subgraph at the insertion point, and returns
  /// its outputs. What its inputs are is bound before.
  FailureOr<SmallVector<Tensor>> inlined(Node &owner, Block &subgraph);

  /// While it lives, what is converted stands in a block inside: of tensors
  /// from outside it has copies of its own, and its own are gone after it.
  class Scope {
  public:
    explicit Scope(Graph &graph);
    ~Scope();
    IndexSpace::Scope indices;

  private:
    Graph &graph;
    size_t numNodes;
  };

  Tensor *lookup(Value original);
  void bind(Value original, Tensor tensor);

  //===--- making tensors -------------------------------------------------===//
  RankedTensorType typeOf(ArrayRef<IndexExpr> shape, Type elementType) const;
  Tensor wrap(Value value, ArrayRef<IndexExpr> shape) const;
  /// A tensor for a value of which only the type is known.
  Tensor wrap(Location loc, Value value);
  Tensor splat(TypedAttr value, ArrayRef<IndexExpr> shape) const;
  Tensor ofElements(ArrayRef<IndexExpr> elements, ArrayRef<IndexExpr> shape,
                    Type elementType) const;
  /// Of known contents those that stand at offset + Σ index · step, row-major
  /// over `shape`; nothing where sizes or contents are not known.
  std::optional<Tensor> pick(const Tensor &tensor, ArrayRef<IndexExpr> shape,
                             int64_t offset, ArrayRef<int64_t> steps) const;
  Value materialize(Location loc, Tensor &tensor);
  /// The tensor, of rank 3 or more, with its channels, dim 1, last in memory.
  Value channelsLast(Location loc, Tensor &tensor);
  Tensor wrapChannelsLast(Value value, ArrayRef<IndexExpr> shape) const;
  Value empty(Location loc, ArrayRef<IndexExpr> shape, Type elementType);
  Value filled(Location loc, ArrayRef<IndexExpr> shape, TypedAttr value);

  /// linalg.generic with parallel loops over `shape`; `maps` are those of the
  /// inputs over the loops, the output's is the identity.
  Tensor parallel(Location loc, ValueRange inputs, ArrayRef<AffineMap> maps,
                  ArrayRef<IndexExpr> shape, Type elementType, Body body);
  /// One computation per element with numpy's broadcasting to `shape`. Splats
  /// become constants of the body.
  Tensor map(Location loc, ArrayRef<Tensor *> inputs, ArrayRef<IndexExpr> shape,
             Type elementType, Body body);
  /// The shape that all broadcast to; run-time checks where sizes may differ.
  FailureOr<Shape> broadcastShape(Node &node, ArrayRef<Tensor *> inputs);
  Tensor expand(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape);
  /// The same elements in another shape; a run-time check where the counts are
  /// not provably equal.
  Tensor reshape(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape);
  Tensor transpose(Location loc, Tensor &tensor, ArrayRef<int64_t> permutation);
  Tensor cast(Location loc, Tensor &tensor, Type elementType);
  Tensor slice(Location loc, Tensor &tensor, ArrayRef<IndexExpr> offsets,
               ArrayRef<IndexExpr> sizes, ArrayRef<IndexExpr> strides);
  Tensor concat(Location loc, ArrayRef<Tensor *> parts, int64_t axis);
  /// With so many more elements before and after those of each axis.
  Tensor pad(Location loc, Tensor &tensor, ArrayRef<IndexExpr> low,
             ArrayRef<IndexExpr> high, Value fill);
  /// [B, M, K] x [B, K, N] -> [B, M, N], as one contraction that the target may
  /// recognise. Narrow floats accumulate in what the target's product takes.
  /// Sums are of the operands' type, or of `sum`.
  Tensor contract(Location loc, Tensor &a, Tensor &c, Type sum = {});

  //===--- run-time values ------------------------------------------------===//
  /// The elements of a 0-d or 1-d integer tensor of static size, loaded where
  /// they are not known; nullopt where the size is not static, or they are more
  /// than `most`.
  std::optional<SmallVector<IndexExpr>> elementsOf(Location loc, Tensor &tensor,
                                                   int64_t most = 64);
  /// `shape` without the `removed` dims that have a flag.
  Shape without(Location loc, ArrayRef<IndexExpr> shape,
                ArrayRef<IndexExpr> flags, size_t removed);
  /// The element of a tensor that has one.
  Value scalar(Location loc, Tensor &tensor);
  /// Ends the run with `message` unless `ok`.
  void check(Location loc, Value ok, const Twine &message);
  /// The same of an expression that is not 0 where all is well.
  void check(Location loc, const IndexExpr &condition, const Twine &message);

private:
  LogicalResult convertArguments();
  LogicalResult keep(Operation &op);
  LogicalResult lower(Operation *op);
  LogicalResult convert(ArrayRef<Operation *> ops);
  const IndexExpr *sizeOf(tensor::DimOp dim);
  IndexExpr exprOf(Value size);
  std::optional<IndexExpr> sumOf(Value index);
  std::optional<IndexExpr> sumOf(AffineExpr expr, affine::AffineApplyOp apply);
  Value readable(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape);
  Value fromChannelsLast(Location loc, const Tensor &tensor);
  Value readableLast(Location loc, Tensor &tensor, ArrayRef<IndexExpr> shape);
  Value permuted(Location loc, Value value, ArrayRef<IndexExpr> shape,
                 ArrayRef<int64_t> permutation);
  void equate(Location loc, ArrayRef<Tensor *> inputs, int64_t dim,
              IndexExpr size, IndexExpr &out);

  func::FuncOp function;
  const Registry &registry;
  SmallVector<Operation *> nodes; ///< converted, to be erased
  SmallVector<DenseMap<Value, std::unique_ptr<Tensor>>> tensors; ///< by scope
};

/// numpy's matmul of operands of rank 2 and more, of one type or into `sum`.
FailureOr<Tensor> multiply(Node &node, Tensor a, Tensor c, Type sum = {});

/// The whole elements of a constant integer or Boolean tensor, at most `limit`.
std::optional<SmallVector<int64_t>> integersOf(ElementsAttr attr,
                                               int64_t limit = 64);

/// The value of a constant with one element, as an attribute of its type.
TypedAttr scalarOf(ElementsAttr attr);

/// What arith computes with: the integer without a sign that has an unsigned
/// one's bits, else the type itself.
Type signlessOf(Type type);

/// The value as one of `type`, an integer of the same bits.
Value bitsAs(OpBuilder &b, Location loc, Value value, Type type);

/// A constant of any element type.
Value constantOf(OpBuilder &b, Location loc, TypedAttr value);

/// Converts a scalar by ONNX Cast's rules; null where there is no such cast.
Value castScalar(OpBuilder &b, Location loc, Value value, Type to);

/// What is said of each dim, 0 to rank - 1, in the order in which a tensor with
/// its channels last has them.
template <typename T> SmallVector<T> inLastOrder(ArrayRef<T> ofDims) {
  SmallVector<T> last(ofDims.drop_front());
  std::rotate(last.begin(), last.begin() + 1, last.end());
  last.insert(last.begin(), ofDims.front());
  return last;
}
/// Where such a tensor has a dim.
inline int64_t placeInLast(int64_t dim, int64_t rank) {
  return dim == 0 ? 0 : dim == 1 ? rank - 1 : dim - 1;
}

/// Whether there are lowerings for elements of the type: bool, integers, f16,
/// bf16, f32 and f64.
bool isNumber(Type type);

/// f16, bf16, f32 or f64.
bool isFloat(Type type);

/// Whether a size is known to be 0. Slices of nothing are not made: their
/// offsets would not be inside.
bool isEmpty(ArrayRef<IndexExpr> shape);

/// Whether contents of the type may be kept as expressions, which do not wrap.
bool holdsExpressions(Type type);

/// f32 for f16 and bf16, which accumulate in it; else the type itself.
Type accumulatorType(Type type);

/// In a linalg body of `rank` loops: the index of each.
SmallVector<Value> loopIndices(OpBuilder &b, Location loc, int64_t rank);

/// Cast of a tensor's indices in a linalg body: an integer as an index.
Value indexOf(OpBuilder &b, Location loc, Value integer);

/// An index as a number of the type.
Value numberOf(OpBuilder &b, Location loc, Value index, Type type);

/// How often 1 is doubled until it is no less than a size.
Value doublingsTo(OpBuilder &b, Location loc, Value size);

/// An index counted from 0: a negative one counts from the end.
Value fromFirst(OpBuilder &b, Location loc, Value index, Value size);

/// An index counted from 0 and within the dimension, so that no run reads
/// outside of the tensor; `checkIndices` reports those that were not.
Value insideOf(OpBuilder &b, Location loc, Value integer, Value size);

/// The place that a tuple of indices says, each `insideOf` its size: the row of
/// `indices`, along the last dim, that the outer dims' `row` names.
SmallVector<Value> placeInside(OpBuilder &b, Location loc, Value indices,
                               ValueRange row, ValueRange sizes);

/// Ends the run where an index is outside of [-size, size). Of several sizes,
/// each is for one entry of the indices' last dim.
void checkIndices(Node &node, Tensor &indices, ArrayRef<IndexExpr> sizes);

/// Whether x comes before y: is larger, or smaller. Both are of the type, or
/// the bits of such.
Value comesBefore(OpBuilder &b, Location loc, Value x, Value y, Type type,
                  bool isLarger);

} // namespace mlir::megactx

#endif
