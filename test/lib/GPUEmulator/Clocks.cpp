//===- Clocks.cpp - what threads know of each other -----------------------===//

#include "Clocks.h"
#include <algorithm>
#include <set>

using namespace megactx::emulator;

void Clocks::reset(unsigned threads) {
  own.assign(threads, 1);
  known.assign(threads, std::make_shared<Times>());
  agents = threads;
  lastKnown = lastFrom = lastJoined = nullptr;
}

void Clocks::join(Times &to, const Times &from) {
  if (to.size() < from.size())
    to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = std::max(to[i], from[i]);
}

void Clocks::release(unsigned thread, Times &to) {
  join(to, *known[thread]);
  if (to.size() <= thread)
    to.resize(thread + 1);
  to[thread] = own[thread]++;
}

void Clocks::acquire(unsigned thread, const Known &from) {
  if (known[thread] != lastKnown || from != lastFrom) {
    auto joined = std::make_shared<Times>(*known[thread]);
    join(*joined, *from);
    lastKnown = known[thread];
    lastFrom = from;
    lastJoined = joined;
  }
  known[thread] = lastJoined;
}

void Clocks::meet(llvm::ArrayRef<unsigned> threads) {
  auto all = std::make_shared<Times>(own.size());
  std::set<const Times *> joined;
  for (unsigned thread : threads)
    if (joined.insert(known[thread].get()).second)
      join(*all, *known[thread]);
  for (unsigned thread : threads)
    (*all)[thread] = own[thread]++;
  for (unsigned thread : threads)
    known[thread] = all;
}
