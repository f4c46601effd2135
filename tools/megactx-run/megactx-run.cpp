//===- megactx-run.cpp - running artifacts --------------------------------===//

#include "Tensors.h"
#include "megactx/Runtime/Runtime.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>

using nlohmann::json;

static const char *const kHelp =
    R"(Runs a compiled model. Prints JSON; exit status 1 on any error.

  megactx-run MODEL.mctx                               describes inputs, outputs, attentions, target
  megactx-run MODEL.mctx --inputs DIR --outputs DIR    input_0.pb|.npy ... in, output_0.pb ... out;
                                                       or each by its name, such as input_ids.npy
  megactx-run MODEL.mctx --test-data DIR               compares with output_0.pb|.npy ...
  megactx-run MODEL.mctx --benchmark --inputs DIR      median time of repeated runs

  --rtol X       relative tolerance of --test-data (1e-4)
  --atol X       absolute tolerance of --test-data (1e-4)
  --threads N    threads in all (default: one per core)
  --repeat N     runs of --benchmark (10, after one to warm up)
)";

namespace {
struct Options {
  std::string model, inputs, outputs, testData;
  double rtol = 1e-4, atol = 1e-4;
  bool benchmark = false;
  int threads = 0, repeat = 10;
};

double number(const std::string &text, const std::string &option) {
  char *end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !(value >= 0))
    throw std::runtime_error(
        option + ": expected a number of at least 0, but got '" + text + "'");
  return value;
}

Options parse(int argc, char **argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i], inlineValue;
    size_t equals = arg.find('=');
    bool hasInline = arg.rfind("--", 0) == 0 && equals != std::string::npos;
    if (hasInline) {
      inlineValue = arg.substr(equals + 1);
      arg = arg.substr(0, equals);
    }
    auto value = [&]() -> std::string {
      if (hasInline)
        return inlineValue;
      if (i + 1 == argc)
        throw std::runtime_error(arg + " needs a value");
      return argv[++i];
    };
    if (arg == "--help" || arg == "-h") {
      std::cout << kHelp;
      std::exit(0);
    } else if (arg == "--version") {
      std::cout << "megactx " MEGACTX_VERSION "\n";
      std::exit(0);
    } else if (arg == "--inputs") {
      o.inputs = value();
    } else if (arg == "--outputs") {
      o.outputs = value();
    } else if (arg == "--test-data") {
      o.testData = value();
    } else if (arg == "--rtol") {
      o.rtol = number(value(), arg);
    } else if (arg == "--atol") {
      o.atol = number(value(), arg);
    } else if (arg == "--threads") {
      o.threads = static_cast<int>(std::min(number(value(), arg), 1024.0));
    } else if (arg == "--repeat") {
      o.repeat = static_cast<int>(std::clamp(number(value(), arg), 1.0, 1e6));
    } else if (arg == "--benchmark") {
      o.benchmark = true;
    } else if (arg.rfind("-", 0) == 0 || !o.model.empty()) {
      throw std::runtime_error("unknown argument '" + arg + "'; see --help");
    } else {
      o.model = arg;
    }
  }
  if (o.model.empty())
    throw std::runtime_error("expected a model; see --help");
  if (o.inputs.empty())
    o.inputs = o.testData;
  if (o.inputs.empty() && (o.benchmark || !o.outputs.empty()))
    throw std::runtime_error(
        std::string(o.benchmark ? "--benchmark" : "--outputs") +
        " needs --inputs or --test-data");
  return o;
}

/// A loaded model with tensors in and out.
class Runner {
public:
  explicit Runner(const Options &o) {
    mctx_set_threads(o.threads);
    model = mctx_load(o.model.c_str());
    if (!model)
      throw std::runtime_error(mctx_error());
    manifest = json::parse(mctx_describe(model));
  }
  ~Runner() { mctx_unload(model); }

  std::vector<Tensor> read(const std::string &folder, const char *kind) const {
    std::vector<Tensor> tensors;
    const json &wanted = manifest.at(std::string(kind) + "s");
    auto stem = [&](size_t i) {
      return std::string(kind) + "_" + std::to_string(i);
    };
    if (!std::filesystem::is_directory(folder))
      throw std::runtime_error("'" + folder + "' is no folder with " + stem(0) +
                               ".pb or .npy");
    for (size_t i = 0; i < wanted.size(); ++i) {
      const auto &name = wanted[i].at("name").get_ref<const std::string &>();
      bool isNumbered = hasTensor(folder, stem(i));
      if (!isNumbered && !hasTensor(folder, name))
        throw std::runtime_error(std::string(kind) + " '" + name +
                                 "': no file '" + folder + "/" + stem(i) +
                                 ".pb' or .npy, nor of its name");
      tensors.push_back(readTensor(folder, isNumbered ? stem(i) : name));
    }
    if (hasTensor(folder, stem(wanted.size())))
      throw std::runtime_error(
          "'" + folder + "' holds " + stem(wanted.size()) + " '" +
          nameOfTensor(folder, stem(wanted.size())) + "', but the model has " +
          std::to_string(wanted.size()) + " " + kind + "s");
    return tensors;
  }

