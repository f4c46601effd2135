//===- Activations.h - activations that attributes name ---------*- C++ -*-===//
//
// Owns what activations are called in attributes of other operators, their
// parameters, and the nodes that apply them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_ACTIVATIONS_H
#define MEGACTX_LIB_ONNX_ACTIVATIONS_H

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mlir::onnx {

class Call;

struct Activation {
  struct Parameter {
    const char *name;
    std::optional<double> otherwise; ///< ONNX's default, where it has one
  };
  const char *name;
  std::vector<Parameter> parameters;
  /// Where no operator has the name: nodes that make $ of # and of a constant
  /// of # 's type, $_name, for each parameter.
  const char *nodes = nullptr;
};

/// Null for a name that is none.
const Activation *findActivation(const std::string &name);

/// A number for each parameter: what `given` has of its name, or ONNX's
/// default. Nothing where one has neither.
std::optional<std::vector<double>> parametersOf(
    const Activation &activation,
    const std::function<std::optional<double>(const std::string &)> &given);

struct ParameterizedActivation {
  const Activation *function;
  std::vector<double> parameters;
};

/// Those of the names, with numbers from lists, activation_alpha and others,
/// which have one for each activation that takes one. Nothing where a name, or
/// a number, is none.
std::optional<std::vector<ParameterizedActivation>>
activationsOf(const Call &call, const std::vector<std::string> &names);

/// The nodes that make `result` of x, with one number for each parameter.
std::string applied(const Activation &activation,
                    const std::vector<double> &parameters,
                    const std::string &result, const std::string &x);

/// Makes `name`, a scalar of the type that `like` has.
std::string scalarLike(const std::string &name, double value,
                       const std::string &like);

} // namespace mlir::onnx

#endif
