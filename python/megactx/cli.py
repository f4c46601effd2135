"""What the commands written in Python share: errors as one line and exit status 1, and a tidy end when they are stopped."""

import argparse
import os
import pathlib
import signal
import sys

from .tools import Error, build
from .version import VERSION


class Parser(argparse.ArgumentParser):
    """Wrong arguments are errors like all others; --version is every command's."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.add_argument("--version", action="version", version=f"megactx {VERSION}")

    def error(self, message):
        raise Error(f"{message}; see --help")


def run_command(parser, run):
    """run(options); gives the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files go away
    try:
        run(parser.parse_args())
    except (Error, OSError) as error:
        text = str(error)  # a tool's own message says that it is an error, and where
        print(text if "error: " in text.partition("\n")[0] else f"error: {text}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"error: out of memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run_from_build():
    """What pip installs for each command: the build's own command of the name it was called by takes the process over."""
    name = pathlib.Path(sys.argv[0]).name
    try:
        os.execv(build() / "bin" / name, [name, *sys.argv[1:]])
    except Error as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.strerror}: {build() / 'bin' / name}; tools/dev/build builds every command")
