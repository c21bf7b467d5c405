"""The accuracy benchmark as Markdown tables, one a question, beside what others publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from clustering.evaluation import ClusteringReport
from deploy.benchmarks.accuracy import BOTH_MASKED, AccuracyBench
from deploy.benchmarks.published import CLUSTERING_REFERENCES, DICTA_2021, MASKED_REFERENCES, SPEED_REFERENCES
from deploy.benchmarks.rows import GROUP_HEADS, LEAKAGE_HEADS, clustering_rows, group_rows, leakage_rows, rate
from deploy.evaluation.verification import VerificationEvaluation
from embedder.evaluation.protocols import People

WHO = {
    People.ALL: "all people",
    People.FIRST_FIFTH: "the first fifth of the people, sorted by name (the tuning set)",
    People.REST: "the last four fifths of the people, sorted by name (the first fifth is for tuning)",
}


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in (heads, rule, *lines))


def setup_table(bench: AccuracyBench) -> str:
    """When, where, on whom and with what."""
    machine = bench.machine
    some = next(iter(next(iter(bench.verification.values())).values()))
    return markdown(
        ("", ""),
        [
            ("date", f"{bench.measured_at:%d %B %Y}"),
            ("processor", f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB"),
            ("system", f"{machine.system}, Python {machine.python}"),
            ("libraries", ", ".join(f"{name} {number}" for name, number in machine.libraries.items())),
            ("models", ", ".join(f"{name} ({model_id})" for name, model_id in bench.models.items())),
            ("people", f"{some.people:,}: {WHO[bench.people]}"),
            ("seed", str(bench.seed)),
        ],
    )


def verification_table(bench: AccuracyBench) -> str:
    """Error rates by condition and model."""
    return _verified(bench.verification)


def real_masks_table(bench: AccuracyBench) -> str:
    """The same where masks are real, with the ratio of EERs to the first model's."""
    if not bench.real_masks:
        return "Not measured in this run."
    first = next(iter(bench.models))
    ratios = [
        (condition, name, f"{report.eer / reports[first].eer:.2f}" if reports[first].eer else "–")
        for condition, reports in bench.real_masks.items()
        for name, report in reports.items()
        if name != first
    ]
    told = markdown(("real masks", "model", f"EER, of {first}'s"), ratios) if ratios else ""
    return "\n\n".join(filter(None, (_verified(bench.real_masks), told)))


def one_probe_table(bench: AccuracyBench) -> str:
    """The protocol of one probe of each kind, both pictures masked, beside the published figures."""
    lines = []
    for name, report in bench.verification[BOTH_MASKED].items():
        each = report.one_probe_each
        if each:
            shown = rate(each.eer, each.eer_spread), rate(each.frr100, each.frr100_spread)
            lines.append((f"atmwatch, {name}: {each.people:,} people, mean of {each.draws} draws", *shown))
    lines += [(f"DICTA 2021, {one.data}", f"{one.eer:.3f}", f"{one.frr100:.3f}") for one in DICTA_2021]
    return markdown(("both masked", "EER", "FRR100"), lines)


def detection_table(bench: AccuracyBench) -> str:
    """How many faces are found again under a drawn mask, and how many pictures give no template."""
    lines = []
    for condition, reports in bench.verification.items():
        for name, report in reports.items():
            detected = f"{rate(report.detection_rate)} of {report.masks_drawn:,}" if report.masks_drawn else "–"
            lines.append((condition, name, detected, rate(report.failure_to_acquire)))
    return markdown(("condition", "model", "masked faces detected", "failure to acquire"), lines)


def clustering_table(bench: AccuracyBench) -> str:
    """How well streams fall into people, by condition and model; published figures for orientation."""
    ours = _side_by_side(bench.clustering, clustering_rows)
    theirs = markdown(
        ("published, MS1M 584,000 faces, all at once", "pairwise F"),
        [(name, f"{value:.3f}") for name, value in CLUSTERING_REFERENCES],
    )
    return f"{ours}\n\n{theirs}"


def groups_table(bench: AccuracyBench) -> str:
    """Errors by mask kind and quality of the probe, both pictures masked."""
    parts = []
    for name, report in bench.verification[BOTH_MASKED].items():
        for grouping, groups in report.groups.items():
            heads = (f"{name}: {grouping.replace('_', ' ')}", *GROUP_HEADS[1:])
            parts.append(markdown(heads, group_rows(groups)))
    return "\n\n".join(parts)


def leakage_table(bench: AccuracyBench) -> str:
    """What templates give away, bare and masked."""
    if not bench.leakage:
        return "Not measured in this run."
    return "\n\n".join(
        markdown((f"{name}: {LEAKAGE_HEADS[0]}", *LEAKAGE_HEADS[1:]), leakage_rows(report))
        for name, report in bench.leakage.items()
    )


def speed_table(bench: AccuracyBench) -> str:
    """Aligned face in, vector out, one core; beside what others publish."""
    slowest = bench.milliseconds_per_face[next(iter(bench.models))]
    ours = [
        (f"{name}, aligned face to vector, one core", f"{ms:.1f} ms", f"{ms / slowest:.2f}")
        for name, ms in bench.milliseconds_per_face.items()
    ]
    theirs = [(what, figure, "–") for what, figure in SPEED_REFERENCES]
    return markdown(("", "time", f"of {next(iter(bench.models))}'s"), ours + theirs)


def references_table(_: AccuracyBench) -> str:
    """Published figures under masks that no run of ours can be held against."""
    return markdown(("published", "figure", "on"), MASKED_REFERENCES)


TABLES: dict[str, Callable[[AccuracyBench], str]] = {
    "setup": setup_table,
    "verification": verification_table,
    "one-probe": one_probe_table,
    "real-masks": real_masks_table,
    "detection": detection_table,
    "clustering": clustering_table,
    "groups": groups_table,
    "leakage": leakage_table,
    "speed": speed_table,
    "references": references_table,
}
"""By the name that a document's markers use."""


def _verified(conditions: Mapping[str, Mapping[str, VerificationEvaluation]]) -> str:
    lines = [
        (
            condition,
            name,
            rate(report.eer, report.intervals.get("eer")),
            *(rate(fnmr, report.intervals.get(target)) for target, fnmr in report.frr_at_fmr.items()),
            " / ".join(rate(value) for value in report.recall_at.values()),
            f"{report.n_genuine:,} / {report.n_impostor:,}",
        )
        for condition, reports in conditions.items()
        for name, report in reports.items()
    ]
    targets = [f"FNMR at FMR {target}" for target in ("1e-2", "1e-3", "1e-4")]
    heads = ("condition", "model", "EER", *targets, "recall at 1 / 10 / 20", "pairs, genuine / impostor")
    return markdown(heads, lines)


def _side_by_side(
    conditions: Mapping[str, Mapping[str, ClusteringReport]], rows_of: Callable[[ClusteringReport], dict[str, str]]
) -> str:
    columns = {
        f"{condition}: {name}": rows_of(report)
        for condition, reports in conditions.items()
        for name, report in reports.items()
    }
    heads = list(dict.fromkeys(head for rows in columns.values() for head in rows))
    return markdown(("", *columns), [(head, *(rows.get(head, "") for rows in columns.values())) for head in heads])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
