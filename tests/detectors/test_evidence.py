"""What is told of an episode: sentences, and which words of an event are named as the burst."""

import pytest

from detectors import layout as at
from detectors.detector import Controls, EpisodeUpdate, new_state, score
from detectors.evidence import FORM, SILENT, TokenEvidence, rate_evidence, sentence, span, usual
from tests.detectors.streams import block, lines, objects, times_of


def updates(steady: list[bytes], odd: bytes, every: int) -> list[EpisodeUpdate]:
    """What is told of a steady stream of which, from event 3,500 on, every `every`-th of 100 is `odd`."""
    bodies = list(steady)
    bodies[3500:3600:every] = [odd] * len(bodies[3500:3600:every])
    return score(new_state(), block(bodies, times_of(len(bodies))), None, Controls(0.8, 10_000))[2]


@pytest.mark.parametrize(
    ("window", "before", "events", "said"),
    [
        (128, 0, 12_000, "0 in 12,000"),
        (8, 700, 12_000, "700 in 12,000"),
        (8, 750, 12_000, "about 1"),
        (2048, 6_000, 12_000, "about 1,024"),
        (128, 12_000, 12_000, "nearly all"),
        (8, 0, 0, "0 in 0"),
    ],
)
def test_what_is_usual(window: int, before: int, events: int, said: str) -> None:
    assert usual(window, before, events) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"),
        (942, "942 ms"),
        (1_000, "1 s"),
        (1_500, "1.5 s"),
        (20_000, "20 s"),
        (60_000, "1 min"),
        (90_000, "90 s"),
        (14 * 60_000, "14 min"),
        (3_600_000, "1 h"),
        (90 * 60_000, "90 min"),
        (47 * 3_600_000, "47 h"),
        (3 * 86_400_000, "3 days"),
    ],
)
def test_how_long(ms: int, said: str) -> None:
    assert span(ms) == said


@pytest.mark.parametrize(
    ("seen", "length", "expected", "said"),
    [
        (412, 60_000, 80 << 8, "412 events in 1 min; usually about 80 at this hour"),
        (1, 600_000, 5_234 << 8, "1 event in 10 min; usually about 5,200 at this hour"),
        (30, 3_600_000, 160 << 8, "30 events in 1 h; usually about 160 at this hour"),
        (9, 600_000, 64, "9 events in 10 min; usually one every 40 min at this hour"),
    ],
)
def test_a_rate_is_told_beside_the_usual_one(seen: int, length: int, expected: int, said: str) -> None:
    assert sentence(at.CH_RATE, [at.V_RATE], [rate_evidence(9, seen, length, expected)]) == said


def test_a_silence_is_told_beside_the_usual_gap() -> None:
    token = TokenEvidence(SILENT, 9, "one every 20 s", "none for 14 min")
    assert sentence(at.CH_SILENCE, [at.V_SILENCE], [token]) == "No event for 14 min; usually one every 20 s"


BURST = TokenEvidence("upstream timed out", 9, "0 in 12,000", "37 of the last 128 events")
VALUE = TokenEvidence("status: 500", 9, "3 different values in 900 events", "new or rare there")


@pytest.mark.parametrize(
    ("leading", "kinds", "tokens", "said"),
    [
        (0, [0, 2], [BURST, VALUE], "`upstream timed out` appeared in 37 of the last 128 events; usually 0 in 12,000"),
        (0, [0], [TokenEvidence(FORM, 9, "about 2", "9")], "This form of event appeared in 9; usually about 2"),
        (0, [0], [TokenEvidence("a `b`\n\tc", 9, "about 2", "9")], "`a 'b' c` appeared in 9; usually about 2"),
        (0, [0], [TokenEvidence("x" * 81, 9, "0", "9")], f"`{'x' * 79}…` appeared in 9; usually 0"),
        (
            2,
            [0, 2],
            [BURST, VALUE],
            "`status: 500` is new or rare in its place, which had 3 different values in 900 events",
        ),
        (2, [0], [BURST], "An event with fields or brackets not seen before"),
        (
            2,
            [at.V_VALUE, at.V_PAIR],
            [
                VALUE,
                TokenEvidence("host: kiosk with ip: 10.0.0.9", 11, "812 and 455 events apart", "the first together"),
            ],
            "`host: kiosk with ip: 10.0.0.9` never came together before, in 812 and 455 events apart",
        ),
        (
            2,
            [at.V_FORM],
            [TokenEvidence("brackets or quotes of log", 9, "a form common in 900 events", "new or rare")],
            "The brackets or quotes of log are in an order not seen before",
        ),
        (
            3,
            [at.V_MISSING, at.V_ORDER],
            [
                TokenEvidence(
                    "block received", 9, "in 890 of 900 events of many lines, 3 each where it comes", "no such line"
                ),
                VALUE,
            ],
            "The line `block received` is missing; it comes in 890 of 900 events of many lines, 3 each where it comes",
        ),
        (
            3,
            [at.V_MANY],
            [TokenEvidence("retry", 9, "in 2 of 900 events of many lines, 1 each where it comes", "more")],
            "The line `retry` came too often; it comes in 2 of 900 events of many lines, 1 each where it comes",
        ),
        (
            3,
            [at.V_ORDER],
            [TokenEvidence("closed", 9, "another order", "new")],
            "The line `closed` came behind a line that others follow",
        ),
        (3, [0], [BURST], "Lines of several kinds together as they never were"),
        (1, [0], [BURST], "An event unlike the others of this stream"),
        (
            1,
            [2],
            [VALUE],
            "An event unlike the others of this stream, most of all by `status: 500` in a place with 3 different values in 900 events",
        ),
    ],
)
def test_sentences(leading: int, kinds: list[int], tokens: list[TokenEvidence], said: str) -> None:
    assert sentence(leading, kinds, tokens) == said


@pytest.mark.parametrize(
    ("odd", "name"),
    [
        (b"12:00:00 INFO session upstream timed out id=5 in 7 ms from 10.0.0.1", "upstream timed out"),
        (b"12:00:00 INFO upstream session timed out", "timed out"),
        (
            b'{"level":"info","message":"upstream timed out","http":{"status":200,"ms":9,"ok":true},"tags":["user",null]}',
            "message: upstream timed out",
        ),
    ],
)
def test_neighbouring_words_of_a_burst_are_told_together(odd: bytes, name: str) -> None:
    steady = objects if odd.startswith(b"{") else lines
    told = [u for u in updates(steady(4000, 11), odd, 1) if u.kind == "burst"]
    assert told
    token = told[-1].explanation.tokens[0]
    assert token.token == name
    assert int(token.expected.split(" in 3,")[0]) <= 8  # those of the flood itself that were learned already
    assert told[-1].explanation.sentence.startswith(f"`{name}` appeared in ")


def test_a_burst_of_usual_words_names_their_form_and_its_usual_share() -> None:
    steady = lines(4000, 11)
    told = [u for u in updates(steady, steady[7], 1) if u.kind == "burst"]
    assert told
    token = told[-1].explanation.tokens[0]
    assert token.token == FORM
    assert not token.expected.startswith("0 in")


def test_words_beyond_the_last_row_are_no_words_of_the_event() -> None:
    """Only an event's first 48 words have a place: of what bursts behind them, the event's form is told."""
    steady = [b"word " * 48 + line for line in lines(4000, 11)]
    told = [u for u in updates(steady, b"word " * 60 + b"upstream timed out", 1) if u.kind == "burst"]
    assert told
    assert {u.explanation.tokens[0].token for u in told} == {FORM}
