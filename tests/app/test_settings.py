"""Settings come from the environment, and from nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


def test_the_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    assert settings.database_url == f"sqlite:///{tmp_path / 'archcast.sqlite3'}"


def test_variables_with_the_prefix_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHCAST_PORT", "8123")
    monkeypatch.setenv("ARCHCAST_DATABASE_URL", "postgresql+psycopg://db/archcast")

    settings = Settings()

    assert (settings.port, settings.database_url) == (8123, "postgresql+psycopg://db/archcast")


@pytest.mark.parametrize(("name", "value"), [("port", 70_000), ("prediction_log_rate", 1.5), ("max_body_bytes", 0)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_limits_of_jobs_are_read_as_json_and_handed_on_to_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHCAST_JOB_LIMITS", '{"fine_tune": 2}')
    settings = Settings()

    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)

    assert Settings().job_limits == settings.job_limits == {"fine_tune": 2}


def test_the_folder_of_data_sets_is_handed_on_to_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ARCHCAST_DATASETS" not in Settings().as_environment()
    for name, value in Settings(datasets=tmp_path).as_environment().items():
        monkeypatch.setenv(name, value)

    assert Settings().datasets == tmp_path


@pytest.mark.parametrize("wrong", ["every day", "* * * *", "61 * * * *"])
def test_a_cron_expression_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="expected a cron expression such as"):
        Settings(fine_tune_cron=wrong)
