//===- Json.cpp - files that a user writes as JSON ------------------------===//

#include "megactx/Support/Json.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"

using llvm::StringRef;

/// Whether lists and objects are so deep in each other that LLVM's parser,
/// which calls itself for each, would run out of stack.
static bool isTooDeep(StringRef text) {
  constexpr int kMostDeep = 1000;
  int depth = 0;
  bool isString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (isString && c == '\\')
      ++i;
    else if (c == '"')
      isString = !isString;
    else if (!isString && (c == '[' || c == '{') && ++depth > kMostDeep)
      return true;
    else if (!isString && (c == ']' || c == '}'))
      --depth;
  }
  return false;
}

/// A key that an object has twice, of which LLVM's parser would keep one; empty
/// where there is none.
static StringRef repeatedKey(StringRef text) {
  llvm::SmallVector<llvm::StringSet<>> objects;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{')
      objects.emplace_back();
    else if (text[i] == '}' && !objects.empty())
      objects.pop_back();
    if (text[i] != '"')
      continue;
    size_t begin = ++i;
    while (i < text.size() && text[i] != '"')
      i += text[i] == '\\' ? 2 : 1;
    StringRef word = text.slice(begin, i);
    bool isKey = text.substr(i + 1).ltrim().starts_with(":");
    if (isKey && !objects.empty() && !objects.back().insert(word).second)
      return word;
  }
  return "";
}

std::optional<llvm::json::Value>
mlir::megactx::readJson(StringRef path, StringRef kind, std::string &error) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer) {
    error = ("cannot read " + kind + " '" + path +
             "': " + buffer.getError().message())
                .str();
    return std::nullopt;
  }
  if (isTooDeep((*buffer)->getBuffer())) {
    error = (kind + " '" + path + "': lists and objects are nested too deeply")
                .str();
    return std::nullopt;
  }
  if (StringRef key = repeatedKey((*buffer)->getBuffer()); !key.empty()) {
    error =
        (kind + " '" + path + "': an object has the key '" + key + "' twice")
            .str();
    return std::nullopt;
  }
  llvm::Expected<llvm::json::Value> parsed =
      llvm::json::parse((*buffer)->getBuffer());
  if (parsed)
    return std::move(*parsed);
  error =
      (kind + " '" + path + "': " + llvm::toString(parsed.takeError())).str();
  return std::nullopt;
}
