//===- Intrinsics.cpp - what instructions of NVIDIA machines do -----------===//
//
// Owns the meaning of the llvm.nvvm intrinsics that our kernels use, as the PTX
// ISA 8.0 has it under the name of the instruction. A new one is an entry of
// the table.
//
//===----------------------------------------------------------------------===//

#include "Floats.h"
#include "Machine.h"
#include "llvm/Support/Regex.h"
#include <cmath>
#include <map>

using namespace megactx::emulator;
using llvm::ArrayRef;

namespace {
using Lanes = ArrayRef<Lane>;

enum class Special { Thread, BlockSize, Block, GridSize };
template <Special what, unsigned axis> void special(Machine &m, Lanes lanes) {
  unsigned value = what == Special::Thread ? m.block.at(lanes[0].thread, axis)
                   : what == Special::BlockSize ? m.block.size[axis]
                   : what == Special::Block     ? m.grid.at(m.blockNumber, axis)
                                                : m.grid.size[axis];
  lanes[0].results[0].set<uint32_t>(value);
}

/// barrier.cta.sync: what was written before is seen after.
void barrier(Machine &m, Lanes lanes) {
  for (const Lane &lane : lanes)
    if (lane.operands[0].get<uint32_t>())
      m.require(std::string("expected barrier 0"), lane.thread);
  m.synchronize(lanes);
}
/// barrier.cta.arrive (number, threads): the same, but nobody waits here.
void arriveNamed(Machine &m, Lanes lanes) { m.arrive(lanes); }
/// bar.warp.sync (mask).
void synchronizeWarp(Machine &m, Lanes lanes) {
  for (const Lane &lane : lanes)
    if (lane.operands[0].get<uint32_t>() != UINT32_MAX)
      m.require(std::string("expected a mask of all lanes"), lane.thread);
  m.synchronize(lanes);
}

/// setmaxnreg (registers).
template <bool isMore> void setRegisters(Machine &m, Lanes lanes) {
  m.setRegisters(lanes[0].operands[0].get<uint32_t>(), isMore);
}

/// shfl.sync.bfly (mask, value, lane mask, clamp and segments), and .idx, which
/// has a lane's number in its segment instead of the lane mask.
template <bool isIndex> void shuffle(Machine &m, Lanes lanes) {
  for (unsigned i = 0; i < lanes.size(); ++i) {
    const Slot *operands = lanes[i].operands;
    if (operands[0].get<uint32_t>() != UINT32_MAX)
      m.require(std::string("expected a mask of all lanes"), lanes[i].thread);
    uint32_t clamp = operands[3].get<uint32_t>() & 31;
    uint32_t segments = (operands[3].get<uint32_t>() >> 8) & 31;
    uint32_t last = (i & segments) | (clamp & ~segments);
    uint32_t lane = operands[2].get<uint32_t>();
    uint32_t from = isIndex ? (i & segments) | (lane & ~segments) : i ^ lane;
    lanes[i].results[0].set(
        lanes[from <= last ? from : i].operands[1].get<uint32_t>());
  }
}

/// vote.sync.any (mask, predicate).
void voteAny(Machine &m, Lanes lanes) {
  bool any = false;
  for (const Lane &lane : lanes) {
    if (lane.operands[0].get<uint32_t>() != UINT32_MAX)
      m.require(std::string("expected a mask of all lanes"), lane.thread);
    any |= lane.operands[1].get<bool>();
  }
  for (const Lane &lane : lanes)
    lane.results[0].set(any);
}

/// vote.sync.ballot (mask, predicate).
void ballot(Machine &m, Lanes lanes) {
  uint32_t bits = 0;
  for (unsigned i = 0; i < lanes.size(); ++i) {
    if (lanes[i].operands[0].get<uint32_t>() != UINT32_MAX)
      m.require(std::string("expected a mask of all lanes"), lanes[i].thread);
    bits |= uint32_t(lanes[i].operands[1].get<bool>()) << i;
  }
  for (const Lane &lane : lanes)
    lane.results[0].set(bits);
}

/// cp.async.cg (to, from[, bytes of memory; the others are zero]).
template <bool hasSize> void copy16(Machine &m, Lanes lanes) {
  const Slot *operands = lanes[0].operands;
  size_t bytes = hasSize ? operands[2].get<uint32_t>() : 16;
  if (bytes > 16)
    m.require(std::string("copy of more than 16 bytes"), lanes[0].thread);
  m.copy(lanes[0].thread, operands[0].get<char *>(),
         operands[1].get<const char *>(), 16, bytes);
}
void commit(Machine &m, Lanes lanes) { m.commitCopies(lanes[0].thread); }
void waitGroup(Machine &m, Lanes lanes) {
  m.waitForCopies(lanes[0].thread, lanes[0].operands[0].get<uint32_t>());
}

/// ldmatrix.x4: lane 8 t + r has the address of row r of matrix t;
/// lane l takes two elements of row l / 4, or of column l / 4, of each.
template <bool transpose> void loadMatrix(Machine &m, Lanes lanes) {
  for (const Lane &lane : lanes)
    m.requireAligned(lane.operands[0].get<const char *>(), 16, lane.thread);
  for (unsigned l = 0; l < 32; ++l)
    for (unsigned t = 0; t < 4; ++t) {
      uint16_t pair[2];
      for (unsigned j = 0; j < 2; ++j) {
        unsigned row = l / 4, column = l % 4 * 2 + j;
        if (transpose)
          std::swap(row, column);
        const char *at =
            lanes[8 * t + row].operands[0].get<const char *>() + 2 * column;
        m.require(m.memory.read(at, 2, lanes[l].thread), lanes[l].thread);
        memcpy(&pair[j], at, 2);
      }
      memcpy(lanes[l].results[t].bytes, pair, 4);
    }
}

/// mma.m16n8k16: registers 0 to 3 hold A, 4 and 5 B, two elements
/// each, 6 to 9 C. Sums are exact but for one rounding.
template <bool isBF16> void multiply(Machine &, Lanes lanes) {
  float a[16][16], b[16][8];
  for (unsigned l = 0; l < 32; ++l)
    for (unsigned i = 0; i < 6; ++i)
      for (unsigned j = 0; j < 2; ++j) {
        uint16_t bits[2];
        memcpy(bits, lanes[l].operands[i].bytes, 4);
        float value = toFloat(isBF16, bits[j]);
        unsigned group = l / 4, pair = l % 4 * 2 + j;
        if (i < 4)
          a[group + 8 * (i % 2)][pair + 8 * (i / 2)] = value;
        else
          b[pair + 8 * (i - 4)][group] = value;
      }
  for (unsigned l = 0; l < 32; ++l)
    for (unsigned i = 0; i < 4; ++i) {
      unsigned row = l / 4 + 8 * (i / 2), column = l % 4 * 2 + i % 2;
      double sum = lanes[l].operands[6 + i].get<float>();
      for (unsigned k = 0; k < 16; ++k)
        sum += double(a[row][k]) * b[k][column];
      lanes[l].results[i].set<float>(sum);
    }
}

void fenceProxy(Machine &m, Lanes lanes) {
  m.memory.fenceProxy(lanes[0].thread);
}
void fenceProducts(Machine &m, Lanes lanes) {
  m.products(lanes[0].thread).fence();
}
void commitProducts(Machine &m, Lanes lanes) {
  m.products(lanes[0].thread).commit();
}

/// elect.sync (mask): the leader's lane, and whether it is this one.
void elect(Machine &m, Lanes lanes) {
  for (const Lane &lane : lanes) {
    if (lane.operands[0].get<uint32_t>() != UINT32_MAX)
      m.require(std::string("expected a mask of all lanes"), lane.thread);
    lane.results[0].set<uint32_t>(0);
    lane.results[1].set<bool>(lane.thread == lanes[0].thread);
  }
}

/// mbarrier.init, .expect_tx and .arrive.
void initBarrier(Machine &m, Lanes lanes) {
  const Slot *operands = lanes[0].operands;
  m.requireAligned(operands[0].get<const char *>(), 8, lanes[0].thread);
  m.change(m.barriers.init(operands[0].get<const char *>(),
                           operands[1].get<uint32_t>(), lanes[0].thread,
                           m.memory),
           lanes[0].thread);
}
void expectBytes(Machine &m, Lanes lanes) {
  const Slot *operands = lanes[0].operands;
  m.change(m.barriers.expect(operands[0].get<const char *>(),
                             operands[1].get<uint32_t>(), lanes[0].thread,
                             m.memory),
           lanes[0].thread);
}
void arrive(Machine &m, Lanes lanes) {
  m.change(m.barriers.arrive(lanes[0].operands[0].get<const char *>(),
                             lanes[0].thread, m.memory),
           lanes[0].thread);
  lanes[0].results[0].set<uint64_t>(0);
}

/// cp.async.bulk.tensor.4d (to, barrier, map, place, multicast and cache, which
/// are not used).
void copyBox(Machine &m, Lanes lanes) {
  constexpr unsigned kRank = 4, kFirst = 3;
  const Slot *operands = lanes[0].operands;
  int32_t from[kRank];
  for (unsigned i = 0; i < kRank; ++i)
    from[i] = operands[kFirst + i].get<int32_t>();
  m.change(m.barriers.copyBox(operands[1].get<const char *>(),
                              operands[2].get<const TensorMap *>(), from,
                              operands[0].get<char *>(), lanes[0].thread,
                              m.memory),
           lanes[0].thread);
}

/// ex2, lg2 and rcp: .ftz takes denormal numbers as zero and gives none.
template <double (*function)(double)> void approximate(Machine &, Lanes lanes) {
  auto flushed = [](float x) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
  };
  float x = flushed(lanes[0].operands[0].get<float>());
  lanes[0].results[0].set(flushed(float(function(x))));
}
double power(double x) { return std::exp2(x); }
double logarithm(double x) { return std::log2(x); }
double reciprocal(double x) { return 1 / x; }

