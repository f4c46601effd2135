//===- Propagation.cpp - integers that inference computes -----------------===//

#include "Propagation.h"
#include "megactx/Onnx/Onnx.h"
#include <algorithm>
#include <map>
#include <optional>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

static bool areIntegers(const TypeProto *type) {
  int element = type ? type->tensor_type().elem_type() : 0;
  return element == TensorProto::INT64 || element == TensorProto::INT32;
}

/// As the library gives them: of tensors of any rank.
static bool isList(const TypeProto *type) {
  return areIntegers(type) && type->tensor_type().has_shape() &&
         type->tensor_type().shape().dim_size() <= 1;
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
  const TensorShapeProto *list = context.getInputData(0),
                         *shape = context.getInputData(1);
  if (list && isList(context.getInputType(0)) && shape &&
      shape->dim_size() <= 1)
    context.addOutputData(0, TensorShapeProto(*list));
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

/// The library takes bounds that it does not know for 0, and says nothing of a
/// list that is empty.
static void propagateSlice(DataPropagationContext &context) {
  const TensorShapeProto *list = context.getInputData(0);
  auto start = numberOf(context, 1, 0), end = numberOf(context, 2, 0),
       axis = numberOf(context, 3, 0), step = numberOf(context, 4, 1);
  if (!list || !isList(context.getInputType(0)) || !start || !end || !axis ||
      !step || *axis < -1 || *axis > 0 || *step == 0)
    return;
  int64_t size = list->dim_size(), last = *step < 0 ? size - 1 : size;
  auto clamped = [&](int64_t at, int64_t least) {
    return std::clamp(at < 0 ? at + size : at, least, std::max(last, least));
  };
  int64_t at = clamped(*start, 0), stop = clamped(*end, *step < 0 ? -1 : 0);
  TensorShapeProto result;
  for (; at < size && (*step < 0 ? at > stop : at < stop);
       at += std::clamp(*step, -size, size))
    *result.add_dim() = list->dim(int(at));
  context.addOutputData(0, std::move(result));
}

namespace {
class PropagatingSchemas : public ISchemaRegistry {
public:
  PropagatingSchemas() {
    add("Div", propagateDivision<quotient>);
    add("Mod", propagateDivision<remainder>);
    add("Reshape", propagateReshape);
    add("Slice", propagateSlice);
  }

  const OpSchema *GetSchema(const std::string &name, int version,
                            const std::string &domain) const override {
    const OpSchema *found =
        OpSchemaRegistry::Instance()->GetSchema(name, version, domain);
    auto own = schemas.find(found);
    return own == schemas.end() ? found : &own->second;
  }

private:
  void add(const char *name, DataPropagationFunction function) {
    const OpSchema *known = OpSchemaRegistry::Schema(name, int(kOpset), "");
    schemas.try_emplace(known, *known)
        .first->second.PartialDataPropagationFunction(std::move(function));
  }

  std::map<const OpSchema *, OpSchema> schemas;
};
} // namespace

const ISchemaRegistry &mlir::onnx::propagatingSchemas() {
  static const PropagatingSchemas schemas;
  return schemas;
}
