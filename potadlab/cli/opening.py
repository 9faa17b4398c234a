"""`potadlab lab`."""

import click

from . import parts


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on localhost.  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--live", is_flag=True, help="Show this machine as it runs (needs root).")
def lab(port: int | None, no_browser: bool, live: bool) -> None:
    """Open the lab: JupyterLab on the dashboard, with a recorded trace loaded."""
    from ..launch import LAB, LIVE, open_lab

    if live:
        from ..traces.recording import check

        check()  # told here, and not in the notebook

    parts.compile_core()  # here, where it can be watched, and not in the notebook
    open_lab(port, browser=not no_browser, notebook=LIVE if live else LAB)
