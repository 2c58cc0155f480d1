from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetforge.domain.search_language import (
    ASSET_FIELDS,
    REFERENCE_FIELDS,
    Search,
    Term,
    number_matches,
    parse_search,
    time_bounds,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_words_phrases_fields_lists_and_negation():
    found = parse_search('mara "red coat" type:character -tag:rain,"night street" -lamp')
    assert found.problems == ()
    assert found.terms == (
        Term(values=("mara",)),
        Term(values=("red coat",)),
        Term(field="type", values=("character",)),
        Term(field="tag", values=("rain", "night street"), negated=True),
        Term(values=("lamp",), negated=True),
    )
    assert found.of("type") == (found.terms[2],)


def test_a_beginning_of_a_choice_stands_for_all_that_begin_so():
    assert parse_search("status:re").terms == (Term(field="status", values=("regressed", "review")),)
    assert parse_search("split:held", REFERENCE_FIELDS).terms == (Term(field="split", values=("held-out",)),)
    assert parse_search("split:held_out", REFERENCE_FIELDS).terms == (Term(field="split", values=("held-out",)),)


def test_both_words_for_nothing_are_understood():
    assert parse_search("captions:none rights:missing").terms == (
        Term(field="captions", values=("missing",)),
        Term(field="rights", values=("none",)),
    )
    assert parse_search("caption:none rights:NONE", REFERENCE_FIELDS).terms == (
        Term(field="caption", values=("missing",)),
        Term(field="rights", values=("none",)),
    )


def test_comparisons():
    found = parse_search("refs:>10 refs:<=3.5 dataset:40 trained:<7d changed:>2026-11-01 trained:never dataset:changed")
    assert found.problems == ()
    assert found.terms == (
        Term(field="refs", operator=">", number=10.0),
        Term(field="refs", operator="<=", number=3.5),
        Term(field="dataset", operator="=", number=40.0),
        Term(field="trained", operator="<", age_s=7 * 86400.0),
        Term(field="changed", operator=">", day=date(2026, 11, 1)),
        Term(field="trained", values=("never",)),
        Term(field="dataset", values=("changed",)),
    )
    assert [number_matches(term, 10.0) for term in found.terms[:3]] == [False, False, False]
    assert [number_matches(term, 3.5) for term in found.terms[:3]] == [False, True, False]
    assert number_matches(found.terms[2], 40)


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43200), ("1.5d", 129600), ("2w", 1209600)])
def test_ages(text, seconds):
    (term,) = parse_search(f"trained:{text}").terms
    assert time_bounds(term, NOW) == (NOW - timedelta(seconds=seconds), None)
    (older,) = parse_search(f"trained:>{text}").terms
    assert time_bounds(older, NOW) == (None, NOW - timedelta(seconds=seconds))


def test_dates_are_whole_days_in_the_time_zone_of_now():
    day = datetime(2026, 11, 1, tzinfo=UTC)
    bounds = {
        text: time_bounds(parse_search(f"changed:{text}2026-11-01").terms[0], NOW)
        for text in ("<", "<=", ">", ">=", "")
    }
    assert bounds == {
        "<": (None, day),
        "<=": (None, day + DAY),
        ">": (day + DAY, None),
        ">=": (day, None),
        "": (day, day + DAY),
    }


@pytest.mark.parametrize(
    ("text", "fields", "problem"),
    [
        (
            "statsu:review",
            ASSET_FIELDS,
            "There is no field statsu:, did you mean status:; there are name, type, status, tag, trigger, refs, trained, changed, rights, captions, dataset, approved, archived.",
        ),
        (
            "status:rewiev",
            ASSET_FIELDS,
            "status:rewiev is not known, did you mean review; it can be running, failed, regressed, review, candidate, approved, waiting or collecting.",
        ),
        ("near:", REFERENCE_FIELDS, "near: needs a value: yes or no."),
        ("width:wide", REFERENCE_FIELDS, "width:wide is no number; write a comparison such as >10."),
        (
            "added:soon",
            REFERENCE_FIELDS,
            "added:soon is no time; write an age such as <7d, or a date such as >2026-11-01.",
        ),
        (
            "trained:<",
            ASSET_FIELDS,
            "trained: needs a value: an age such as <7d, or a date such as >2026-11-01, or never.",
        ),
        ("tag:", ASSET_FIELDS, "tag: needs a value: word or tag in the captions of its references."),
        (
            "added:2026-13-45",
            REFERENCE_FIELDS,
            "added:2026-13-45 is no time; write an age such as <7d, or a date such as >2026-11-01.",
        ),
    ],
)
def test_what_is_not_understood_is_said_in_a_sentence_and_left_out(text, fields, problem):
    found = parse_search(f"word {text}", fields)
    assert found == Search((Term(values=("word",)),), (problem,))


@pytest.mark.parametrize("text", ["", "   ", "-", '"', '""', "- -", '-""'])
def test_nothing_asks_nothing(text):
    assert parse_search(text) == Search()


def test_a_quote_that_is_still_open_is_no_problem():
    assert parse_search('tag:"red co').terms == (Term(field="tag", values=("red co",)),)
    assert parse_search('"red co').terms == (Term(values=("red co",)),)


@given(st.text(alphabet=st.sampled_from(list('atype:status-<>=",0123456789.dwhm \t\n\\[]é\x00')) | st.characters()))
def test_whatever_is_typed_is_read(text):
    for fields in (ASSET_FIELDS, REFERENCE_FIELDS):
        found = parse_search(text, fields)
        assert all(problem.endswith(".") for problem in found.problems)
        for term in found.terms:
            assert term.field in ("", *fields)
            time_bounds(term, NOW)
            number_matches(term, 1.0)
            assert term.values or term.operator
