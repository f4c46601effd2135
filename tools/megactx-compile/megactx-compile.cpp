//===- megactx-compile.cpp - ONNX or MLIR to an artifact ------------------===//

#include "../PatternOptions.h"
#include "megactx/Pipelines/Compile.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>

namespace cl = llvm::cl;

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::OptionCategory category("megactx-compile options");
  cl::opt<std::string> input(cl::Positional,
                             cl::desc("<model.onnx|model.mlir>"), cl::Required,
                             cl::cat(category));
  cl::opt<std::string> output("o", cl::desc("Artifact to write"),
                              cl::value_desc("model.mctx"), cl::Required,
                              cl::cat(category));
  cl::opt<std::string> level(
      "compile-to", cl::init("artifact"), cl::value_desc("level"),
      cl::desc("Stop at a level and write MLIR: input, attention, linalg, "
               "pieces, fused, memref, loops, llvm; or artifact (default)"),
      cl::cat(category));
  mlir::megactx::PatternOptions patterns(category);
  cl::opt<std::string> target(
      "target", cl::init("cpu"),
      cl::desc("What the code is for: cpu (this machine's, default), another "
               "CPU by LLVM's name, such as x86-64-v3, znver4 or neoverse-v1, "
               "or an NVIDIA GPU by its architecture, such as sm_80 or sm_90"),
      cl::cat(category));
  using Level = llvm::CodeGenOptLevel;
  cl::opt<Level> optimization(
      cl::desc("How far LLVM optimizes code for the CPU:"),
      cl::init(Level::Default), cl::cat(category),
      cl::values(clEnumValN(Level::None, "O0",
                            "Not at all: compiles in half of the time, to "
                            "code that is several times slower"),
                 clEnumValN(Level::Less, "O1", "Little"),
                 clEnumValN(Level::Default, "O2", "As clang's -O2 (default)"),
                 clEnumValN(Level::Aggressive, "O3",
                            "Fully: compiles longer, to code that was no "
                            "faster where it was measured")));
  cl::opt<std::string> schedule(
      "schedule", cl::value_desc("#nvx.schedule<...>"),
      cl::desc("What a GPU's attention kernels take of the machine, instead of "
               "what the rule says"),
      cl::cat(category));
  cl::opt<std::string> schedules(
      "schedules", cl::value_desc("file.json"),
      cl::desc("Schedules that megactx-tune-schedule measured, instead of what "
               "the rule says"),
      cl::cat(category));
  cl::opt<bool> generic("generic",
                        cl::desc("Attention through linalg, without kernels: "
                                 "slow, to compare with"),
                        cl::cat(category));
  cl::opt<bool> fuseLod(
      "fuse-lod", cl::init(true),
      cl::desc("Fuse pooling and rotary embedding with the attention that they "
               "belong to (default); --fuse-lod=false to compare with"),
      cl::cat(category));
  cl::opt<bool> cachesInPlace(
      "caches-in-place",
      cl::desc(
          "Write new rows into the caches that come in, which must have "
          "room for all tokens: a run changes these inputs, and gives them "
          "as its outputs. Where a model asks the caches how many tokens "
          "they hold, the input past_sequence_length says it"),
      cl::cat(category));
  cl::opt<bool> progress("progress", cl::init(true), cl::cat(category),
                         cl::desc("Print a line per phase (default)"));
  cl::opt<std::string> remarks(
      "remarks-filter", cl::value_desc("regex"),
      cl::desc("Print remarks of these categories: raise-onnx-attention says "
               "what stays dense, or a bias, and why; fuse-lod what is fused "
               "with attention"),
      cl::cat(category));
  cl::opt<bool> operators(
      "operators", cl::ValueDisallowed, cl::cat(category),
      cl::desc("Print ONNX's operators and what becomes of each, and exit"),
      cl::callback([](const bool &) {
        mlir::megactx::printOperators(llvm::outs());
        llvm::outs().flush();
        std::exit(0);
      }));
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles a model.\n\n"
      "  megactx-compile model.onnx -o model.mctx\n"
      "  megactx-compile model.onnx --pattern 'window<left = 127, right = 0> "
      "or strided<stride = 128>' -o model.mctx\n"
      "  megactx-compile attention.mlir --compile-to=pieces -o pieces.mlir\n");
  auto choice = patterns.choice();
  if (!choice)
    return 1;
  mlir::megactx::CompileOptions options;
  options.input = input;
  options.output = output;
  options.level = level;
  options.target = target;
  options.optimization = optimization;
  options.schedule = schedule;
  options.schedules = schedules;
  options.patterns = *choice;
  options.generic = generic;
  options.fuseLod = fuseLod;
  options.cachesInPlace = cachesInPlace;
  options.progress = progress;
  options.remarksFilter = remarks;
  return failed(mlir::megactx::compile(options));
}
