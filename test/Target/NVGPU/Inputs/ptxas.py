"""Assembles the PTX of a module on standard input and prints what ptxas says of registers, spills and warnings."""

import subprocess
import sys
import tempfile

import assembly

arch = sys.argv[1]
for ptx in assembly.texts(sys.stdin.read()):
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        done = subprocess.run(["ptxas", f"-arch={arch}", "-v", file.name, "-o", "/dev/null"], capture_output=True, text=True)
    print(done.stdout + done.stderr, end="")
    if done.returncode:
        sys.exit(1)
