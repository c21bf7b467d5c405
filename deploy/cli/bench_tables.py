"""What ``atmwatch bench kafka`` says to people."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.bench_kafka import KafkaBench
from deploy.cli.console import out


def print_kafka(report: KafkaBench, rate: float) -> None:
    """The report, line by line; ``rate`` is the events a second that its latency was measured at."""
    out.print(f"clusterer {report.faces_per_second:>8,.0f} faces/s at {report.templates:,} templates")
    out.print(f"alerter   {report.sightings_per_second:>8,.0f} sightings/s")
    latency = _times(report.latency_ms)
    out.print(f"event published to alert consumed, {rate:g} a second: {latency} ({report.answered} of {report.events})")
    restored = ", ".join(f"{source} {seconds:.1f} s" for source, seconds in report.recovery_s.items())
    out.print(f"{report.recovery_templates:,} templates restored and consuming: {restored}")
    for form, found in report.gateway.items():
        out.print(
            f"gateway   {found.images_per_second:>8,.0f} images/s of {found.image_bytes / 1000:.0f} KB, {form}: "
            f"{_times(found.request_ms)}, {sum(found.errors.values())} errors; "
            f"{found.cpu_ms_per_image['gateway']:.2f} ms of processor time an image, "
            f"the client's {found.cpu_ms_per_image['client']:.2f} ms; {_course(found.rss_mb)}"
        )
    for role, mb in report.rss_mb.items():
        spent = report.cpu_ms_per_input.get(role, 0.0)
        course = report.rss_mb_course.get(role)
        out.print(
            f"{role:9} {spent:8.3f} ms of processor time an input, {mb:.0f} MB at most"
            + (f"; {_course(course)}" if course else "")
        )
    for role, memory in report.backlog.items():
        out.print(f"{role:9} {memory.taken:,} of a backlog of {memory.waiting:,}: {_course(memory.rss_mb)}")


def _times(ms: dict[str, float]) -> str:
    return ", ".join(f"{name} {one:.0f} ms" for name, one in ms.items())


def _course(rss_mb: Iterable[float]) -> str:
    return f"MB after each tenth: {' '.join(f'{one:.0f}' for one in rss_mb)}"
