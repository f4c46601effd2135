//===- FakeCublasLt.cpp - a libcublasLt.so.13 without a GPU ---------------===//
//
// Owns the functions of cuBLASLt that the runtime calls, on the fake driver's
// memory: products by loops, as strict as the library about what it is given.
// It asks for a workspace, and writes all over it. Settings are FakeCalls.h's.
//
//===----------------------------------------------------------------------===//

#include "FakeCalls.h"
#include <cstring>

using megactx::fake::called;

namespace {
using Status = int;
constexpr Status kOk = 0, kInvalidValue = 7, kNotSupported = 15;
constexpr size_t kWorkspaceBytes = 3000;

struct Description {
  int computeType, scaleType;
  int32_t operations[2]; ///< of a and b: 0 as it is, 1 transposed
};

/// Columns of unit stride.
struct Layout {
  int type;
  int64_t rows, columns, leading;
  int32_t batch;
  int64_t stride;

  int64_t width() const { return type == 0 ? 4 : 2; }
  int64_t elements() const {
    return (batch - 1) * stride + (columns - 1) * leading + rows;
  }
};

struct Preference {
  uint64_t workspaceBytes = 0;
  uint32_t reduction = ~0u;
  uint32_t alignments[4] = {256, 256, 256, 256};
};

struct Heuristic {
  uint64_t algorithm[8]; ///< the alignments that it relies on
  size_t workspaceBytes;
  Status state;
  float waves;
  int reserved[4];
};

float read(const void *data, int64_t i, int type) {
  if (type == 0)
    return static_cast<const float *>(data)[i];
  if (type == 2)
    return static_cast<const _Float16 *>(data)[i];
  uint32_t bits = uint32_t(static_cast<const uint16_t *>(data)[i]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void write(void *data, int64_t i, int type, float value) {
  if (type == 0) {
    static_cast<float *>(data)[i] = value;
  } else if (type == 2) {
    static_cast<_Float16 *>(data)[i] = _Float16(value);
  } else {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bits += 0x7fff + (bits >> 16 & 1);
    static_cast<uint16_t *>(data)[i] = bits >> 16;
  }
}

/// The sizes fit, and leading dimensions hold columns.
bool fit(const Description &d, const Layout &a, const Layout &b,
         const Layout &c) {
  bool ta = d.operations[0], tb = d.operations[1];
  for (const Layout *x : {&a, &b, &c})
    if (x->leading < x->rows || x->type != c.type || x->batch != c.batch ||
        x->rows <= 0 || x->columns <= 0)
      return false;
  if (c.batch > 1 && c.stride == 0)
    return false;
  return (ta ? a.columns : a.rows) == c.rows &&
         (tb ? b.rows : b.columns) == c.columns &&
         (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows);
}

/// In the device's memory, and aligned.
bool fits(const Layout &x, const void *data, uint64_t alignment) {
  auto address = reinterpret_cast<uintptr_t>(data);
  return address % alignment == 0 &&
         fake_cuda_owns(address, x.elements() * x.width());
}

template <typename Field>
Status set(Field &field, const void *value, size_t bytes) {
  if (bytes != sizeof(field))
    return kInvalidValue;
  std::memcpy(&field, value, bytes);
  return kOk;
}
} // namespace

extern "C" {
const char *cublasLtGetStatusName(Status status) {
  return status == 1    ? "CUBLAS_STATUS_NOT_INITIALIZED"
         : status == 7  ? "CUBLAS_STATUS_INVALID_VALUE"
         : status == 14 ? "CUBLAS_STATUS_INTERNAL_ERROR"
         : status == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED"
                        : "CUBLAS_STATUS_UNKNOWN";
}
Status cublasLtCreate(void **handle) {
  *handle = handle;
  return called("cublasLtCreate");
}
Status cublasLtMatmulDescCreate(Description **description, int computeType,
                                int scaleType) {
  *description = new Description{computeType, scaleType, {0, 0}};
  return kOk;
}
Status cublasLtMatmulDescDestroy(Description *description) {
  delete description;
  return kOk;
}
Status cublasLtMatmulDescSetAttribute(Description *description, int attribute,
                                      const void *value, size_t bytes) {
  if (attribute != 3 && attribute != 4) // CUBLASLT_MATMUL_DESC_TRANSA, B
    return kNotSupported;
  return set(description->operations[attribute - 3], value, bytes);
}
Status cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows,
                                  uint64_t columns, int64_t leading) {
  *layout = new Layout{type, int64_t(rows), int64_t(columns), leading, 1, 0};
  return kOk;
}
Status cublasLtMatrixLayoutDestroy(Layout *layout) {
  delete layout;
  return kOk;
}
Status cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute,
                                        const void *value, size_t bytes) {
  if (attribute == 5) // CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT
    return set(layout->batch, value, bytes);
  if (attribute == 6) // CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET
    return set(layout->stride, value, bytes);
  return kNotSupported;
}
Status cublasLtMatmulPreferenceCreate(Preference **preference) {
  *preference = new Preference();
  return kOk;
}
Status cublasLtMatmulPreferenceDestroy(Preference *preference) {
  delete preference;
  return kOk;
}
Status cublasLtMatmulPreferenceSetAttribute(Preference *preference,
                                            int attribute, const void *value,
                                            size_t bytes) {
  if (attribute == 1) // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
    return set(preference->workspaceBytes, value, bytes);
  if (attribute == 3) // CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
    return set(preference->reduction, value, bytes);
  if (attribute >= 5 && attribute <= 8) // ..._PREF_MIN_ALIGNMENT_A_BYTES to D
    return set(preference->alignments[attribute - 5], value, bytes);
  return kNotSupported;
}
Status cublasLtMatmulAlgoGetHeuristic(void *, const Description *description,
                                      const Layout *a, const Layout *b,
                                      const Layout *c, const Layout *d,
                                      const Preference *preference, int wanted,
                                      Heuristic *results, int *found) {
  Status status = called("cublasLtMatmulAlgoGetHeuristic");
  *found = 0;
  if (status)
    return status;
  // Sums in f32, also those of parts.
  constexpr int k32F = 68, kR32F = 0, kInComputeType = 2;
  if (wanted < 1 || c != d || !fit(*description, *a, *b, *c) ||
      description->computeType != k32F || description->scaleType != kR32F ||
      preference->reduction != kInComputeType)
    return kInvalidValue;
  if (preference->workspaceBytes < kWorkspaceBytes)
    return kOk;
  *results = {};
  for (int i = 0; i < 4; ++i)
    results->algorithm[i] = preference->alignments[i];
  results->workspaceBytes = kWorkspaceBytes;
  *found = 1;
  return kOk;
}
Status cublasLtMatmul(void *, const Description *description,
                      const float *alpha, const void *a, const Layout *ofA,
                      const void *b, const Layout *ofB, const float *beta,
                      const void *c, const Layout *ofC, void *d,
                      const Layout *ofD, const uint64_t *algorithm,
                      void *workspace, size_t workspaceBytes, void *stream) {
  bool ta = description->operations[0], tb = description->operations[1];
  int64_t terms = ta ? ofA->rows : ofA->columns;
  const char *type = ofC->type == 0 ? "f32" : ofC->type == 2 ? "f16" : "bf16";
  Status status =
      called("cublasLtMatmul", " %s %zd x %zd x %zd batch %d stream %zu", type,
             size_t(ofC->rows), size_t(ofC->columns), size_t(terms), ofC->batch,
             reinterpret_cast<size_t>(stream));
  if (status)
    return status;
  if (*alpha != 1 || *beta != 0 || c != d || ofC != ofD ||
      !fit(*description, *ofA, *ofB, *ofC) || !fits(*ofA, a, algorithm[0]) ||
      !fits(*ofB, b, algorithm[1]) || !fits(*ofC, d, algorithm[2]) ||
      workspaceBytes != kWorkspaceBytes ||
      !fake_cuda_owns(reinterpret_cast<uintptr_t>(workspace), workspaceBytes))
    return kInvalidValue;
  std::memset(workspace, 0xff, workspaceBytes);
  for (int64_t i = 0; i < ofC->batch; ++i)
    for (int64_t column = 0; column < ofC->columns; ++column)
      for (int64_t row = 0; row < ofC->rows; ++row) {
        float sum = 0;
        for (int64_t k = 0; k < terms; ++k) {
          int64_t atA = ta ? row * ofA->leading + k : k * ofA->leading + row;
          int64_t atB =
              tb ? k * ofB->leading + column : column * ofB->leading + k;
          sum += read(a, i * ofA->stride + atA, ofA->type) *
                 read(b, i * ofB->stride + atB, ofB->type);
        }
        write(d, i * ofC->stride + column * ofC->leading + row, ofC->type, sum);
      }
  return kOk;
}
}
