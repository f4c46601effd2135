//===- Convolution.cpp - convolutions by oneDNN ---------------------------===//
//
// The result is cut into blocks of rows of each image (and of channels, where
// rows are few); each is one task of the pool, which brings its part of the
// data into the layout that oneDNN convolves fastest and the result back from
// it, and one single-threaded call.
//
//===----------------------------------------------------------------------===//

#include "PackedWeights.h"
#include "Pool.h"
#include "StridedTensor.h"

using namespace dnnl;
using megactx::countOf;
using megactx::cpuEngine;
using megactx::Dense;
using megactx::Dims;
using megactx::Tensor;

namespace {
/// Per spatial axis: the window of element o begins at o * step - pad.
struct Windows {
  Dims steps, dilations, pads;
};

/// What one call convolves: sizes, strides and dilations as oneDNN has them;
/// zeros before and behind the data.
struct Shape {
  Dims data, dataStrides, kernel, kernelStrides, result, resultStrides, steps,
      dilations, before, behind;

  memory::desc plainData() const { return plain(data, dataStrides); }
  memory::desc plainKernel() const { return plain(kernel, kernelStrides); }
  memory::desc plainResult() const { return plain(result, resultStrides); }

  convolution_forward::primitive_desc describe() const {
    auto any = [](const Dims &sizes) {
      return memory::desc(sizes, memory::data_type::f32,
                          memory::format_tag::any);
    };
    return {{prop_kind::forward_inference, algorithm::convolution_direct,
             any(data), any(kernel), any(result), steps, dilations, before,
             behind},
            cpuEngine()};
  }

  std::vector<int64_t> key() const {
    std::vector<int64_t> all;
    for (const Dims *dims :
         {&data, &dataStrides, &kernel, &kernelStrides, &result, &resultStrides,
          &steps, &dilations, &before, &behind}) {
      all.push_back(int64_t(dims->size()));
      all.insert(all.end(), dims->begin(), dims->end());
    }
    return all;
  }

private:
  static memory::desc plain(const Dims &sizes, const Dims &strides) {
    return memory::desc(sizes, memory::data_type::f32, strides);
  }
};

/// Memory of the thread for tensors in another layout, by what they are of.
memory scratch(const memory::desc &desc, unsigned which) {
  thread_local std::vector<char> buffers[2];
  constexpr size_t alignment = 64;
  std::vector<char> &buffer = buffers[which];
  if (buffer.size() < desc.get_size() + alignment)
    buffer.resize(desc.get_size() + alignment);
  auto address = reinterpret_cast<uintptr_t>(buffer.data());
  address = (address + alignment - 1) / alignment * alignment;
  return memory(desc, cpuEngine(), reinterpret_cast<void *>(address));
}

/// A call of oneDNN, and what brings operands to it. One per thread.
class Call {
public:
  explicit Call(const Shape &shape)
      : shape(shape), described(shape.describe()), call(described),
        toData(reorderOf(shape.plainData(), described.src_desc())),
        toResult(reorderOf(described.dst_desc(), shape.plainResult())) {}

  void run(float *data, const memory &packed, float *result) {
    thread_local stream s(cpuEngine());
    memory plainData(shape.plainData(), cpuEngine(), data),
        plainResult(shape.plainResult(), cpuEngine(), result);
    memory own = toData ? scratch(described.src_desc(), 0) : plainData,
           made = toResult ? scratch(described.dst_desc(), 1) : plainResult;
    if (toData)
      toData.execute(s, plainData, own);
    call.execute(s, {{DNNL_ARG_SRC, own},
                     {DNNL_ARG_WEIGHTS, packed},
                     {DNNL_ARG_DST, made}});
    if (toResult)
      toResult.execute(s, made, plainResult);
    s.wait();
  }

private:
  static reorder reorderOf(const memory::desc &from, const memory::desc &to) {
    if (from == to)
      return {};
    return reorder({cpuEngine(), from, cpuEngine(), to});
  }

  Shape shape;
  convolution_forward::primitive_desc described;
  convolution_forward call;
  reorder toData, toResult;
};

Call &callOf(const Shape &shape) {
  thread_local megactx::Bounded<std::vector<int64_t>, Call> calls;
  return calls.get(shape.key(), [&] { return Call(shape); });
}

/// The layout of the kernel that oneDNN chooses.
memory::desc layoutOf(const Shape &shape) {
  thread_local megactx::Bounded<std::vector<int64_t>, memory::desc> layouts;
  return layouts.get(shape.key(),
                     [&] { return shape.describe().weights_desc(); });
}

/// A whole convolution, cut into tasks.
class Convolution {
public:
  Convolution(const Tensor &data, const Tensor &kernel, const Tensor &result,
              const Windows &windows)
      : data(data), kernel(kernel), result(result), windows(windows) {}

