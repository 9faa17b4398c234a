"""`potadlab claim`."""

from contextlib import ExitStack

import click

from . import parts


@click.command()
@click.argument("trace", metavar="TRACE")
@click.option("--size", type=parts.Size(), required=True, help="How much, such as 8MiB.")
@click.option("--align", type=parts.Size(), required=True, help="At which alignment, such as 1MiB.")
@click.option("--at", "moment", default="100%", show_default=True, help="50%, or a number of ops.")
@click.option("--cma", "area", default="256MiB", show_default=True, help="Size of CMA's area.")
@click.option("--snapshot", metavar="FILE", help="The memory in use when the recording began.")
@click.option("--cold", is_flag=True, help="Begin with all memory free.")
@parts.json_option
def claim(
    trace: str,
    size: int,
    align: int,
    moment: str,
    area: str,
    snapshot: str | None,
    cold: bool,
    as_json: str | None,
) -> None:
    """Ask for contiguous memory at a moment of a trace, step by step.

    POTAD answers, and CMA with one area; each with nothing moved, and with movable memory moved out
    of the way.
    """
    if cold and snapshot:
        raise click.UsageError("--cold and --snapshot exclude each other")
    with ExitStack() as stack:
        inputs = parts.inputs([trace], snapshot)
        numbers = stack.enter_context(parts.output(as_json, inputs)) if as_json else None
        progress = stack.enter_context(parts.progress())
        read = parts.read(trace, snapshot, cold, progress)
        from ..claiming import claim_at
        from ..report import claim_table
        from ..report.run import index_of

        index = index_of(moment, len(read.ops))
        progress(1.0, "claiming")
        answers = claim_at(read, index, size, align, area)
        if numbers and as_json:
            found = {
                "trace": read.name,
                "at": {"op": index, "time_s": index and read.ops[index - 1]["time_ns"] / 1e9},
                "size_bytes": size,
                "align_bytes": align,
                "claims": [answer.as_dict() for answer in answers],
            }
            parts.put(numbers, as_json, parts.json_text(found))
    if not numbers:
        parts.show(claim_table(read, index, size, align, answers))
