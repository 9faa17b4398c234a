"""The program `potadlab`: what people type, and how it answers.

Exit 0 fine, 1 bad input or failed work (one line on standard error), 2 wrong usage.
"""

import os
import sys

import click

from .. import __version__
from ..errors import BadSize, PotadError, UnknownName
from .ageing import age
from .claiming import claim
from .generating import generate
from .measuring import bench, export
from .opening import lab
from .recording import record, snapshot
from .replaying import replay
from .traces import cut, diff, import_text, info

DEBUG = "POTADLAB_DEBUG"


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit; no traceback unless POTADLAB_DEBUG is set."""
    try:
        code = program.main(arguments, prog_name="potadlab", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (UnknownName, BadSize) as error:  # only arguments can hold a wrong name or size
        _fail(error, str(error), 2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        _fail(error, "stopped", 130)
    except PotadError as error:
        _fail(error, str(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        said = " ".join(str(error).split()) or "no more is known"
        _fail(error, f"unexpected {type(error).__name__}: {said} (set {DEBUG}=1 to see where)", 1)


def _fail(error: BaseException, line: str, code: int) -> None:
    if os.environ.get(DEBUG):
        raise error
    click.echo(f"potadlab: {line}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="potadlab")
def program() -> None:
    """A visual lab for POTAD, the Power Of Two Allocator with Descriptor.

    It replays recorded traces of real kernels on POTAD and on Linux's buddy allocator, and shows
    what comes of it. Begin with `potadlab lab`.
    """


for _command in (
    replay, claim, age, info, import_text, cut, diff, export, record, snapshot, generate, bench,
    lab,
):  # fmt: skip
    program.add_command(_command)
