//===- Products.h - a warpgroup's products under way ------------*- C++ -*-===//
//
// Owns the asynchronous products of wgmma, as late as the machine may do them:
// operands in shared memory are read, and sums appear, at the wait. Until then
// a register of the result holds a mark, which is no number, that says of which
// product and which register; who does not pass it through the wait computes
// with it.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_TEST_GPUEMULATOR_PRODUCTS_H
#define MEGACTX_TEST_GPUEMULATOR_PRODUCTS_H

#include "Memory.h"
#include "llvm/ADT/ArrayRef.h"
#include <array>
#include <cstring>
#include <deque>
#include <map>

namespace megactx::emulator {

/// An operand or a result: one value of at most 8 bytes.
struct Slot {
  alignas(8) char bytes[8];
  template <typename T> T get() const {
    T value;
    memcpy(&value, bytes, sizeof(T));
    return value;
  }
  template <typename T> void set(T value) { memcpy(bytes, &value, sizeof(T)); }
};

/// One thread's part in an instruction.
struct Lane {
  unsigned thread;
  const Slot *operands;
  Slot *results;
};

/// wgmma.mma_async, but for the values of its operands: what its text says.
struct Product {
  unsigned columns; ///< of B
  bool isBF16, hasSum, fromRegisters, transpose;
  unsigned registers() const { return columns / 2; }
  /// In order: sums, A, B.
  unsigned operands() const {
    return (hasSum ? registers() : 0) + (fromRegisters ? 4 : 1) + 1;
  }
};

class Products {
public:
  using Error = Memory::Error;

  /// Orders registers before the products that follow.
  void fence() { fenced = true; }
  Error issue(const Product &product, llvm::ArrayRef<Lane> lanes);
  void commit() { groups.emplace_back(); }
  /// Does all but the last `left` groups, and passes one value after the other
  /// on to each lane's results: what the registers hold then.
  Error wait(unsigned left, llvm::ArrayRef<Lane> lanes, size_t values,
             Memory &memory, const char *shared);

private:
  static constexpr unsigned kThreads = 128;
  using Registers = std::array<std::vector<float>, kThreads>;
  struct Issued {
    uint32_t number;
    Product product;
    std::array<std::array<uint32_t, 4>, kThreads> a; ///< where in registers
    uint64_t descriptorA, descriptorB;
    uint32_t sumsOf; ///< the product whose sums go on, or its own number
  };
  Error run(Issued &issued, unsigned thread, Memory &memory,
            const char *shared);

  bool fenced = false;
  uint32_t last = 0;
  std::deque<std::vector<Issued>> groups = {{}}; ///< the last is open
  /// Sums, or what they begin with, by product; and whether it is done.
  struct Sums {
    Registers values;
    bool isDone = false;
  };
  std::map<uint32_t, Sums> sums;
};

} // namespace megactx::emulator

#endif
