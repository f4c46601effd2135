"""Runs the examples of the documentation, and looks up what it names: pages, headings, options, functions.

A block marked `console` is a transcript: lines behind `$ ` are commands, the lines below are their
output, where `...` stands for anything. All blocks of a page run in one folder that looks like the
repository's root, with the tools of the build in the path. A last line `[status 1]` is the exit status.
"""

import functools
import os
import pathlib
import re
import subprocess
import sys

import pytest

import megactx

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


def prose(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


@functools.cache
def anchors(page):
    """Of a page's headings, as GitHub makes them."""
    found = {}
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[anchor] = found.get(anchor, 0) + 1
    return {f"{anchor}-{i}" if i else anchor for anchor, count in found.items() for i in range(count)}


def test_links():
    dead, pages = [], [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose(page)):
            path, _, anchor = "".join(link).partition("#")
            there = (page.parent / path).resolve() if path else page
            if "://" not in path and not (there.exists() and (not anchor or anchor in anchors(there))):
                dead.append(f"{page.relative_to(ROOT)}: {''.join(link)}")
    assert not dead
    assert all(page in pages for page in (ROOT / "README.md", ROOT / "docs/index.md", ROOT / "docs/reference/index.md"))


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/index.md").read_text()
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "index.md" and f"({page.name})" not in index] == []


def options_of(build):
    """Of our commands by their help, of scripts by their text, and those of others that pages use."""
    known = {"filter"}  # lit's
    for tool in sorted((build / "bin").glob("megactx-*")):
        said = [subprocess.run([tool, kind], capture_output=True, text=True).stdout for kind in ("--help", "--help-hidden")]
        known.update(re.findall(r"(?<![\w-])--?([a-zA-Z][\w-]*)", "".join(said)))
    for folder in ("python", "test", "tools/dev"):
        for script in (ROOT / folder).rglob("*"):
            if script.is_file() and script.suffix in (".py", ""):
                known.update(re.findall(r"(?<![\w-])--([a-z][\w-]*)\b", script.read_text()))
    return known


def test_options_and_functions_exist(request):
    """What a page names, some command, script or header has."""
    known = options_of(request.config.getoption("--build").resolve())
    ops = set(re.findall(r"`megactx\.(\w+)`", (ROOT / "docs/reference/dialect-megactx.md").read_text()))
    header = (ROOT / "include/megactx/Runtime/Runtime.h").read_text()
    unknown = []
    for page in PAGES:
        text = page.read_text()
        names = [f"--{option}" for option in re.findall(r"(?<![\w-])--([a-z][\w-]*)", text) if option not in known]
        names += [f"megactx.{name}" for name in re.findall(r"(?<![#\w-])megactx\.([a-zA-Z_]+)\b", text) if name not in (*ops, *dir(megactx))]
        names += [name for name in re.findall(r"\bmctx_\w+", text) if name not in header]
        unknown += [f"{page.relative_to(ROOT)}: {name}" for name in sorted(set(names))]
    assert not unknown


def test_help_says_what_numbers_are_without_an_option(request):
    said = subprocess.run([request.config.getoption("--build").resolve() / "bin" / "megactx-pattern", "--help"], capture_output=True, text=True, check=True).stdout
    for option in ("queries", "heads", "key-step", "head-dim", "tile", "gist"):
        assert re.search(rf"--{option}=.*\((\d|.*; \d)", said), option


@pytest.mark.parametrize("script", ["build", "check", "demo", "docs", "format"])
def test_scripts_say_what_they_are_and_refuse_what_they_do_not_know(script):
    run = lambda argument: subprocess.run([ROOT / "tools" / "dev" / script, argument], capture_output=True, text=True, timeout=20)
    said = run("--help")
    assert said.returncode == 0 and f"tools/dev/{script}" in said.stdout, said
    faulty = run("--nosuch")
    assert faulty.returncode == 2 and "error: " in faulty.stderr and "--nosuch" in faulty.stderr and not faulty.stdout, faulty
