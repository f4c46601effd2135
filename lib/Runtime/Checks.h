//===- Checks.h - what checks of data on a GPU found ------------*- C++ -*-===//
//
// A model's code on a device notes the first check that fails, and goes on.
// The number comes to the host behind the run, which nobody waits for; it is
// looked at by whoever waits for the run's outputs, and by the model's next
// run.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_RUNTIME_CHECKS_H
#define MEGACTX_LIB_RUNTIME_CHECKS_H

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace megactx::cuda {

class Device;
class Run;

/// The checks of one run, or a part of one.
class Checks {
public:
  /// Has the number of the first failed check, 0 for none, copied to the host
  /// once the run's stream is there. `texts`: what check 1, 2, ... says, each
  /// with a zero byte after it. Null with the reason.
  static std::shared_ptr<Checks> of(Run &run, const void *number,
                                    std::string texts, std::string &error);
  ~Checks();
  Checks(const Checks &) = delete;

  /// Whether the device has come to the end of them.
  bool areOver() const;
  /// What the failed check says; empty where none failed. Once they are over.
  std::string failed() const;
  /// The same for somebody who is told.
  std::string report();
  bool wasReported() const { return isReported; }

  /// Where the host gets a number, and the event after it has it.
  struct Place {
    int32_t *number;
    void *event;
  };

private:
  Checks(Device &device, Place place, std::string texts)
      : device(device), place(place), texts(std::move(texts)) {}

  Device &device;
  const Place place;
  const std::string texts;
  std::atomic<bool> isReported = false;
};

/// Of one run after the other; the oldest first, each once.
using CheckList = std::vector<std::shared_ptr<Checks>>;
/// All outputs of a run have the same list.
using SharedChecks = std::shared_ptr<const CheckList>;

/// The checks of several lists that are not over, or found something.
CheckList join(const std::vector<SharedChecks> &lists);

} // namespace megactx::cuda

#endif
