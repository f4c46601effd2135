//===- Checks.cpp - what checks of data on a GPU found --------------------===//

#include "Checks.h"
#include "Cuda.h"
#include "megactx/Runtime/KernelABI.h"
#include <set>

using namespace megactx::cuda;

std::shared_ptr<Checks> Checks::of(Run &run, const void *number,
                                   std::string texts, std::string &error) {
  Place place;
  if (!run.device.takePlace(place, error))
    return nullptr;
  std::shared_ptr<Checks> checks(
      new Checks(run.device, place, std::move(texts)));
  const Driver &driver = run.device.driver;
  Result result = driver.cuMemcpyAsync(reinterpret_cast<Pointer>(place.number),
                                       reinterpret_cast<Pointer>(number),
                                       sizeof(*place.number), run.stream);
  if (result == kSuccess)
    result = driver.cuEventRecord(place.event, run.stream);
  if (result == kSuccess)
    return checks;
  error = run.device.title() + ": " + driver.explain("a copy", result);
  return nullptr;
}

Checks::~Checks() { device.givePlace(place); }

bool Checks::areOver() const {
  Run here(device, nullptr);
  return device.driver.cuEventQuery(place.event) != kNotReady;
}

std::string Checks::failed() const {
  size_t at = 0;
  for (int32_t i = *place.number; i > 1 && at != std::string::npos; --i)
    at = texts.find('\0', at) + 1;
  return *place.number ? texts.c_str() + at : "";
}

std::string Checks::report() {
  isReported = true;
  return failed();
}

CheckList megactx::cuda::join(const std::vector<SharedChecks> &lists) {
  CheckList all;
  std::set<const void *> seen;
  for (const SharedChecks &list : lists) {
    if (!list || !seen.insert(list.get()).second)
      continue;
    for (const std::shared_ptr<Checks> &checks : *list)
      if (seen.insert(checks.get()).second &&
          !(checks->areOver() && checks->failed().empty()))
        all.push_back(checks);
  }
  return all;
}

bool Device::takePlace(Checks::Place &place, std::string &error) {
  std::lock_guard<std::mutex> lock(mutex);
  // The oldest one's last copy may still be to come.
  if (!places.empty() &&
      driver.cuEventQuery(places.front().event) != kNotReady) {
    place = places.front();
    places.pop_front();
    *place.number = 0;
    return true;
  }
  if (placesLeft == 0) {
    constexpr size_t kBytes = 4096;
    void *page = nullptr;
    Result result = driver.cuMemAllocHost_v2(&page, kBytes);
    if (result != kSuccess) {
      error = title() + ": " + driver.explain("cuMemAllocHost", result);
      return false;
    }
    nextPlace = static_cast<int32_t *>(page);
    placesLeft = kBytes / sizeof(*nextPlace);
  }
  constexpr unsigned kWithoutTime = 2;
  Result result = driver.cuEventCreate(&place.event, kWithoutTime);
  if (result != kSuccess) {
    error = title() + ": " + driver.explain("cuEventCreate", result);
    return false;
  }
  --placesLeft;
  place.number = nextPlace++;
  *place.number = 0;
  return true;
}

void Device::givePlace(const Checks::Place &place) {
  std::lock_guard<std::mutex> lock(mutex);
  places.push_back(place);
}

extern "C" void _mlir_ciface_mctx_rt_report_checks(mctx_memref0 *number,
                                                   mctx_memref1 *texts) {
  Run &run = currentRun();
  std::string error;
  {
    auto *flag = static_cast<int32_t *>(number->aligned) + number->offset;
    auto *begin = static_cast<const char *>(texts->aligned) + texts->offset;
    auto checks =
        Checks::of(run, flag, std::string(begin, texts->sizes[0]), error);
    if (checks)
      run.checks.push_back(std::move(checks));
  }
  endRunIf(error);
}
