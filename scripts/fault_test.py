"""Kills the service's processes at random under load, and then looks whether anything was lost, done twice or left behind.

    python scripts/fault_test.py                                     three minutes on each database
    python scripts/fault_test.py --database postgresql --seconds 600 --seed 7
    python scripts/fault_test.py --database postgresql --skew 10     clocks that differ by twenty minutes

Eight clients, who insist until they are answered, suggest, measure, report, post, correct and ask for forecasts, while API
processes, the worker and PostgreSQL itself are killed (-9) and started again. On PostgreSQL there are two replicas, and in the
middle of a run the database stays away for 30 s; on SQLite there is one. With `--skew` one of the replicas and the worker have a clock that is so many
minutes ahead, and the other replica one that is as many behind. Every run has a fine-tune under way. At the end all
rules of `fault_checks.py` are held against the database. Exit code 1 if one was broken, or an error was answered that is no 503.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fault_checks import Check, checked
from fault_clients import LEASE_SECONDS, Insisting, Ledger, Worker
from serving_processes import HOST, clean_environment, free_port
from tqdm import tqdm

from app.database import Database

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "plugins"))
import postgresql_server

_WRONG_CLOCKS = Path(postgresql_server.__file__).with_name("wrong_clocks.py")

DATABASES = ("sqlite", "postgresql")
NUM_CLIENTS = 8
TASK = "faults"
_LASTING = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on"}
_LONG_OUTAGE_SECONDS = 30.0
_START_SECONDS = 180.0
_SETTLE_SECONDS = 420.0


@dataclass
class Process:
    """One of the service's processes, which may be killed and started again."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    url: str | None = None
    skew_minutes: float = 0.0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            wrong = [str(_WRONG_CLOCKS), str(self.skew_minutes)]
            command = [sys.executable, *(wrong if self.skew_minutes else ["-m", "app.cli"]), *self.arguments]
            self.running = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def end(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
            self.running.wait(60.0)

    @property
    def is_ready(self) -> bool:
        """Whether it may be killed again: a worker as soon as it runs."""
        if self.running is None or self.running.poll() is not None:
            return False
        if self.url is None:
            return True
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2.0).status_code == 200
        except httpx.TransportError:
            return False

    def wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_ready:
            if time.monotonic() > deadline:
                raise SystemExit(f"expected {self.name} to be ready within {_START_SECONDS:.0f} s, see {self.log}")
            time.sleep(0.1)


@dataclass
class Scene:
    """Everything that runs during a test."""

    apis: list[Process]
    workers: list[Process]
    server: postgresql_server.PostgresqlServer | None
    database_url: str
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def urls(self) -> list[str]:
        return [api.url for api in self.apis if api.url is not None]

    @classmethod
    def on(
        cls, folder: Path, server: postgresql_server.PostgresqlServer | None, url: str, skew_minutes: float
    ) -> Scene:
        settings = {
            "DATA_DIR": str(folder), "DATABASE_URL": url, "EMBEDDED_WORKER": "false", "LOAD_SHIPPED": "false",
            "FINE_TUNE_AFTER": "0", "FINE_TUNE_ON_DRIFT": "false", "LEASE_SECONDS": "6", "IDEMPOTENCY_LEASE_SECONDS": "5", "TRIAL_MAX_EXPIRIES": "1000",
            "TRIAL_MAX_FAILURES": "1000",
        }  # fmt: skip
        environment = clean_environment() | {f"ARCHCAST_{name}": value for name, value in settings.items()}
        environment["OMP_NUM_THREADS"] = "1"  # processes that have to share few cores wait for each other's threads
        apis = []
        for number in range(2 if server else 1):
            port = free_port()
            arguments = ["serve", "--host", HOST, "--port", str(port)]
            log, minutes = folder / f"api-{number}.log", -skew_minutes if number else skew_minutes
            apis.append(Process(f"api {number}", arguments, environment, log, f"http://{HOST}:{port}", minutes))
        worker = Process("worker", ["worker"], environment, folder / "worker.log", skew_minutes=skew_minutes)
        return cls(apis, [worker], server, url)

    def start(self) -> None:
        for process in [*self.apis, *self.workers]:  # one after the other: the first one migrates
            process.start()
            process.wait()

    def end(self) -> None:
        for process in [*self.workers, *self.apis]:
            process.end()

    def strike(self, rng: random.Random, *, is_long: bool) -> None:
        """Kills something, and brings it back after a while."""
        ready = [process for process in [*self.apis, *self.workers] if process.is_ready]
        away = _LONG_OUTAGE_SECONDS if is_long else rng.uniform(0.0, 3.0)
        if self.server is not None and (is_long or rng.random() < 0.25):
            self.kills["database, for 30 s" if is_long else "database"] += 1
            self.server.crash()
            time.sleep(away)
            self.server.resume()
        elif ready:
            victim = rng.choice(ready)
            self.kills[victim.name.split()[0]] += 1
            victim.kill()
            time.sleep(away)
            victim.start()

    def revive(self) -> None:
        """Everything runs again."""
        for process in [*self.apis, *self.workers]:
            if process.running is None or process.running.poll() is not None:
                process.start()
        for process in [*self.apis, *self.workers]:
            process.wait()


