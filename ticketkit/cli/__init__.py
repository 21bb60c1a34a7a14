"""The command line: gathers arguments, calls the library, prints. A command a file."""

from __future__ import annotations

import contextlib
import errno
import importlib
import keyword
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import click

import ticketkit
from ticketkit import stopping
from ticketkit.cli.stops import ALWAYS, INTERRUPTED, STOPPED, StoppedAtOnce, heeding
from ticketkit.distributed import leads, leave
from ticketkit.errors import Stopped, TicketkitError, near, printable

# Command: the module of this package that holds it, under the same name (keywords: with a '_').
_COMMANDS = (
    "prune",
    "show",
    "apply",
    "verify",
    "overlap",
    "import",
    "pretrain",
    "transfer",
    "evaluate",
    "compare",
    "gap",
    "parts",
    "plugins",
)

DONE, FAILED, USAGE, BUG = 0, 1, 2, 101
_LAST_WORDS = 2.0  # seconds in which torchrun, which looks ten times a second, ends a process


class _Commands(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"ticketkit.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            known = ", ".join(_COMMANDS)
            hint = near(args[0], _COMMANDS)
            message = f"no command {printable(args[0])!r}; choose from {known}{hint}"
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, help="Print the version; with -v, of torch and plugins too."
)
@click.option("-v", "--verbose", is_flag=True, help="With --version: torch, platform, plugins.")
@click.pass_context
def group(ctx: click.Context, version: bool, verbose: bool) -> None:
    """Draw sparse tickets from PyTorch checkpoints.

    A ticket is a mask over pretrained weights; `sparsity` is the fraction removed.

    Exit status: 0 done, 1 failed or a check not met, 2 usage, 3 input refused, 75 stopped,
    101 a bug of ticketkit, 130 Ctrl-C.
    """
    if version:
        from ticketkit.cli.version import lines

        click.echo("\n".join(lines(verbose)))
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    _open_streams()
    if "_TICKETKIT_COMPLETE" in os.environ:
        group.main(prog_name="ticketkit")
    status = _guarded(lambda: _run(list(sys.argv[1:] if arguments is None else arguments)))
    status = _flushed(status)
    if status != DONE:
        leave(status)
    return status


def _open_streams() -> None:
    """Let closed standard streams lead nowhere: an output must not get one of their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name in a file must not end the program
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: list[str]) -> int:
    with heeding(ALWAYS), group.make_context("ticketkit", arguments) as ctx:
        result = group.invoke(ctx)
    return result if isinstance(result, int) else DONE


def _guarded(run: Callable[[], int]) -> int:
    """Run, and turn whatever happens into an exit status and at most a few lines of text."""
    try:
        return run()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        _complain(error.format_message().rstrip(".") + _help_of(error))
        return error.exit_code
    except Stopped as error:
        _say(f"error: {error}")
        return error.exit_status
    except TicketkitError as error:
        _complain(str(error))
        return error.exit_status
    except (KeyboardInterrupt, click.Abort) as error:
        return _stopped("interrupted", INTERRUPTED, error)
    except SystemExit as error:
        return _ended(error)
    except OSError as error:
        return _failed(error)
    except MemoryError:
        _complain("out of memory; nothing was lost")
        return FAILED
    except Exception as error:  # noqa: BLE001  the last resort: a bug of ours, told as one
        return _confess(error)


def _help_of(error: click.ClickException) -> str:
    """Where to read on, after a usage error."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f" (see '{context.command_path} --help')" if context else ""


def _stopped(how: str, status: int, error: BaseException) -> int:
    _say(f"error: {how}; no output was left half-written")
    # click raises an Abort of its own, whose cause is the Ctrl-C.
    for note in getattr(error.__cause__ or error, "__notes__", ()):
        _say(f"note: {note}")
    return status


def _ended(error: SystemExit) -> int:
    if isinstance(error, StoppedAtOnce):
        return _stopped("stopped by a signal", STOPPED, error)
    _complain(f"a plugin ended the program: sys.exit({error.code!r})")
    return FAILED


def _failed(error: OSError) -> int:
    if error.errno == errno.EPIPE:  # whoever read our output has read enough
        return DONE
    _complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
    return FAILED


def _complain(message: str) -> None:
    """Tell an error. Of many processes the leading one tells its own at once.

    Others wait, as theirs may be the same or come of it: torchrun ends them meanwhile.
    """
    if leads():
        _say(f"error: {message}")
    elif not stopping.asked():
        time.sleep(_LAST_WORDS)
        _say(f"error: process {os.environ['RANK']}: {message}", anyone=True)


def _say(line: str, *, anyone: bool = False) -> None:
    if anyone or leads():
        with contextlib.suppress(OSError):  # nobody may be listening
            click.echo(printable(line, 4000), err=True)


def _confess(error: Exception) -> int:
    import tempfile

    _complain(f"a bug of ticketkit: {type(error).__name__}: {error}")
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="ticketkit-bug-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"ticketkit {ticketkit.__version__}\n{sys.argv}\n\n{text}")
        _complain(f"the traceback is in {file.name}; please report it")
    except OSError:  # nowhere to save it
        with contextlib.suppress(OSError):
            click.echo(text, err=True)
    return BUG


def _flushed(status: int) -> int:
    """Flush what was printed while its loss can still be told."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE and status == DONE:
            _complain(f"standard output: {error.strerror}")
            return FAILED
    return status
