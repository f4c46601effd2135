"""What the commands written in Python share: errors as one line and exit status 1, and a tidy end when they are stopped."""

import argparse
import signal
import sys

from .tools import Error


class Parser(argparse.ArgumentParser):
    """Wrong arguments are errors like all others."""

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
