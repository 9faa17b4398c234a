"""`potadlab generate`."""

from contextlib import ExitStack

import click

from . import parts


class _Told(click.Command):
    """Its help lists the workloads; they are loaded only then."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..workloads import WORKLOADS

        for name, workload in WORKLOADS.items():
            usual = ", ".join(f"{key}={value:g}" for key, value in workload.parameters.items())
            first, _, rest = workload.words.partition("\n\n")
            with formatter.section(name):
                formatter.write_text(first.replace("\n", " "))
                formatter.write_text(rest.replace("\n", " "))
                if usual:
                    formatter.write_text(f"[usual: {usual}]")


class Parameter(click.ParamType):
    """NAME=VALUE."""

    name = "name=value"

    def convert(
        self,
        value: str | tuple[str, float],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        key, _, number = value.partition("=")
        try:
            return key.strip().replace("-", "_"), float(number)
        except ValueError:
            self.fail(f"{value!r}: write it as processes=64", param, ctx)


@click.command(cls=_Told)
@click.argument("name")
@click.argument("target", metavar="OUT.parquet")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed, the same file."
)
@click.option("--ops", type=int, default=400_000, show_default=True, help="How much is asked.")
@click.option(
    "--memory", type=parts.Size(), default="256MiB", show_default=True, help="Of the machine."
)
@click.option("--set", "chosen", type=Parameter(), multiple=True, help="A parameter, as below.")
@parts.json_option
def generate(
    name: str,
    target: str,
    seed: int,
    ops: int,
    memory: int,
    chosen: tuple[tuple[str, float], ...],
    as_json: str | None,
) -> None:
    """Make a named synthetic workload a trace, from a seed."""
    parts.check_target(target, [])
    with ExitStack() as stack:
        numbers = stack.enter_context(parts.output(as_json)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from .. import workloads

        with parts.told(target):
            found = workloads.generate(name, target, seed, ops, memory, progress, **dict(chosen))
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(found.as_dict()))
    if as_json != "-":
        for line in found.words():
            click.echo(line)