  void run();

private:
  /// Blocks are of groups, where there are several, or else of filters.
  int64_t countOuter() const { return kernel.sizes[hasGroups() ? 0 : 1]; }
  bool hasGroups() const { return kernel.sizes[0] > 1; }
  void cut();

  /// What windows read along an axis: some of the data, and zeros around it.
  struct Span {
    int64_t first, size, before, behind;
  };
  Span spanOf(size_t axis, int64_t first, int64_t count) const;
  Shape shapeOf(int64_t row, int64_t outer) const;
  void pack();
  void runTask(int64_t task) const;

  const Tensor &data, &kernel, &result;
  const Windows &windows;
  int64_t rows = 0, rowBlocks = 0, outer = 0, outerBlocks = 0;
  /// The kernels of an image's blocks.
  std::vector<std::shared_ptr<const memory>> packed;
};
} // namespace

/// Rows of a block are not too few for the rows around them that it reads too.
void Convolution::cut() {
  constexpr int64_t leastRows = 4, leastPixels = 64, leastOuter = 32;
  int64_t all = result.sizes[3], pixels = countOf(result.sizes, 4);
  // Other threads take longer to begin than they need for so few products.
  constexpr int64_t kFewProducts = 1 << 20;
  int64_t products = countOf(result.sizes) * countOf(kernel.sizes, 2);
  int64_t threads = products < kFewProducts ? 1 : megactx::poolSize();
  int64_t wanted = threads == 1 ? 1 : 3 * threads;
  // Blocks in another layout are copies of what they are of.
  constexpr int64_t kMostBytes = 4 << 20;
  int64_t elements = countOf(data.sizes) + countOf(result.sizes);
  wanted = std::max(wanted, elements * int64_t(sizeof(float)) / kMostBytes);
  int64_t least = std::max(leastRows, leastPixels / pixels);
  auto divided = [](int64_t total, int64_t parts) {
    return (total + parts - 1) / parts;
  };
  int64_t parts = std::max<int64_t>(1, wanted / result.sizes[0]);
  rows = std::min(all, std::max(least, divided(all, parts)));
  // Blocks of one size, where a few rows more make them so: kernels may be
  // packed otherwise for another.
  for (int64_t more = rows; more <= rows + rows / 2 && more < all; ++more)
    if (all % more == 0) {
      rows = more;
      break;
    }
  rowBlocks = divided(all, rows);
  parts = std::max<int64_t>(1, wanted / (result.sizes[0] * rowBlocks));
  int64_t block = divided(countOuter(), parts);
  block = divided(block, leastOuter) * leastOuter;
  outer = std::min(countOuter(), block);
  outerBlocks = divided(countOuter(), outer);
}

/// Of the windows from `first` on.
Convolution::Span Convolution::spanOf(size_t axis, int64_t first,
                                      int64_t count) const {
  int64_t begin = first * windows.steps[axis] - windows.pads[axis];
  int64_t end = begin + (count - 1) * windows.steps[axis] +
                (kernel.sizes[3 + axis] - 1) * windows.dilations[axis] + 1;
  int64_t low = std::max<int64_t>(begin, 0),
          high = std::min(end, data.sizes[3 + axis]);
  return {low, high - low, low - begin, end - high};
}

/// Of the block of rows from `row` on, of so many groups or filters.
Shape Convolution::shapeOf(int64_t row, int64_t ofOuter) const {
  int64_t groups = hasGroups() ? ofOuter : 1,
          filters = hasGroups() ? kernel.sizes[1] : ofOuter;
  Shape shape;
  auto from = [](const Dims &dims, size_t first) {
    return Dims(dims.begin() + first, dims.end());
  };
  auto append = [](Dims &to, const Dims &dims) {
    to.insert(to.end(), dims.begin(), dims.end());
  };
  shape.result = {1, groups * filters};
  append(shape.result, from(result.sizes, 3));
  shape.result[2] = std::min(rows, result.sizes[3] - row);
  shape.resultStrides = from(result.strides, 2);
  shape.resultStrides.insert(shape.resultStrides.begin(), result.strides[0]);
  shape.data = {1, groups * data.sizes[2]};
  // What no window reaches is left out.
  for (size_t axis = 0; axis < windows.steps.size(); ++axis) {
    Span span = spanOf(axis, axis == 0 ? row : 0, shape.result[2 + axis]);
    shape.data.push_back(span.size);
    shape.before.push_back(span.before);
    shape.behind.push_back(span.behind);
  }
  shape.dataStrides = from(data.strides, 2);
  shape.dataStrides.insert(shape.dataStrides.begin(), data.strides[0]);
  shape.kernel = {filters};
  append(shape.kernel, from(kernel.sizes, 2));
  shape.kernelStrides = from(kernel.strides, 1);
  if (hasGroups()) {
    shape.kernel.insert(shape.kernel.begin(), groups);
    shape.kernelStrides.insert(shape.kernelStrides.begin(), kernel.strides[0]);
  }
  shape.steps = windows.steps;
  for (int64_t dilation : windows.dilations)
    shape.dilations.push_back(dilation - 1);
  return shape;
}

