//===- DeviceMatMul.cpp - products in device memory by cuBLASLt -----------===//
//
// cuBLASLt reads matrices by columns: c = a b by rows is c' = b' a' by columns,
// so b is its A, a is its B, and a bias, of an element for each column of c,
// has one for each row of its D, as cuBLASLt wants it. A residual is its C.
// What it chose for a product's sizes, strides, alignment and epilogue is kept.
//
//===----------------------------------------------------------------------===//

#include "CublasLt.h"
#include "Products.h"
#include <memory>

using namespace megactx;
using namespace megactx::cuda;
using namespace megactx::cuda::lt;

namespace {
struct Type {
  lt::DataType code;
  int64_t bytes;
  const char *name;
};

/// A batch of matrices as cuBLASLt has them: columns of unit stride.
struct Operand {
  int64_t rows, columns, leading, batchStride;
  Operation operation; ///< T: the product has the transposed
  char *data;

  /// `x` by columns is x': N where its rows lie, T where its columns do.
  Operand(const mctx_memref3 &x, int64_t bytes) {
    bool byRows = x.strides[2] == 1;
    operation = byRows ? N : T;
    rows = x.sizes[byRows ? 2 : 1];
    columns = x.sizes[byRows ? 1 : 2];
    leading = x.strides[byRows ? 1 : 2];
    if (columns == 1)
      leading = std::max(leading, rows);
    batchStride = x.sizes[0] == 1 ? 0 : x.strides[0];
    data = static_cast<char *>(x.aligned) + x.offset * bytes;
  }
  uint32_t alignment() const { return alignmentOf(data); }
  /// A power of two, in bytes.
  static uint32_t alignmentOf(const void *data) {
    auto address = reinterpret_cast<uintptr_t>(data);
    return std::min<uintptr_t>(256, address & -address);
  }
};

/// What cuBLASLt is asked for.
struct Product {
  Type type;
  int32_t batch;
  Operand a, b, c, d; ///< cuBLASLt's; c is d where nothing is added
  bool addsC;
  const void *bias; ///< null for none
  mctx_activation activation;

  uint32_t epilogue() const {
    uint32_t activates = activation == MCTX_ACTIVATION_RELU ? EpilogueRelu
                         : activation == MCTX_ACTIVATION_GELU_TANH
                             ? EpilogueGelu
                             : 0;
    uint32_t kind = activates | (bias ? EpilogueBias : 0);
    return kind ? kind : uint32_t(EpilogueNone);
  }
  std::vector<int64_t> key() const {
    std::vector<int64_t> key = {type.code, batch, epilogue(),
                                bias ? Operand::alignmentOf(bias) : 0};
    for (const Operand &x : {a, b, c, d})
      key.insert(key.end(), {x.rows, x.columns, x.leading, x.batchStride,
                             x.operation, x.alignment()});
    return key;
  }
};

/// cuBLASLt's description of a product. It holds the bias's address, so that it
/// is one call's.
struct Described {
  const Library &library;
  Description description = nullptr;

  explicit Described(const Library &library) : library(library) {}
  Described(const Described &) = delete;
  ~Described() {
    if (description)
      library.cublasLtMatmulDescDestroy(description);
  }
  /// False with the reason.
  bool describe(const Product &product, std::string &error);
};

/// Layouts of a product's matrices, and the algorithm for it.
struct Plan {
  const Library &library;
  Layout a = nullptr, b = nullptr, c = nullptr, d = nullptr;
  Heuristic chosen = {};

  explicit Plan(const Library &library) : library(library) {}
  Plan(const Plan &) = delete;
  ~Plan() {
    for (Layout layout : {a, b, c, d})
      if (layout)
        library.cublasLtMatrixLayoutDestroy(layout);
  }
};

/// Makes a plan; the first call that fails is kept.
class Planner {
public:
  Planner(const Library &library, Handle handle, Description description,
          const Product &product)
      : library(library), handle(handle), description(description),
        product(product) {}
  std::shared_ptr<const Plan> make(std::string &error);

private:
  void check(const char *what, Status status) {
    if (status != lt::kSuccess && failure.empty())
      failure = library.explain(what, status);
  }
  Layout layout(const Operand &operand);
  void choose(Plan &plan);

  const Library &library;
  Handle handle;
  Description description;
  const Product &product;
  std::string failure;
};

/// What a device has.
struct DeviceProducts {
  Handle handle = nullptr;
  std::mutex mutex;
  std::map<std::vector<int64_t>, std::shared_ptr<const Plan>> plans;
};

std::mutex productsMutex;
DeviceProducts &productsOf(Device &device) {
  static auto *all = new std::map<Device *, DeviceProducts>();
  std::lock_guard<std::mutex> lock(productsMutex);
  return (*all)[&device];
}
} // namespace

