//===- Products.cpp - a warpgroup's products under way --------------------===//

#include "Products.h"
#include "Floats.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace megactx::emulator;
using llvm::ArrayRef;

namespace {
/// A quiet NaN: 15 bits of the product's number, 7 of the register's.
constexpr uint32_t kMark = 0xffc00000, kNumbers = 1 << 15;
uint32_t markOf(uint32_t product, unsigned index) {
  return kMark | product << 7 | index;
}
bool isMark(uint32_t bits) { return (bits & kMark) == kMark; }
uint32_t productOf(uint32_t mark) { return (mark & ~kMark) >> 7; }
unsigned indexOf(uint32_t mark) { return mark & 127; }

/// A matrix in shared memory. Its fields are in units of 16 bytes; swizzle
/// number 1 is that of 128 bytes.
class Matrix {
public:
  Matrix(uint64_t descriptor, bool transpose, Memory &memory,
         const char *shared, ArrayRef<unsigned> warps)
      : descriptor(descriptor), transpose(transpose), memory(memory),
        shared(shared), warps(warps) {}

  Memory::Error verify() const {
    constexpr uint64_t fields = 0xc000'3fff'3fff'3fff;
    if (descriptor >> 62 != 1 || descriptor & ~fields)
      return "descriptor 0x" + llvm::utohexstr(descriptor) +
             " that is not one of a tile swizzled by 128 bytes";
    return std::nullopt;
  }

  /// Eight elements in one piece: of row or column `outer` the inner ones from
  /// 8 `chunk` on; transposed, of the inner one `inner` those of 8 outer.
  Memory::Error read(unsigned outer, unsigned inner, uint16_t *eight) const {
    uint64_t start = field(0), leading = field(16), stride = field(32), at;
    if (transpose)
      at = start + outer / 64 * leading + outer % 64 * 2 + inner / 8 * stride +
           inner % 8 * 128;
    else
      at = start + outer / 8 * stride + outer % 8 * 128 + inner * 2;
    at ^= (at >> 7 & 7) << 4;
    uint64_t offset = (at - reinterpret_cast<uintptr_t>(shared)) & 0x3ffff;
    if (auto error = memory.readAsync(shared + offset, 16, warps))
      return error;
    memcpy(eight, shared + offset, 16);
    return std::nullopt;
  }

private:
  uint64_t field(unsigned bit) const {
    return (descriptor >> bit & 0x3fff) << 4;
  }
  uint64_t descriptor;
  bool transpose;
  Memory &memory;
  const char *shared;
  ArrayRef<unsigned> warps; ///< a thread of each that multiplies
};

constexpr unsigned kRows = 64, kInner = 16;
} // namespace

Products::Error Products::issue(const Product &product, ArrayRef<Lane> lanes) {
  if (!fenced)
    return std::string("product without a wgmma.fence since the last wait");
  Issued issued;
  issued.product = product;
  issued.number = last = (last + 1) % kNumbers;
  issued.sumsOf = issued.number;
  Sums &own = sums[issued.number];
  own.isDone = false;
  unsigned count = product.registers(), first = product.hasSum ? count : 0;
  for (unsigned t = 0; t < lanes.size(); ++t) {
    const Lane &lane = lanes[t];
    const Slot *next = lane.operands + first;
    for (unsigned i = 0; i < (product.fromRegisters ? 4 : 0); ++i)
      issued.a[t][i] = next++->get<uint32_t>();
    auto same = [&](uint64_t &all, uint64_t own) {
      if (t && all != own)
        return false;
      all = own;
      return true;
    };
    if (!product.fromRegisters &&
        !same(issued.descriptorA, next++->get<uint64_t>()))
      return std::string("descriptors that differ between threads");
    if (!same(issued.descriptorB, next->get<uint64_t>()))
      return std::string("descriptors that differ between threads");
    own.values[t].assign(count, 0.0f);
    for (unsigned i = 0; i < first; ++i) {
      uint32_t bits = lane.operands[i].get<uint32_t>();
      if (isMark(bits)) {
        if (indexOf(bits) != i)
          return std::string("sum that is under way in another register");
        issued.sumsOf = productOf(bits);
      } else {
        own.values[t][i] = lane.operands[i].get<float>();
      }
    }
    for (unsigned i = 0; i < count; ++i)
      lane.results[i].set<uint32_t>(markOf(issued.number, i));
  }
  if (issued.sumsOf != issued.number) {
    auto before = sums.find(issued.sumsOf);
    if (before == sums.end() || before->second.values[0].size() != count)
      return std::string("sums under way of another shape");
  }
  groups.back().push_back(issued);
  return std::nullopt;
}

