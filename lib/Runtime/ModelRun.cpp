//===- ModelRun.cpp - runs of a model -------------------------------------===//
//
// The entry is `mctx_main(void **)`: a place for the results' memref
// descriptors, then pointers to the descriptors of inputs and of weights.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "Placement.h"
#include "Pool.h"
#include "megactx/Runtime/KernelABI.h"
#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <optional>
#include <utility>

using namespace megactx;
using nlohmann::json;

namespace {
std::mutex failureMutex;
std::string failure;
/// Where a failed check of the model that this thread runs goes on.
thread_local std::jmp_buf *runningModel = nullptr;
} // namespace

/// Whether a model of a GPU has a tensor in the device's memory; what its code
/// on the host reads or writes is in the host's.
static bool isOnDevice(const json &entry) {
  return entry.value("memory", "device") != "host";
}

/// Of an output that is an input, with what the run wrote into it: which one.
static std::optional<size_t> updatedBy(const json &output) {
  auto found = output.find("updates");
  if (found == output.end())
    return std::nullopt;
  return found->get<size_t>();
}

/// Checks an input against the manifest; symbolic sizes are bound by name.
std::string mctx_model::checkInput(
    size_t i, const mctx_tensor &input,
    std::map<std::string, std::pair<int64_t, std::string>> &symbols) const {
  const json &want = manifest.at("inputs").at(i);
  std::string name = want.at("name");
  auto here = [&] { return "input '" + name + "': "; };
  std::string dtype = want.at("dtype");
  if (!input.dtype || dtype != input.dtype)
    return here() + "expected dtype " + dtype + ", but got " +
           (input.dtype ? input.dtype : "none");
  const json &shape = want.at("shape");
  if (input.rank < 0 || input.rank > MCTX_MAX_RANK ||
      shape.size() != size_t(input.rank))
    return here() + "expected rank " + std::to_string(shape.size()) +
           ", but got " + std::to_string(input.rank);
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t size = input.shape[d];
    std::string place = here() + "dim " + std::to_string(d) + ": ";
    if (size < 0)
      return place + "negative size";
    if (shape[d].is_number()) {
      if (shape[d] != size)
        return place + "expected " + shape[d].dump() + ", but got " +
               std::to_string(size);
      continue;
    }
    std::string symbol = shape[d];
    if (symbol.empty())
      continue;
    auto [known, isNew] =
        symbols.try_emplace(symbol, size, "input '" + name + "'");
    if (!isNew && known->second.first != size)
      return place + "expected '" + symbol + "' to be " +
             std::to_string(known->second.first) + " as in " +
             known->second.second + ", but got " + std::to_string(size);
  }
  return "";
}

/// Whether the device runs code for the architecture that the model is for.
bool mctx_model::canRunOn(const cuda::Device &device,
                          std::string &error) const {
  const json &target = manifest.at("target");
  std::string arch = target.at("arch");
  int wanted = std::atoi(arch.c_str() + arch.find('_') + 1);
  // A suffix names features of that architecture alone, or of its family; the
  // driver compiles other PTX for every later device.
  int have = device.capability;
  if (arch.back() == 'a'   ? have == wanted
      : arch.back() == 'f' ? have >= wanted && have / 10 == wanted / 10
                           : have >= wanted)
    return true;
  error = "'" + place + "' was compiled for " + arch + ", which " +
          device.title() + ", sm_" + std::to_string(have) +
          ", does not run: compile it with that --target";
  return false;
}

/// The device that the inputs are on, the preferred one where none is.
cuda::Device *mctx_model::deviceFor(const mctx_tensor *inputs, size_t count,
                                    std::string &error) const {
  const mctx_tensor *first = nullptr;
  auto name = [&](const mctx_tensor &input) {
    return "input '" +
           manifest.at("inputs")
               .at(&input - inputs)
               .at("name")
               .get<std::string>() +
           "'";
  };
  for (const mctx_tensor *input = inputs; input != inputs + count; ++input) {
    if (input->device_type != MCTX_CUDA)
      continue;
    if (first && first->device != input->device) {
      error = name(*input) + ": expected CUDA device " +
              std::to_string(first->device) + " as of " + name(*first) +
              ", but got " + std::to_string(input->device);
      return nullptr;
    }
    first = input;
  }
  cuda::Device *device = cuda::Device::open(
      first ? first->device : cuda::Device::preferred(), error);
  return device && canRunOn(*device, error) ? device : nullptr;
}

