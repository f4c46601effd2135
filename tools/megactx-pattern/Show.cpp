//===- Show.cpp - what megactx-pattern prints -----------------------------===//

#include "Show.h"
#include "megactx/Pattern/Picture.h"
#include "megactx/Pattern/Prove.h"
#include "megactx/Pattern/Statistics.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/LineIterator.h"
#include "llvm/Support/MemoryBuffer.h"
#include <numeric>

using namespace mlir::megactx::pattern;

static constexpr int64_t kMaxHeads = 1 << 16;

/// The fault of the sizes, or nothing.
static std::string faultOfSizes(const Request &request) {
  const Rows &rows = request.rows;
  for (int64_t size : {rows.queries, rows.keys, request.heads, rows.queryStep,
                       rows.keyStep, rows.queryOffset, rows.keyOffset})
    if (size < 0 || size > kMaxPosition)
      return ("expected sizes, steps and offsets between 0 and " +
              llvm::Twine(kMaxPosition) + ", but got " + llvm::Twine(size))
          .str();
  if (rows.queryStep < 1 || rows.keyStep < 1)
    return "expected steps of at least 1";
  if (request.headDim < 1 || request.headDim > kMaxHeads)
    return ("expected a head dim between 1 and " + llvm::Twine(kMaxHeads) +
            ", but got " + llvm::Twine(request.headDim))
        .str();
  if (request.heads > kMaxHeads)
    return ("expected at most " + llvm::Twine(kMaxHeads) + " heads").str();
  double positions = double(rows.queries) * double(rows.queryStep) +
                     double(rows.keys) * double(rows.keyStep);
  if (positions > double(kMaxPosition))
    return ("expected positions of at most " + llvm::Twine(kMaxPosition)).str();
  double pairs =
      double(rows.queries) * double(rows.keys) * double(request.heads);
  bool elementwise = request.print == Print::Relation ||
                     request.print == Print::Ascii ||
                     request.print == Print::Svg;
  if (elementwise && pairs > double(kMaxPrintedPairs))
    return ("expected at most " + llvm::Twine(kMaxPrintedPairs) +
            " pairs of rows to print; --print=stats takes any size")
        .str();
  if (request.print == Print::Svg && request.heads > kMaxDrawnHeads)
    return ("expected at most " + llvm::Twine(kMaxDrawnHeads) +
            " heads to draw")
        .str();
  if (request.gist < 1 || request.gist > kMaxPosition)
    return ("expected gists of 1 to " + llvm::Twine(kMaxPosition) + " tokens")
        .str();
  if (pairs > 4e18)
    return "the number of pairs does not fit into 64 bits";
  return "";
}

static llvm::json::Object tilesAsJson(double full, double partial,
                                      double empty) {
  return llvm::json::Object{{"full", int64_t(full)},
                            {"partial", int64_t(partial)},
                            {"empty", int64_t(empty)}};
}

/// Pairs of rows in all and per head, and their share of all pairs; tiles and
/// FLOPs. Returns the fault, or nothing.
static std::string printStats(llvm::ArrayRef<Piece> pieces,
                              const Request &request, llvm::raw_ostream &os) {
  const Rows &rows = request.rows;
  auto perHead = countPairsPerHead(pieces, rows, request.heads);
  if (!perHead)
    return "counting the pairs of this pattern takes too long at these sizes; "
           "use fewer rows, or strides and blocks with common divisors";
  auto tiles = countTilesOfHeads(pieces, rows, request.heads, request.tile);
  if (!tiles)
    return "counting the tiles of this pattern takes too long at these sizes; "
           "use larger tiles or fewer rows";
  int64_t total = std::accumulate(perHead->begin(), perHead->end(), int64_t(0));
  double all = double(rows.queries) * double(rows.keys) * double(request.heads);
  Work work = workOf(*tiles, request.tile, 2 * request.headDim);
  llvm::json::Array ofPieces;
  for (const TilesOfHeads &piece : *tiles) {
    const TileClasses &one = piece.perHead;
    llvm::json::Object entry = tilesAsJson(one.full, one.partial, one.empty);
    entry["heads"] = piece.heads;
    ofPieces.push_back(std::move(entry));
  }
  llvm::json::Object report{
      {"queries", rows.queries},
      {"keys", rows.keys},
      {"heads", request.heads},
      {"head_dim", request.headDim},
      {"pieces", int64_t(pieces.size())},
      {"pairs", total},
      {"pairs_per_head", llvm::json::Array(*perHead)},
      {"density", all > 0 ? total / all : 0.0},
      {"pair_flops", 2.0 * double(total) * 2.0 * double(request.headDim)},
      {"tile",
       llvm::formatv("{0}x{1}", request.tile.queries, request.tile.keys).str()},
      {"tile_flops", work.tileFlops},
      {"tiles", tilesAsJson(work.full, work.partial, work.empty)},
      {"tiles_per_piece", std::move(ofPieces)}};
  os << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(report)));
  return "";
}

