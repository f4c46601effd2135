//===- Propagation.cpp - integers that inference computes -----------------===//

#include "Propagation.h"
#include "megactx/Onnx/Onnx.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <onnx/defs/tensor_proto_util.h>
#include <optional>
#include <vector>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

using Sizes = std::vector<int64_t>;

static bool areIntegers(const TypeProto *type) {
  int element = type ? type->tensor_type().elem_type() : 0;
  return element == TensorProto::INT64 || element == TensorProto::INT32;
}

static bool isTable(const TypeProto *type) {
  return type && type->has_tensor_type() &&
         type->tensor_type().shape().dim_size() > 1;
}

/// Of integers whose sizes are all known.
static std::optional<Sizes> sizesOf(const TypeProto *type) {
  if (!areIntegers(type) || !type->tensor_type().has_shape())
    return std::nullopt;
  Sizes sizes;
  for (const auto &dim : type->tensor_type().shape().dim()) {
    if (!dim.has_dim_value())
      return std::nullopt;
    sizes.push_back(dim.dim_value());
  }
  return sizes;
}

/// An input's elements, in row-major order, where they are as many as its sizes
/// say.
static const TensorShapeProto *elementsOf(DataPropagationContext &context,
                                          const Sizes &sizes) {
  const TensorShapeProto *elements = context.getInputData(0);
  int64_t count = 1;
  for (int64_t size : sizes)
    if (__builtin_mul_overflow(count, size, &count))
      return nullptr;
  return elements && elements->dim_size() == count ? elements : nullptr;
}