Products::Error Products::run(Issued &issued, unsigned thread, Memory &memory,
                              const char *shared) {
  // Each warp knows of its own waits only.
  const unsigned warps[] = {thread, thread + 32, thread + 64, thread + 96};
  const Product &product = issued.product;
  Sums &own = sums[issued.number];
  if (issued.sumsOf != issued.number) {
    auto before = sums.find(issued.sumsOf);
    own.values = std::move(before->second.values);
    sums.erase(before);
  }
  auto number = [&](uint16_t bits) { return toFloat(product.isBF16, bits); };
  static float a[kRows][kInner], b[256][kInner];
  uint16_t eight[8];
  if (product.fromRegisters) {
    for (unsigned t = 0; t < kThreads; ++t)
      for (unsigned i = 0; i < 4; ++i)
        for (unsigned j = 0; j < 2; ++j)
          a[t / 32 * 16 + t % 32 / 4 + 8 * (i % 2)]
           [t % 4 * 2 + j + 8 * (i / 2)] = number(issued.a[t][i] >> 16 * j);
  } else {
    Matrix matrix(issued.descriptorA, false, memory, shared, warps);
    if (Error error = matrix.verify())
      return error;
    for (unsigned row = 0; row < kRows; ++row)
      for (unsigned k = 0; k < kInner; k += 8) {
        if (Error error = matrix.read(row, k, eight))
          return error;
        for (unsigned i = 0; i < 8; ++i)
          a[row][k + i] = number(eight[i]);
      }
  }
  Matrix matrix(issued.descriptorB, product.transpose, memory, shared, warps);
  if (Error error = matrix.verify())
    return error;
  unsigned perOuter = product.transpose ? 8 : 1;
  for (unsigned n = 0; n < product.columns; n += perOuter)
    for (unsigned k = 0; k < kInner; k += 8 / perOuter) {
      if (Error error = matrix.read(n, k, eight))
        return error;
      for (unsigned i = 0; i < 8; ++i)
        (product.transpose ? b[n + i][k] : b[n][k + i]) = number(eight[i]);
    }
  for (unsigned t = 0; t < kThreads; ++t)
    for (unsigned i = 0; i < product.registers(); ++i) {
      unsigned row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2);
      unsigned column = i / 4 * 8 + t % 4 * 2 + i % 2;
      double sum = own.values[t][i];
      for (unsigned k = 0; k < kInner; ++k)
        sum += double(a[row][k]) * b[column][k];
      own.values[t][i] = sum;
    }
  own.isDone = true;
  return std::nullopt;
}

Products::Error Products::wait(unsigned left, ArrayRef<Lane> lanes,
                               size_t values, Memory &memory,
                               const char *shared) {
  fenced = false;
  for (; groups.size() > left + 1; groups.pop_front())
    for (Issued &issued : groups.front())
      if (Error error = run(issued, lanes[0].thread, memory, shared))
        return error;
  std::vector<uint32_t> finished;
  for (auto [t, lane] : llvm::enumerate(lanes))
    for (size_t i = 0; i < values; ++i) {
      lane.results[i] = lane.operands[i];
      uint32_t bits = lane.operands[i].get<uint32_t>();
      if (!isMark(bits))
        continue;
      auto found = sums.find(productOf(bits));
      if (found == sums.end() || !found->second.isDone)
        return std::string("sums that are still under way after the wait");
      lane.results[i].set(found->second.values[t][indexOf(bits)]);
      if (finished.empty() || finished.back() != found->first)
        finished.push_back(found->first);
    }
  for (uint32_t number : finished)
    sums.erase(number);
  return std::nullopt;
}
