"""How the service holds out: on large tables, under many workers, on several replicas; on SQLite and on PostgreSQL.

    python scripts/bench_service.py                      every section, on both databases
    python scripts/bench_service.py --section lists      one of them; may be repeated
    python scripts/bench_service.py --database sqlite    on one of them
    python scripts/bench_service.py --quick              a tiny run that only shows that everything works

Each section fills a database of its own, starts services on it and measures them from outside. Prints a Markdown table with the
aims beside the figures (median, lowest to highest) and writes the same as JSON. PostgreSQL is that of the tests (its programs
come from pip), with the settings of a server that keeps its data: what is committed is on the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import service_lists
import service_replicas
import service_suggesting
import service_workers
from bench_serving import Report, machine
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "plugins"))
import postgresql_server

DATABASES = ("sqlite", "postgresql")
LASTING = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on"}


@dataclass(frozen=True)
class Place:
    """Where a section may work: an empty database, and a folder."""

    database: str  # sqlite | postgresql
    url: str
    folder: Path


Section = Callable[[Place, bool, Report], None]
"""Measures into the report; the flag asks for a tiny run."""
SECTIONS: Mapping[str, Section] = {
    "lists": service_lists.measure,
    "replicas": service_replicas.measure,
    "suggesting": service_suggesting.measure,
    "workers": service_workers.measure,
}


@contextmanager
def place(database: str) -> Iterator[Place]:
    """An empty database, gone afterwards.

    Raises:
        UnavailableError: if there is no such database here.
    """
    with tempfile.TemporaryDirectory() as folder:
        if database == "sqlite":
            yield Place(database, f"sqlite:///{folder}/archcast.sqlite3", Path(folder))
            return
        postgresql_server.SETTINGS.update(LASTING)
        server = postgresql_server.PostgresqlServer()
        server.start()
        try:
            with server.database() as url:
                yield Place(database, url, Path(folder))
        finally:
            server.stop()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run")
    parser.add_argument("--section", action="append", choices=sorted(SECTIONS), help="may be repeated")
    parser.add_argument("--database", action="append", choices=DATABASES, help="may be repeated")
    parser.add_argument("--output", type=Path, default=Path("var/bench/service.json"))
    return parser.parse_args(given)


def measured(sections: Sequence[str], databases: Sequence[str], is_quick: bool) -> dict[str, Report]:
    """A report for every section; a database that cannot be had is left out, and said so."""
    reports = {section: Report() for section in sections}
    with tqdm(total=len(sections) * len(databases), unit=" sections", disable=None) as bar:
        for section in sections:
            for database in databases:
                bar.set_description(f"{section} on {database}")
                try:
                    with place(database) as where:
                        SECTIONS[section](where, is_quick, reports[section])
                except postgresql_server.UnavailableError as error:
                    print(f"no {database} here, so {section} was not measured on it: {error}", file=sys.stderr)
                bar.update(1)
    return reports


def main(given: Sequence[str] | None = None) -> None:
    args = arguments(given)
    described = machine()
    reports = measured(args.section or sorted(SECTIONS), args.database or DATABASES, args.quick)
    print(f"{described['cores']} cores ({described['processor']}), Python {described['python']}", end="")
    print(f", load {described['load_before']:.1f} before it began")
    for section, report in reports.items():
        print(f"\n## {section}\n\n{report.markdown()}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figures = {section: [vars(one) for one in report.figures.values()] for section, report in reports.items()}
    args.output.write_text(
        json.dumps({"machine": described, "quick": args.quick, "sections": figures}, indent=2) + "\n"
    )
    print(f"\nfigures are in {args.output}")


if __name__ == "__main__":
    main()
