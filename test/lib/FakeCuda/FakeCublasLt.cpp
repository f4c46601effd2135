//===- FakeCublasLt.cpp - a libcublasLt.so.13 without a GPU ---------------===//
//
// Owns the functions of cuBLASLt that the runtime calls, on the fake driver's
// memory: products by loops, as strict as the library about what it is given.
// It asks for a workspace, and writes all over it. Settings are FakeCalls.h's.
//
//===----------------------------------------------------------------------===//

#include "FakeCalls.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using megactx::fake::called;

namespace {
using Status = int;
constexpr Status kOk = 0, kInvalidValue = 7, kNotSupported = 15;
constexpr size_t kWorkspaceBytes = 3000;

/// cublasLtEpilogue_t
constexpr uint32_t kDefault = 1, kRelu = 2, kBias = 4, kGelu = 32;

struct Description {
  int computeType, scaleType;
  int32_t operations[2] = {0, 0}; ///< of a and b: 0 as it is, 1 transposed
  uint32_t epilogue = kDefault;
  const void *bias = nullptr;

  bool hasBias() const { return epilogue & kBias; }
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
  uint64_t algorithm[8]; ///< what it relies on: alignments, epilogue, bias's
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

uint64_t alignmentOf(const void *data) {
  auto address = reinterpret_cast<uintptr_t>(data);
  return std::min<uint64_t>(256, address & -address);
}

/// The epilogue is one of those that are known here, with a bias where, and
/// only where, it wants one. What kernels read it by is 16 bytes.
bool isSound(const Description &d) {
  if (d.epilogue != kDefault &&
      (d.epilogue & ~(kRelu | kBias | kGelu) ||
       (d.epilogue & kRelu && d.epilogue & kGelu) || !d.epilogue))
    return false;
  return d.hasBias() ? d.bias && alignmentOf(d.bias) >= 16 : !d.bias;
}

/// The sizes fit, and leading dimensions hold columns.
bool fit(const Description &description, const Layout &a, const Layout &b,
         const Layout &c, const Layout &d) {
  bool ta = description.operations[0], tb = description.operations[1];
  for (const Layout *x : {&a, &b, &c, &d})
    if (x->leading < x->rows || x->type != d.type || x->batch != d.batch ||
        x->rows <= 0 || x->columns <= 0)
      return false;
  if (d.batch > 1 && d.stride == 0)
    return false;
  return c.rows == d.rows && c.columns == d.columns &&
         (ta ? a.columns : a.rows) == c.rows &&
         (tb ? b.rows : b.columns) == c.columns &&
         (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows);
}

/// In the device's memory, and aligned.
bool fits(const Layout &x, const void *data, uint64_t alignment) {
  auto address = reinterpret_cast<uintptr_t>(data);
  return address % alignment == 0 &&
         fake_cuda_owns(address, x.elements() * x.width());
}

/// C is D itself, in the same layout, or apart from it.
bool areApart(const Layout &ofC, const char *c, const Layout &ofD,
              const char *d) {
  if (c == d)
    return ofC.leading == ofD.leading &&
           (ofC.batch == 1 || ofC.stride == ofD.stride);
  return c + ofC.elements() * ofC.width() <= d ||
         d + ofD.elements() * ofD.width() <= c;
}

float activated(float x, uint32_t epilogue) {
  if (epilogue & kRelu)
    return x > 0 ? x : 0;
  if (epilogue & kGelu)
    return x / 2 * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
  return x;
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
  *description = new Description{computeType, scaleType};
  return kOk;
}
Status cublasLtMatmulDescDestroy(Description *description) {
  delete description;
  return kOk;
}
Status cublasLtMatmulDescSetAttribute(Description *description, int attribute,
                                      const void *value, size_t bytes) {
  if (attribute == 3 || attribute == 4) // CUBLASLT_MATMUL_DESC_TRANSA, B
    return set(description->operations[attribute - 3], value, bytes);
  if (attribute == 7) // CUBLASLT_MATMUL_DESC_EPILOGUE
    return set(description->epilogue, value, bytes);
  if (attribute == 8) // CUBLASLT_MATMUL_DESC_BIAS_POINTER
    return set(description->bias, value, bytes);
  return kNotSupported;
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
  if (wanted < 1 || !fit(*description, *a, *b, *c, *d) ||
      !isSound(*description) || description->computeType != k32F ||
      description->scaleType != kR32F ||
      preference->reduction != kInComputeType)
    return kInvalidValue;
  if (preference->workspaceBytes < kWorkspaceBytes)
    return kOk;
  *results = {};
  for (int i = 0; i < 4; ++i)
    results->algorithm[i] = preference->alignments[i];
  results->algorithm[4] = description->epilogue;
  results->algorithm[5] = alignmentOf(description->bias);
  results->workspaceBytes = kWorkspaceBytes;
  *found = 1;
  return kOk;
}
Status cublasLtMatmul(void *, const Description *description,
                      const float *alpha, const void *a, const Layout *ofA,
                      const void *b, const Layout *ofB, const float *beta,
                      const char *c, const Layout *ofC, char *d,
                      const Layout *ofD, const uint64_t *algorithm,
                      void *workspace, size_t workspaceBytes, void *stream) {
  bool ta = description->operations[0], tb = description->operations[1];
  int64_t terms = ta ? ofA->rows : ofA->columns;
  const char *type = ofC->type == 0 ? "f32" : ofC->type == 2 ? "f16" : "bf16";
  Status status = called(
      "cublasLtMatmul", " %s %zd x %zd x %zd batch %d stream %zu%s%s%s", type,
      size_t(ofC->rows), size_t(ofC->columns), size_t(terms), ofC->batch,
      reinterpret_cast<size_t>(stream), description->hasBias() ? " bias" : "",
      *beta == 0 ? ""
      : c == d   ? " onto itself"
                 : " onto another",
      description->epilogue & kRelu   ? " relu"
      : description->epilogue & kGelu ? " gelu"
                                      : "");
  if (status)
    return status;
  if (*alpha != 1 || (*beta != 0 && *beta != 1) ||
      !fit(*description, *ofA, *ofB, *ofC, *ofD) || !isSound(*description) ||
      !fits(*ofA, a, algorithm[0]) || !fits(*ofB, b, algorithm[1]) ||
      !fits(*ofC, c, algorithm[2]) || !fits(*ofD, d, algorithm[3]) ||
      !areApart(*ofC, c, *ofD, d) ||
      description->epilogue != uint32_t(algorithm[4]) ||
      (description->hasBias() &&
       (alignmentOf(description->bias) < algorithm[5] ||
        !fake_cuda_owns(reinterpret_cast<uintptr_t>(description->bias),
                        ofD->rows * ofD->width()))) ||
      workspaceBytes != kWorkspaceBytes ||
      !fake_cuda_owns(reinterpret_cast<uintptr_t>(workspace), workspaceBytes))
    return kInvalidValue;
  std::memset(workspace, 0xff, workspaceBytes);
  for (int64_t i = 0; i < ofD->batch; ++i)
    for (int64_t column = 0; column < ofD->columns; ++column)
      for (int64_t row = 0; row < ofD->rows; ++row) {
        float sum = 0;
        for (int64_t k = 0; k < terms; ++k) {
          int64_t atA = ta ? row * ofA->leading + k : k * ofA->leading + row;
          int64_t atB =
              tb ? k * ofB->leading + column : column * ofB->leading + k;
          sum += read(a, i * ofA->stride + atA, ofA->type) *
                 read(b, i * ofB->stride + atB, ofB->type);
        }
        if (*beta != 0)
          sum +=
              read(c, i * ofC->stride + column * ofC->leading + row, ofC->type);
        if (description->hasBias())
          sum += read(description->bias, row, ofD->type);
        write(d, i * ofD->stride + column * ofD->leading + row, ofD->type,
              activated(sum, description->epilogue));
      }
  return kOk;
}
}
