"""From an exception to one line and an exit code; from a signal to a tidy end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from audiocodec.errors import AudiocodecError, MissingExtraError
from audiocodec.stdio import fill_in

EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 128 + 2
EXIT_BROKEN_PIPE = 128 + 13


# Packages that whole commands are built on, and the extra that brings each.
_EXTRAS = {"torch": "train", "einops": "train", "onnx": "export"}


class Terminated(BaseException):
    """A signal that ends the program. Raised, so that every ``with`` removes its unfinished output."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (``sys.argv`` without its first); return the exit code."""
    from audiocodec.cli.app import app, register

    fill_in()
    register(sys.argv[1:] if arguments is None else arguments)
    state: dict[str, bool] = {"debug": False}
    try:
        with _signals_raised():
            code = app(
                args=None if arguments is None else list(arguments),
                prog_name="audiocodec",
                standalone_mode=False,
                obj=state,
            )
            sys.stdout.flush()  # here, where a closed pipe is still caught
        return code if isinstance(code, int) else 0
    except BaseException as error:
        return _conclude(error, state["debug"])


def _conclude(error: BaseException, debug: bool) -> int:
    """Say in one line what happened, and return the exit code that stands for it."""
    if debug and isinstance(error, Exception) and not hasattr(error, "format_message"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, AudiocodecError):
        return _say(str(error), error.exit_code)
    if isinstance(error, Terminated):
        return 128 + error.signum
    if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
        return error.code if isinstance(error.code, int) else int(bool(error.code))
    if isinstance(error, (BrokenPipeError, SystemExit)):  # typer makes its own exit of a closed pipe
        # Whatever is still buffered has nowhere to go; without this the interpreter complains when it exits.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":  # some typers' name for Ctrl-C
        return EXIT_INTERRUPTED
    if hasattr(error, "format_message"):  # typer's usage errors, whichever click they come from
        return _say(_usage(error), 2)
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get(str(error.name).partition(".")[0])):
        return _say(f"this needs {error.name}; pip install 'audiocodec[{extra}]'", MissingExtraError.exit_code)
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return _say(f"the operating system refused{place}: {error.strerror or error}", 1)
    hint = "" if debug else "; run again with `audiocodec --debug ...` and report what it prints"
    return _say(f"this is a fault of audiocodec's own ({type(error).__name__}: {error}){hint}", EXIT_BUG)


def _usage(error: BaseException) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", "audiocodec")
    return f"{error.format_message().rstrip('.')}; see {command} --help"  # type: ignore[attr-defined]


def _say(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def _signals_raised():  # type: ignore[no-untyped-def]
    """Turn SIGTERM and SIGHUP into :class:`Terminated` for as long as the ``with`` block lasts."""

    def end(signum: int, _frame: FrameType | None) -> None:
        raise Terminated(signum)

    before = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                number = getattr(signal, name)
                # One that the caller chose to ignore (nohup) stays ignored
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, end)
    except ValueError:
        pass  # not the main thread: signals belong to whoever embeds us
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
