//===- PackedWeights.cpp - weights in the products' own layout ------------===//

#include "PackedWeights.h"
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <tuple>
#include <unistd.h>

using namespace dnnl;

namespace {
struct Registry {
  std::mutex mutex;
  std::map<const char *, size_t> ranges;
  using Shape = std::tuple<megactx::ProductTypes, int64_t, int64_t>;
  std::map<Shape, std::unique_ptr<memory::desc>> layouts;
  struct Copy {
    memory::desc from; ///< the tensor that the copy is of
    std::shared_ptr<const memory> memory;
  };
  /// By place: one tensor may be read in several shapes and layouts.
  std::multimap<const char *, Copy> packed;

  bool isWeight(const char *begin, size_t size) const {
    auto after = ranges.upper_bound(begin);
    if (after == ranges.begin())
      return false;
    auto [start, length] = *std::prev(after);
    return begin + size <= start + length;
  }
};

Registry &registry() {
  // Never destroyed: models may be unloaded after it would be.
  static Registry *all = new Registry();
  return *all;
}

memory::desc plainLayout(memory::data_type type, int64_t k, int64_t n,
                         int64_t row) {
  return memory::desc({k, n}, type, memory::dims{row, 1});
}

/// What oneDNN chooses for many rows. One layout for every number of them.
std::unique_ptr<memory::desc> chooseLayout(const megactx::ProductTypes &types,
                                           int64_t k, int64_t n) {
  constexpr int64_t rows = 512;
  memory::desc a({rows, k}, types.a, memory::dims{k, 1});
  memory::desc b({k, n}, types.b, memory::format_tag::any);
  memory::desc c({rows, n}, types.c, memory::dims{n, 1});
  try {
    matmul::primitive_desc product({a, b, c}, megactx::cpuEngine());
    memory::desc chosen = product.weights_desc();
    if (chosen != plainLayout(types.b, k, n, n))
      return std::make_unique<memory::desc>(chosen);
  } catch (const dnnl::error &) {
  }
  return nullptr;
}

/// Gives back the whole pages of a range of a mapped file; what is read again
/// comes from the file.
void giveBack(char *begin, size_t size) {
  uintptr_t page = sysconf(_SC_PAGESIZE);
  uintptr_t from =
      (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  uintptr_t to = (reinterpret_cast<uintptr_t>(begin) + size) / page * page;
  if (from < to)
    madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED);
}

const memory::desc *layoutOf(Registry &all, const Registry::Shape &shape) {
  auto [found, isNew] = all.layouts.try_emplace(shape);
  if (isNew)
    found->second = std::apply(chooseLayout, shape);
  return found->second.get();
}
} // namespace

engine &megactx::cpuEngine() {
  static engine e(engine::kind::cpu, 0);
  return e;
}

void megactx::addWeights(const void *begin, size_t size) {
  Registry &all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.ranges[static_cast<const char *>(begin)] = size;
}

void megactx::removeWeights(const void *begin) {
  Registry &all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto range = all.ranges.find(static_cast<const char *>(begin));
  if (range == all.ranges.end())
    return;
  const char *end = range->first + range->second;
  all.packed.erase(all.packed.lower_bound(range->first),
                   all.packed.lower_bound(end));
  all.ranges.erase(range);
}

size_t megactx::packedWeightBytes() {
  Registry &all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  size_t bytes = 0;
  for (const auto &[key, copy] : all.packed)
    bytes += copy.memory->get_desc().get_size();
  return bytes;
}

static std::shared_ptr<const memory>
copied(const memory::desc &from, const memory::desc &to, void *plain) {
  auto made = std::make_shared<memory>(to, megactx::cpuEngine());
  memory source(from, megactx::cpuEngine(), plain);
  stream s(megactx::cpuEngine());
  reorder(source, *made).execute(s, source, *made);
  s.wait();
  return made;
}

/// Of a weight that lies in so many bytes, under the registry's lock.
static std::shared_ptr<const memory> keptCopy(Registry &all,
                                              const memory::desc &from,
                                              const memory::desc &to,
                                              char *begin, size_t bytes) {
  auto [first, last] = all.packed.equal_range(begin);
  for (; first != last; ++first)
    if (first->second.from == from && first->second.memory->get_desc() == to)
      return first->second.memory;
  auto made = copied(from, to, begin);
  giveBack(begin, bytes);
  // Layouts vary with run-time sizes: what is kept is bounded.
  constexpr size_t kMostCopies = 4;
  if (all.packed.count(begin) >= kMostCopies)
    all.packed.erase(all.packed.lower_bound(begin));
  all.packed.insert({begin, {from, made}});
  return made;
}

std::shared_ptr<const memory> megactx::packedCopy(const memory::desc &from,
                                                  const memory::desc &to,
                                                  void *plain) {
  auto *begin = static_cast<char *>(plain);
  Registry &all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  size_t bytes = from.get_size();
  return all.isWeight(begin, bytes) ? keptCopy(all, from, to, begin, bytes)
                                    : copied(from, to, begin);
}

std::shared_ptr<const memory> megactx::packedWeight(const ProductTypes &types,
                                                    int64_t k, int64_t n,
                                                    int64_t row, void *plain) {
  auto *begin = static_cast<char *>(plain);
  memory::desc from = plainLayout(types.b, k, n, row);
  // oneDNN counts whole rows, which the last one of some columns is not.
  size_t bytes = ((k - 1) * row + n) * memory::data_type_size(types.b);
  Registry &all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (!all.isWeight(begin, bytes))
    return nullptr;
  const memory::desc *layout = layoutOf(all, Registry::Shape(types, k, n));
  return layout ? keptCopy(all, from, *layout, begin, bytes) : nullptr;
}

extern "C" void mctx_products_add_weights(const void *begin, size_t size) {
  megactx::addWeights(begin, size);
}
extern "C" void mctx_products_remove_weights(const void *begin) {
  megactx::removeWeights(begin);
}