/// wgmma.mma_async with the operands in the order of the registers' list, A, B.
std::optional<Product> parseProduct(llvm::StringRef text) {
  static const llvm::Regex form(
      "^wgmma\\.mma_async\\.sync\\.aligned\\.m64n([0-9]+)k16\\.f32\\.(bf16|f16)"
      "\\.(bf16|f16) \\{\\$0[^}]*\\}, (\\{[^}]*\\}|\\$[0-9]+), \\$[0-9]+, "
      "([01]), 1, 1,( 0,)? ([01]);$");
  llvm::SmallVector<llvm::StringRef> parts;
  Product product;
  if (!form.match(text, &parts) || parts[2] != parts[3] ||
      parts[1].getAsInteger(10, product.columns) || product.columns % 8 ||
      !product.columns || product.columns > 256)
    return std::nullopt;
  product.isBF16 = parts[2] == "bf16";
  product.fromRegisters = parts[4].starts_with("{");
  product.hasSum = parts[5] == "1";
  product.transpose = parts[7] == "1";
  // A in registers is never transposed, and has no number for it.
  if (product.fromRegisters != parts[6].empty())
    return std::nullopt;
  return product;
}

/// mbarrier.try_wait.parity until it succeeds (barrier, parity, time limit).
bool parsePhaseWait(llvm::StringRef text, size_t operands) {
  static const llvm::Regex form(
      "^\\{[[:space:]]*\\.reg \\.pred +P1;[[:space:]]*LAB_WAIT:[[:space:]]*"
      "mbarrier\\.try_wait\\.parity\\.shared\\.b64 P1, \\[\\$0\\], \\$1, "
      "\\$2;[[:space:]]*@P1 bra\\.uni DONE;[[:space:]]*bra\\.uni +LAB_WAIT;"
      "[[:space:]]*DONE:[[:space:]]*\\}$");
  return operands == 3 && form.match(text);
}