/// The descriptors of weights in the memory that this thread's run wants them
/// in. The first run on a device takes all of them there.
std::vector<std::vector<int64_t>> *mctx_model::weightsAt(std::string &error) {
  cuda::Run *run = cuda::Run::current();
  if (!isForGPU())
    return &weightDescriptors;
  std::lock_guard<std::mutex> lock(deviceWeightsMutex);
  DeviceWeights &held = deviceWeights[&run->device];
  if (held.block)
    return &held.descriptors;
  Memory memory = Memory::device();
  held.block = memory.allocate(weights.size, error);
  // Runs on other streams do not wait for this one.
  if (!held.block ||
      !run->copy(held.block, weights.data, weights.size, error) ||
      !run->wait(error)) {
    memory.free(held.block);
    held.block = nullptr;
    return nullptr;
  }
  for (const json &weight : manifest.at("weights")) {
    void *base = isOnDevice(weight) ? held.block : weights.data;
    held.descriptors.push_back(descriptor(
        static_cast<char *>(base) + weight.at("offset").get<int64_t>(),
        weight.at("shape").get<std::vector<int64_t>>()));
  }
  return &held.descriptors;
}

bool mctx_model::run(void *stream, const mctx_tensor *inputs, size_t inputCount,
                     mctx_tensor *outputs, size_t outputCount,
                     std::string &error) {
  const json &wantIn = manifest.at("inputs"), &wantOut = manifest.at("outputs");
  if (inputCount != wantIn.size() || outputCount != wantOut.size()) {
    error = "expected " + std::to_string(wantIn.size()) + " inputs and " +
            std::to_string(wantOut.size()) + " outputs, but got " +
            std::to_string(inputCount) + " and " + std::to_string(outputCount);
    return false;
  }
  std::map<std::string, std::pair<int64_t, std::string>> symbols;
  for (size_t i = 0; i < inputCount; ++i) {
    error = checkInput(i, inputs[i], symbols);
    if (!error.empty())
      return false;
  }
  for (size_t i = 0; i < inputCount; ++i) {
    int type = inputs[i].device_type;
    if (type == 0 || type == MCTX_HOST || (type == MCTX_CUDA && isForGPU()))
      continue;
    error = "input '" + wantIn[i].at("name").get<std::string>() +
            "': expected host memory" +
            (isForGPU() ? " or a CUDA device" : "") +
            ", but got DLPack's device type " + std::to_string(type);
    return false;
  }
  std::optional<cuda::Run> onDevice;
  if (isForGPU()) {
    cuda::Device *device = deviceFor(inputs, inputCount, error);
    if (!device)
      return false;
    onDevice.emplace(*device, stream);
    if (!reportEarlier(error))
      return false;
    std::vector<cuda::SharedChecks> earlier;
    for (size_t i = 0; i < inputCount; ++i)
      earlier.push_back(device->checksOf(inputs[i].data));
    onDevice->checks = cuda::join(earlier);
  }
  size_t inherited = onDevice ? onDevice->checks.size() : 0;
  Copies copies;
  std::vector<std::vector<int64_t>> descriptors;
  for (size_t i = 0; i < inputCount; ++i) {
    const mctx_tensor &input = inputs[i];
    void *data = nullptr;
    if (!copies.bring(input, bytesOf(input),
                      isForGPU() && isOnDevice(wantIn[i]), data, error))
      return false;
    if (data != input.data && isUpdated(i)) {
      error = "input '" + wantIn[i].at("name").get<std::string>() +
              "': expected memory of " +
              (isForGPU() ? "a CUDA device" : "the host") +
              " that begins at a multiple of 16 bytes, as the run writes into "
              "it";
      return false;
    }
    descriptors.push_back(
        descriptor(data, {input.shape, input.shape + input.rank}));
  }
  auto *weightWords = weightsAt(error);
  if (!weightWords)
    return false;
  size_t resultWords = 0;
  for (const json &output : wantOut)
    if (!updatedBy(output))
      resultWords += 3 + 2 * output.at("shape").size();
  std::vector<int64_t> results(resultWords);
  std::vector<void *> arguments = {results.data()};
  for (auto *list : {&descriptors, weightWords})
    for (std::vector<int64_t> &words : *list)
      arguments.push_back(words.data());
  return start(arguments, error) && takeAll(results, inputs, outputs, error) &&
         (!onDevice || keepChecks(*onDevice, outputs, inherited, error));
}

