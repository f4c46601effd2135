//===- CublasLt.h - cuBLASLt, found at run time -----------------*- C++ -*-===//
//
// Owns finding libcublasLt and what of its headers is needed here, so that
// nothing of CUDA is needed to build. Names, numbers and structures are those
// of cublasLt.h, cublas_api.h and library_types.h of CUDA 13.0; CUDA 12's are
// the same.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_CUBLASLT_H
#define MEGACTX_LIB_RUNTIME_CUBLASLT_H

#include "Cuda.h"

namespace megactx::cuda::lt {

using Status = int; ///< cublasStatus_t
using Handle = void *;
using Description = void *; ///< cublasLtMatmulDesc_t
using Layout = void *;      ///< cublasLtMatrixLayout_t
using Preference = void *;  ///< cublasLtMatmulPreference_t

constexpr Status kSuccess = 0;

/// cudaDataType
enum DataType : int { R_32F = 0, R_16F = 2, R_16BF = 14 };
/// cublasComputeType_t: sums in f32, and products of f32 in full precision.
constexpr int kCompute32F = 68;
/// cublasOperation_t
enum Operation : int { N = 0, T = 1 };

/// cublasLtMatmulDescAttributes_t, of int32_t; uint32_t for the epilogue, and
/// an address
enum DescriptionAttribute : int {
  TransposeA = 3,
  TransposeB = 4,
  EpilogueKind = 7,
  BiasPointer = 8
};
/// cublasLtEpilogue_t. A bias, of D's type, has an element for each row of D.
enum Epilogue : uint32_t {
  EpilogueNone = 1,
  EpilogueRelu = 2,
  EpilogueBias = 4,
  EpilogueGelu = 32
};
/// cublasLtMatrixLayoutAttribute_t, of int32_t and int64_t
enum LayoutAttribute : int { BatchCount = 5, StridedBatchOffset = 6 };
/// cublasLtMatmulPreferenceAttributes_t: uint64_t, and uint32_t for the others
enum PreferenceAttribute : int {
  MaxWorkspaceBytes = 1,
  ReductionSchemeMask = 3,
  MinAlignmentA = 5,
  MinAlignmentB = 6,
  MinAlignmentC = 7,
  MinAlignmentD = 8
};
/// cublasLtReductionScheme_t: parts of a sum are added in the compute type.
constexpr uint32_t kReduceInComputeType = 2;

struct Algorithm {
  uint64_t data[8];
};
/// cublasLtMatmulHeuristicResult_t
struct Heuristic {
  Algorithm algorithm;
  size_t workspaceBytes;
  Status state;
  float waves;
  int reserved[4];
};

/// F(name in libcublasLt.so, its parameters), all of which return a Status.
#define MEGACTX_CUBLASLT_FUNCTIONS(F)                                          \
  F(cublasLtCreate, (Handle * handle))                                         \
  F(cublasLtMatmulDescCreate,                                                  \
    (Description * description, int computeType, int scaleType))               \
  F(cublasLtMatmulDescDestroy, (Description description))                      \
  F(cublasLtMatmulDescSetAttribute,                                            \
    (Description description, int attribute, const void *value, size_t bytes)) \
  F(cublasLtMatrixLayoutCreate, (Layout * layout, int type, uint64_t rows,     \
                                 uint64_t columns, int64_t leadingDimension))  \
  F(cublasLtMatrixLayoutDestroy, (Layout layout))                              \
  F(cublasLtMatrixLayoutSetAttribute,                                          \
    (Layout layout, int attribute, const void *value, size_t bytes))           \
  F(cublasLtMatmulPreferenceCreate, (Preference * preference))                 \
  F(cublasLtMatmulPreferenceDestroy, (Preference preference))                  \
  F(cublasLtMatmulPreferenceSetAttribute,                                      \
    (Preference preference, int attribute, const void *value, size_t bytes))   \
  F(cublasLtMatmulAlgoGetHeuristic,                                            \
    (Handle handle, Description description, Layout a, Layout b, Layout c,     \
     Layout d, Preference preference, int wanted, Heuristic *results,          \
     int *found))                                                              \
  F(cublasLtMatmul,                                                            \
    (Handle handle, Description description, const void *alpha, const void *a, \
     Layout layoutA, const void *b, Layout layoutB, const void *beta,          \
     const void *c, Layout layoutC, void *d, Layout layoutD,                   \
     const Algorithm *algorithm, void *workspace, size_t workspaceBytes,       \
     Stream stream))

struct Library {
#define MEGACTX_FIELD(name, parameters) Status(*name) parameters = nullptr;
  MEGACTX_CUBLASLT_FUNCTIONS(MEGACTX_FIELD)
#undef MEGACTX_FIELD
  const char *(*cublasLtGetStatusName)(Status) = nullptr;

  /// Loads libcublasLt.so.13 or .12, once; null with the reason and all places
  /// that were looked at. 13 needs a driver of CUDA 13 and comes first there.
  /// Each is taken from, in this order: this process, where something else
  /// (PyTorch) has loaded it; the loader's paths; lib64 and lib of the toolkits
  /// that CUDA_HOME and CUDA_PATH name, and of /usr/local/cuda.
  static const Library *open(const Driver &driver, std::string &error);

  /// "cublasLtX failed: NAME"
  std::string explain(const char *what, Status status) const;
};

} // namespace megactx::cuda::lt

#endif
