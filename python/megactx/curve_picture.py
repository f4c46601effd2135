"""A measured trade-off curve as SVG: attention FLOPs to the right, error upwards."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 360, 90, 60, 30, 60  # pixels
NAMES = {"delta_nll": "delta NLL (nats per token)", "kl": "KL to dense (nats per token)", "relative_error": "relative error of the outputs"}
TUNED, WINDOW, SINGLE = "#c2410c", "#2f6ca8", "#c9c9c9"


def _nice(step):
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= step * (1 - 1e-9))


def _text(x, y, content, anchor="middle", size=12, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{more}>{escape(content)}</text>'


def svg(tuned):
    """The choices of a tuning.Tuned: tuned policies and windows as lines, single changes as grey dots, dense as the zero line."""
    share = lambda m: 100 * m.flops / tuned.dense_flops
    error = lambda m: m.errors[tuned.objective]
    lines = tuned.curve + tuned.windows
    right = min(100.0, 1.15 * max(100 * tuned.budget / tuned.dense_flops, *map(share, lines)))
    high = max(map(error, lines)) * 1.1 or 1.0
    low = min(0.0, *map(error, lines))
    x = lambda value: LEFT + value / right * WIDTH
    y = lambda value: TOP + HEIGHT - (value - low) / (high - low) * HEIGHT
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif">',
           '<rect width="100%" height="100%" fill="white"/>']
    out += _axes(x, y, right, low, high, tuned)
    singles = [m for m in tuned.single if share(m) <= right and error(m) <= high]
    out += [f'<circle cx="{x(share(m)):.1f}" cy="{y(error(m)):.1f}" r="2" fill="{SINGLE}"/>' for m in singles]
    for name, color, measured in (("window everywhere", WINDOW, tuned.windows), ("tuned policies", TUNED, tuned.curve)):
        points = " ".join(f"{x(share(m)):.1f},{y(error(m)):.1f}" for m in measured)
        out.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        out += [f'<circle cx="{x(share(m)):.1f}" cy="{y(error(m)):.1f}" r="4" fill="{color}"><title>{escape(f"{m.name}: {error(m):.4f}")}</title></circle>' for m in measured]
    best = tuned.best
    out.append(f'<circle cx="{x(share(best)):.1f}" cy="{y(error(best)):.1f}" r="8" fill="none" stroke="{TUNED}" stroke-width="2"/>')
    return "\n".join(out + _legend(singles) + ["</svg>"]) + "\n"


def _axes(x, y, right, low, high, tuned):
    out = [_text(LEFT + WIDTH / 2, TOP + HEIGHT + 42, f"attention FLOPs, % of dense ({tuned.dense_flops:,.0f} for {tuned.length:,} tokens)"),
           _text(24, TOP + HEIGHT / 2, NAMES[tuned.objective], more=f' transform="rotate(-90 24 {TOP + HEIGHT / 2})"')]
    step = _nice(right / 8)
    for i in range(int(right / step) + 1):
        out.append(f'<line x1="{x(i * step):.1f}" x2="{x(i * step):.1f}" y1="{TOP + HEIGHT}" y2="{TOP + HEIGHT + 5}" stroke="#333"/>')
        out.append(_text(x(i * step), TOP + HEIGHT + 20, f"{i * step:g}"))
    step = _nice((high - low) / 6)
    for i in range(math.ceil(low / step), int(high / step) + 1):
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y(i * step):.1f}" y2="{y(i * step):.1f}" stroke="#e4e4e4"/>')
        out.append(_text(LEFT - 8, y(i * step) + 4, f"{round(i * step, 12):g}", "end"))
    out.append(f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="#333"/>')
    at = 100 * tuned.budget / tuned.dense_flops
    if at <= right:
        out.append(f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" stroke="#333" stroke-dasharray="4 3"/>')
        out.append(_text(x(at) - 6, TOP + 14, "budget", "end"))
    return out


def _legend(singles):
    entries = [(TUNED, 5, "tuned policies (ring: the one written)"), (WINDOW, 5, "one window everywhere")]
    entries += [(SINGLE, 3, "one group of heads changed")] if singles else []
    out, x = [], LEFT
    for color, radius, name in entries:
        out.append(f'<circle cx="{x}" cy="28" r="{radius}" fill="{color}"/>')
        out.append(_text(x + 12, 32, name, "start"))
        x += 36 + 6.2 * len(name)
    return out
