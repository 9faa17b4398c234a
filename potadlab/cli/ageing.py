"""`potadlab age`."""

from contextlib import ExitStack
from pathlib import Path

import click

from ..errors import UnknownName
from ..units import Space
from . import parts


class Share(click.ParamType):
    """A share such as 10%, or 0.1."""

    name = "share"

    def convert(self, value, param, ctx):  # type: ignore[no-untyped-def]
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r}: write 0% to 100%", param, ctx)
        return share


@click.command()
@click.option(
    "--allocator",
    "allocators",
    multiple=True,
    metavar="SPEC",
    help="Such as potad:groups=kind; once for each wanted.  [default: the usual ones]",
)
@click.option("--size", type=parts.Size(), default="1GiB", show_default=True, help="Of memory.")
@click.option("--turnovers", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many."
)
@click.option(
    "--unmovable", type=Share(), default="10%", show_default=True, help="Kernel objects that stay."
)
@click.option(
    "--anonymous", type=Share(), default="30%", show_default=True, help="Held by processes."
)
@click.option("--no-compaction", is_flag=True, help="Move nothing where a huge page is refused.")
@click.option("--html", metavar="FILE", help="Write a page that opens without a server.")
@parts.json_option
def age(
    allocators: tuple[str, ...],
    size: int,
    turnovers: int,
    seeds: int,
    unmovable: float,
    anonymous: float,
    no_compaction: bool,
    html: str | None,
    as_json: str | None,
) -> None:
    """Use memory for long, in each allocator, and count the huge pages that can still be had.

    The load reacts (closed loop): page cache fills memory and is reclaimed at the watermarks, huge
    pages fall back to single ones, some kernel objects stay for long, movable memory is moved.
    """
    if html and as_json and Path(html).resolve() == Path(as_json).resolve():
        raise click.UsageError("--html and --json need a file each")
    with ExitStack() as stack:
        page = stack.enter_context(parts.output(html)) if html else None
        numbers = stack.enter_context(parts.output(as_json)) if as_json else None
        progress = stack.enter_context(parts.progress())
        from ..report import ageing

        try:
            run = ageing.age(
                Space.ram(size),
                allocators,
                turnovers=turnovers,
                seeds=seeds,
                unmovable=unmovable,
                anonymous=anonymous,
                compaction=not no_compaction,
                progress=progress,
            )
        except UnknownName as error:
            raise click.UsageError(str(error)) from None
        if page and html:
            parts.put(page, html, run.html())
        if numbers and as_json:
            parts.put(numbers, as_json, parts.json_text(run.as_dict()))
    if "-" not in (html, as_json):
        parts.show(run.table())
    if html and html != "-":
        click.echo(f"wrote {html}: open it in a browser", err=True)
