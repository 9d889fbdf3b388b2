"""The doctor tells what holds and what is wrong, and never a key."""

from __future__ import annotations

import socket

from tests.cli.synth_process import Workplace


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_fresh_machine_is_healthy(workplace: Workplace) -> None:
    shown = workplace.run("doctor")
    assert shown.code == 0
    assert shown.err == ""
    assert "offline: the local generator, no model is used" in shown.out
    assert "every setting has its default" in shown.out
    assert f"{workplace.home / 'synth' / 'store.sqlite'} (made by the first run)" in shown.out
    assert not (workplace.home / "synth").exists(), "looking makes nothing"


def test_which_setting_won_and_who_said_so(workplace: Workplace) -> None:
    (workplace.home / "synth").mkdir()
    (workplace.home / "synth" / "config.toml").write_text('model = "openai/user"\n[engine]\ntries = 3\n')
    (workplace.folder / "synth.toml").write_text('model = "openai/project"\n')
    (workplace.folder / ".env").write_text("SYNTH_BUDGET=1usd\nOPENAI_API_KEY=sk-never-shown\n")
    shown = workplace.run("doctor", "--model", "openai/flag", variables={"SYNTH_CONCURRENCY": "7"}).out
    assert "model = openai/flag  (from --model)" in shown
    assert "engine.concurrency = 7  (from SYNTH_CONCURRENCY)" in shown
    assert "engine.budget = 1usd  (from SYNTH_BUDGET)" in shown
    assert f"engine.tries = 3  (from {workplace.home / 'synth' / 'config.toml'})" in shown
    assert "openai: set (from OPENAI_API_KEY)" in shown
    assert "openai/flag at https://api.openai.com/v1, with a key" in shown


def test_secrets_are_never_shown(workplace: Workplace) -> None:
    (workplace.folder / "synth.toml").write_text(
        '[upstreams.lab]\nbase_url = "http://lab/v1"\nproxy = "http://me:pass-word@proxy:3128"\n'
        'headers = {Authorization = "Bearer very-secret"}\n'
    )
    variables = {"OPENAI_API_KEY": "sk-never-shown", "HTTPS_PROXY": "http://me:pass-word@proxy:3128"}
    ended = workplace.run("doctor", "--model", "openai/x", variables=variables)
    for secret in ("sk-never-shown", "pass-word", "very-secret"):
        assert secret not in ended.out + ended.err
    assert "through the proxy proxy:3128" in ended.out


def test_a_key_without_a_model_is_explained(workplace: Workplace) -> None:
    shown = workplace.run("doctor", variables={"OPENAI_API_KEY": "k"})
    assert shown.code == 0
    assert "OPENAI_API_KEY is set, but no model is named: add --model openai/gpt-4.1-mini" in shown.out


def test_problems_are_marked_and_the_exit_code_says_so(workplace: Workplace) -> None:
    store = workplace.home / "synth" / "store.sqlite"
    store.parent.mkdir()
    store.write_bytes(b"this is no database, and long enough to be taken for one by nobody" * 100)
    shown = workplace.run("doctor", "--model", "openai/x", variables={"SYNTH_CONCURENCY": "3"})
    assert shown.code == 1
    assert "3 problems" in shown.err
    marked = [line for line in shown.out.splitlines() if line.startswith("!")]
    assert [("SYNTH_CONCURENCY" in line, "OPENAI_API_KEY" in line, "store" in line) for line in marked] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_online_tells_that_nobody_is_there(workplace: Workplace) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    shown = workplace.run("doctor", "--base-url", url, "--model", "any", "--online")
    assert shown.code == 1
    assert "! online     cannot connect" in shown.out
    unasked = workplace.run("doctor", "--base-url", url, "--model", "any")
    assert unasked.code == 0
    assert " online " not in unasked.out
