"""Whatever an operator's hand slips to, the answer is a ruleset or mistakes with places."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from vpnctl.errors import PolicyError
from vpnctl.policyfiles import read
from vpnctl.ruleset import Compiled, Mistake, load

STORIES = [
    {Path(path).name: content for path, content in read(story).files.items()}
    for story in sorted((Path(__file__).parent.parent.parent / "policies").iterdir())
    if story.is_dir()
]

SLIPS = st.sampled_from(
    [b"", b" ", b"\n", b":", b"- ", b"[", b"]", b"{", b"}", b",", b"#", b"~", b"0", b"-1", b"99999",
     b"x: y\n", b"'", b"\t", b"&a ", b"*a", b"\xff", b"65000:1", b"hq", b"sites", b"E1", b"null"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(STORIES), st.data())
def test_slips_of_the_hand(story: dict[str, bytes], data: st.DataObject) -> None:
    files = dict(story)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(files)))
        start = data.draw(st.integers(0, len(files[name])))
        end = data.draw(st.integers(start, min(start + 12, len(files[name]))))
        files[name] = files[name][:start] + data.draw(SLIPS) + files[name][end:]
    outcome: Compiled | PolicyError
    try:
        outcome = load(files)
    except PolicyError as error:
        outcome = error
    if isinstance(outcome, PolicyError):
        assert outcome.mistakes
        for mistake in outcome.mistakes:
            assert isinstance(mistake, Mistake)
            lines = files.get(mistake.place.file, b"").decode("utf-8", "replace").splitlines()
            assert 1 <= mistake.place.line <= len(lines) + 1
            assert mistake.message
    else:
        assert {e.vpn for e in outcome.ruleset.endpoints()} == set(outcome.ruleset.vpns)