bool Described::describe(const Product &product, std::string &error) {
  Status status =
      library.cublasLtMatmulDescCreate(&description, kCompute32F, R_32F);
  if (status != lt::kSuccess) {
    error = library.explain("cublasLtMatmulDescCreate", status);
    description = nullptr;
    return false;
  }
  auto set = [&](DescriptionAttribute attribute, auto value) {
    Status status = library.cublasLtMatmulDescSetAttribute(
        description, attribute, &value, sizeof(value));
    if (status != lt::kSuccess && error.empty())
      error = library.explain("cublasLtMatmulDescSetAttribute", status);
  };
  set(TransposeA, int32_t(product.a.operation));
  set(TransposeB, int32_t(product.b.operation));
  set(EpilogueKind, product.epilogue());
  if (product.bias)
    set(BiasPointer, product.bias);
  return error.empty();
}

Layout Planner::layout(const Operand &operand) {
  Layout layout = nullptr;
  check("cublasLtMatrixLayoutCreate",
        library.cublasLtMatrixLayoutCreate(&layout, product.type.code,
                                           operand.rows, operand.columns,
                                           operand.leading));
  auto set = [&](LayoutAttribute attribute, const auto &value) {
    check("cublasLtMatrixLayoutSetAttribute",
          library.cublasLtMatrixLayoutSetAttribute(layout, attribute, &value,
                                                   sizeof(value)));
  };
  if (failure.empty() && product.batch > 1) {
    set(BatchCount, product.batch);
    set(StridedBatchOffset, operand.batchStride);
  }
  return layout;
}

void Planner::choose(Plan &plan) {
  // What NVIDIA advises for H100; less is enough for most products.
  constexpr uint64_t kMostWorkspaceBytes = 32 << 20;
  Preference preference = nullptr;
  check("cublasLtMatmulPreferenceCreate",
        library.cublasLtMatmulPreferenceCreate(&preference));
  auto set = [&](PreferenceAttribute attribute, auto value) {
    check("cublasLtMatmulPreferenceSetAttribute",
          library.cublasLtMatmulPreferenceSetAttribute(preference, attribute,
                                                       &value, sizeof(value)));
  };
  if (!failure.empty())
    return;
  set(MaxWorkspaceBytes, kMostWorkspaceBytes);
  set(ReductionSchemeMask, kReduceInComputeType);
  set(MinAlignmentA, product.a.alignment());
  set(MinAlignmentB, product.b.alignment());
  set(MinAlignmentC, product.c.alignment());
  set(MinAlignmentD, product.d.alignment());
  int found = 0;
  if (failure.empty())
    check("cublasLtMatmulAlgoGetHeuristic",
          library.cublasLtMatmulAlgoGetHeuristic(
              handle, description, plan.a, plan.b, plan.c, plan.d, preference,
              1, &plan.chosen, &found));
  library.cublasLtMatmulPreferenceDestroy(preference);
  if (failure.empty() && found == 0)
    failure = "cuBLASLt has no algorithm for it";
}

std::shared_ptr<const Plan> Planner::make(std::string &error) {
  auto plan = std::make_shared<Plan>(library);
  plan->a = layout(product.a);
  plan->b = layout(product.b);
  plan->c = layout(product.c);
  plan->d = layout(product.d);
  if (failure.empty())
    choose(*plan);
  if (failure.empty())
    return plan;
  error = failure;
  return nullptr;
}

static std::shared_ptr<const Plan>
planFor(const Library &library, DeviceProducts &products,
        Description description, const Product &product, std::string &error) {
  std::lock_guard<std::mutex> lock(products.mutex);
  if (!products.handle) {
    Status status = library.cublasLtCreate(&products.handle);
    if (status != lt::kSuccess) {
      error = library.explain("cublasLtCreate", status);
      products.handle = nullptr;
      return nullptr;
    }
  }
  std::vector<int64_t> key = product.key();
  auto found = products.plans.find(key);
  if (found != products.plans.end())
    return found->second;
  auto plan =
      Planner(library, products.handle, description, product).make(error);
  // Shapes vary with run-time lengths: what is kept is bounded.
  constexpr size_t kMostPlans = 1024;
  if (products.plans.size() >= kMostPlans)
    products.plans.clear();
  if (plan)
    products.plans.emplace(std::move(key), plan);
  return plan;
}

/// False with the reason.
static bool multiply(Run &run, const Product &product, std::string &error) {
  const Library *library = Library::open(run.device.driver, error);
  if (!library)
    return false;
  DeviceProducts &products = productsOf(run.device);
  Described described(*library);
  if (!described.describe(product, error))
    return false;
  auto plan =
      planFor(*library, products, described.description, product, error);
  if (!plan)
    return false;
  size_t bytes = plan->chosen.workspaceBytes;
  void *workspace = nullptr;
  if (bytes && !(workspace = run.device.allocate(bytes, run.stream, error)))
    return false;
  const float alpha = 1, beta = product.addsC;
  Status status = library->cublasLtMatmul(
      products.handle, described.description, &alpha, product.a.data, plan->a,
      product.b.data, plan->b, &beta, product.c.data, plan->c, product.d.data,
      plan->d, &plan->chosen.algorithm, workspace, bytes, run.stream);
  // The stream's next user of it comes after the product.
  if (workspace)
    run.device.free(workspace);
  if (status != lt::kSuccess)
    error = library->explain("cublasLtMatmul", status);
  return status == lt::kSuccess;
}

