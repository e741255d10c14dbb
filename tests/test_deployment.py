"""The Dockerfile, what lies in docs/deploy and the program are held to each other; no container is needed."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from sqlalchemy import make_url

from app import cli, worker
from app.health import endpoints as health
from app.metrics import endpoints as metrics
from app.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
CUDA = yaml.safe_load((FOLDER / "compose.cuda.yaml").read_text())
PROMETHEUS = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
CADDYFILE = (FOLDER / "Caddyfile").read_text()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "archcast"]
REPLICAS = [name for name in OURS if name.startswith("api-")]
PASSWORD = "correct horse"


def instructions(text: str) -> list[tuple[str, str]]:
    """Those of a Dockerfile, such as ("USER", "10001:10001")."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines()) if name]


INSTRUCTIONS = instructions(DOCKERFILE)
LAST_STAGE = INSTRUCTIONS[max(place for place, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]


def of_image(name: str) -> str:
    """What the last such instruction of the final image says."""
    return [rest for instruction, rest in LAST_STAGE if instruction == name][-1]


def filled(value: str) -> str:
    """With what compose puts in the place of ${NAME:-default}; a required variable is a password."""
    value = re.sub(r"\$\{\w+:\?[^}]*\}", PASSWORD, value)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def image_environment() -> dict[str, str]:
    return dict(item.split("=", 1) for item in of_image("ENV").split())


def environment(service: str) -> dict[str, str]:
    """What a process of ours finds."""
    given = {name: filled(value) for name, value in SERVICES[service].get("environment", {}).items()}
    return {**image_environment(), **given}


def settings_of(variables: dict[str, str]) -> Settings:
    given = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items() if name.startswith(PREFIX)}
    return Settings(**given)  # refuses names that it does not know


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def asked(check: list[str]) -> tuple[str, str]:
    """The port and the path that a health check asks."""
    code = check[-1]
    port = re.search(r"HTTPConnection as C; c = C\('127.0.0.1', (.+?), timeout", code)
    path = re.search(r"request\('GET', '(.+?)'\)", code)
    assert port is not None
    assert path is not None
    compile(code, "health check", "exec")
    return port[1], path[1]


def parsed(command: list[str]) -> None:
    """Fails if the command line is none of ours: a command or an option that there is not."""
    group: Any = typer.main.get_command(cli.app)
    while hasattr(group, "commands"):
        assert command[0] in group.commands
        group, command = group.commands[command[0]], command[1:]
    with group.make_context(group.name, list(command)):
        pass


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_a_container_is_a_setting_with_a_value_that_it_takes(service) -> None:
    settings = settings_of(environment(service))

    assert settings.needs_keys
    assert settings.database_url.startswith("postgresql+psycopg://")


def test_the_image_alone_keeps_its_state_in_its_volume_and_asks_for_keys() -> None:
    settings = settings_of(image_environment())

    assert settings.needs_keys
    assert str(settings.data_dir) == of_image("VOLUME")


def test_every_variable_of_the_example_is_a_setting_or_one_that_compose_reads() -> None:
    lines = (FOLDER / "example.env").read_text().splitlines()
    names = {found[1] for line in lines if (found := re.match(r"(?:# )?([A-Z_]+)=", line))}
    read = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    ours = {name for name in names if name.startswith(PREFIX)}

    assert ours <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert names - ours == read


def test_no_secret_stands_in_a_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?.+\}", value), name
    assert make_url(environment("worker")["ARCHCAST_DATABASE_URL"]).password is None
    assert re.search(r"^POSTGRES_PASSWORD=$", (FOLDER / "example.env").read_text(), re.MULTILINE)
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_database_is_the_one_that_the_others_look_for() -> None:
    database, url = SERVICES["database"]["environment"], make_url(environment("api-1")["ARCHCAST_DATABASE_URL"])

    assert url.host in SERVICES
    assert (url.username, url.database) == (database["POSTGRES_USER"], database["POSTGRES_DB"])
    assert environment("api-1")["PGPASSWORD"] == filled(database["POSTGRES_PASSWORD"])
    assert f"--username={url.username}" in SERVICES["database"]["healthcheck"]["test"]


def test_backups_are_made_by_programs_of_the_databases_version() -> None:
    server = SERVICES["database"]["image"].partition(":")[2]

    assert f"postgresql-client-{server}" in of_image("RUN").split()


def test_two_replicas_are_spread_over_and_scraped() -> None:
    port = image_environment()["ARCHCAST_PORT"]
    places = [f"{name}:{port}" for name in REPLICAS]
    proxied = re.search(r"reverse_proxy (.+) \{", CADDYFILE)
    scraped = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}

    assert len(REPLICAS) == 2
    assert proxied is not None
    assert proxied[1].split() == places
    assert scraped["archcast"]["static_configs"] == [{"targets": places}]


def test_the_worker_is_scraped_at_the_port_where_it_answers() -> None:
    [place] = next(job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "archcast_worker")[
        "dns_sd_configs"
    ]

    assert place["names"] == ["worker"]
    assert place["port"] == settings_of(environment("worker")).metrics_port
    assert asked(SERVICES["worker"]["healthcheck"]["test"])[0] == str(place["port"])


