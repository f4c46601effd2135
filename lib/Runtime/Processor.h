//===- Processor.h - what this CPU has -------------------------*- C++ -*-===//
//
// Owns what artifacts ask of the CPU that they are loaded on: features, by the
// names of Linux's /proc/cpuinfo, as manifests list them.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_PROCESSOR_H
#define MEGACTX_LIB_RUNTIME_PROCESSOR_H

#include <nlohmann/json.hpp>
#include <string>

namespace megactx {

/// The first of the features that this CPU lacks; empty where it has all, or
/// where nobody says what it has.
std::string missingFeature(const nlohmann::json &features);

/// Linux gives a process the registers of AMX's tiles when it asks for them:
/// asks where the features need them, and says whether that went well.
bool requestTiles(const nlohmann::json &features);

} // namespace megactx

#endif // MEGACTX_LIB_RUNTIME_PROCESSOR_H