/// Whether the run writes into an input.
bool mctx_model::isUpdated(size_t input) const {
  const json &outputs = manifest.at("outputs");
  return std::any_of(outputs.begin(), outputs.end(), [&](const json &output) {
    return updatedBy(output) == input;
  });
}

/// Frees outputs, but for those that are inputs.
void mctx_model::freeOutputs(const mctx_tensor *outputs, size_t count) const {
  for (size_t i = 0; i < count; ++i)
    if (!updatedBy(manifest.at("outputs").at(i)))
      mctx_free(outputs[i].data);
}

/// Checks that are over: false with what the first of them found.
static bool reportFirst(const cuda::CheckList &checks, std::string &error) {
  for (auto &each : checks)
    if (error.empty())
      error = each->report();
  return error.empty();
}

/// What the checks of earlier runs have found meanwhile and nobody was told:
/// false with it.
bool mctx_model::reportEarlier(std::string &error) {
  std::lock_guard<std::mutex> lock(checksMutex);
  for (auto &earlier : std::exchange(checks, {})) {
    bool isKnown = earlier->wasReported();
    if (!isKnown && error.empty() && earlier->areOver()) {
      error = earlier->report();
      isKnown = true;
    }
    if (!isKnown)
      checks.push_back(std::move(earlier));
  }
  if (error.empty())
    return true;
  error = "an earlier run failed: " + error;
  return false;
}

/// Leaves the run's checks to those who wait for its outputs. An output in the
/// host's memory waits for nothing later: its run is waited for here.
bool mctx_model::keepChecks(cuda::Run &run, const mctx_tensor *outputs,
                            size_t inherited, std::string &error) {
  if (run.checks.empty())
    return true;
  size_t count = manifest.at("outputs").size();
  auto shared = std::make_shared<const cuda::CheckList>(run.checks);
  bool waits = false;
  for (size_t i = 0; i < count; ++i)
    if (updatedBy(manifest.at("outputs").at(i)))
      continue;
    else if (outputs[i].device_type == MCTX_CUDA)
      run.device.setChecks(outputs[i].data, shared);
    else
      waits = true;
  if (waits || count == 0) {
    if (run.wait(error))
      reportFirst(run.checks, error);
    if (!error.empty())
      freeOutputs(outputs, count);
    return error.empty();
  }
  std::lock_guard<std::mutex> lock(checksMutex);
  checks.insert(checks.end(), run.checks.begin() + inherited, run.checks.end());
  return true;
}

/// Runs the entry; false where a check of the model ended it.
bool mctx_model::start(std::vector<void *> &arguments,
                       std::string &error) const {
  {
    std::lock_guard<std::mutex> lock(failureMutex);
    failure.clear();
  }
  if (enter(arguments.data()))
    return true;
  std::lock_guard<std::mutex> lock(failureMutex);
  error = failure;
  return false;
}

/// Holds nothing that would need to be destroyed.
bool mctx_model::enter(void **arguments) const {
  std::jmp_buf here;
  runningModel = &here;
  bool ended = setjmp(here) != 0;
  if (!ended)
    entry(arguments);
  runningModel = nullptr;
  return !ended;
}

/// Reads one result's descriptor. The block is given to the caller where it
/// holds this result alone, else its values are copied.
static bool take(const json &want, const int64_t *words, const Memory &memory,
                 bool &givenAway, mctx_tensor &output, std::string &error) {
  output.dtype = want.at("dtype").get_ref<const std::string &>().c_str();
  output.rank = want.at("shape").size();
  std::copy_n(words + 3, output.rank, output.shape);
  memory.label(output);
  auto *data = reinterpret_cast<char *>(words[1]);
  if (!givenAway && words[0] == words[1] && words[2] == 0) {
    output.data = data;
    return givenAway = true;
  }
  uint64_t bytes = bytesOf(output);
  output.data = memory.allocate(bytes, error);
  return output.data &&
         memory.copy(output.data, data + words[2] * widthOf(output.dtype),
                     bytes, error);
}