/// Towards zero; a remainder has the divisor's sign.
static int64_t quotient(int64_t a, int64_t b) { return a / b; }
static int64_t remainder(int64_t a, int64_t b) {
  int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

template <int64_t (*compute)(int64_t, int64_t)>
static void propagateDivision(DataPropagationContext &context) {
  const AttributeProto *fmod = context.getAttribute("fmod");
  const TensorShapeProto *a = context.getInputData(0),
                         *b = context.getInputData(1);
  if ((fmod && fmod->i() != 0) || !areIntegers(context.getInputType(0)) || !a ||
      !b || a->dim_size() == 0 || b->dim_size() == 0)
    return;
  int sizes[] = {a->dim_size(), b->dim_size()};
  int size = std::max(sizes[0], sizes[1]);
  if ((sizes[0] != size && sizes[0] != 1) ||
      (sizes[1] != size && sizes[1] != 1))
    return;
  TensorShapeProto result;
  for (int i = 0; i < size; ++i) {
    const auto &x = a->dim(sizes[0] == 1 ? 0 : i);
    const auto &y = b->dim(sizes[1] == 1 ? 0 : i);
    auto &made = *result.add_dim();
    // A quotient by -1 may overflow.
    if (x.has_dim_value() && y.has_dim_value() && y.dim_value() != 0 &&
        y.dim_value() != -1)
      made.set_dim_value(compute(x.dim_value(), y.dim_value()));
  }
  context.addOutputData(0, std::move(result));
}

static void propagateReshape(DataPropagationContext &context) {
  auto sizes = sizesOf(context.getInputType(0));
  if (const auto *elements = sizes ? elementsOf(context, *sizes) : nullptr)
    context.addOutputData(0, TensorShapeProto(*elements));
}

/// Of elements at offset + Σ index · step, row-major over `sizes`.
static void pick(const TensorShapeProto &elements, const Sizes &sizes,
                 const Sizes &steps, int64_t offset, TensorShapeProto &result,
                 size_t dim = 0) {
  if (dim == sizes.size()) {
    *result.add_dim() = elements.dim(int(offset));
    return;
  }
  for (int64_t i = 0; i < sizes[dim]; ++i)
    pick(elements, sizes, steps, offset + i * steps[dim], result, dim + 1);
}

/// From one element along each dim to the next.
static Sizes stepsOf(const Sizes &sizes) {
  Sizes steps(sizes.size(), 1);
  for (size_t dim = sizes.size(); dim-- > 1;)
    steps[dim - 1] = steps[dim] * sizes[dim];
  return steps;
}

static void propagateTranspose(DataPropagationContext &context) {
  auto given = sizesOf(context.getInputType(0));
  const auto *elements = given ? elementsOf(context, *given) : nullptr;
  if (!elements)
    return;
  Sizes givenSteps = stepsOf(*given), sizes, steps;
  const AttributeProto *permutation = context.getAttribute("perm");
  for (size_t i = 0; i < given->size(); ++i) {
    size_t from = permutation && int(i) < permutation->ints_size()
                      ? size_t(permutation->ints(int(i)))
                      : given->size() - 1 - i;
    if (from >= given->size())
      return;
    sizes.push_back((*given)[from]);
    steps.push_back(givenSteps[from]);
  }
  TensorShapeProto result;
  pick(*elements, sizes, steps, 0, result);
  context.addOutputData(0, std::move(result));
}

/// The number of a list of one, or `otherwise` for an input that is not there.
static std::optional<int64_t> numberOf(DataPropagationContext &context,
                                       size_t input, int64_t otherwise) {
  if (input >= context.getNumInputs() || !context.getInputType(input))
    return otherwise;
  const TensorShapeProto *numbers = context.getInputData(input);
  return numbers && numbers->dim_size() == 1 && numbers->dim(0).has_dim_value()
             ? std::optional(numbers->dim(0).dim_value())
             : std::nullopt;
}

/// The library takes bounds that it does not know for 0, says nothing of a
/// list that is empty, and takes tables for lists.
static void propagateSlice(DataPropagationContext &context) {
  auto sizes = sizesOf(context.getInputType(0));
  const auto *elements = sizes ? elementsOf(context, *sizes) : nullptr;
  auto start = numberOf(context, 1, 0), end = numberOf(context, 2, 0),
       axis = numberOf(context, 3, 0), step = numberOf(context, 4, 1);
  if (!elements || !start || !end || !axis || !step || *step == 0)
    return;
  int64_t rank = sizes->size(), dim = *axis < 0 ? *axis + rank : *axis;
  if (dim < 0 || dim >= rank)
    return;
  int64_t size = (*sizes)[dim], last = *step < 0 ? size - 1 : size;
  auto clamped = [&](int64_t at, int64_t least) {
    return std::clamp(at < 0 ? at + size : at, least, std::max(last, least));
  };
  int64_t first = clamped(*start, 0), stop = clamped(*end, *step < 0 ? -1 : 0);
  int64_t stride = std::clamp(*step, -size - 1, size + 1), count = 0;
  for (int64_t at = first; at < size && (stride < 0 ? at > stop : at < stop);
       at += stride)
    ++count;
  Sizes steps = stepsOf(*sizes);
  int64_t offset = first * steps[dim];
  (*sizes)[dim] = count;
  steps[dim] *= stride;
  TensorShapeProto result;
  pick(*elements, *sizes, steps, offset, result);
  context.addOutputData(0, std::move(result));
}

/// Sizes by pads of which some are known: where inference knows not all, the
/// library says nothing of any.
static void inferPad(const InferenceFunction &known,
                     InferenceContext &context) {
  known(context);
  const TypeProto *data = context.getInputType(0);
  if (context.getInputData(1) || context.getNumInputs() > 3 || !data ||
      !data->tensor_type().has_shape())
    return;
  const TensorShapeProto &given = data->tensor_type().shape();
  const TensorShapeProto *pads = context.getSymbolicInput(1);
  int rank = given.dim_size();
  if (!pads || pads->dim_size() != 2 * rank)
    return;
  TensorShapeProto padded;
  for (int i = 0; i < rank; ++i) {
    const auto &size = given.dim(i), &low = pads->dim(i),
               &high = pads->dim(i + rank);
    auto &made = *padded.add_dim();
    int64_t sum;
    if (!low.has_dim_value() || !high.has_dim_value() ||
        __builtin_add_overflow(low.dim_value(), high.dim_value(), &sum))
      continue;
    if (sum == 0)
      made = size;
    else if (size.has_dim_value() &&
             !__builtin_add_overflow(size.dim_value(), sum, &sum) && sum >= 0)
      made.set_dim_value(sum);
  }
  *context.getOutputType(0)->mutable_tensor_type()->mutable_shape() = padded;
}

/// The numbers of a list, where inference knows them all.
static std::optional<Sizes> numbersOf(InferenceContext &context, size_t input) {
  if (const TensorProto *tensor = context.getInputData(input)) {
    if (tensor->data_type() == TensorProto::INT64)
      return ParseData<int64_t>(tensor);
    if (tensor->data_type() != TensorProto::INT32)
      return std::nullopt;
    std::vector<int32_t> numbers = ParseData<int32_t>(tensor);
    return Sizes(numbers.begin(), numbers.end());
  }
  const TensorShapeProto *list = context.getSymbolicInput(input);
  Sizes numbers;
  for (int i = 0; list && i < list->dim_size(); ++i)
    if (list->dim(i).has_dim_value())
      numbers.push_back(list->dim(i).dim_value());
  return list && int(numbers.size()) == list->dim_size()
             ? std::optional(numbers)
             : std::nullopt;
}

/// Dims that are not sliced keep their size: where bounds are not known, the
/// library says nothing of any.
static void inferSlice(const InferenceFunction &known,
                       InferenceContext &context) {
  known(context);
  const TypeProto *data = context.getInputType(0);
  TypeProto *type = context.getOutputType(0);
  bool hasAxes = context.getNumInputs() > 3 && context.getInputType(3);
  auto axes = hasAxes ? numbersOf(context, 3) : std::nullopt;
  if (!axes || !data || !data->tensor_type().has_shape() ||
      !type->tensor_type().has_shape())
    return;
  const TensorShapeProto &given = data->tensor_type().shape();
  TensorShapeProto &made = *type->mutable_tensor_type()->mutable_shape();
  int rank = given.dim_size();
  for (int i = 0; i < rank && made.dim_size() == rank; ++i)
    if (!made.dim(i).has_dim_value() && !made.dim(i).has_dim_param() &&
        std::none_of(axes->begin(), axes->end(), [&](int64_t axis) {
          return axis == i || axis + rank == i;
        }))
      *made.mutable_dim(i) = given.dim(i);
}

/// The dims of an operand where they are known; null elsewhere.
static const TensorShapeProto *shapeOf(InferenceContext &context,
                                       size_t input) {
  const TypeProto *type =
      input < context.getNumInputs() ? context.getInputType(input) : nullptr;
  return type && type->tensor_type().has_shape() ? &type->tensor_type().shape()
                                                 : nullptr;
}

/// A rank by how many axes there are, whichever they are: `sign` dims more for
/// each. The library says nothing of what it does not know.
template <int sign>
static void inferRank(const InferenceFunction &known,
                      InferenceContext &context) {
  known(context);
  TypeProto *type = context.getOutputType(0);
  const TensorShapeProto *given = shapeOf(context, 0),
                         *axes = shapeOf(context, 1);
  const AttributeProto *keeps = context.getAttribute("keepdims");
  if (type->tensor_type().has_shape() || !given || !axes ||
      axes->dim_size() != 1 || axes->dim(0).dim_value() < 1 ||
      (keeps && keeps->i() != 0))
    return;
  int64_t rank = given->dim_size() + sign * axes->dim(0).dim_value();
  constexpr int64_t kMost = 64;
  if (rank < 0 || rank > kMost)
    return;
  auto &made = *type->mutable_tensor_type()->mutable_shape();
  for (int64_t i = 0; i < rank; ++i)
    made.add_dim();
}

/// The library takes an order of fewer dims than there are.
static void inferTranspose(const InferenceFunction &known,
                           InferenceContext &context) {
  known(context);
  const TensorShapeProto *given = shapeOf(context, 0);
  const AttributeProto *order = context.getAttribute("perm");
  if (given && order && order->ints_size() != given->dim_size())
    fail_shape_inference("an order of ", order->ints_size(), " dims, not ",
                         given->dim_size());
}

/// Parts have all sizes but one, whichever parts there are.
static void inferSplit(const InferenceFunction &known,
                       InferenceContext &context) {
  known(context);
  const TensorShapeProto *given = shapeOf(context, 0);
  const AttributeProto *attribute = context.getAttribute("axis");
  int64_t axis = attribute ? attribute->i() : 0;
  if (!given || axis < -given->dim_size() || axis >= given->dim_size())
    return;
  for (size_t i = 0; i < context.getNumOutputs(); ++i) {
    auto &type = *context.getOutputType(i)->mutable_tensor_type();
    if (type.has_shape())
      continue;
    *type.mutable_shape() = *given;
    int dim = int(axis < 0 ? axis + given->dim_size() : axis);
    type.mutable_shape()->mutable_dim(dim)->Clear();
  }
}

/// Sizes by scales in f32, as onnxruntime computes them: 0.7 of 10 is 7. The
/// library's f64 takes the f32 that is nearest to 0.7 for less.
static void inferResize(const InferenceFunction &known,
                        InferenceContext &context) {
  known(context);
  const TypeProto *data = context.getInputType(0);
  TypeProto *type = context.getOutputType(0);
  const TensorProto *list =
      context.getNumInputs() > 2 ? context.getInputData(2) : nullptr;
  if (!data || !list || list->data_type() != TensorProto::FLOAT ||
      !data->tensor_type().has_shape() || !type->tensor_type().has_shape())
    return;
  const TensorShapeProto &given = data->tensor_type().shape();
  TensorShapeProto &made = *type->mutable_tensor_type()->mutable_shape();
  std::vector<float> scales = ParseData<float>(list);
  const AttributeProto *axes = context.getAttribute("axes");
  int rank = given.dim_size();
  if (made.dim_size() != rank || int(scales.size()) > rank ||
      (axes && axes->ints_size() != int(scales.size())))
    return;
  for (int i = 0; i < int(scales.size()); ++i) {
    int64_t axis = axes ? axes->ints(i) : i;
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank || !given.dim(int(axis)).has_dim_value())
      continue;
    int64_t size = given.dim(int(axis)).dim_value();
    float product = std::floor(float(size) * scales[i]);
    if (scales[i] == 1)
      made.mutable_dim(int(axis))->set_dim_value(size);
    else if (product >= 0 && product < 0x1p62f)
      made.mutable_dim(int(axis))->set_dim_value(int64_t(product));
  }
}

