//===- ContribSchemas.cpp - operators beside ONNX's -----------------------===//

#include "ContribSchemas.h"
#include "Names.h"
#include <algorithm>
#include <onnx/defs/schema.h>
#include <onnx/defs/shape_inference.h>
#include <string>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

static constexpr char kContribDomain[] = "com.microsoft";

/// out has the query's shape; caches are [B, Hkv, unknown, D].
static void inferCachedAttention(InferenceContext &context) {
  propagateElemTypeFromInputToOutput(context, 0, 0);
  propagateShapeFromInputToOutput(context, 0, 0);
  for (size_t i : {1, 2}) {
    if (i >= context.getNumOutputs())
      return;
    propagateElemTypeFromInputToOutput(context, i, i);
    if (!hasInputShape(context, i))
      continue;
    const TensorShapeProto &rows = getInputShape(context, i);
    int64_t heads = getAttribute(context, "kv_num_heads", int64_t(0));
    TensorShapeProto *cache = getOutputShape(context, i);
    if (rows.dim_size() != 3 || heads <= 0)
      continue;
    cache->clear_dim();
    *cache->add_dim() = rows.dim(0);
    cache->add_dim()->set_dim_value(heads);
    cache->add_dim();
    auto *depth = cache->add_dim();
    if (rows.dim(2).has_dim_value())
      depth->set_dim_value(rows.dim(2).dim_value() / heads);
  }
}

/// [..., K] times weights of N columns: [..., N].
static void inferMatMulNBits(InferenceContext &context) {
  propagateElemTypeFromInputToOutput(context, 0, 0);
  if (!hasInputShape(context, 0) || getInputShape(context, 0).dim_size() < 1)
    return;
  propagateShapeFromInputToOutput(context, 0, 0);
  TensorShapeProto *out = getOutputShape(context, 0);
  auto *last = out->mutable_dim(out->dim_size() - 1);
  last->clear_dim_param();
  last->set_dim_value(getAttribute(context, "N", int64_t(0)));
}

static void inferDequantizeBlocks(InferenceContext &context) {
  propagateElemTypeFromInputToOutput(context, 1, 0);
  if (!hasInputShape(context, 1) || getInputShape(context, 1).dim_size() < 1)
    return;
  propagateShapeFromInputToOutput(context, 1, 0);
  TensorShapeProto *out = getOutputShape(context, 0);
  auto *last = out->mutable_dim(out->dim_size() - 1);
  if (last->has_dim_value())
    last->set_dim_value(last->dim_value() *
                        getAttribute(context, "block_size", int64_t(0)));
}

/// `inputs`: a letter for each, r where it is required, o where it is optional.
static void add(const char *domain, const char *name, const std::string &inputs,
                InferenceFunction inference) {
  OpSchema schema(name, __FILE__, __LINE__);
  schema.SetDomain(domain).SinceVersion(1).TypeAndShapeInferenceFunction(
      std::move(inference));
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::string type = "T" + std::to_string(i);
    schema.Input(int(i), "input_" + std::to_string(i), "", type,
                 inputs[i] == 'r' ? OpSchema::Single : OpSchema::Optional);
    schema.TypeConstraint(type, OpSchema::all_tensor_types_ir4(), "");
  }
  schema.Output(0, "outputs", "", "T", OpSchema::Variadic,
                /*is_homogeneous=*/false);
  schema.TypeConstraint("T", OpSchema::all_tensor_types_ir4(), "");
  schema.AllowUncheckedAttributes();
  RegisterSchema(std::move(schema));
}

void mlir::onnx::registerContribSchemas() {
  static bool once = [] {
    auto &domains = OpSchemaRegistry::DomainToVersionRange::Instance();
    domains.AddDomainToVersion(kMegaCtxDomain, 1, 1);
    domains.AddDomainToVersion(kContribDomain, 1, 1);
    add(kMegaCtxDomain, "CachedAttention", "rrroorrroooooo",
        inferCachedAttention);
    add(kMegaCtxDomain, "Assume", "rr", propagateShapeAndTypeFromFirstInput);
    add(kMegaCtxDomain, "DequantizeBlocks", "rro", inferDequantizeBlocks);
    add(kContribDomain, "MatMulNBits", "rrrooo", inferMatMulNBits);
    return true;
  }();
  (void)once;
}

static bool hasOurs(const GraphProto &graph) {
  return std::any_of(graph.node().begin(), graph.node().end(),
                     [](const NodeProto &node) {
                       bool isFound = node.domain() == kMegaCtxDomain;
                       forEachSubgraph(node, [&](const GraphProto &inner) {
                         isFound = isFound || hasOurs(inner);
                       });
                       return isFound;
                     });
}

void mlir::onnx::importContribDomains(ModelProto &model) {
  for (const OperatorSetIdProto &set : model.opset_import())
    if (set.domain() == kMegaCtxDomain)
      return;
  if (!hasOurs(model.graph()))
    return;
  OperatorSetIdProto &set = *model.add_opset_import();
  set.set_domain(kMegaCtxDomain);
  set.set_version(1);
}
