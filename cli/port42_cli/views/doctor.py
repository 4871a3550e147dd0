"""The findings of `doctor`, what to do about each, and how many are problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from port42_cli.plain_text import advice, one_line, typed
from port42_cli.views.parts import BREAK, Column, Line, Part, Span, Table
from port42_protocol.counting import count
from port42_protocol.messages.doctor_and_stats import Finding

_MARKS = {"ok": ("✓", "green"), "notice": ("!", "yellow"), "problem": ("✗", "bold red")}
_MOST = 20  # findings of one level about one thing that a terminal shows; the others are counted


def findings(results: Sequence[Finding], backup: str | None) -> Iterator[Part]:
    """A row for each finding, with what to do about it, then how many problems there are.

    Scripts get level (or ``fixed``), subject, finding, what to do or nothing.
    """
    yield Table(results, piped=_cells)
    yield Table(_first_ones(results), _COLUMNS, headings=False, gap=1)
    yield Line("")
    yield Line(_verdict(results, backup), piped=f"backup\thome\tkept in {backup}\t" if backup else None)


def _first_ones(results: Sequence[Finding]) -> list[Finding]:
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in results:
        kinds.setdefault((finding.level, finding.about), []).append(finding)
    hidden = {id(finding) for kind in kinds.values() for finding in kind[_MOST:]}
    shown = [finding for finding in results if id(finding) not in hidden]
    for kind in kinds.values():
        if len(kind) > _MOST:
            more = f"… and {len(kind) - _MOST:,} more; --json has them all"
            shown.append(Finding(kind[0].level, kind[0].about, more))
    return shown


def _what(finding: Finding) -> list[Span]:
    return [(advice(finding.what), ""), *([BREAK, (f"→ {advice(finding.do)}", "dim")] if finding.do else [])]


def _verdict(results: Sequence[Finding], backup: str | None) -> list[Span]:
    problems = sum(finding.level == "problem" and not finding.fixed for finding in results)
    repairable = sum(finding.mendable and not finding.fixed for finding in results)
    fixed = sum(finding.fixed for finding in results)
    verdict = [(count(problems, "problem"), "bold red") if problems else ("Healthy", "bold green")]
    if fixed:
        verdict.append((f", {fixed:,} repaired", "cyan"))
    if backup:
        verdict.append((f"; what was changed is kept in {backup}", "dim"))
    elif repairable:
        verdict.append((f"; `{typed('doctor --fix')}` repairs {repairable:,} of what is above", "dim"))
    return verdict


def _cells(finding: Finding) -> tuple[str, ...]:
    level = "fixed" if finding.fixed else finding.level
    return (level, finding.about, one_line(advice(finding.what)), one_line(advice(finding.do or "")))


_COLUMNS: tuple[Column[Finding], ...] = (
    Column("", lambda finding: [("✚", "cyan") if finding.fixed else _MARKS.get(finding.level, ("?", ""))]),
    Column("", lambda finding: finding.about, "dim", fit="fold"),
    Column("", _what, fit="fold"),
)