/// wgmma.wait_group, and before it a check of the last operand that says
/// nothing of when the sums are there.
bool parseWait(llvm::StringRef text, unsigned &left, size_t operands,
               size_t results) {
  static const llvm::Regex form(
      "^(\\{ \\.reg \\.pred p; setp\\.lt\\.f32 p, \\$[0-9]+, 0f00000000; "
      "vote\\.sync\\.any\\.pred p, p, 0xffffffff; @p trap; \\} )?"
      "wgmma\\.wait_group\\.sync\\.aligned ([0-7]);$");
  llvm::SmallVector<llvm::StringRef> parts;
  if (!form.match(text, &parts) || parts[2].getAsInteger(10, left))
    return false;
  return operands == results + (parts[1].empty() ? 0 : 1);
}

/// mov.b64 of nvx.recompute.
void move(Machine &, Lanes lanes) {
  lanes[0].results[0].set(lanes[0].operands[0].get<uint64_t>());
}

const Intrinsic kIntrinsics[] = {
    {"read.ptx.sreg.tid.x", Scope::Thread, special<Special::Thread, 0>},
    {"read.ptx.sreg.tid.y", Scope::Thread, special<Special::Thread, 1>},
    {"read.ptx.sreg.tid.z", Scope::Thread, special<Special::Thread, 2>},
    {"read.ptx.sreg.ntid.x", Scope::Thread, special<Special::BlockSize, 0>},
    {"read.ptx.sreg.ntid.y", Scope::Thread, special<Special::BlockSize, 1>},
    {"read.ptx.sreg.ntid.z", Scope::Thread, special<Special::BlockSize, 2>},
    {"read.ptx.sreg.ctaid.x", Scope::Thread, special<Special::Block, 0>},
    {"read.ptx.sreg.ctaid.y", Scope::Thread, special<Special::Block, 1>},
    {"read.ptx.sreg.ctaid.z", Scope::Thread, special<Special::Block, 2>},
    {"read.ptx.sreg.nctaid.x", Scope::Thread, special<Special::GridSize, 0>},
    {"read.ptx.sreg.nctaid.y", Scope::Thread, special<Special::GridSize, 1>},
    {"read.ptx.sreg.nctaid.z", Scope::Thread, special<Special::GridSize, 2>},
    {"barrier.cta.sync.aligned.all", Scope::Block, barrier},
    {"barrier.cta.sync.aligned.count", Scope::Named, {}},
    {"barrier.cta.arrive.aligned.count", Scope::Warp, arriveNamed},
    {"bar.warp.sync", Scope::Warp, synchronizeWarp},
    {"setmaxnreg.inc.sync.aligned.u32", Scope::Warpgroup, setRegisters<true>},
    {"setmaxnreg.dec.sync.aligned.u32", Scope::Warpgroup, setRegisters<false>},
    {"shfl.sync.bfly.f32", Scope::Warp, shuffle<false>},
    {"shfl.sync.bfly.i32", Scope::Warp, shuffle<false>},
    {"shfl.sync.idx.i32", Scope::Warp, shuffle<true>},
    {"vote.any.sync", Scope::Warp, voteAny},
    {"vote.ballot.sync", Scope::Warp, ballot},
    {"cp.async.cg.shared.global.16", Scope::Thread, copy16<false>},
    {"cp.async.cg.shared.global.16.s", Scope::Thread, copy16<true>},
    {"cp.async.commit.group", Scope::Thread, commit},
    {"cp.async.wait.group", Scope::Thread, waitGroup},
    {"ldmatrix.sync.aligned.m8n8.x4.b16.p3", Scope::Warp, loadMatrix<false>},
    {"ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3", Scope::Warp,
     loadMatrix<true>},
    {"mma.m16n8k16.row.col.f32.f32", Scope::Warp, multiply<false>},
    {"mma.m16n8k16.row.col.bf16", Scope::Warp, multiply<true>},
    {"fence.proxy.async.shared_cta", Scope::Thread, fenceProxy},
    {"elect.sync", Scope::Warp, elect},
    {"mbarrier.init.shared", Scope::Thread, initBarrier},
    {"mbarrier.expect.tx.scope.cta.space.cta", Scope::Thread, expectBytes},
    {"mbarrier.arrive.shared", Scope::Thread, arrive},
    {"cp.async.bulk.tensor.g2s.tile.4d", Scope::Thread, copyBox},
    {"wgmma.fence.sync.aligned", Scope::Warpgroup, fenceProducts},
    {"wgmma.commit_group.sync.aligned", Scope::Warpgroup, commitProducts},
    {"ex2.approx.ftz.f32", Scope::Thread, approximate<power>},
    {"lg2.approx.ftz.f", Scope::Thread, approximate<logarithm>},
    {"rcp.approx.ftz.f", Scope::Thread, approximate<reciprocal>},
};
} // namespace