/// The kernel of each block in the layout that its call wants; blocks of other
/// rows mostly want the same.
void Convolution::pack() {
  int64_t stride = kernel.strides[hasGroups() ? 0 : 1];
  for (int64_t row = 0; row < result.sizes[3]; row += rows)
    for (int64_t first = 0; first < countOuter(); first += outer) {
      Shape shape = shapeOf(row, std::min(outer, countOuter() - first));
      memory::desc layout = layoutOf(shape);
      auto same = std::find_if(packed.begin(), packed.end(), [&](auto &other) {
        return (&other - packed.data()) % outerBlocks == first / outer &&
               other->get_desc() == layout;
      });
      packed.push_back(same != packed.end()
                           ? *same
                           : megactx::packedCopy(shape.plainKernel(), layout,
                                                 kernel.data + first * stride));
    }
}

void Convolution::runTask(int64_t task) const {
  megactx::singleThreaded();
  int64_t block = task % (rowBlocks * outerBlocks);
  int64_t row = block / outerBlocks * rows;
  int64_t image = task / outerBlocks / rowBlocks;
  int64_t first = block % outerBlocks * outer;
  Shape shape = shapeOf(row, std::min(outer, countOuter() - first));
  Span span = spanOf(0, row, shape.result[2]);
  float *from = data.data + image * data.strides[0] +
                span.first * data.strides[3] +
                (hasGroups() ? first * data.strides[1] : 0);
  float *to = result.data + image * result.strides[0] +
              row * result.strides[3] +
              first * result.strides[hasGroups() ? 1 : 2];
  callOf(shape).run(from, *packed[block], to);
}

void Convolution::run() {
  cut();
  pack();
  mctx_rt_parallel_for(
      [](void *context, int64_t i) {
        megactx::guarded(
            [&] { static_cast<Convolution *>(context)->runTask(i); });
      },
      this, result.sizes[0] * rowBlocks * outerBlocks);
}

/// Whether the axes after the third lie in memory as one.
static bool isFlat(const Tensor &x) {
  for (size_t i = 3; i + 1 < x.sizes.size(); ++i)
    if (x.strides[i] != x.sizes[i + 1] * x.strides[i + 1])
      return false;
  return x.strides.back() == 1;
}

/// Whether each element of the result is of one of the data's.
static bool isProduct(const Tensor &data, const Tensor &kernel,
                      const Tensor &result, const Dims &steps) {
  auto isOne = [](int64_t size) { return size == 1; };
  return kernel.sizes[0] == 1 &&
         std::all_of(kernel.sizes.begin() + 3, kernel.sizes.end(), isOne) &&
         std::all_of(steps.begin(), steps.end(), isOne) &&
         std::equal(data.sizes.begin() + 3, data.sizes.end(),
                    result.sizes.begin() + 3) &&
         isFlat(data) && isFlat(result) &&
         (kernel.strides[2] == 1 || kernel.strides[1] == 1);
}

/// [1, M, C] times [N, C, elements].
static void multiply(const Tensor &data, const Tensor &kernel,
                     const Tensor &result) {
  auto flat = [](const Tensor &x) {
    return mctx_memref3{x.data,
                        x.data,
                        0,
                        {x.sizes[0], x.sizes[2], countOf(x.sizes, 3)},
                        {x.strides[0], x.strides[2], 1}};
  };
  mctx_memref3 a = {kernel.data,
                    kernel.data,
                    0,
                    {1, kernel.sizes[1], kernel.sizes[2]},
                    {0, kernel.strides[1], kernel.strides[2]}},
               b = flat(data), c = flat(result);
  _mlir_ciface_mctx_rt_matmul_f32(&a, &b, &c);
}

/// Leaves out axes along which data, and so kernel and result, have one
/// element, but for one of them: oneDNN takes what is along the last axis
/// together.
static void dropAxesOfOne(Tensor &data, Tensor &kernel, Tensor &result,
                          Dims &steps, Dims &dilations) {
  for (size_t axis = steps.size(); axis-- > 0 && steps.size() > 1;) {
    size_t dim = 3 + axis;
    if (data.sizes[dim] != 1 || kernel.sizes[dim] != 1)
      continue;
    for (Tensor *tensor : {&data, &kernel, &result}) {
      tensor->sizes.erase(tensor->sizes.begin() + dim);
      tensor->strides.erase(tensor->strides.begin() + dim);
    }
    steps.erase(steps.begin() + axis);
    dilations.erase(dilations.begin() + axis);
  }
}

