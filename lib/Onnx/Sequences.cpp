//===- Sequences.cpp - sequences of tensors, by their tensors -------------===//
//
// Every operator on a sequence whose tensors are known one by one makes a
// SequenceConstruct of it; those that take tensors out of one need no sequence
// then. Pieces of a run-time number are slices of what was split.
//
//===----------------------------------------------------------------------===//

#include "Names.h"
#include "Rules.h"
#include <algorithm>
#include <set>

using namespace ::ONNX_NAMESPACE;
using namespace mlir::onnx;

/// Of how many pieces a sequence is made, at most.
static constexpr int64_t kMostPieces = 1024;

static std::string numbered(const char *letter, int64_t i) {
  return letter + std::to_string(i);
}

/// The letter with 0, 1, ..., as operands or results.
static std::vector<std::string> names(const char *letter, int64_t count) {
  std::vector<std::string> result;
  for (int64_t i = 0; i < count; ++i)
    result.push_back(numbered(letter, i));
  return result;
}

/// The tensors of the sequence that is the first input, where they are known.
static std::optional<std::vector<std::string>> tensorsOf(const Call &call) {
  auto maker = call.maker(0);
  if (maker && maker->type() == "SequenceConstruct")
    return names("s", maker->countInputs());
  if (maker && maker->type() == "SequenceEmpty")
    return std::vector<std::string>();
  return std::nullopt;
}

/// The place that an input says, counted from the end of so many where it is
/// negative; `otherwise` where it is absent, nothing where it is not known or
/// past `last`.
static std::optional<int64_t> placeOf(const Call &call, int i, int64_t count,
                                      int64_t otherwise, int64_t last) {
  int64_t place = otherwise;
  if (call.has(i)) {
    auto known = call.integers(i);
    if (!known || known->size() != 1)
      return std::nullopt;
    place = (*known)[0] + ((*known)[0] < 0 ? count : 0);
  }
  return place >= 0 && place <= last ? std::optional(place) : std::nullopt;
}

static bool dropsAxis(const Call &split) {
  return !split.has(1) && !split.integer("keepdims", 1);
}

/// The pieces' sizes along the axis, where they are known.
static std::optional<std::vector<int64_t>> sizesOf(const Call &call) {
  int64_t axis = call.integer("axis", 0);
  const auto *dim = call.dim(0, int(axis < 0 ? axis + call.rank(0) : axis));
  auto given = call.integers(1);
  if (call.has(1) && (!given || call.rank(1) == 1))
    return given;
  int64_t piece = given ? (*given)[0] : 1;
  if (!dim || !dim->has_dim_value() || piece < 1 || call.rank(1) > 0)
    return std::nullopt;
  std::vector<int64_t> sizes;
  for (int64_t left = dim->dim_value(); left > 0; left -= piece) {
    sizes.push_back(std::min(left, piece));
    if (int64_t(sizes.size()) > kMostPieces)
      return std::nullopt;
  }
  return sizes;
}

static std::string splitToSequence(const Call &call) {
  auto sizes = sizesOf(call);
  if (!sizes || sizes->empty() || int64_t(sizes->size()) > kMostPieces)
    return "";
  std::string axis = std::to_string(call.integer("axis", 0));
  std::string body = list("sizes", *sizes);
  std::vector<std::string> pieces = names("p", sizes->size());
  body += joined(pieces) + " = Split <axis = " + axis + "> (i0, sizes)\n";
  if (dropsAxis(call)) {
    body += list("axes", {call.integer("axis", 0)});
    for (size_t i = 0; i < sizes->size(); ++i) {
      pieces[i] = numbered("q", i);
      body += pieces[i] + " = Squeeze(" + numbered("p", i) + ", axes)\n";
    }
  }
  return body + "o0 = SequenceConstruct(" + joined(pieces) + ")";
}

/// Writes `starts`, where each piece begins of what a SplitToSequence takes,
/// `length`, that of a piece, and `axis`. False where it takes a list.
static bool writeStarts(const Call &split, std::string &body) {
  body += list("one", {1}) + list("zero", {0}) +
          list("axis", {split.integer("axis", 0)}) +
          "from = Constant <value = int64 {0}> ()\nshape = Shape(s0)\n"
          "size = Gather(shape, axis)\n";
  if (split.has(1) && split.rank(1) != 0)
    return false;
  body += split.has(1) ? "given = Cast <to = 7> (s1)\n"
                         "longest = Max(size, one)\n"
                         "least = Min(given, longest)\n" +
                             checkedSize("length", "least")
                       : "length = Identity(one)\n";
  body += "to = Squeeze(size, zero)\nstep = Squeeze(length, zero)\n"
          "starts = Range(from, to, step)\n";
  return true;
}

static std::string sequenceAt(const Call &call) {
  if (auto tensors = tensorsOf(call)) {
    int64_t count = tensors->size();
    auto place = placeOf(call, 1, count, /*otherwise=*/-1, count - 1);
    return place ? "o0 = Identity(" + (*tensors)[*place] + ")" : "";
  }
  auto maker = call.maker(0);
  std::string body;
  if (!maker || maker->type() != "SplitToSequence" ||
      !writeStarts(*maker, body))
    return "";
  body += "wide_place = Cast <to = 7> (i1)\n"
          "place = Reshape(wide_place, one)\nstart = Gather(starts, place)\n"
          "end = Add(start, length)\n";
  return body + (dropsAxis(*maker) ? "piece = Slice(s0, start, end, axis)\n"
                                     "o0 = Squeeze(piece, axis)"
                                   : "o0 = Slice(s0, start, end, axis)");
}

