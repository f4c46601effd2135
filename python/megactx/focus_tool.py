"""The command megactx-focus."""

import argparse
import sys

import numpy as np

from . import files
from .artifacts import Artifacts
from .cli import Parser, run_command
from .runtime import set_threads
from .tools import Error
from .working_context import focus

DESCRIPTION = """Gives the working context of a long timeline: tokens and gists at several levels of detail, within a budget of entries.

Gists are made by GistNet; then, for some rounds, LensNet scores the entries, and what matters is expanded, what does not is collapsed.
"""

EXAMPLES = """examples:
  megactx-compile gistnet.onnx -o gistnet.mctx
  megactx-compile lensnet.onnx -o lensnet.mctx
  megactx-focus tokens.npy --gistnet gistnet.mctx --lensnet lensnet.mctx --budget 2048 -o context.npz --svg rounds.svg
  megactx-focus more-tokens.npy --gistnet gistnet.mctx --lensnet lensnet.mctx --budget 2048 --start context.npz -o next.npz

models:
  GistNet    tokens [B, N, E] -> gists [B, N/r, E], [B, N/r^2, E], ...; a gist depends on no token after its own
  LensNet    context [B, W, E], lods [B, W], positions [B, W] -> scores [B, W]; expand what scores high, collapse what scores low

The output is a .npz with context [W, E], lods [W], positions [W] (of each entry's last token) and the ratio.
"""


def parser():
    made = Parser("megactx-focus", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("timeline", metavar="TOKENS.npy", help="token embeddings [N, E] of float32; mapped into memory")
    add("--gistnet", required=True, metavar="G.mctx", help="compiled GistNet")
    add("--lensnet", required=True, metavar="L.mctx", help="compiled LensNet")
    add("--budget", required=True, type=int, metavar="ENTRIES", help="the most entries that the working context may have")
    add("-o", "--output", required=True, metavar="OUT.npz", help="the working context")
    add("--svg", metavar="OUT.svg", help="a picture of the timeline over the rounds")
    add("--rounds", type=int, default=8, metavar="N", help="rounds, fewer where one makes no edit (8)")
    add("--ratio", type=int, default=32, metavar="R", help="tokens of a level-1 gist (32)")
    add("--history", type=int, default=0, metavar="TOKENS", help="tokens before a block of r^top that GistNet sees with it (0)")
    add("--recent", type=int, default=128, metavar="ENTRIES", help="newest entries that are not edited, tokens at the start (128)")
    add("--max-edits", type=int, default=32, metavar="N", help="edits in a round, at most (32)")
    add("--expand", type=float, default=0.25, metavar="SCORE", help="least score to expand (0.25)")
    add("--collapse", type=float, default=0.25, metavar="SCORE", help="collapse at minus this score or less (0.25)")
    add("--positions", choices=["first", "last"], default="first", help="what LensNet takes for an entry's position: its first or last token (first)")
    add("--head", metavar="HEAD.npz", help="weight [F] and bias of a scoring head, for a LensNet that gives features [B, W, F]")
    add("--start", metavar="IN.npz", help="begin with the lods and positions of an earlier output")
    add("--cache", metavar="DIR", help="keep compiled ops in this folder")
    add("--threads", type=int, default=0, metavar="N", help="threads (one per core)")
    return made


def arrays(path, *names):
    """Named arrays of a .npz file."""
    try:
        with np.load(path) as file:
            if missing := [name for name in names if name not in file]:
                raise Error(f"'{path}': no array '{missing[0]}'")
            return [file[name] for name in names]
    except OSError as error:
        raise Error(f"cannot read '{path}': {error.strerror or error}") from None
    except Error:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
        raise Error(f"'{path}' is not a .npz file of numbers: {error}") from None


def run(options):
    files.check_writable(options.output, *filter(None, [options.svg]))
    start = head = None
    if options.start:
        *start, ratio = arrays(options.start, "lods", "positions", "ratio")
        if ratio.size != 1 or int(ratio.reshape(())) != options.ratio:
            raise Error(f"'{options.start}': its ratio is {ratio.tolist()}, but --ratio is {options.ratio}")
    if options.head:
        head = arrays(options.head, "weight", "bias")
    if options.threads < 0:
        raise Error(f"--threads: expected at least 0, but got {options.threads}")
    if options.threads:
        set_threads(options.threads)
    with Artifacts(options.cache) as artifacts:
        made = focus(options.timeline, options.gistnet, options.lensnet, options.budget, ratio=options.ratio, rounds=options.rounds,
                     recent=options.recent, max_edits=options.max_edits, expand=options.expand, collapse=options.collapse,
                     history=options.history, first_positions=options.positions == "first", head=head, start=start,
                     artifacts=artifacts, progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True))
    made.save(options.output, options.svg)
    print(f"wrote {len(made.lods):,} entries for {int(made.positions[-1]) + 1:,} tokens to {options.output}")


def main():
    return run_command(parser(), run)
