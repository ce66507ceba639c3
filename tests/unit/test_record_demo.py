"""The picture of the demo shows the terminal as it is at the end."""

from docs.record_demo import picture, screen

FRAMES = (
    "[3/5] orders\r\n  stage\r\n  landed 1"
    "\r\x1b[2K\x1b[1A\x1b[2K  stage\r\n  landed 2\r\n\x1b[?25h\x1b[1mequal\x1b[0m\r\n"
)


def test_the_live_tables_earlier_states_are_not_in_the_picture():
    assert screen(FRAMES) == ["[3/5] orders", "  stage", "  landed 2", "\x1b[1mequal\x1b[0m", ""]


def test_the_picture_holds_every_line_and_loads_nothing():
    svg = picture(screen(FRAMES), "headrace demo")
    for text in ("headrace&#160;demo", "[3/5]&#160;orders", "landed&#160;2", "equal"):
        assert text in svg
    assert "@font-face" not in svg and "url(http" not in svg