static std::string sequenceInsert(const Call &call) {
  auto tensors = tensorsOf(call);
  if (!tensors)
    return "";
  int64_t count = tensors->size();
  auto place = placeOf(call, 2, count, /*otherwise=*/count, /*last=*/count);
  if (!place)
    return "";
  tensors->insert(tensors->begin() + *place, "i1");
  return "o0 = SequenceConstruct(" + joined(*tensors) + ")";
}

static std::string sequenceErase(const Call &call) {
  auto tensors = tensorsOf(call);
  if (!tensors)
    return "";
  int64_t count = tensors->size();
  auto place = placeOf(call, 1, count, /*otherwise=*/count - 1, count - 1);
  if (!place)
    return "";
  if (count == 1) { // an empty list says of what it is one
    int type = call.maker(0)->elementType(0);
    return type ? "o0 = SequenceEmpty <dtype = " + std::to_string(type) + "> ()"
                : "";
  }
  tensors->erase(tensors->begin() + *place);
  return "o0 = SequenceConstruct(" + joined(*tensors) + ")";
}

static std::string sequenceLength(const Call &call) {
  if (auto tensors = tensorsOf(call))
    return "o0 = Constant <value = int64 {" + std::to_string(tensors->size()) +
           "}> ()";
  auto maker = call.maker(0);
  std::string body;
  return maker && maker->type() == "SplitToSequence" &&
                 writeStarts(*maker, body)
             ? body + "o0 = Size(starts)"
             : "";
}

/// Whether a ConcatFromSequence joins what its SplitToSequence has split.
static bool joinsPieces(const Call &call) {
  auto split = call.maker(0);
  if (!split || split->type() != "SplitToSequence" || split->rank(0) < 0 ||
      dropsAxis(*split) != bool(call.integer("new_axis", 0)))
    return false;
  auto fromStart = [&](int64_t axis) {
    return axis < 0 ? axis + split->rank(0) : axis;
  };
  return fromStart(split->integer("axis", 0)) ==
         fromStart(call.integer("axis", 0));
}

static std::string concatFromSequence(const Call &call) {
  if (!call.attribute("axis"))
    return "";
  std::string body;
  if (joinsPieces(call) && writeStarts(*call.maker(0), body))
    return body + "count = Size(starts)\nall = Mul(count, length)\n"
                  "o0 = Slice(s0, zero, all, axis)";
  auto tensors = tensorsOf(call);
  if (!tensors || tensors->empty())
    return "";
  int64_t axis = call.integer("axis", 0);
  body.clear();
  if (call.integer("new_axis", 0)) {
    body = list("axes", {axis});
    for (size_t i = 0; i < tensors->size(); ++i) {
      body += numbered("e", i) + " = Unsqueeze(" + (*tensors)[i] + ", axes)\n";
      (*tensors)[i] = numbered("e", i);
    }
  }
  return body + "o0 = Concat <axis = " + std::to_string(axis) + "> (" +
         joined(*tensors) + ")";
}

static void addUses(const GraphProto &graph, std::set<std::string> &used) {
  for (const ValueInfoProto &output : graph.output())
    used.insert(output.name());
  for (const NodeProto &node : graph.node()) {
    used.insert(node.input().begin(), node.input().end());
    forEachSubgraph(node,
                    [&](const GraphProto &inner) { addUses(inner, used); });
  }
}

bool mlir::onnx::makesSequence(const std::string &type) {
  static const std::set<std::string> makers = {
      "SplitToSequence", "SequenceConstruct", "SequenceEmpty", "SequenceInsert",
      "SequenceErase"};
  return makers.count(type) > 0;
}

/// Other names of sequences go with them.
static bool dropIn(GraphProto &graph, const std::set<std::string> &used) {
  auto &nodes = *graph.mutable_node();
  auto kept = std::remove_if(nodes.begin(), nodes.end(), [&](NodeProto &node) {
    bool isOne = makesSequence(node.op_type()) || node.op_type() == "Identity";
    return isOne && node.domain().empty() && node.output_size() == 1 &&
           !used.count(node.output(0));
  });
  bool changed = kept != nodes.end();
  nodes.erase(kept, nodes.end());
  for (NodeProto &node : nodes)
    forEachSubgraph(node,
                    [&](GraphProto &inner) { changed |= dropIn(inner, used); });
  return changed;
}

bool mlir::onnx::dropUnusedSequences(GraphProto &graph) {
  for (bool changed = false;; changed = true) {
    std::set<std::string> used;
    addUses(graph, used);
    if (!dropIn(graph, used))
      return changed;
  }
}

void mlir::onnx::addSequenceRules(Rules &rules) {
  rules.insert({{".SplitToSequence", splitToSequence},
                {".SequenceAt", sequenceAt},
                {".SequenceInsert", sequenceInsert},
                {".SequenceErase", sequenceErase},
                {".SequenceLength", sequenceLength},
                {".ConcatFromSequence", concatFromSequence}});
}