static void clear(const Tensor &y, size_t dim = 0, int64_t at = 0) {
  if (dim == y.sizes.size()) {
    y.data[at] = 0;
    return;
  }
  for (int64_t i = 0; i < y.sizes[dim]; ++i)
    clear(y, dim + 1, at + i * y.strides[dim]);
}

/// `narrow`: of what data and kernel are; the result is of f32.
static void convolve(const mctx_memref &ofData, const mctx_memref &ofKernel,
                     const mctx_memref &ofResult, Dims steps, Dims dilations,
                     int64_t axes, const megactx::NarrowFloats *narrow) {
  // Layouts depend on the number of threads.
  megactx::singleThreaded();
  Tensor x(ofData, narrow), w(ofKernel, narrow), y(ofResult);
  if (ofData.rank == axes + 2) {
    x.split(1, 1);
    w.split(0, 1);
    y.split(1, 1);
  }
  if (y.isEmpty())
    return;
  if (x.isEmpty() || w.isEmpty())
    return clear(y);
  steps.resize(axes);
  dilations.resize(axes);
  dropAxesOfOne(x, w, y, steps, dilations);
  if (!narrow && isProduct(x, w, y, steps))
    return multiply(x, w, y);
  Dense data(x), kernel(w), result(y);
  data.load();
  kernel.load();
  if (narrow && isProduct(data.get(), kernel.get(), y, steps))
    return multiply(data.get(), kernel.get(), y);
  Convolution(data.get(), kernel.get(), result.get(),
              {steps, dilations, Dims(axes, 0)})
      .run();
  result.store();
}

static void convolveLast(const mctx_memref &ofData, const mctx_memref &ofKernel,
                         const mctx_memref &ofResult, int64_t groups,
                         const Windows &windows) {
  megactx::singleThreaded();
  Tensor x(ofData), w(ofKernel), y(ofResult);
  x.moveLast().split(1, groups);
  w.split(0, groups);
  y.moveLast().split(1, groups);
  if (y.isEmpty())
    return;
  if (x.isEmpty() || w.isEmpty())
    return clear(y);
  Dense data(x), kernel(w), result(y);
  data.load();
  kernel.load();
  Convolution(data.get(), kernel.get(), result.get(), windows).run();
  result.store();
}

extern "C" void _mlir_ciface_mctx_rt_convolution_last_f32(
    mctx_memref *ofData, mctx_memref *ofKernel, mctx_memref *ofResult,
    int64_t groups, int64_t axes, int64_t step0, int64_t step1, int64_t step2,
    int64_t dilation0, int64_t dilation1, int64_t dilation2, int64_t pad0,
    int64_t pad1, int64_t pad2) {
  megactx::guarded([&] {
    Windows windows{{step0, step1, step2},
                    {dilation0, dilation1, dilation2},
                    {pad0, pad1, pad2}};
    for (Dims *dims : {&windows.steps, &windows.dilations, &windows.pads})
      dims->resize(axes);
    convolveLast(*ofData, *ofKernel, *ofResult, groups, windows);
  });
}

extern "C" void _mlir_ciface_mctx_rt_convolution_f32(
    mctx_memref *ofData, mctx_memref *ofKernel, mctx_memref *ofResult,
    int64_t axes, int64_t step0, int64_t step1, int64_t step2,
    int64_t dilation0, int64_t dilation1, int64_t dilation2) {
  megactx::guarded([&] {
    convolve(*ofData, *ofKernel, *ofResult, {step0, step1, step2},
             {dilation0, dilation1, dilation2}, axes, nullptr);
  });
}

extern "C" void _mlir_ciface_mctx_rt_convolution_f16(
    mctx_memref *ofData, mctx_memref *ofKernel, mctx_memref *ofResult,
    int64_t axes, int64_t step0, int64_t step1, int64_t step2,
    int64_t dilation0, int64_t dilation1, int64_t dilation2) {
  megactx::guarded([&] {
    convolve(*ofData, *ofKernel, *ofResult, {step0, step1, step2},
             {dilation0, dilation1, dilation2}, axes, &megactx::kHalf);
  });
}

extern "C" void _mlir_ciface_mctx_rt_convolution_bf16(
    mctx_memref *ofData, mctx_memref *ofKernel, mctx_memref *ofResult,
    int64_t axes, int64_t step0, int64_t step1, int64_t step2,
    int64_t dilation0, int64_t dilation1, int64_t dilation2) {
  megactx::guarded([&] {
    convolve(*ofData, *ofKernel, *ofResult, {step0, step1, step2},
             {dilation0, dilation1, dilation2}, axes, &megactx::kBFloat);
  });
}