@dataclass
class Outcome:
    """What a run showed."""

    database: str
    seconds: float
    kills: Counter[str]
    ledger: Ledger
    checks: list[Check]
    num_promotions: int

    @property
    def is_good(self) -> bool:
        return not self.ledger.errors and not any(check.broken for check in self.checks)


def set_up(calls: Insisting) -> list[str]:
    """The task, and the genotypes that clients speak of."""
    metric = {"name": "accuracy", "unit": "%", "direction": "maximize"}
    calls.post("/v1/tasks", {"name": TASK, "search_space": "nasbench201", "dataset": "faults", "metric": metric})
    drawn = calls.get("/v1/search-spaces/nasbench201/sample?count=1000&seed=0")["architectures"]
    return list(dict.fromkeys(one["genotype"] for one in drawn))


def rage(scene: Scene, seconds: float, rng: random.Random, calls: Insisting) -> None:
    """Kills for so long; a fine-tune is started after a quarter of the time, the long outage comes after half of it."""
    began = time.monotonic()
    is_tuned, is_outage_due = False, scene.server is not None and seconds >= 120.0
    with tqdm(total=int(seconds), unit=" s", disable=None) as bar:
        while (passed := time.monotonic() - began) < seconds:
            bar.n = int(passed)
            bar.set_postfix(scene.kills, refresh=True)
            if not is_tuned and passed > seconds / 4:
                is_tuned = True
                calls.post("/v1/fine-tunes", {"reason": "in the storm", "settings": {"num_steps": 8}})
            time.sleep(rng.uniform(2.0, 8.0))
            is_long = is_outage_due and time.monotonic() - began > seconds / 2
            is_outage_due = is_outage_due and not is_long
            scene.strike(rng, is_long=is_long)


def settle(scene: Scene, calls: Insisting) -> None:
    """Waits until leases have run out and the queue is empty."""
    scene.revive()
    time.sleep(LEASE_SECONDS + 4.0)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        jobs = [one for state in ("queued", "running") for one in calls.get(f"/v1/jobs?state={state}")["items"]]
        if not jobs:
            return
        time.sleep(1.0)


def tested(database: str, seconds: float, seed: int, folder: Path, skew_minutes: float) -> Outcome:
    """One run on an empty database."""
    if database == "sqlite":  # on one machine, with one clock
        scene = Scene.on(folder, None, f"sqlite:///{folder}/archcast.sqlite3", 0.0)
        return _tested(database, seconds, seed, scene)
    postgresql_server.SETTINGS.update(_LASTING)
    server = postgresql_server.PostgresqlServer()
    server.start()
    try:
        with server.database() as url:
            return _tested(database, seconds, seed, Scene.on(folder, server, url, skew_minutes))
    finally:
        server.stop()


