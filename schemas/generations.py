"""Derive every name of a generation of reporting from its number, so that no setting can mix two generations.

The first generation's topics and groups carry no number.
"""

FIRST = 1


def schema(generation: int) -> str:
    """Return the schema of the generation's tables and checkpoints."""
    return f"reporting_g{generation}"


def topic(name: str, generation: int) -> str:
    """Return the generation's name of the topic that is `name` in the first generation."""
    return name if generation == FIRST else f"{name}.g{generation}"


def group(name: str, generation: int) -> str:
    """Return the generation's name of the consumer group that is `name` in the first generation."""
    return name if generation == FIRST else f"{name}-g{generation}"
