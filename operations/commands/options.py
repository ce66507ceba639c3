"""Options that several commands share."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")]
MaxRate = Annotated[float, typer.Option(help="Limit for each new worker, in records a second; 0: no limit.", min=0)]
