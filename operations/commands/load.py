"""The `headrace load` commands. Their work is imported when one runs, as in operations/cli.py."""

from pathlib import Path
from typing import Annotated

import typer

from operations import settings as configuration
from operations.console import out

app = typer.Typer(no_args_is_help=True, help="Write orders into Postgres as a shop's back end would.")

Rate = Annotated[float, typer.Option(help="Orders a second; 0: no limit.", min=0)]


@app.command()
def shop(
    orders: Annotated[int, typer.Option(help="Number of orders.", min=1)] = 2_000,
    seed: Annotated[int, typer.Option(help="Seed of the generated shop and its orders.")] = 1,
    rate: Rate = 0,
) -> None:
    """Write generated orders. Run it again with the same options to resume after an interruption."""
    from operations import load

    past = load.history(folder=None, orders=orders, seed=seed)
    load.load_with_progress(configuration.of("load"), out, past, rate=rate)


@app.command()
def olist(
    folder: Annotated[Path, typer.Argument(help="The folder with Olist's CSV files.")],
    rate: Rate = 0,
    speedup: Annotated[
        float, typer.Option(help="Keep the orders' original pace, this many times faster; 0: ignore it.", min=0)
    ] = 0,
) -> None:
    """Write Olist's real orders, in the order in which they happened."""
    from operations import load

    past = load.history(folder=folder, orders=0, seed=0)
    load.load_with_progress(configuration.of("load"), out, past, rate=rate, speedup=speedup)