/// The pieces of a file. Returns the fault, or nothing.
static std::string readPieces(llvm::StringRef path,
                              std::vector<Piece> &pieces) {
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(path, true);
  if (!buffer)
    return ("cannot read " + path + ": " + buffer.getError().message()).str();
  std::string fault;
  pieces.clear();
  for (llvm::line_iterator line(**buffer); !line.is_at_eof(); ++line) {
    auto piece = Piece::parse(*line, [&](size_t, const llvm::Twine &message) {
      fault =
          (path + ":" + llvm::Twine(line.line_number()) + ": " + message).str();
    });
    if (!piece)
      return fault;
    pieces.push_back(std::move(*piece));
  }
  return "";
}

/// Returns the refutation, or nothing.
static std::string printProof(const Formula &formula,
                              llvm::ArrayRef<Piece> pieces,
                              llvm::raw_ostream &os) {
  Proof proof = prove(formula, pieces);
  switch (proof.verdict) {
  case Proof::Verdict::Proved:
    os << "proved: " << pieces.size()
       << (pieces.size() == 1 ? " piece" : " pieces, disjoint")
       << ", equal to the relation for every length\n";
    return "";
  case Proof::Verdict::Refuted:
    return "refuted: at " + proof.counterexample.str();
  case Proof::Verdict::NotProvable:
    os << "not provable: " << proof.reason << '\n';
    return "";
  }
  llvm_unreachable("every verdict is handled above");
}

/// Whether sources at several levels show every past position once.
static void printLevels(const Pattern &pattern, llvm::raw_ostream &os) {
  std::vector<int64_t> steps = pattern.keySteps();
  if (steps.size() < 2)
    return;
  os << "sources of steps "
     << llvm::join(
            llvm::map_range(steps, [](int64_t s) { return std::to_string(s); }),
            ", ");
  Proof proof = proveExactlyOnce(pattern);
  switch (proof.verdict) {
  case Proof::Verdict::Proved:
    os << ": proved: every past token is seen in exactly one of them, no "
          "future one\n";
    break;
  case Proof::Verdict::Refuted: {
    const Counterexample &found = proof.counterexample;
    os << ": not every past token exactly once: at p = " << found.p
       << ", h = " << found.h << " token " << found.k << " is seen "
       << found.pieces << (found.pieces == 1 ? " time\n" : " times\n");
    break;
  }
  case Proof::Verdict::NotProvable:
    os << ": not provable: " << proof.reason << '\n';
  }
}

void mlir::megactx::pattern::showNames(llvm::raw_ostream &os) {
  for (const NamedPattern *named : namedPatterns()) {
    os << named->name();
    if (!named->parameters().empty()) {
      os << '<';
      llvm::interleaveComma(named->parameters(), os,
                            [&](const Parameter &one) { os << one.name; });
      os << '>';
    }
    os << ": " << named->description() << '\n';
  }
}

