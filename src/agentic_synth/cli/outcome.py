"""How a command ends: its exit code, and what is said where it went wrong."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, TypeVar

from agentic_synth.cli.terminal import say
from agentic_synth.errors import BudgetSpent, ConfigError, OutputError, RecipeError, SynthError
from agentic_synth.settings import environment

__all__ = ["ExitCode", "before_asking", "guarded", "report", "run_async"]

Result = TypeVar("Result")
_USUAL_THRESHOLD = 700


class ExitCode(IntEnum):
    """What the exit code says; 0 only if everything that was asked is there."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BUDGET = 3
    INTERRUPTED = 130
    CLOSED = 141
    TERMINATED = 143

    @classmethod
    def of(cls, error: BaseException) -> ExitCode:
        """The exit code for a command that *error* ended."""
        if isinstance(error, ConfigError | RecipeError):
            return cls.USAGE
        return cls.BUDGET if isinstance(error, BudgetSpent) else cls.FAILED


def guarded(command: Callable[[], Any]) -> int:
    """Run the whole command line; every error becomes a message with its mend and an exit code, never a traceback.

    ``SYNTH_DEBUG=1`` shows the traceback too.
    """
    try:
        return _flushed(_ended(command))
    except BrokenPipeError:  # of stderr, while an error was told
        return _silent(ExitCode.CLOSED)


@contextmanager
def before_asking(begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Files that cannot be read or written are wrong input (2) as long as the run has not *begun*."""
    try:
        yield
    except OutputError as error:
        if begun():
            raise
        raise ConfigError(error.message, mend=error.mend) from error


def _ended(command: Callable[[], Any]) -> int:
    try:
        command()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # which Typer takes for a failure
            return _silent(ExitCode.CLOSED)
        return ended.code if isinstance(ended.code, int) else ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the border of the process: nothing may leave as a bare traceback
        return _ended_by(error)
    return ExitCode.DONE


def _ended_by(error: Exception) -> int:
    from agentic_synth.sinks.sink import OutputClosed  # noqa: PLC0415 - keeps --help fast

    if isinstance(error, BrokenPipeError | OutputClosed):
        return _silent(ExitCode.CLOSED)
    if not isinstance(error, SynthError):
        name = f"{type(error).__name__}: {error}".rstrip(": ")
        error = SynthError(
            f"a fault of agentic-synth itself: {name}", mend="SYNTH_DEBUG=1 shows where; please report it"
        )
    report(error)
    return ExitCode.of(error)


def report(error: SynthError) -> None:
    """Say what went wrong and what mends it."""
    say(f"error: {error.message}")
    for line in error.mend.splitlines():
        say(f"  {line}")
    if _debug():
        say(traceback.format_exc())


def run_async(main: Coroutine[Any, Any, Result]) -> Result:
    """Run *main* on the fastest loop there is; a SIGTERM ends it as Ctrl+C does, so that what is done is kept."""
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from agentic_synth.sdk.loop import new_event_loop  # noqa: PLC0415

    async def terminable() -> Result:
        gc.freeze()  # what is loaded by now stays for good
        gc.set_threshold(_USUAL_THRESHOLD, *gc.get_threshold()[1:])
        task = asyncio.current_task()
        if task is not None and os.name == "posix":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            return runner.run(terminable())
        except asyncio.CancelledError:
            raise SystemExit(ExitCode.TERMINATED) from None


def _debug() -> bool:
    try:
        return bool(environment().get("SYNTH_DEBUG"))
    except ConfigError:
        return False


def _flushed(code: int) -> int:
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _silent(ExitCode.CLOSED)
    except OSError as error:
        say(f"error: cannot write stdout: {(error.strerror or str(error)).lower()}")
        return _silent(ExitCode.FAILED)
    return code


def _silent(code: int) -> int:
    """Leave without a further word; if whoever read our stdout has seen enough (``| head``), as other tools do."""
    # Python flushes both once more when it ends, and would complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
    return code
