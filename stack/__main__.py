"""`python -m stack up|down|status`: the stack alone, without the rest of Headrace."""

import sys
from pathlib import Path

from operations.settings import stack_dir
from stack import supervisor
from stack.errors import StackError


def say(server: str, state: str, seconds: float) -> None:
    print(f"{seconds:6.1f}s {server:9} {state}", flush=True)


def main(arguments: list[str]) -> int:
    folder = Path(stack_dir())
    try:
        match arguments:
            case ["up", *rest]:
                supervisor.up(folder, jit="--jit" in rest, on_event=say)
            case ["down", *rest]:
                supervisor.down(folder, wipe="--wipe" in rest, on_event=say)
            case ["status"]:
                for server in supervisor.status(folder):
                    print(server)
            case _:
                print("usage: python -m stack up [--jit] | down [--wipe] | status", file=sys.stderr)
                return 2
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
