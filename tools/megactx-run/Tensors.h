//===- Tensors.h - tensors in files -----------------------------*- C++ -*-===//

#ifndef MEGACTX_TOOLS_RUN_TENSORS_H
#define MEGACTX_TOOLS_RUN_TENSORS_H

#include <cstdint>
#include <string>
#include <vector>

/// A dense tensor; dtype by ONNX's names.
struct Tensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;

  int64_t count() const;
  /// Elements as numbers.
  std::vector<double> values() const;
};

/// Reads FOLDER/STEM.npy or FOLDER/STEM.pb (ONNX's TensorProto). Throws
/// std::runtime_error with a text that names the file.
Tensor readTensor(const std::string &folder, const std::string &stem);
bool hasTensor(const std::string &folder, const std::string &stem);

/// The name that FOLDER/STEM.pb gives its tensor; empty where there is none.
std::string nameOfTensor(const std::string &folder, const std::string &stem);

/// Writes FOLDER/STEM.pb with the value's name, under a temporary name and
/// renames it.
void writeTensor(const std::string &folder, const std::string &stem,
                 const std::string &name, const Tensor &tensor);

/// Bytes of an element, or 0 for a dtype that is not known.
int64_t widthOf(const std::string &dtype);

#endif