/// Writes zeros: a sum of no terms.
static bool clear(Run &run, const mctx_memref3 &c, int64_t bytes,
                  std::string &error) {
  const Driver &driver = run.device.driver;
  auto *data = static_cast<char *>(c.aligned) + c.offset * bytes;
  for (int64_t i = 0; i < c.sizes[0]; ++i)
    for (int64_t row = 0; row < c.sizes[1]; ++row) {
      char *to = data + (i * c.strides[0] + row * c.strides[1]) * bytes;
      Result result = driver.cuMemsetD8Async(reinterpret_cast<Pointer>(to), 0,
                                             c.sizes[2] * bytes, run.stream);
      if (result != cuda::kSuccess) {
        error = driver.explain("cuMemsetD8Async", result);
        return false;
      }
    }
  return true;
}

static std::string sizesOf(const mctx_memref3 &x) {
  return "[" + std::to_string(x.sizes[0]) + ", " + std::to_string(x.sizes[1]) +
         ", " + std::to_string(x.sizes[2]) + "]";
}

/// The product with a bias where cuBLASLt's kernels read it: those that its
/// heuristic chooses may rely on 16 bytes, whatever the address is that it is
/// told (https://github.com/pytorch/pytorch/pull/194497).
static bool multiplyWithBias(Run &run, Product product,
                             const mctx_memref1 &bias, std::string &error) {
  int64_t size = product.type.bytes;
  auto *data = static_cast<char *>(bias.aligned) + bias.offset * size;
  constexpr uint32_t kBiasAlignment = 16;
  void *copy = nullptr;
  if (Operand::alignmentOf(data) < kBiasAlignment) {
    size_t bytes = bias.sizes[0] * size;
    if (!(copy = run.device.allocate(bytes, run.stream, error)))
      return false;
    const Driver &driver = run.device.driver;
    Result result = driver.cuMemcpyAsync(reinterpret_cast<Pointer>(copy),
                                         reinterpret_cast<Pointer>(data), bytes,
                                         run.stream);
    if (result != cuda::kSuccess)
      error = driver.explain("cuMemcpyAsync", result);
  }
  product.bias = copy ? copy : data;
  bool done = error.empty() && multiply(run, product, error);
  if (copy)
    run.device.free(copy);
  return done;
}

static bool isEmpty(const mctx_memref3 &x) {
  return x.sizes[0] == 0 || x.sizes[1] == 0 || x.sizes[2] == 0;
}

static void multiply(const mctx_memref3 &givenA, const mctx_memref3 &givenB,
                     const mctx_memref1 &bias,
                     const mctx_memref3 &givenResidual,
                     const mctx_memref3 &givenC, int32_t activation,
                     Type type) {
  Run &run = currentRun();
  std::string error;
  if (isEmpty(givenC))
    return;
  bool adds = !isEmpty(givenResidual);
  mctx_memref3 a = sensible(givenA), b = sensible(givenB), c = sensible(givenC),
               residual = adds ? sensible(givenResidual) : c;
  joinBatches(b, {&a, &c, &residual});
  bool done;
  if (a.sizes[2] == 0) {
    done = adds || clear(run, c, type.bytes, error);
  } else {
    Product product{type,
                    int32_t(c.sizes[0]),
                    {b, type.bytes},
                    {a, type.bytes},
                    {residual, type.bytes},
                    {c, type.bytes},
                    adds,
                    /*bias=*/nullptr,
                    mctx_activation(activation)};
    done = bias.sizes[0] ? multiplyWithBias(run, product, bias, error)
                         : multiply(run, product, error);
  }
  if (!done)
    error = run.device.title() + ": the " + type.name + " product " +
            sizesOf(givenA) + " x " + sizesOf(givenB) + ": " + error;
  endRunIf(error);
}

extern "C" {
void _mlir_ciface_mctx_rt_device_matmul_f32(mctx_memref3 *a, mctx_memref3 *b,
                                            mctx_memref1 *bias,
                                            mctx_memref3 *residual,
                                            mctx_memref3 *c,
                                            int32_t activation) {
  multiply(*a, *b, *bias, *residual, *c, activation, {R_32F, 4, "f32"});
}
void _mlir_ciface_mctx_rt_device_matmul_f16(mctx_memref3 *a, mctx_memref3 *b,
                                            mctx_memref1 *bias,
                                            mctx_memref3 *residual,
                                            mctx_memref3 *c,
                                            int32_t activation) {
  multiply(*a, *b, *bias, *residual, *c, activation, {R_16F, 2, "f16"});
}
void _mlir_ciface_mctx_rt_device_matmul_bf16(mctx_memref3 *a, mctx_memref3 *b,
                                             mctx_memref1 *bias,
                                             mctx_memref3 *residual,
                                             mctx_memref3 *c,
                                             int32_t activation) {
  multiply(*a, *b, *bias, *residual, *c, activation, {R_16BF, 2, "bf16"});
}
}
