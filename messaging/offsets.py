"""Offsets that a topic no longer answers for: both errors need an operator."""

from schemas.errors import HeadraceError


class TopicReplaced(HeadraceError):
    """The topic was deleted and made again: its offsets mean other records. See docs/runbook.md#topic-replaced.

    `whose` names what remembers the topic id `was`.
    """

    def __init__(self, where: str, whose: str, was: str, is_now: str) -> None:
        super().__init__(
            f"{where}: {whose} belongs to topic id {was}, the topic now has {is_now}: its offsets mean other records. "
            "See docs/runbook.md#topic-replaced"
        )


class OffsetGone(HeadraceError):
    """Records that have not been read were deleted. `entry` is the runbook's."""

    def __init__(self, where: str, detail: str, entry: str = "offset-gone") -> None:
        super().__init__(f"{where}: {detail}. See docs/runbook.md#{entry}")
