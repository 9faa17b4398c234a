"""`potadlab lab`."""

import click

from . import parts


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on localhost.  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--live", is_flag=True, help="Show this machine as it runs (needs root).")
@click.option("--app", is_flag=True, help="Without code: only the dashboard, served by Voila.")
@click.argument("link", required=False)
def lab(port: int | None, no_browser: bool, live: bool, app: bool, link: str | None) -> None:
    """Open the lab: JupyterLab on the dashboard, with a recorded trace loaded.

    LINK: what the dashboard's Link button gave; the lab opens at its moment.
    """
    from ..launch import LAB, LIVE, open_lab

    if live:
        from ..traces.recording import check

        check()  # told here, and not in the notebook

    query = _query(link) if link else ""
    if live and query:
        raise click.UsageError("--live shows this machine now: a link is of a recorded moment")
    parts.compile_core()  # here, where it can be watched, and not in the notebook
    notebook = LIVE if live else LAB
    open_lab(port, browser=not no_browser, notebook=notebook, app=app, link=query)


def _query(link: str) -> str:
    """Of a link that can be read; else BadTrace, here and not in the page."""
    from ..dashboard import links

    links.read(link)
    return links.query_of(link)
