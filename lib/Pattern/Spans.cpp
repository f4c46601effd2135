//===- Spans.cpp - sets of positions, described ---------------------------===//

#include "Spans.h"

using namespace mlir::megactx::pattern;

std::vector<Span> mlir::megactx::pattern::spansOf(const llvm::BitVector &set) {
  std::vector<Span> runs;
  for (int first = set.find_first(); first >= 0;) {
    int end = set.find_next_unset(first);
    end = end < 0 ? int(set.size()) : end;
    runs.push_back({first, end - 1});
    first = set.find_next(end - 1);
  }
  std::vector<Span> spans;
  for (size_t i = 0; i < runs.size();) {
    Span span = runs[i];
    // How far runs of this length follow at this distance.
    size_t end = i + 1;
    if (end < runs.size()) {
      int64_t run = span.last - span.first + 1;
      int64_t every = runs[end].first - span.first;
      while (end < runs.size() &&
             runs[end].first - runs[end - 1].first == every &&
             runs[end].last - runs[end].first + 1 == run)
        ++end;
      if (end - i >= 3)
        span = {span.first, runs[end - 1].last, every, run};
      else
        end = i + 1;
    }
    spans.push_back(span);
    i = end;
  }
  return spans;
}

bool GapCollector::extends(int64_t row, llvm::ArrayRef<Span> missing) const {
  if (begin == end || row != end || missing.size() != last.size())
    return false;
  for (size_t i = 0; i < missing.size(); ++i) {
    const Span &now = missing[i], &then = last[i];
    int64_t moved = now.first - then.first, grown = now.last - then.last;
    if (now.every != then.every || now.run != then.run)
      return false;
    if (end - begin == 1) {
      if (moved < 0 || moved > 1 || grown < 0 || grown > 1)
        return false;
    } else if (moved != second[i].first - first[i].first ||
               grown != second[i].last - first[i].last) {
      return false;
    }
  }
  return true;
}

void GapCollector::close() {
  for (size_t i = 0; begin < end && i < first.size(); ++i)
    gaps.push_back({component, {begin, end - 1}, first[i], last[i]});
  begin = end = 0;
}

void GapCollector::add(int64_t row, std::vector<Span> missing) {
  if (!extends(row, missing)) {
    close();
    begin = row;
    first = missing;
  } else if (row == begin + 1) {
    second = missing;
  }
  end = missing.empty() ? begin : row + 1;
  last = std::move(missing);
}

std::vector<Gap> GapCollector::take() {
  close();
  return std::move(gaps);
}
