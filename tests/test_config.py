"""Settings come from the right place, and what is wrong is told with its place and mend."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from agentic_synth.config import Config, EngineConfig, Secret, StoreConfig
from agentic_synth.errors import ConfigError
from agentic_synth.settings import environment, load_config, read_settings, store_path, user_config_file


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return {"SYNTH_HOME": str(tmp_path / "home")}


def write(tmp_path: Path, user: str = "", project: str = "") -> Path:
    (tmp_path / "home" / "config.toml").write_text(user)
    (tmp_path / "work" / "synth.toml").write_text(project)
    return tmp_path / "work"


def test_nothing_said_gives_the_defaults(tmp_path: Path, home: dict[str, str]) -> None:
    assert load_config(directory=tmp_path / "work", environ=home) == Config()
    assert read_settings(directory=tmp_path / "work", environ=home) == []


def test_the_nearer_source_wins_and_says_so(tmp_path: Path, home: dict[str, str]) -> None:
    work = write(
        tmp_path,
        user='model = "openai/user"\n[engine]\ntries = 2\nbudget = "1usd"\nconcurrency = 1',
        project='model = "openai/project"\n[engine]\ntries = 3\nconcurrency = 2',
    )
    variables = {**home, "SYNTH_MODEL": "openai/variable", "SYNTH_CONCURRENCY": "3"}
    flags = {"engine.concurrency": "4", "base_url": None}
    config = load_config(flags, directory=work, environ=variables)
    assert config.model == "openai/variable"
    assert config.engine == EngineConfig(concurrency=4, tries=3, budget="1usd")
    assert config.base_url is None
    origins = {setting.key: setting.origin for setting in read_settings(flags, directory=work, environ=variables)}
    assert origins == {
        "model": "SYNTH_MODEL",
        "engine.concurrency": "--concurrency",
        "engine.tries": str(work / "synth.toml"),
        "engine.budget": str(tmp_path / "home" / "config.toml"),
    }


def test_auto_undoes_a_number_of_a_file(tmp_path: Path, home: dict[str, str]) -> None:
    work = write(tmp_path, project="[engine]\nconcurrency = 2")
    assert load_config({"engine.concurrency": "auto"}, directory=work, environ=home).engine.concurrency is None


def test_variables_are_text_and_become_what_is_meant(tmp_path: Path, home: dict[str, str]) -> None:
    variables = {
        **home,
        "SYNTH_FALLBACK": "openai/a, anthropic/b",
        "SYNTH_TIMEOUT_CONNECT": "2.5",
        "SYNTH_BUDGET": "5usd",
    }
    config = load_config(directory=tmp_path, environ=variables)
    assert config.fallback == ("openai/a", "anthropic/b")
    assert config.timeouts.connect == 2.5
    assert config.engine.budget == "5usd"


def test_tables_of_both_files_are_joined(tmp_path: Path, home: dict[str, str]) -> None:
    work = write(
        tmp_path,
        user='[prices."openai/gpt-4.1"]\ninput = 2\noutput = 8\n[upstreams.lab]\nbase_url = "http://lab/v1"',
        project='[prices."openai/gpt-4.1"]\ninput = 3\n[upstreams.lab]\nkey_variable = "LAB_KEY"',
    )
    config = load_config(directory=work, environ=home)
    assert config.prices == {"openai/gpt-4.1": {"input": 3, "output": 8}}
    assert config.upstreams["lab"].base_url == "http://lab/v1"
    assert config.upstreams["lab"].key_variable == "LAB_KEY"


@pytest.mark.parametrize(
    ("text", "told", "mend"),
    [
        ("concurrency = 3", "no setting `concurrency`", "did you mean `engine.concurrency`?"),
        ("[engine]\nconcurency = 3", "no setting `engine.concurency`", "did you mean `engine.concurrency`?"),
        ("[engin]\ntries = 3", "no setting `engin.tries`", "did you mean `engine.tries`?"),
        ("[upstreams.lab]\nbase_uri = 'x'", "no setting `upstreams.lab.base_uri`", "`upstreams.lab.base_url`"),
        ("zzz = 1", "no setting `zzz`", "there are: model, "),
        ("[engine]\ntries = 'x'", "`engine.tries` expected a whole number", ""),
        ("[engine]\ntries = 0", "`engine.tries` expected a whole number from 1 up (0)", ""),
        ("[timeouts]\ntotal = -1", "`timeouts.total` expected a number above 0", ""),
        ("engine = 3", "`engine` expected a table", ""),
        ("[store]\nttl = 'soon'", "`store.ttl` expected a number", "an age such as 12h"),
        ("[store]\nttl = '0d'", "`store.ttl` expected a number", "an age such as 12h"),
        ("[store]\nttl = -5", "`store.ttl` expected a number above 0", "an age such as 12h"),
        ("[store]\nsynchronous = 'off'", "`store.synchronous` 'off' is not one of its values", ""),
        ("model = gpt", "Invalid value (at line 1", "text in quotes"),
    ],
)
def test_a_wrong_file_is_named_with_its_key_and_the_mend(
    tmp_path: Path, home: dict[str, str], text: str, told: str, mend: str
) -> None:
    work = write(tmp_path, project=text)
    with pytest.raises(ConfigError) as caught:
        load_config(directory=work, environ=home)
    assert caught.value.message.startswith(f"{work / 'synth.toml'}: ")
    assert told in caught.value.message
    assert mend in caught.value.mend


def test_a_file_that_is_no_text_is_an_error_of_ours(tmp_path: Path, home: dict[str, str]) -> None:
    work = write(tmp_path)
    (work / "synth.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot read .*synth\.toml"):
        load_config(directory=work, environ=home)


@pytest.mark.parametrize(
    ("flags", "variables", "told"),
    [
        ({}, {"SYNTH_CONCURRENCY": "many"}, "SYNTH_CONCURRENCY: expected a whole number"),
        ({"engine.concurrency": "0"}, {}, "--concurrency: expected a whole number from 1 up"),
        ({"http": "3"}, {}, "--http: '3' is not one of its values"),
    ],
)
def test_a_wrong_variable_or_flag_is_named(
    tmp_path: Path, home: dict[str, str], flags: dict[str, Any], variables: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(flags, directory=tmp_path, environ={**home, **variables})
    assert caught.value.message.startswith(told)


def test_a_dotenv_stands_behind_the_real_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        'SYNTH_MODEL="openai/from-file"\nSYNTH_BUDGET=1usd\nexport LAB_KEY=abc # mine\nEMPTY=\n'
    )
    monkeypatch.setenv("SYNTH_BUDGET", "9usd")
    monkeypatch.setenv("SYNTH_MODEL", "")
    monkeypatch.delenv("LAB_KEY", raising=False)
    variables = environment(tmp_path)
    assert variables["SYNTH_MODEL"] == "openai/from-file", "an empty variable counts as not set"
    assert variables["SYNTH_BUDGET"] == "9usd"
    assert variables["LAB_KEY"] == "abc"
    assert "EMPTY" not in variables
    assert "LAB_KEY" not in environment(tmp_path / "elsewhere"), "the process's own environment is left as it is"


def test_where_the_store_is(tmp_path: Path) -> None:
    def path(said: str | None, **variables: str) -> Path | None:
        return store_path(Config(store=StoreConfig(path=said)), variables)

    assert path(str(tmp_path / "s")) == tmp_path / "s"
    assert path("relative") == Path.cwd() / "relative"
    assert path("~/answers") == Path.home() / "answers"
    assert path(None, SYNTH_HOME=str(tmp_path)) == tmp_path
    assert path(str(tmp_path / "s"), SYNTH_HOME=str(tmp_path)) == tmp_path / "s"
    assert path(":none:") is None
    usual = path(None)
    assert usual is not None
    assert usual.name == "agentic-synth"


def test_a_store_named_in_a_file_starts_at_the_file(tmp_path: Path, home: dict[str, str]) -> None:
    work = write(tmp_path, project='[store]\npath = "answers"')
    assert load_config(directory=work, environ=home).store.path == str(work / "answers")
    work = write(tmp_path, project='[store]\npath = ":none:"')
    assert load_config(directory=work, environ=home).store.path == ":none:"


def test_the_users_own_file() -> None:
    assert user_config_file({"SYNTH_HOME": "/x"}) == Path("/x/config.toml")
    assert user_config_file({}).parts[-2:] == ("agentic-synth", "config.toml")


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("sk-very-secret")
    assert "very" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "sk-very-secret"
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("'30d'", 2_592_000.0), ("'1.5h'", 5_400.0), ("'8w'", 4_838_400.0), ("60", 60.0), ("'60'", 60.0)],
)
def test_how_long_an_answer_lives_is_an_age_or_seconds(
    tmp_path: Path, home: dict[str, str], text: str, seconds: float
) -> None:
    work = write(tmp_path, project=f"[store]\nttl = {text}")
    assert load_config(directory=work, environ=home).store.ttl == seconds
    assert load_config(directory=work, environ=home | {"SYNTH_TTL": "2m"}).store.ttl == 120.0