const Intrinsic *megactx::emulator::findIntrinsic(llvm::StringRef name) {
  if (name.consume_front("llvm.nvvm."))
    for (const Intrinsic &intrinsic : kIntrinsics)
      if (intrinsic.name == name)
        return &intrinsic;
  return nullptr;
}

const Intrinsic *megactx::emulator::findAssembly(llvm::StringRef text,
                                                 size_t operands,
                                                 size_t results) {
  static std::map<std::pair<std::string, size_t>, Intrinsic> known;
  auto [at, isNew] = known.try_emplace({text.str(), results});
  Intrinsic &intrinsic = at->second;
  if (!isNew)
    return intrinsic.run ? &intrinsic : nullptr;
  intrinsic.name = at->first.first;
  intrinsic.scope = Scope::Warpgroup;
  unsigned left;
  if (std::optional<Product> product = parseProduct(text)) {
    if (operands == product->operands() && results == product->registers())
      intrinsic.run = [product = *product](Machine &m, Lanes lanes) {
        unsigned thread = lanes[0].thread;
        m.require(m.products(thread).issue(product, lanes), thread);
      };
  } else if (text == "mov.b64 $0, $1;") {
    intrinsic.scope = Scope::Thread;
    intrinsic.run = move;
  } else if (parsePhaseWait(text, operands)) {
    intrinsic.scope = Scope::Thread;
    intrinsic.run = [](Machine &m, Lanes lanes) {
      const Slot *operands = lanes[0].operands;
      m.waitForPhase(lanes[0].thread, operands[0].get<const char *>(),
                     operands[1].get<uint32_t>());
    };
  } else if (parseWait(text, left, operands, results)) {
    intrinsic.run = [left, results](Machine &m, Lanes lanes) {
      unsigned thread = lanes[0].thread;
      m.require(
          m.products(thread).wait(left, lanes, results, m.memory, m.shared),
          thread);
    };
  }
  return intrinsic.run ? &intrinsic : nullptr;
}
