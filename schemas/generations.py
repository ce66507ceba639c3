"""What a generation of reporting is called. Its number alone names its schema, its topics and its groups, so nobody can
wire two generations into each other. The first one's topics and groups carry no number."""

FIRST = 1


def schema(generation: int) -> str:
    """The schema of its tables and checkpoints."""
    return f"reporting_g{generation}"


def topic(name: str, generation: int) -> str:
    """What its topic is called that is `name` in the first generation."""
    return name if generation == FIRST else f"{name}.g{generation}"


def group(name: str, generation: int) -> str:
    """What its consumer group is called that is `name` in the first generation."""
    return name if generation == FIRST else f"{name}-g{generation}"
