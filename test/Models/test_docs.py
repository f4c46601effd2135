"""Runs the examples of the documentation.

A block marked `console` is a transcript: lines behind `$ ` are commands, the lines below are their
output, where `...` stands for anything. All blocks of a page run in one folder that looks like the
repository's root, with the tools of the build in the path. A last line `[status 1]` is the exit status.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def transcripts(text):
    """[(line number, [(command, [output line])])] of the console blocks."""
    found = []
    for block in re.finditer(r"^```console\n(.*?)^```", text, re.M | re.S):
        steps = []
        for line in block.group(1).splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif steps and steps[-1][0].endswith("\\"):
                steps[-1] = (steps[-1][0][:-1] + line.strip(), [])
            elif steps:
                steps[-1][1].append(line)
        found.append((text.count("\n", 0, block.start()) + 1, steps))
    return found


def expected_pattern(lines):
    parts = [".*?".join(re.escape(part.strip(" ")) for part in line.split("...")) for line in lines]
    return re.compile(r"\s*" + r"[ \t]*\n[ \t]*".join(parts) + r"\s*", re.S)


def stripped(text):
    return "\n".join(line.strip(" \t") for line in text.strip().splitlines())


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists() and transcripts(p.read_text())], ids=lambda p: p.name)
def test_examples(page, request, tmp_path):
    build = request.config.getoption("--build").resolve()
    for name in ("python", "docs", "test"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(build / "bin"), str(pathlib.Path(sys.executable).parent), "/usr/lib/llvm-22/bin", os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "python"), "NO_COLOR": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for line, steps in transcripts(page.read_text()):
        for command, want in steps:
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
            status, place = 0, f"{page.name}:{line}: $ {command}"
            if want and re.fullmatch(r"\[status \d+\]", want[-1]):
                status = int(want[-1][8:-1])
                want = want[:-1]
            got = stripped(done.stdout + done.stderr)
            assert done.returncode == status, f"{place}\nstatus {done.returncode}\n{got}"
            assert expected_pattern(want).fullmatch(got), f"{place}\nexpected\n" + "\n".join(want) + f"\nfound\n{got}"