namespace {
class PropagatingSchemas : public ISchemaRegistry {
public:
  PropagatingSchemas() {
    propagate("Div", propagateDivision<quotient>);
    propagate("Mod", propagateDivision<remainder>);
    propagate("Reshape", propagateReshape);
    propagate("Slice", propagateSlice);
    propagate("Transpose", propagateTranspose);
    // The library takes tables for lists.
    for (const char *name : {"Add", "Sub", "Mul", "Gather", "Div", "Mod"})
      propagate(name, [known = own(name).GetDataPropagationFunction()](
                          DataPropagationContext &context) {
        for (size_t i = 0; i < context.getNumInputs(); ++i)
          if (isTable(context.getInputType(i)))
            return;
        known(context);
      });
    infer("Pad", inferPad);
    infer("Slice", inferSlice);
    infer("Resize", inferResize);
    infer("Split", inferSplit);
    infer("Transpose", inferTranspose);
    infer("Unsqueeze", inferRank<1>);
    for (const char *name :
         {"Squeeze", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
          "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
          "ReduceSumSquare"})
      infer(name, inferRank<-1>);
  }

  const OpSchema *GetSchema(const std::string &name, int version,
                            const std::string &domain) const override {
    const OpSchema *found =
        OpSchemaRegistry::Instance()->GetSchema(name, version, domain);
    auto own = schemas.find(found);
    return own == schemas.end() ? found : &own->second;
  }

private:
  OpSchema &own(const char *name) {
    const OpSchema *known = OpSchemaRegistry::Schema(name, int(kOpset), "");
    return schemas.try_emplace(known, *known).first->second;
  }

  void propagate(const char *name, DataPropagationFunction function) {
    own(name).PartialDataPropagationFunction(std::move(function));
  }

  /// After what the library infers.
  void infer(const char *name,
             void (*function)(const InferenceFunction &, InferenceContext &)) {
    OpSchema &schema = own(name);
    schema.TypeAndShapeInferenceFunction(
        [function, known = schema.GetTypeAndShapeInferenceFunction()](
            InferenceContext &context) { function(known, context); });
  }

  std::map<const OpSchema *, OpSchema> schemas;
};
} // namespace

const ISchemaRegistry &mlir::onnx::propagatingSchemas() {
  static const PropagatingSchemas schemas;
  return schemas;
}
