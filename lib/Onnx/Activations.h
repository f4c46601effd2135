//===- Activations.h - activations that attributes name ---------*- C++ -*-===//
//
// Owns what activations are called in attributes of other operators, their
// parameters, and the nodes that apply them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_ACTIVATIONS_H
#define MEGACTX_LIB_ONNX_ACTIVATIONS_H

#include <optional>
#include <string>
#include <vector>

namespace mlir::onnx {

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

/// The nodes that make `result` of x, with one number for each parameter.
std::string applied(const Activation &activation,
                    const std::vector<double> &parameters,
                    const std::string &result, const std::string &x);

/// Makes `name`, a scalar of the type that `like` has.
std::string scalarLike(const std::string &name, double value,
                       const std::string &like);

} // namespace mlir::onnx

#endif