def test_health_checks_ask_for_what_there_is() -> None:
    paths = {route.path for router in (health.router, metrics.router) for route in router.routes}
    port = image_environment()["ARCHCAST_PORT"]
    check = yaml.safe_load(of_image("HEALTHCHECK").partition(" CMD ")[2])
    gateway = re.search(r"health_uri (\S+)", CADDYFILE)

    assert asked(check) == ("int(os.environ['ARCHCAST_PORT'])", "/healthz")
    assert "/healthz" in paths
    for name in REPLICAS:
        assert asked(SERVICES[name]["healthcheck"]["test"]) == (port, "/readyz")
    assert gateway is not None
    assert {gateway[1], "/readyz"} <= paths
    assert of_image("EXPOSE") == port


def test_commands_and_options_exist() -> None:
    assert yaml.safe_load(of_image("ENTRYPOINT")) == ["archcast"]
    assert "archcast" in PROJECT["project"]["scripts"]
    parsed(yaml.safe_load(of_image("CMD")))
    parsed(SERVICES["worker"]["command"])
    [made] = re.findall(r"archcast ([^>]+) >", SERVICES["metrics-key"]["command"][0])
    parsed(shlex.split(made))


def test_prometheus_reads_its_key_where_it_is_written() -> None:
    written = re.findall(r"mv /data/new (\S+);", SERVICES["metrics-key"]["command"][0])
    scraped = next(job for job in PROMETHEUS["scrape_configs"] if job["job_name"] == "archcast")
    shared = [one for one in SERVICES["prometheus"]["volumes"] if one.startswith("metrics-key:")]

    assert SERVICES["metrics-key"]["volumes"] == ["metrics-key:/data"]
    assert written == ["/data/key"]
    assert shared == ["metrics-key:/etc/archcast:ro"]
    assert scraped["authorization"] == {"credentials_file": "/etc/archcast/key"}
    assert "--role operator" in SERVICES["metrics-key"]["command"][0]


def test_the_first_key_of_all_is_the_admins() -> None:
    assert SERVICES["metrics-key"]["depends_on"]["api-1"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("service", [name for name in OURS if name != "metrics-key"])
def test_a_container_gets_the_time_that_an_orderly_end_takes(service) -> None:
    settings = settings_of(environment(service))
    needed = settings.shutdown_delay_seconds + settings.shutdown_seconds + worker._SPARE_SECONDS

    assert seconds(SERVICES[service]["stop_grace_period"]) >= needed


@pytest.mark.parametrize("file", ["Dockerfile", "README.md"])
def test_so_does_one_that_is_started_by_hand(file) -> None:
    settings = settings_of(image_environment())
    given = re.findall(r"--stop-timeout (\d+)", (ROOT / file).read_text())

    assert given
    assert float(given[0]) >= settings.shutdown_delay_seconds + settings.shutdown_seconds + worker._SPARE_SECONDS


def test_the_gateway_sees_that_a_replica_ends_before_it_refuses_connections() -> None:
    interval = re.search(r"health_interval (\d+s)", CADDYFILE)
    timeout = re.search(r"health_timeout (\d+s)", CADDYFILE)

    assert interval is not None
    assert timeout is not None
    delay = settings_of(environment("api-1")).shutdown_delay_seconds
    assert delay > seconds(interval[1]) + seconds(timeout[1])


def test_the_image_holds_the_packages_and_extras_of_the_project_and_nothing_else() -> None:
    copied = {source for name, rest in INSTRUCTIONS if name == "COPY" for source in rest.split()[:-1]}
    extras = re.findall(r"--extra (\S+)", DOCKERFILE)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    own = {source for source in copied if not source.startswith(("--from", "/opt"))}

    assert sorted(extras) == ["oidc", "otel", "postgresql"]
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert own == allowed == packages | {"pyproject.toml", "README.md", "LICENSE"}
    assert all((ROOT / source).exists() for source in own)


def test_the_final_image_is_not_root_and_is_handed_only_what_was_installed() -> None:
    user, group = of_image("USER").split(":")
    bases = [rest.split()[0] for name, rest in INSTRUCTIONS if name == "FROM"]

    assert int(user) > 0
    assert int(group) > 0
    assert [rest for name, rest in LAST_STAGE if name == "COPY"] == ["--from=build /opt/archcast /opt/archcast"]
    assert len(bases) == 2
    assert len(set(bases)) == 1  # the environment names the interpreter by its place


def test_devices_are_one_build_argument() -> None:
    assert ("ARG", "DEVICE=cpu") in INSTRUCTIONS
    assert COMPOSE["x-archcast"]["build"]["args"] == {"DEVICE": "cpu"}
    assert CUDA["services"]["worker"]["build"]["args"] == {"DEVICE": "cuda"}
    assert CUDA["services"]["worker"]["image"] != SERVICES["worker"]["image"]


def test_everything_that_is_referred_to_is_there() -> None:
    for service in SERVICES.values():
        for needed, condition in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert condition["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (FOLDER / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]
        assert set(service["networks"]) <= set(COMPOSE["networks"])
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) <= used


def test_what_runs_for_long_is_started_again_and_says_how_it_is() -> None:
    for name in SERVICES.keys() - {"metrics-key"}:
        assert SERVICES[name]["restart"] == "unless-stopped", name
        assert "test" in SERVICES[name]["healthcheck"], name
    assert SERVICES["metrics-key"]["restart"] == "no"


def test_no_port_is_open_to_the_network_unless_asked_for() -> None:
    published = [filled(port) for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_images_are_named_without_a_registry_and_with_a_version() -> None:
    foreign = [service["image"] for name, service in SERVICES.items() if name not in OURS]

    assert all(re.fullmatch(r"[a-z]+(/[a-z]+)?:v?\d[\w.]*", image) for image in foreign)
