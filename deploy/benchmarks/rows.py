"""Reports as rows of words: what the terminal and the Markdown tables show of them."""

from __future__ import annotations

from collections.abc import Mapping

from clustering.evaluation import ClusteringReport
from deploy.evaluation.leakage import LeakageReport
from deploy.evaluation.verification import GROUPS_AT, VerificationEvaluation
from embedder.evaluation.bootstrap import Interval
from embedder.evaluation.groups import GroupErrors
from embedder.evaluation.leakage import ClassLeakage, NumberLeakage

Rows = dict[str, str]
ABSENT = "–"


def rate(value: float | None, interval: Interval | None = None) -> str:
    """A share of 1 with four digits, and its interval behind it; a dash for none."""
    if value is None:
        return ABSENT
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")


def verification_rows(report: VerificationEvaluation) -> Rows:
    """What was compared, and how often wrongly; in brackets 95 % intervals over people."""
    rows = {
        "people": f"{report.people:,}",
        "pictures": f"{report.images:,}",
        "genuine pairs": f"{report.n_genuine:,}",
        "impostor pairs": f"{report.n_impostor:,}",
        "EER": rate(report.eer, report.intervals.get("eer")),
        "accuracy": rate(report.accuracy),
    }
    for target, fnmr in report.frr_at_fmr.items():
        rows[f"FNMR at FMR {target}"] = rate(fnmr, report.intervals.get(target))
    each = report.one_probe_each
    rows["one probe each: EER"] = rate(each.eer, each.eer_spread) if each else ABSENT
    rows["one probe each: FRR100"] = rate(each.frr100, each.frr100_spread) if each else ABSENT
    rows[f"recall at {' / '.join(report.recall_at)}"] = " / ".join(rate(value) for value in report.recall_at.values())
    rows["failure to acquire"] = rate(report.failure_to_acquire)
    if report.masks_drawn:
        rows["masked faces detected"] = f"{rate(report.detection_rate)} of {report.masks_drawn:,}"
    return rows


def clustering_rows(report: ClusteringReport) -> Rows:
    """How well the stream fell into people; in brackets 95 % intervals over people."""
    rows = {
        "people": f"{report.identities_true:,}",
        "identities found": f"{report.identities_found:,}",
        "pictures": f"{report.images:,}",
    }
    for part in ("precision", "recall", "f"):
        title = f"BCubed {part if part != 'f' else 'F'}"
        rows[title] = rate(getattr(report.bcubed, part), report.intervals.get(part))
    pairwise = report.pairwise
    rows["pairwise precision, recall, F"] = ", ".join(map(rate, (pairwise.precision, pairwise.recall, pairwise.f)))
    rows["NMI"] = rate(report.nmi)
    rows["mean error of visit counts"] = rate(report.visit_count_mae)
    rows[f"recall at {' / '.join(report.recall_at)}"] = " / ".join(rate(value) for value in report.recall_at.values())
    rows["failure to acquire"] = rate(report.failure_to_acquire)
    return rows


def group_rows(groups: Mapping[str, GroupErrors]) -> list[tuple[str, ...]]:
    """One row a group, under ``GROUP_HEADS``."""
    return [
        (name, f"{group.people:,}", f"{group.n_genuine:,}", rate(group.fnmr), _small(group.fmr), rate(group.eer))
        for name, group in groups.items()
    ]


GROUP_HEADS = ("", "people", "genuine pairs", f"FNMR at {GROUPS_AT}", f"FMR at {GROUPS_AT}", "EER")


def leakage_rows(report: LeakageReport) -> list[tuple[str, ...]]:
    """One row a label and mask, under ``LEAKAGE_HEADS``: shares read right, or years off for an age."""
    rows: list[tuple[str, ...]] = []
    for label in dict.fromkeys(label for readings in report.leakage.values() for label in readings):
        for mask, readings in report.leakage.items():
            if label in readings:
                rows.append((label, "bare" if mask == "none" else "masked", *_reading(readings[label])))
        if label in report.published:
            figure = report.published[label]
            told = f"{figure:.1f} off" if label == "age" else f"{100 * figure:.0f} %"
            rows.append((label, "masked, published", told, told, ABSENT, ABSENT))
    return rows


LEAKAGE_HEADS = ("label", "pictures", "linear", "non-linear", "chance", "classes")


def _reading(reading: ClassLeakage | NumberLeakage) -> tuple[str, str, str, str]:
    if isinstance(reading, NumberLeakage):
        return f"{reading.linear:.1f} off", f"{reading.nonlinear:.1f} off", f"{reading.chance:.1f} off", ABSENT
    linear, nonlinear = (f"{100 * part.accuracy:.1f} %" for part in (reading.linear, reading.nonlinear))
    return linear, nonlinear, f"{100 * reading.chance:.1f} %", str(reading.classes)


def _small(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1e}"
