//===- Activations.cpp - activations that attributes name -----------------===//

#include "Activations.h"
#include "Rules.h"

using namespace mlir::onnx;

const Activation *mlir::onnx::findActivation(const std::string &name) {
  static const Activation all[] = {
      {"Affine",
       {{"alpha", std::nullopt}, {"beta", std::nullopt}},
       "$_scaled = Mul(#, $_alpha)\n$ = Add($_scaled, $_beta)\n"},
      {"Elu", {{"alpha", 1.0}}},
      {"HardSigmoid", {{"alpha", 0.2}, {"beta", 0.5}}},
      {"Identity", {}},
      {"LeakyRelu", {{"alpha", 0.01}}},
      {"Relu", {}},
      {"ScaledTanh",
       {{"alpha", std::nullopt}, {"beta", std::nullopt}},
       "$_inner = Mul(#, $_beta)\n$_plain = Tanh($_inner)\n"
       "$ = Mul($_plain, $_alpha)\n"},
      {"Selu",
       {{"alpha", 1.67326319217681884765625},
        {"gamma", 1.05070102214813232421875}}},
      {"Sigmoid", {}},
      {"Softplus", {}},
      {"Softsign", {}},
      {"Tanh", {}},
      {"ThresholdedRelu", {{"alpha", 1.0}}}};
  for (const Activation &one : all)
    if (name == one.name)
      return &one;
  return nullptr;
}

std::optional<std::vector<double>> mlir::onnx::parametersOf(
    const Activation &activation,
    const std::function<std::optional<double>(const std::string &)> &given) {
  std::vector<double> parameters;
  for (const Activation::Parameter &one : activation.parameters) {
    std::optional<double> number = given(one.name);
    if (!number)
      number = one.otherwise;
    if (!number)
      return std::nullopt;
    parameters.push_back(*number);
  }
  return parameters;
}

std::optional<std::vector<ParameterizedActivation>>
mlir::onnx::activationsOf(const Call &call,
                          const std::vector<std::string> &names) {
  std::vector<ParameterizedActivation> all;
  std::map<std::string, int> used;
  for (const std::string &name : names) {
    const Activation *function = findActivation(name);
    if (!function)
      return std::nullopt;
    auto parameters = parametersOf(
        *function, [&](const std::string &name) -> std::optional<double> {
          const auto *list = call.attribute("activation_" + name);
          int next = used[name]++;
          if (!list || next >= list->floats_size())
            return std::nullopt;
          return list->floats(next);
        });
    if (!parameters)
      return std::nullopt;
    all.push_back({function, *parameters});
  }
  return all;
}

std::string mlir::onnx::scalarLike(const std::string &name, double value,
                                   const std::string &like) {
  return name + "_wide = Constant <value = float {" + text(value) + "}> ()\n" +
         name + " = CastLike(" + name + "_wide, " + like + ")\n";
}

static std::string replaced(std::string text, char mark,
                            const std::string &by) {
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos;
       at += by.size())
    text.replace(at, 1, by);
  return text;
}

std::string mlir::onnx::applied(const Activation &activation,
                                const std::vector<double> &parameters,
                                const std::string &result,
                                const std::string &x) {
  std::vector<std::string> attributes;
  std::string constants;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string name = activation.parameters[i].name;
    attributes.push_back(name + " = " + text(parameters[i]));
    constants += scalarLike(result + "_" + name, parameters[i], x);
  }
  if (activation.nodes)
    return constants +
           replaced(replaced(activation.nodes, '$', result), '#', x);
  return result + " = " + activation.name +
         (attributes.empty() ? "" : " <" + joined(attributes) + ">") + "(" + x +
         ")\n";
}

/// Of f16 and bf16 in f32, rounded once, where the body that ONNX gives rounds
/// after each of its operators.
static std::string inFloats(const Call &call) {
  int type = call.elementType(0);
  if (type != ::ONNX_NAMESPACE::TensorProto::FLOAT16 &&
      type != ::ONNX_NAMESPACE::TensorProto::BFLOAT16)
    return "";
  std::vector<std::string> attributes;
  for (const char *name : {"alpha", "beta", "bias", "gamma", "lambd"})
    if (call.attribute(name))
      attributes.push_back(std::string(name) + " = " +
                           text(call.real(name, 0)));
  return "wide = Cast <to = 1> (i0)\nmade = " + call.type() +
         (attributes.empty() ? "" : " <" + joined(attributes) + ">") +
         "(wide)\no0 = CastLike(made, i0)";
}

void mlir::onnx::addActivationRules(Rules &rules) {
  for (const char *name :
       {"Celu", "Elu", "HardSigmoid", "HardSwish", "Mish", "Selu", "Shrink",
        "Softsign", "Swish", "ThresholdedRelu"})
    rules["." + std::string(name)] = inFloats;
}
