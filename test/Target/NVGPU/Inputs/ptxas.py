"""Assembles the PTX of a module on standard input and prints what ptxas says of registers, spills and warnings."""

import re
import subprocess
import sys
import tempfile

arch = sys.argv[1]
for text in re.findall(r'assembly = "((?:[^"\\]|\\.)*)"', sys.stdin.read()):
    ptx = re.sub(r"\\([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text).rstrip("\0")
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        done = subprocess.run(["ptxas", f"-arch={arch}", "-v", file.name, "-o", "/dev/null"], capture_output=True, text=True)
    print(done.stdout + done.stderr, end="")
    if done.returncode:
        sys.exit(1)
