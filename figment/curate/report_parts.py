"""Pieces of the report: bars and histograms as inline SVG, and advice in plain sentences."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from figment.base.formats import ADVICE
from figment.base.formats import advice as advice_on

BINS = 32
FEW = 1000
"""Kept heads below which a training wants help."""
MANY = 0.1
"""A share above which a reason is worth a word."""


@dataclass(frozen=True)
class Facts:
    """What the catalog says, as plain figures."""

    folder: str
    """The heads folder as the user named it."""
    pictures: int
    """Files that were looked at."""
    bad: Mapping[str, int]
    """Files that are no usable picture, by reason."""
    empty: int
    """Pictures without a head."""
    heads: int
    """Heads that were cut out."""
    kept: int
    rejected: Mapping[str, int]
    """Heads by reason, most frequent first."""
    by: Mapping[str, int]
    """Verdicts by who gave them: rule, model, person."""
    limits: Mapping[str, tuple[str, float]]
    """Reason -> measure and threshold."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Reason -> the option of `figment curate` that sets its threshold."""
    near_misses: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Reason -> a gentler threshold, and how many of its rejected heads would pass it."""
    borderline: int = 0
    """Heads that a rule judged by a figure within a quarter of its threshold."""
    groups: int = 0
    """Groups of duplicates."""
    fills: int = 0
    """The resolution that three in four kept crops fill; 0 where nothing is kept."""


def advice(facts: Facts) -> list[str]:
    """What to do next, the weightiest first; HTML with its texts escaped."""
    say: list[str] = []
    where = html.escape(facts.folder)
    judged = facts.kept + sum(facts.rejected.values())
    for reason in facts.bad:
        if reason in ADVICE:
            say.append(f"{count(facts.bad[reason], 'file')} left out as {reason}: {html.escape(advice_on(reason))}.")
    if not facts.heads:
        return [
            *say,
            "No head was found. If the pictures do hold heads, lower the detector's threshold: "
            f"<code>figment crop PICTURES -o {where} --threshold 0.3</code>",
        ]
    if judged < facts.heads:
        say.append(f"{count(facts.heads - judged, 'head')} not judged yet: <code>figment curate {where}</code>")

    # What was lost, and what would bring it back.
    for reason, lost in facts.rejected.items():
        if reason in facts.limits and reason in facts.flags:
            say.append(_rule_advice(facts, reason, lost))
        elif reason == "duplicate" and lost > MANY * facts.heads:
            say.append(
                f"{count(lost, 'copy', 'copies')} of other heads set aside, the best of each group kept: nothing"
                " is lost. Where two that differ were taken for one, keep both in <code>figment review</code>."
            )
        elif reason == "unreadable":
            say.append(f"{count(lost, 'crop')} missing or damaged: run <code>figment crop</code> again.")
    if lost_files := {reason: lost for reason, lost in facts.bad.items() if reason not in ADVICE}:
        say.append(
            f"{count(sum(lost_files.values()), 'file')} could not be read ({_list(lost_files)}): their names are"
            " at the end; fetch them again or do without."
        )
    if facts.empty > MANY * facts.pictures:
        say.append(
            f"{count(facts.empty, 'picture')} without a head that the detector is sure of. If some do hold"
            " heads, draw boxes on fifty or more pictures"
            f" (<code>figment review {where} --pictures PICTURES</code>) and fit the detector to them"
            " (<code>figment heads train</code>)."
        )
    if facts.borderline:
        say.append(
            f"{count(facts.borderline, 'verdict hangs', 'verdicts hang')} on a figure close to its threshold: "
            f"<code>figment review {where}</code> shows them first."
        )

    # What is kept, and what it is good for.
    if facts.kept and facts.kept < FEW:
        say.append(
            f"{count(facts.kept, 'kept head is', 'kept heads are')} few to learn from: more pictures help most,"
            " then starting from a trained network (<code>figment train --init</code>); mirroring doubles them."
        )
    if facts.fills:
        say.append(
            f"Three in four kept crops fill {facts.fills} pixels: <code>figment pack {where} -o "
            f"heads-{facts.fills}.zip --resolution {facts.fills}</code>"
        )
    return say


def _rule_advice(facts: Facts, reason: str, lost: int) -> str:
    """A sentence on the heads that one rule rejected."""
    name, limit = facts.limits[reason]
    gentler, back = facts.near_misses.get(reason, (0.0, 0))
    word = "raise" if facts.flags[reason].startswith("--max") else "lower"
    cure = {"too-small": "fetch larger pictures", "not-a-head": "label some in <code>figment review</code>"}
    text = f"{count(lost, 'head')} rejected as {html.escape(reason)} ({html.escape(name)}, threshold {limit:g})"
    text += f": {cure[reason]}, or {word}" if reason in cure else f": to keep more of them, {word}"
    text += f" <code>{html.escape(facts.flags[reason])}</code>"
    return text + (f"; at {gentler:g} it would let {count(back, 'of them', 'of them')} pass." if back else ".")


def count(n: int, word: str, words: str = "") -> str:
    """`1 head`, `2,000 heads`."""
    return f"{n:,} {word if n == 1 else words or word + 's'}"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {html.escape(name)}" for name, n in counts.items())


def funnel(facts: Facts) -> str:
    """Bars from files to kept heads, with what was lost on the way below each."""
    readable = facts.pictures - sum(facts.bad.values())
    rows = [_bar("files", facts.pictures, facts.pictures, "kept")]
    rows += [_bar(reason, n, facts.pictures, "lost", "sub") for reason, n in facts.bad.items()]
    rows += [
        _bar("pictures with a head", readable - facts.empty, facts.pictures, "kept"),
        _bar("no head", facts.empty, facts.pictures, "lost", "sub"),
        _bar("heads", facts.heads, facts.heads, "kept"),
    ]
    rows += [_bar(reason, n, facts.heads, "lost", "sub") for reason, n in facts.rejected.items()]
    rows.append(_bar("kept", facts.kept, facts.heads, "kept"))
    return "\n".join(rows)


def _bar(name: str, n: int, most: int, kind: str, level: str = "") -> str:
    share = 100 * n / max(most, 1)
    return (
        f'    <span class="{level}">{html.escape(name)}</span><div><svg viewBox="0 0 100 10"'
        f' preserveAspectRatio="none" role="img" aria-label="{n}"><rect class="{kind}" width="{share:.2f}"'
        f' height="10"/></svg>{n:,}</div>'
    )


def histogram(
    name: str,  # the figure
    note: str,  # one line on what it is
    values: np.ndarray,  # one for each head [N]
    kept: np.ndarray,  # bool [N]
    limits: Sequence[float],  # thresholds to mark
    *,
    width: int = 300,
    height: int = 96,
    log: bool = False,  # bins of equal ratio instead of equal width
) -> str:
    """A figure with a histogram, kept heads below rejected ones, and the thresholds as dashed lines."""
    usable = np.isfinite(values) & ((values > 0) | (not log))
    values, kept = values[usable], kept[usable]
    if not len(values):
        return ""
    low, high = (float(x) for x in np.percentile(values, [0.2, 99.8]))
    low, high = min([low, *limits]), max([high, *limits])
    low, high = (max(low, 1e-6), high * 1.02) if log else (low, high + 1e-9)
    if high <= low * (1 + 1e-6):
        low, high = low * 0.9 - 1e-6, high * 1.1 + 1e-6
    edges = np.geomspace(low, high, BINS + 1) if log else np.linspace(low, high, BINS + 1)
    inside = np.clip(values, low, high)
    below, above = (np.histogram(inside[which], edges)[0] for which in (kept, ~kept))
    most = max(int((below + above).max()), 1)

    # One unit of height for a head; the axis below, its ends and thresholds named.
    def across(value: float) -> float:
        place = np.log(value / low) / np.log(high / low) if log else (value - low) / (high - low)
        return float(np.clip(place, 0, 1)) * width

    step, parts = width / BINS, []
    for index in range(BINS):
        top = float(height)
        for kind, n in (("kept", below[index]), ("lost", above[index])):
            tall = height * float(n) / most
            if n:
                parts.append(
                    f'<rect class="{kind}" x="{index * step + 0.5:.1f}" y="{top - tall:.1f}"'
                    f' width="{step - 1:.1f}" height="{tall:.1f}"/>'
                )
            top -= tall
    for limit in limits:
        x = across(limit)
        side = f'text-anchor="end" x="{x - 5:.1f}"' if x > width * 0.75 else f'x="{x + 5:.1f}"'
        parts.append(
            f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="-4" y2="{height}"/>'
            f'<text class="at" {side} y="6">{limit:g}</text>'
        )
    parts.append(
        f'<line class="axis" x1="0" x2="{width}" y1="{height}" y2="{height}"/>'
        f'<text x="0" y="{height + 15}">{low:.3g}</text>'
        f'<text x="{width}" y="{height + 15}" text-anchor="end">{high:.3g}</text>'
    )
    kind = ' class="wide"' if width > 400 else ""
    title = f"<figcaption>{html.escape(name)}<small>{html.escape(note)}</small></figcaption>"
    return (
        f'<figure{kind}>{title}<svg viewBox="0 -8 {width} {height + 28}" role="img"'
        f' aria-label="{html.escape(name)}">{"".join(parts)}</svg></figure>'
    )
