//===- SplitTest.cpp - parts link to the module that they come from -------===//

#include "Split.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace mlir::megactx;

/// Three groups of calls: the entry's, task_a's and task_b's.
static constexpr llvm::StringLiteral kCode = R"(
@shared = internal constant [2 x i32] [i32 1, i32 2]
@counter = internal global i32 0
@table = internal constant [1 x ptr] [ptr @task_b]
@own = internal constant i32 7

declare void @launch(ptr, ptr)

define void @entry() {
  call void @callee()
  call void @launch(ptr @task_a, ptr @shared)
  %task = load ptr, ptr @table
  call void @launch(ptr %task, ptr @counter)
  ret void
}
define internal void @callee() {
  ret void
}
define internal void @task_a() {
  %1 = load i32, ptr @own
  %2 = load i32, ptr getelementptr (i8, ptr @shared, i64 4)
  %3 = call i32 @helper_a(i32 %1)
  ret void
}
define internal i32 @helper_a(i32 %x) {
  ret i32 %x
}
define internal void @task_b() {
  %1 = load i32, ptr @shared
  store i32 %1, ptr @counter
  ret void
}
)";

namespace {
struct SplitTest : testing::Test {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code;
  std::vector<std::unique_ptr<llvm::Module>> parts;

  void SetUp() override {
    llvm::SMDiagnostic error;
    code = llvm::parseAssemblyString(kCode, error, context);
    ASSERT_TRUE(code) << error.getMessage().str();
  }
  void split(size_t partSize) {
    Split split(*code, partSize);
    for (size_t number = 0; number < split.size(); ++number)
      parts.push_back(split.part(number));
  }
  std::vector<const llvm::GlobalValue *> definitions(llvm::StringRef name) {
    std::vector<const llvm::GlobalValue *> found;
    for (const auto &part : parts)
      if (const llvm::GlobalValue *value = part->getNamedValue(name);
          value && !value->isDeclaration())
        found.push_back(value);
    return found;
  }
};

TEST_F(SplitTest, FunctionsStayWithTheirCallers) {
  split(1);
  ASSERT_EQ(parts.size(), 3u);
  for (auto [caller, callee] :
       {std::pair("entry", "callee"), std::pair("task_a", "helper_a")}) {
    ASSERT_EQ(definitions(caller).size(), 1u);
    ASSERT_EQ(definitions(callee).size(), 1u);
    EXPECT_EQ(definitions(caller)[0]->getParent(),
              definitions(callee)[0]->getParent());
    EXPECT_TRUE(definitions(callee)[0]->hasInternalLinkage());
  }
}

TEST_F(SplitTest, WhatPartsShareIsHiddenOrCopied) {
  split(1);
  for (llvm::StringRef name : {"task_a", "task_b", "counter"}) {
    ASSERT_EQ(definitions(name).size(), 1u) << name.str();
    EXPECT_TRUE(definitions(name)[0]->hasExternalLinkage()) << name.str();
    EXPECT_TRUE(definitions(name)[0]->hasHiddenVisibility()) << name.str();
  }
  EXPECT_EQ(definitions("shared").size(), 3u);
  EXPECT_EQ(definitions("own").size(), 1u);
  EXPECT_TRUE(definitions("own")[0]->hasInternalLinkage());
}

TEST_F(SplitTest, PartsLink) {
  split(1);
  llvm::Module whole("whole", context);
  llvm::Linker linker(whole);
  for (std::unique_ptr<llvm::Module> &part : parts) {
    EXPECT_FALSE(llvm::verifyModule(*part, &llvm::errs()));
    EXPECT_FALSE(linker.linkInModule(std::move(part)));
  }
  for (const llvm::Function &function : whole)
    EXPECT_EQ(function.isDeclaration(), function.getName() == "launch")
        << function.getName().str();
}

TEST_F(SplitTest, LittleCodeIsOnePart) {
  split(1000);
  ASSERT_EQ(parts.size(), 1u);
  for (const llvm::GlobalValue &value : parts[0]->global_values())
    EXPECT_TRUE(value.isDeclaration() || value.hasLocalLinkage() ||
                value.getName() == "entry")
        << value.getName().str();
}
} // namespace
