"""What a listening test found, in sentences and as JSON. Knows nothing of pages or databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepmusician import listening_stats as stats
from deepmusician.listening_results import Results
from deepmusician.listening_stats import DIFFERENT, EQUIVALENT, Interval, Share
from deepmusician.listening_store import HUMAN


def said(share: Share) -> str:
    """A share with its interval: 42 % (8 of 19; 95 %: 20 to 67 %)."""
    if not share.n:
        return "no votes yet"
    low, high = share.interval
    return f"{100 * share.value:.0f} % ({share.k} of {share.n}; 95 %: {100 * low:.0f} to {100 * high:.0f} %)"


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def headline(results: Results) -> str:
    """Who took part, and whose votes count."""
    n = len(results.counted)
    if not (n or results.left_out or results.unfinished):
        return "Nobody has taken it yet."
    parts = [f"{n} {'listener counts' if n == 1 else 'listeners count'}"]
    if results.left_out:
        parts.append(f"{results.left_out} left out, who did not hear that shuffled notes are no music")
    if results.unfinished:
        parts.append(f"{results.unfinished} not finished")
    return "; ".join(parts) + "."


def findings(results: Results) -> list[str]:
    """The numbers as sentences; one that says so where there are none."""
    if not results.counted:
        return ["No votes count yet: send the address to somebody, or take the test yourself."]
    return _human(results) if results.test.kind == HUMAN else _preference(results)


def _human(results: Results) -> list[str]:
    pooled = results.pooled
    lines = [
        f"Machine taken for human: {said(pooled.fooled)}.",
        f"Human taken for human: {said(Share(pooled.human - pooled.alarms, pooled.human))}.",
        f"Called what they are: {said(results.share)}; guessing gives 50 %.",
    ]
    d, _, bias = pooled.sensitivity
    low, high = pooled.sensitivity.interval
    lines.append(
        f"d′ of all votes together: {d:.2f} (95 %: {low:.2f} to {high:.2f}); 0 is indistinguishable, 1 is plain to "
        f"hear. Bias c: {bias:+.2f}, {_leaning(bias)}."
    )
    mean, interval = results.d_over_listeners
    over = f" (95 %: {interval.low:.2f} to {interval.high:.2f})" if interval else " (an interval needs two listeners)"
    lines.append(f"d′ of each listener, on average: {mean:.2f}{over}.")
    return lines


def _leaning(bias: float) -> str:
    if abs(bias) < 0.1:
        return "leaning to neither answer"
    return "leaning towards “human”" if bias > 0 else "leaning towards “machine”"


def _preference(results: Results) -> list[str]:
    first, second = results.test.about["titles"]
    share = results.share
    return [
        f"{first} preferred: {said(share)}.",
        f"{second} preferred: {said(Share(share.n - share.k, share.n))}.",
    ]


def verdict(results: Results) -> str:
    """What is proven, what is not, and how many more votes that takes."""
    v, bound = results.verdict, f"{100 * results.bound:.0f} points"
    human = results.test.kind == HUMAN
    if not results.counted:
        need = stats.votes_for_equivalence(results.bound)
        return f"Nothing is known yet. To prove a difference of less than {bound} takes about {need} votes."
    if v.name == EQUIVALENT:
        what = "human and machine cannot be told apart" if human else "neither is preferred"
        more = f" A small difference is sure all the same (p = {v.p:.3f})." if v.different else ""
        return f"Within {bound} of 50 %, {what}: two one-sided tests at 5 % (90 %: {_span(v.interval)}) say so.{more}"
    if v.name == DIFFERENT:
        return f"{_difference(results)} (p = {v.p:.3f}). Equivalence within {bound} is not shown."
    missing, listeners = results.missing, results.missing_listeners
    return (
        f"This is open: neither a difference from 50 % nor equivalence within {bound} is shown (90 %: "
        f"{_span(v.interval)}). About {missing} more {'vote' if missing == 1 else 'votes'} until this means something, "
        f"from {listeners} more {'listener' if listeners == 1 else 'listeners'}."
    )


def _difference(results: Results) -> str:
    above = results.share.value > 0.5
    if results.test.kind == HUMAN:
        return "Listeners tell them apart" if above else "Listeners mistake one for the other more often than by chance"
    first, second = results.test.about["titles"]
    return f"{first if above else second} is preferred"


def in_short(found: Sequence[Results], source: str) -> list[str]:
    """A paragraph for each test of a model; one that says how to make a test where there is none."""
    if not found:
        return [f"Human ears: no blind test of it yet; make one with: deepmusician listening new -c {source}"]
    return [
        f"Human ears, “{one.test.title}”: {' '.join([headline(one), *_shares(one), verdict(one)])}" for one in found
    ]


def _shares(results: Results) -> list[str]:
    return findings(results)[:2] if results.counted else []


LIMITS = (
    "A vote counts as one trial; the same clips are heard by all, so this speaks of these clips, and of the music they "
    "were drawn from only as far as there are many of them. Decide beforehand how many listeners you want: who looks "
    "after every vote and stops when it pleases will find what is not there."
)


def to_dict(results: Results) -> dict[str, Any]:
    """All of it as JSON."""
    pooled, v = results.pooled, results.verdict
    report: dict[str, Any] = {
        "test": results.test.id, "title": results.test.title, "kind": results.test.kind, "about": results.test.about,
        "listeners": {
            "counted": len(results.counted), "left_out": results.left_out, "unfinished": results.unfinished,
        },
        "share": _share(results.share),
        "verdict": {
            "name": v.name, "different": v.different, "equivalent": v.equivalent, "p": v.p, "bound": v.bound,
            "interval_90": list(v.interval), "words": verdict(results), "votes_missing": results.missing,
        },
    }  # fmt: skip
    if results.test.kind == HUMAN:
        s = pooled.sensitivity
        over = results.d_over_listeners
        report["fooled"] = _share(pooled.fooled)
        report["d_prime"] = {
            "pooled": s.d, "error": s.error, "interval": list(s.interval), "bias": s.bias,
            "mean_over_listeners": over and over[0], "interval_over_listeners": over and over[1] and list(over[1]),
        }  # fmt: skip
    return report


def _share(share: Share) -> dict[str, Any]:
    return {"k": share.k, "n": share.n, "value": share.value if share.n else None, "interval": list(share.interval)}
