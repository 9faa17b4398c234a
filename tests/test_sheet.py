"""Tables that are cut nowhere, at any width."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from potadlab.report.sheet import Sheet, html_table

NAMES = ["potad", "buddy:descriptor=memdesc", "potad:placement=tightest,groups=kind"]
SMALL = Sheet("A title", (["allocator", "ns per op"], [[name, "4.5"] for name in NAMES]), "Below.")


def told(sheet, width):
    """Its lines without what stands after their last letter."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(sheet)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_what_fits_stays_as_it_is():
    assert told(SMALL, 60) == [
        "A title",
        "",
        " allocator                             ns per op",
        " ───────────────────────────────────────────────",
        " potad                                       4.5",
        " buddy:descriptor=memdesc                    4.5",
        " potad:placement=tightest,groups=kind        4.5",
        "",
        "Below.",
    ]


def test_what_does_not_fit_is_turned_and_then_cut_in_pieces():
    assert told(SMALL, 42) == [
        "A title",
        "",
        "                               buddy:",
        " allocator  potad  descriptor=memdesc",
        " ────────────────────────────────────",
        " ns per op    4.5                 4.5",
        "",
        "",
        "                         potad:",
        "            placement=tightest,",
        " allocator          groups=kind",
        " ──────────────────────────────",
        " ns per op                  4.5",
        "",
        "Below.",
    ]


def test_heads_are_wrapped_between_words_as_wide_as_their_cells():
    sheet = Sheet("", (["", "free memory of a kind"], [["a", "1234567"]]))
    assert [line.strip() for line in told(sheet, 14)[2:5]] == ["free", "memory", "of a"]
    wide = Sheet("", (["", "free memory of a kind"], [["a", "123456789012"]]))
    assert [line.strip() for line in told(wide, 20)[2:4]] == ["free memory", "of a kind"]


def test_a_table_that_may_not_turn_wraps_its_cells_between_words():
    sheet = Sheet("", (["step", "came of it"], [["1", "given at 4 GiB, 2 in vain"]]), turns=False)
    lines = told(sheet, 20)
    assert " ".join(" ".join(lines).replace("1", "").split()).endswith("given at 4 GiB, 2 in vain")
    assert max(map(len, lines)) <= 20


words = st.text("abcdefgh=", min_size=1, max_size=12)
specs = st.lists(words, min_size=1, max_size=4).map(",".join)


@given(st.lists(specs, min_size=1, max_size=6), st.integers(1, 9), st.sampled_from([40, 80, 100]))
def test_every_letter_of_a_name_and_cell_is_there_and_no_line_is_too_wide(names, figures, width):
    heads = ["allocator", *(f"figure{place}" for place in range(figures))]
    places = range(figures)
    rows = [[name, *(f"{at}.{place}%" for place in places)] for at, name in enumerate(names)]
    lines = told(Sheet("", (heads, rows)), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for name, *cells in rows:
        for part in name.replace(",", ",\n").split("\n"):
            assert part in text
        for cell in cells:
            assert cell in text.split()
    for head in heads:
        assert head in text.split()


def test_a_notebook_and_a_page_show_all_of_it_as_text():
    sheet = Sheet("<b>", (["allocator", "lines"], [["<i>" * 40, "5"]]), "a & b")
    shown = sheet._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "&lt;i&gt;" * 40 in shown
    assert "a &amp; b" in shown
    assert "overflow-x: auto" in shown
    assert html_table(sheet.rows).startswith("<table><thead><tr><th>allocator</th>")


@pytest.mark.parametrize("rows", [(["count", "value"], []), ([], [])])
def test_a_table_of_nothing_is_one_too(rows):
    assert told(Sheet("Nothing", rows), 40)[0] == "Nothing"


def test_as_text_it_is_100_columns_wide():
    rows = [["x" * 9, *["y" * 22] * 3] for _ in range(2)]
    assert 80 < max(map(len, str(Sheet("", (["allocator", *"abc"], rows))).split("\n"))) <= 100