/// Reads all results and frees the blocks that nobody was given.
bool mctx_model::takeAll(const std::vector<int64_t> &results,
                         const mctx_tensor *inputs, mctx_tensor *outputs,
                         std::string &error) const {
  const json &want = manifest.at("outputs");
  std::map<int64_t, std::pair<Memory, bool>> blocks;
  size_t at = 0, taken = 0;
  bool ok = true;
  for (const json &entry : want) {
    if (auto input = updatedBy(entry)) {
      if (ok)
        outputs[taken++] = inputs[*input];
      continue;
    }
    Memory memory =
        isForGPU() && isOnDevice(entry) ? Memory::device() : Memory::host();
    const int64_t *words = &results[at];
    auto &block = blocks.try_emplace(words[0], memory, false).first->second;
    if (ok)
      ok = take(entry, words, memory, block.second, outputs[taken++], error);
    at += 3 + 2 * entry.at("shape").size();
  }
  for (auto &[block, holder] : blocks)
    if (!holder.second)
      holder.first.free(reinterpret_cast<void *>(block));
  if (ok) {
    std::lock_guard<std::mutex> lock(failureMutex);
    ok = failure.empty();
    error = failure;
  }
  if (!ok)
    freeOutputs(outputs, taken);
  return ok;
}

//===----------------------------------------------------------------------===//
// C interface
//===----------------------------------------------------------------------===//

extern "C" void mctx_rt_fail(const char *message) {
  std::lock_guard<std::mutex> lock(failureMutex);
  if (failure.empty())
    failure = message;
}

/// Ends the run that this thread is in; returns where it is in none.
void megactx::leaveRun() {
  if (runningModel && !insideTask())
    std::longjmp(*runningModel, 1);
}

/// A check of the model's own code failed: what follows relies on it, so the
/// run ends here. Checks stand outside of parallel loops; memory that the run
/// holds is not given back.
extern "C" void _mlir_ciface_mctx_rt_fail(mctx_memref1 *text) {
  {
    std::string message(static_cast<const char *>(text->aligned) + text->offset,
                        text->sizes[0]);
    mctx_rt_fail(message.c_str());
  }
  leaveRun();
}

extern "C" int mctx_run_on_stream(mctx_model *model, void *stream,
                                  const mctx_tensor *inputs, size_t inputCount,
                                  mctx_tensor *outputs, size_t outputCount) {
  std::string error;
  if (model->run(stream, inputs, inputCount, outputs, outputCount, error))
    return 0;
  setError(error);
  return 1;
}

extern "C" int mctx_run(mctx_model *model, const mctx_tensor *inputs,
                        size_t inputCount, mctx_tensor *outputs,
                        size_t outputCount) {
  return mctx_run_on_stream(model, nullptr, inputs, inputCount, outputs,
                            outputCount);
}

/// False with what failed in the run that an output is of.
static bool waitFor(cuda::Run &run, void *data, std::string &error) {
  if (!run.wait(error))
    return false;
  cuda::SharedChecks checks = run.device.checksOf(data);
  return !checks || reportFirst(*checks, error);
}

extern "C" int mctx_wait(const mctx_tensor *output) {
  cuda::Device *device = cuda::Device::of(output->data);
  if (!device)
    return 0;
  std::string error;
  cuda::Run here(*device, device->streamOf(output->data));
  if (waitFor(here, output->data, error))
    return 0;
  setError(error);
  return 1;
}

extern "C" int mctx_to_host(mctx_tensor *output) {
  cuda::Device *device = cuda::Device::of(output->data);
  if (!device)
    return 0;
  std::string error;
  cuda::Run here(*device, device->streamOf(output->data));
  uint64_t bytes = bytesOf(*output);
  Memory host = Memory::host();
  void *data = host.allocate(bytes, error);
  if (!here.copy(data, output->data, bytes, error) ||
      !waitFor(here, output->data, error)) {
    host.free(data);
    setError(error);
    return 1;
  }
  mctx_free(output->data);
  output->data = data;
  host.label(*output);
  return 0;
}
