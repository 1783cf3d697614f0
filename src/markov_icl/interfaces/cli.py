"""The command line: assemble the commands, run one, say in one line what was wrong."""

from __future__ import annotations

import os
import sys

import typer

from markov_icl.choices import hint
from markov_icl.interfaces.catalogue import Group, arrange
from markov_icl.interfaces.commands import (
    attention,
    bench,
    best,
    claims,
    depth,
    doctor,
    experiment,
    explore,
    hardness,
    ladder,
    landscape,
    model,
    optimum,
    report,
    reproduce,
    sample,
    train,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="markov-icl",
    cls=Group,
    help="Exact optima of linear self-attention on in-context Markov chains, and how to reach them.",
    epilog="Start with: markov-icl optimum --context 10. Every command's --help ends with an example; "
    "markov-icl doctor looks at this installation.",
    no_args_is_help=True,
    suggest_commands=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for commands in (
    optimum,
    ladder,
    landscape,
    sample,
    best,
    model,
    train,
    attention,
    depth,
    hardness,
    experiment,
    reproduce,
    claims,
    report,
    explore,
    bench,
    doctor,
):
    commands.register(app)
arrange(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line on stderr and exit code 2."""
    from typer._click.exceptions import ClickException

    sys.set_int_max_str_digits(0)  # exact results may be long
    try:
        code = app(args=arguments, prog_name="markov-icl", standalone_mode=False)
        sys.stdout.flush()
    except ClickException as error:
        _fail(_refusal(error))
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (ValueError, OSError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except MemoryError:
        _fail("expected a smaller task; got one that does not fit in memory")
    except Exception as error:
        if os.environ.get("MARKOV_ICL_DEBUG"):
            raise
        sys.stderr.write(
            f"markov-icl: internal error: {type(error).__name__}: {' '.join(str(error).split())[:200]} "
            "(please report it; MARKOV_ICL_DEBUG=1 shows where)\n"
        )
        sys.exit(1)
    if code == 130:
        sys.stderr.write("markov-icl: stopped\n")
    sys.exit(code if isinstance(code, int) else 0)


def _refusal(error: Exception) -> str:
    """Return what typer refused, with the option that was probably meant."""
    from typer._click.exceptions import ClickException, NoArgsIsHelpError, NoSuchOption

    if isinstance(error, NoArgsIsHelpError):  # the help is on stdout already
        return "expected a command; got none"
    if isinstance(error, NoSuchOption) and error.ctx is not None:
        options = [name for one in error.ctx.command.params for name in (*one.opts, *one.secondary_opts)]
        return error.message + hint(error.option_name, [name for name in options if name.startswith("--")])
    assert isinstance(error, ClickException)
    return error.format_message()


def _fail(message: str) -> None:
    sys.stderr.write("markov-icl: error: " + " ".join(message.split()) + "\n")
    sys.exit(2)