bool mlir::megactx::pattern::show(Request request, llvm::raw_ostream &os,
                                  OnFault onFault) {
  if (request.rows.keys == -1)
    request.rows.keys = request.rows.queries;
  std::optional<Pattern> pattern = Pattern::parse(request.text, onFault);
  if (!pattern)
    return false;
  std::string fault = faultOfSizes(request);
  if (fault.empty())
    fault = pattern->checkKeyStep(request.rows.keyStep);
  if (!fault.empty())
    return onFault(llvm::StringRef::npos, fault), false;
  Formula formula = pattern->formula(request.rows.keyStep);
  if (request.print == Print::Relation) {
    printRelation(formula, request.rows, request.heads, os);
    return true;
  }
  if (request.print == Print::Ascii) {
    printAscii(formula, request.rows, request.heads, os);
    return true;
  }
  if (request.print == Print::Svg) {
    printSvg(formula, request.rows, request.heads, pattern->str(), os);
    return true;
  }
  if (request.print == Print::Reach) {
    fault = showReach(*pattern, request, os);
    return fault.empty() || (onFault(llvm::StringRef::npos, fault), false);
  }
  auto pieces = expand(formula, fault);
  if (!pieces)
    return onFault(llvm::StringRef::npos, fault), false;
  if (request.print == Print::Proof) {
    if (!request.pieces.empty())
      fault = readPieces(request.pieces, *pieces);
    if (fault.empty())
      fault = printProof(formula, *pieces, os);
    if (fault.empty())
      printLevels(*pattern, os);
    return fault.empty() || (onFault(llvm::StringRef::npos, fault), false);
  }
  if (request.print == Print::Stats) {
    fault = printStats(*pieces, request, os);
    return fault.empty() || (onFault(llvm::StringRef::npos, fault), false);
  }
  for (const Piece &piece : *pieces)
    os << piece.str() << '\n';
  return true;
}

//===----------------------------------------------------------------------===//
// Files of patterns
//===----------------------------------------------------------------------===//

/// Reads `queries=4 key-step=2`. Returns the fault, or nothing.
static std::string readSizes(llvm::StringRef text, Request &request) {
  std::pair<llvm::StringRef, int64_t *> sizes[] = {
      {"queries", &request.rows.queries},
      {"keys", &request.rows.keys},
      {"heads", &request.heads},
      {"query-step", &request.rows.queryStep},
      {"query-offset", &request.rows.queryOffset},
      {"key-step", &request.rows.keyStep},
      {"key-offset", &request.rows.keyOffset}};
  llvm::SmallVector<llvm::StringRef> words;
  llvm::SplitString(text, words);
  for (llvm::StringRef word : words) {
    auto [name, value] = word.split('=');
    auto *size = std::begin(sizes);
    while (size != std::end(sizes) && size->first != name)
      ++size;
    if (size == std::end(sizes))
      return ("unknown size '" + name + "'").str();
    if (value.getAsInteger(10, *size->second))
      return ("expected an integer for '" + name + "'").str();
  }
  return "";
}

bool mlir::megactx::pattern::showBatch(llvm::StringRef path,
                                       const Request &defaults,
                                       llvm::raw_ostream &os) {
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(path, true);
  if (!buffer) {
    llvm::errs() << "error: cannot read " << path << ": "
                 << buffer.getError().message() << "\n";
    return false;
  }
  bool ok = true;
  for (llvm::line_iterator line(**buffer); !line.is_at_eof(); ++line) {
    auto fault = [&](size_t offset, const llvm::Twine &message) {
      ok = false;
      llvm::errs() << path << ':' << line.line_number();
      if (offset != llvm::StringRef::npos)
        llvm::errs() << ':' << line->find(':') + 2 + offset;
      llvm::errs() << ": error: " << message << '\n';
    };
    size_t colon = line->find(':');
    Request request = defaults;
    if (colon == llvm::StringRef::npos) {
      fault(colon, "expected 'sizes: pattern'");
      continue;
    }
    request.text = line->substr(colon + 1).str();
    std::string error = readSizes(line->take_front(colon), request);
    if (error.empty())
      show(request, os, fault);
    else
      fault(llvm::StringRef::npos, error);
    os << '\n';
  }
  return ok;
}
