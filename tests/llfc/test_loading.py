"""What a terminal is told while something is imported."""

import pytest

from llfc.progress.loading import loading


@pytest.mark.parametrize(
    ("terminal", "module", "quiet", "said"),
    [
        (True, "not.imported", False, True),
        (True, "not.imported", True, False),
        (True, "sys", False, False),
        (False, "not.imported", False, False),
    ],
)
def test_it_is_said_on_a_terminal_alone_and_once(
    capsys, monkeypatch, terminal, module, quiet, said
):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")  # by which rich takes anything for a terminal
    with loading("the heavens", module, quiet=quiet):
        pass
    out, err = capsys.readouterr()
    assert (out, "loading the heavens" in err) == ("", said)