def _tested(database: str, seconds: float, seed: int, scene: Scene) -> Outcome:
    rng, ledger, stopped = random.Random(seed), Ledger(), threading.Event()
    try:
        scene.start()
        calls = Insisting(scene.urls, ledger, random.Random(seed + 1))
        genotypes = set_up(calls)
        workers = [Worker(number, scene.urls, TASK, genotypes, ledger, stopped) for number in range(NUM_CLIENTS)]
        threads = [threading.Thread(target=worker.run, name=f"client {n}") for n, worker in enumerate(workers)]
        for thread in threads:
            thread.start()
        rage(scene, seconds, rng, calls)
        scene.revive()
        stopped.set()
        for thread in threads:
            thread.join()
        settle(scene, calls)
        task_id = int(calls.get(f"/v1/tasks/{TASK}")["id"])
    finally:
        stopped.set()
        scene.end()
    return _judged(Database(scene.database_url), database, seconds, scene, ledger, task_id)


def _judged(opened: Database, database: str, seconds: float, scene: Scene, ledger: Ledger, task_id: int) -> Outcome:
    try:
        with opened.read() as session:
            checks = checked(session, task_id, ledger)
    finally:
        opened.close()
    promotions = next(check.num_checked for check in checks if check.rule.startswith("one champion"))
    return Outcome(database, seconds, scene.kills, ledger, checks, promotions)


def markdown(outcome: Outcome) -> str:
    """The outcome as a table."""
    ledger = outcome.ledger
    statuses = ", ".join(f"{count} × {status or 'no answer'}" for status, count in sorted(ledger.statuses.items()))
    killed = ", ".join(f"{count} × {name}" for name, count in sorted(outcome.kills.items()))
    lines = [
        f"## {outcome.database}, {outcome.seconds:.0f} s",
        "",
        f"Killed: {killed}. {NUM_CLIENTS} clients made {sum(ledger.statuses.values())} calls ({statuses}), of which "
        f"{ledger.num_repeats} were repeats; the longest insisted for {ledger.longest_wait:.1f} s. {len(ledger.sent)} observations "
        f"were sent, {len(ledger.acknowledged)} acknowledged; {len(ledger.given)} leases given, {ledger.num_lost} reports came too "
        "late and were refused.",
        "",
        "| rule | held against | broken |",
        "| --- | --- | --- |",
        *(f"| {check.rule} | {check.num_checked} | {len(check.broken)} |" for check in outcome.checks),
        f"| no error was answered but 503 | {sum(ledger.statuses.values())} | {len(ledger.errors)} |",
    ]
    broken = [f"- {check.rule}: {one}" for check in outcome.checks for one in check.broken[:5]]
    return "\n".join([*lines, "", *broken, *(f"- {one}" for one in ledger.errors[:10])]).strip()


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The same for machines."""
    return {
        "database": outcome.database,
        "seconds": outcome.seconds,
        "kills": dict(outcome.kills),
        "statuses": dict(outcome.ledger.statuses),
        "errors": outcome.ledger.errors,
        "checks": [vars(check) for check in outcome.checks],
    }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", action="append", choices=DATABASES, help="may be repeated")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long to kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--skew", type=float, default=0.0, metavar="MINUTES", help="by how much clocks are off (PostgreSQL)"
    )
    parser.add_argument("--keep", type=Path, help="folder for logs and the SQLite file; left out: thrown away")
    parser.add_argument("--output", type=Path, default=Path("var/bench/faults.json"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    args = arguments(given)
    outcomes = []
    for database in args.database or DATABASES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (args.keep or Path(temporary)) / database
            folder.mkdir(parents=True, exist_ok=True)
            try:
                outcomes.append(tested(database, args.seconds, args.seed, folder, args.skew))
            except postgresql_server.UnavailableError as error:
                print(f"no {database} here, so it was not tested: {error}", file=sys.stderr)
                continue
        print(markdown(outcomes[-1]) + "\n")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(list(map(as_json, outcomes)), indent=2) + "\n")
    return 0 if outcomes and all(outcome.is_good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
