import os
import shutil

import lit.formats

config.name = "megactx"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "Unit", "Models"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.megactx_build, "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.megactx_build, "bin"), config.llvm_tools, os.environ["PATH"], os.path.dirname(config.python)]
)
config.substitutions += [
    ("%python", config.python),
    ("%source", config.megactx_source),
    ("%plugin", os.path.join(config.megactx_build, "lib", "MegaCtxPlugin.so")),
    ("%runtime", os.path.join(config.megactx_build, "lib", "libmegactx_runtime.so")),
]
for tool in ("ptxas", "nvdisasm"):
    if shutil.which(tool, path=config.environment["PATH"]):
        config.available_features.add(tool)