  std::vector<Tensor> run(std::vector<Tensor> &inputs) {
    std::vector<mctx_tensor> in, out(manifest.at("outputs").size());
    for (Tensor &tensor : inputs) {
      mctx_tensor t{tensor.bytes.data(),
                    tensor.dtype.c_str(),
                    int64_t(tensor.shape.size()),
                    {},
                    MCTX_HOST,
                    0};
      std::copy(tensor.shape.begin(), tensor.shape.end(), t.shape);
      in.push_back(t);
    }
    if (manifest.at("target").at("kind") == "cuda")
      for (const json &output : manifest.at("outputs"))
        if (output.contains("updates") &&
            mctx_to_device(&in[output.at("updates").get<size_t>()], -1,
                           nullptr))
          throw std::runtime_error(mctx_error());
    auto start = std::chrono::steady_clock::now();
    if (mctx_run(model, in.data(), in.size(), out.data(), out.size()))
      throw std::runtime_error(mctx_error());
    // A GPU's run is over when its results are here.
    for (mctx_tensor &t : out)
      if (mctx_to_host(&t))
        throw std::runtime_error(mctx_error());
    seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    std::vector<Tensor> result;
    for (mctx_tensor &t : out) {
      Tensor tensor{t.dtype, {t.shape, t.shape + t.rank}, {}};
      tensor.bytes.assign(static_cast<char *>(t.data),
                          tensor.count() * widthOf(tensor.dtype));
      bool isInput = std::any_of(inputs.begin(), inputs.end(), [&](Tensor &i) {
        return i.bytes.data() == t.data;
      });
      if (!isInput)
        mctx_free(t.data);
      result.push_back(std::move(tensor));
    }
    return result;
  }

  json manifest;
  double seconds = 0;

private:
  mctx_model *model = nullptr;
};

/// |got - want| <= atol + rtol |want| everywhere.
json compare(const Tensor &got, const Tensor &want, const Options &o) {
  json report = {{"ok", false}, {"shape", got.shape}};
  if (got.shape != want.shape) {
    report["expected_shape"] = want.shape;
    return report;
  }
  std::vector<double> a = got.values(), b = want.values();
  double worst = 0;
  int64_t beyond = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])))
      continue;
    double difference = std::fabs(a[i] - b[i]);
    beyond += !(difference <= o.atol + o.rtol * std::fabs(b[i]));
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  report["ok"] = beyond == 0;
  report["elements_beyond_tolerance"] = beyond;
  report["max_abs_error"] = std::isfinite(worst) ? json(worst) : json("inf");
  return report;
}

json benchmark(Runner &runner, std::vector<Tensor> &inputs, int repeat) {
  std::vector<double> times;
  runner.run(inputs);
  for (int i = 0; i < repeat; ++i) {
    runner.run(inputs);
    times.push_back(runner.seconds);
  }
  std::sort(times.begin(), times.end());
  return {{"runs", repeat},
          {"median_seconds", times[times.size() / 2]},
          {"min_seconds", times.front()},
          {"max_seconds", times.back()}};
}

void makeFolder(const std::string &path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (!failed && !std::filesystem::is_directory(path))
    failed = std::make_error_code(std::errc::not_a_directory);
  if (failed)
    throw std::runtime_error("cannot write to '" + path +
                             "': " + failed.message());
}

/// The manifest, of its weights only how many there are.
json described(json manifest) {
  manifest["weights"] = {
      {"count", manifest.at("weights").size()},
      {"bytes", manifest.at("files").at("weights.bin").at("bytes")}};
  return manifest;
}

int execute(const Options &o) {
  Runner runner(o);
  json report = {{"model", o.model}};
  bool ok = true;
  if (o.inputs.empty()) {
    std::cout << described(runner.manifest).dump(2) << "\n";
    return 0;
  }
  std::vector<Tensor> inputs = runner.read(o.inputs, "input");
  std::vector<Tensor> outputs = runner.run(inputs);
  report["seconds"] = runner.seconds;
  if (!o.testData.empty()) {
    std::vector<Tensor> want = runner.read(o.testData, "output");
    for (size_t i = 0; i < outputs.size(); ++i) {
      json entry = compare(outputs[i], want[i], o);
      entry["name"] = runner.manifest.at("outputs")[i].at("name");
      ok &= entry["ok"].get<bool>();
      report["outputs"].push_back(entry);
    }
    report["ok"] = ok;
  }
  if (!o.outputs.empty()) {
    makeFolder(o.outputs);
    for (size_t i = 0; i < outputs.size(); ++i)
      writeTensor(o.outputs, "output_" + std::to_string(i),
                  runner.manifest.at("outputs")[i].at("name"), outputs[i]);
  }
  if (o.benchmark)
    report["benchmark"] = benchmark(runner, inputs, o.repeat);
  std::cout << report.dump(2) << "\n";
  return ok ? 0 : 1;
}
} // namespace

int main(int argc, char **argv) {
  try {
    int status = execute(parse(argc, argv));
    if (!std::cout.flush())
      throw std::runtime_error("cannot write to standard output");
    return status;
  } catch (const std::exception &e) {
    std::cerr << "error: " << e.what() << "\n";
    return 1;
  }
}
