"""Allocators by hand without a browser: what widgets ask of all of them, what is then seen."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import potadlab as pl
from potadlab.core.raster import FREE
from potadlab.dashboard import Hand
from potadlab.dashboard.pictures import ROWS, Held
from potadlab.views import regions, steps, theme

PAGE = 4096
SMALL = pl.Space.ram("64KiB", granule="4KiB")


def made(make):
    """Without an event loop, in a thread of its own: Playwright keeps a loop in the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


@pytest.fixture
def hand():
    shown = made(lambda: Hand(pl.Potad(SMALL), pl.Buddy(SMALL)))
    yield shown
    shown.close()


@pytest.fixture
def large():
    space = pl.Space.ram("1.5TiB", granule="4KiB")
    shown = made(lambda: Hand(pl.Potad(space), pl.Buddy(space)))
    yield shown
    shown.close()


def ask(hand, button, **values):
    """Set widgets, press a button, return the log's newest lines."""
    for name, value in values.items():
        getattr(hand.controls, name).value = value
    before = len(hand.log)
    getattr(hand.controls, button).click()
    return hand.log[: len(hand.log) - before]


def live(hand, name):
    """(granule, order) of each live block."""
    blocks = hand.allocators[name].blocks()
    return [(int(one["granule"]), int(one["order"])) for one in blocks if one["kind"] != 1]


def both(hand):
    return live(hand, "potad"), live(hand, "buddy")


def tap(hand, name, x, y, what="tap", delta=0):
    message = {"type": "pointer", "what": what, "map": name, "x": x, "y": y, "delta": delta}
    hand._hear(message)


def texts(hand, name):
    return list(hand.canvas.data[name]["words"].data["text"])


# ---- every op goes to all ----


def test_allocate_asks_all_and_each_answers_in_the_log(hand):
    lines = ask(hand, "allocate", size=2 * PAGE, kind="slab", owner="you")
    assert both(hand) == ([(0, 1)], [(0, 1)])
    assert lines == [
        "allocate 8 KiB (slab, you):",
        "  potad: 8 KiB at 0x0 (slab, you); split 64 KiB: 32 + 16 + 8 | 8 taken",
        "  buddy: 8 KiB at 0x0 (slab, you); split 64 KiB: 32 + 16 + 8 | 8 taken",
    ]
    found = hand.allocators["buddy"].lookup(PAGE)
    assert (found.kind, found.owner) == ("slab", "you")


def test_the_figures_hold_the_steps_of_each(hand):
    ask(hand, "allocate", size=PAGE, owner="you")
    data = hand.canvas.data["buddy"]
    rows = [
        SimpleNamespace(number=at, words=words, blocks=blocks, ok=True)
        for at, (words, blocks) in enumerate(
            [
                ("nothing yet", hand.allocators["buddy"].blocks()[:0]),
                ("allocate 4 KiB (anon, you)", hand.allocators["buddy"].blocks()),
            ]
        )
    ]
    expected = steps.columns(rows, np.array([[0, 16]]), 16, PAGE, 10, ["you"])
    for part, columns in expected.items():
        assert dict(data[part].data) == columns
    assert list(data["blocks"].data["right"]) == [16, 1, 2, 4, 8, 16]


def test_a_refusal_is_a_line_and_the_widget_lives_on(hand):
    ask(hand, "allocate", size=16 * PAGE)
    lines = ask(hand, "allocate", size=PAGE)
    refused = "refused: no free block of 4 KiB: nothing is free: release something first"
    assert lines == [
        "allocate 4 KiB (anon, me):",
        f"  potad: {refused}",
        f"  buddy: {refused}",
    ]
    assert texts(hand, "potad")[-1] == "refused: allocate 4 KiB (anon, me)"
    assert len(ask(hand, "release")) == 3
    assert both(hand) == ([], [])


def test_a_claim_that_one_refuses_is_made_in_the_other(hand):
    lines = ask(hand, "claim", claim_size="12KiB", align=PAGE, owner="camera")
    assert lines[0] == "claim 12KiB at 4 KiB:"
    assert lines[1].startswith("  potad: 3 x 4 KiB at 0x0; tried 3 x 4 KiB: found; split 64 KiB:")
    assert lines[2].startswith("  buddy: refused: claim of 12 KiB at 4 KiB: not tried")
    assert both(hand) == ([(0, 0), (1, 0), (2, 0)], [])


def test_a_claim_goes_chunk_by_chunk_or_whole(hand):
    ask(hand, "claim", claim_size="12KiB", align=PAGE)
    hand.choose("potad", 0)
    ask(hand, "release")
    assert live(hand, "potad") == [(1, 0), (2, 0)]
    assert hand.controls.release_claim.disabled  # what is chosen is free now
    hand.choose("potad", 2)
    ask(hand, "release_claim")
    assert live(hand, "potad") == []


def test_chunks_of_one_claim_answer_each_other_by_their_place_in_it(hand):
    ask(hand, "allocate", size=PAGE)
    for name in ("potad", "buddy"):  # so that the claims lie in different places
        hand.allocators[name].allocate("4KiB" if name == "potad" else "8KiB")
    ask(hand, "claim", claim_size="16KiB", align=4 * PAGE)
    starts = [each[-1] for each in both(hand)]
    hand.choose("potad", starts[0][0] + 1)
    assert f"its like in buddy: at {(starts[1][0] + 1) * PAGE:#x}" in hand.controls.described.value
    ask(hand, "release_claim")
    assert all(start not in each for start, each in zip(starts, both(hand), strict=True))


def test_a_claim_may_migrate_what_is_in_its_way(hand):
    for _ in range(16):
        ask(hand, "allocate", size=PAGE, kind="anon")
    for granule in range(0, 16, 2):
        hand.choose("potad", granule)
        ask(hand, "release")
    refused = ask(hand, "claim", claim_size="16KiB", align=4 * PAGE, migrate=False)
    assert "refused" in refused[1]
    lines = ask(hand, "claim", claim_size="16KiB", align=4 * PAGE, migrate=True)
    assert lines[0] == "claim 16KiB at 16 KiB, may migrate:"
    assert "8 KiB moved away" in lines[1]


@pytest.mark.parametrize("size", ["potato", "", "3", "10KiB", "-4KiB", "1e400TiB"])
def test_a_size_that_is_none_is_one_line_each(hand, size):
    lines = ask(hand, "claim", claim_size=size)
    assert len(lines) == 3
    assert all("refused: " in line and "\n" not in line for line in lines[1:])
    assert "Error:" not in "".join(lines)
    assert both(hand) == ([], [])


# ---- what is chosen ----


def test_a_click_chooses_the_block_and_its_like_elsewhere(hand):
    ask(hand, "allocate", size=2 * PAGE, owner="you")
    tap(hand, "buddy", 1.5, 1.2)
    assert hand.selected == ("buddy", 1)
    said = hand.controls.described.value
    for words in ("buddy, at 0x1000:", "block of 8 KiB, anon, from 0x0", "owner: you", "in potad"):
        assert words in said
    for name in ("potad", "buddy"):
        chosen = hand.canvas.data[name]["chosen"].data
        assert list(chosen["xs"]) == [[0, 2, 2, 0, 0]]
        assert list(chosen["ys"]) == [[1, 1, 1.42, 1.42, 1]]
    tap(hand, "buddy", 9, 1.2)
    assert "free, in a free block of 32 KiB from 0x8000" in hand.controls.described.value
    assert hand.controls.release.disabled
    assert not hand.controls.fail.disabled
    tap(hand, "buddy", 9, 1.7)  # between two rows
    assert hand.selected == ("buddy", 9)


def test_release_takes_what_the_same_ask_brought_wherever_it_lies(hand):
    potad, buddy = hand.allocators.values()
    for name in "abcd":
        ask(hand, "allocate", size=PAGE, owner=name)
    for granule in (0, 2):
        hand.choose("potad", granule)
        ask(hand, "release")
    ask(hand, "allocate", size=PAGE, owner="e")  # 0 in potad, 2 in buddy
    assert both(hand) == ([(0, 0), (1, 0), (3, 0)], [(1, 0), (2, 0), (3, 0)])
    hand.choose("buddy", 2)
    lines = ask(hand, "release")
    assert lines[0] == "release at 0x0 in potad, 0x2000 in buddy:"
    assert both(hand) == ([(1, 0), (3, 0)], [(1, 0), (3, 0)])
    potad.check()
    buddy.check()


def test_pieces_of_a_split_answer_each_other(hand):
    ask(hand, "allocate", size=8 * PAGE)
    lines = ask(hand, "split", piece=2 * PAGE)
    assert lines[1] == "  potad: 4 blocks of 8 KiB; split 32 KiB: 8 + 8 + 8 + 8"
    hand.choose("buddy", 5)
    ask(hand, "release")
    assert both(hand) == ([(0, 1), (2, 1), (6, 1)],) * 2


def test_a_pinned_block_waits_for_its_last_pin(hand):
    ask(hand, "allocate", size=PAGE, kind="anon")
    assert ask(hand, "pin")[1:] == ["  potad: pinned", "  buddy: pinned"]
    assert "pinned 1 times" in hand.controls.described.value
    assert "put off" in ask(hand, "release")[1]
    assert both(hand) == ([(0, 0)], [(0, 0)])
    assert "released as was asked before" in ask(hand, "unpin")[2]
    assert both(hand) == ([], [])


def test_failed_memory_leaves_service_everywhere_and_comes_back(hand):
    hand.choose("potad", 5)
    lines = ask(hand, "fail")
    assert lines[0] == "failure of 0x5000:"
    assert all("Recovered" in line and "4 failed" in line for line in lines[1:])
    assert "this granule has failed" in hand.controls.described.value
    assert [each.free_bytes for each in hand.held.values()] == [15 * PAGE] * 2
    lines = ask(hand, "unpoison")
    assert all("in service again; merged" in line for line in lines[1:])
    assert "refused: nothing has failed at 0x5000" in ask(hand, "unpoison")[1]


def test_a_soft_failure_moves_the_block_away(hand):
    ask(hand, "allocate", size=PAGE, kind="anon")
    lines = ask(hand, "fail", soft=True)
    assert lines[0] == "soft failure of 0x0:"
    assert "moved to 0x1000" in lines[1]
    assert (0, 0) not in live(hand, "potad")


def test_the_menu_chooses_by_keyboard_what_a_click_does(hand):
    ask(hand, "allocate", size=PAGE, owner="a")
    ask(hand, "allocate", size=PAGE, owner="b")
    menu = hand.controls.block
    labels = [label for label, _ in menu.options]
    assert labels == ["none", *(
        f"{name}: 4 KiB at {at}, {owner}"
        for name in ("potad", "buddy") for at, owner in (("0x0", "a"), ("0x1000", "b"))
    )]  # fmt: skip
    menu.value = ("buddy", 0)
    assert hand.selected == ("buddy", 0)
    ask(hand, "release")
    assert menu.value is None


def test_without_a_choice_nothing_is_asked(hand):
    lines = ask(hand, "release")
    assert lines == ["refused: release: no live block is chosen: click on one"]
    assert "potadlab-error" in hand.controls.message.value
    assert ask(hand, "fail") == ["refused: nothing is chosen: click on a figure first"]
    assert len(hand.allocators["potad"].history) == 1


# ---- code and page ----


def test_what_code_does_is_seen_at_once(hand):
    potad = hand.allocators["potad"]
    block = potad.allocate("32KiB", owner="code")
    assert hand.log[0] == (
        "potad, by code: allocate 32 KiB (kernel, code); split 64 KiB: 32 | 32 taken"
    )
    assert list(hand.canvas.data["potad"]["blocks"].data["right"]) == [16, 8, 16]
    assert list(hand.canvas.data["buddy"]["blocks"].data["right"]) == [16]
    hand.choose("potad", 3)
    assert ask(hand, "release")[0] == "release at 0x3000 in potad:"
    with pytest.raises(pl.NotLive):
        potad.release(block)
    with pytest.raises(pl.OutOfSpace):
        [potad.allocate("64KiB") for _ in range(2)]
    assert hand.log[0] == "potad, by code: allocate 64 KiB (kernel, nobody): refused"


def test_a_block_gone_by_code_is_gone(hand):
    ask(hand, "allocate", size=PAGE)
    hand.allocators["buddy"].release(0)
    hand.choose("potad", 0)
    assert "its like in buddy: gone" in hand.controls.described.value
    assert ask(hand, "release") == [
        "release at 0x0 in potad:",
        "  potad: released; merged 4 + 4 + 8 + 16 + 32 -> 64 KiB",
    ]


def test_closed_it_listens_no_more(hand):
    other = made(lambda: Hand(*hand.allocators.values()))
    potad = hand.allocators["potad"]
    hand.close()
    potad.allocate("4KiB")
    assert hand.log == []
    assert len(other.log) == 1
    assert hand.controls.allocate.disabled
    hand._hear({"type": "theme", "light": False})
    assert hand.light
    other.close()


def test_a_page_that_comes_late_or_again_gets_the_figures_as_they_are_now(hand):
    shown = hand.canvas
    ready = {"type": "ready", "missing": 0, "light": True}
    hand._hear({**ready, "targets": shown.targets})
    assert hand.canvas is shown  # nothing has changed
    hand.allocators["potad"].allocate("4KiB")
    hand._hear({**ready, "targets": ["of another page"]})
    assert hand.canvas is shown
    hand._hear({**ready, "targets": shown.targets})
    assert hand.canvas is not shown
    assert list(hand.canvas.data["potad"]["blocks"].data["right"]) == [16, 1, 2, 4, 8, 16]
    assert hand.bridge.targets == hand.canvas.targets


def test_the_page_s_theme_is_taken(hand):
    hand._hear({"type": "theme", "light": False})
    for plot in hand.canvas.figures.values():
        assert plot.background_fill_color == theme.DARK.paper
        assert plot.select_one({"name": "blocks"}).glyph.fill_color.transform.palette[FREE] == (
            theme.DARK.free
        )
    assert theme.DARK.free in hand.controls.legend.value


def test_only_the_last_rows_are_in_view_and_the_slider_goes_back(hand):
    for owner in "abcdefgh":
        ask(hand, "allocate", size=PAGE, owner=owner)
    assert [text[0] for text in texts(hand, "potad")] == list("345678")
    assert len(texts(hand, "potad")) == ROWS
    assert (hand.controls.back.max, hand.controls.back.value) == (8, 0)
    hand.controls.back.value = 8
    assert texts(hand, "potad") == ["0  nothing yet"]
    assert list(hand.canvas.data["potad"]["chosen"].data["xs"]) == []
    hand.allocators["potad"].allocate("4KiB")
    assert hand.controls.back.value == 0


def test_names_are_text(hand):
    name = "<img src=x onerror=alert(1)>"
    ask(hand, "allocate", size=PAGE, owner=name)
    controls = hand.controls
    for widget in (controls.log, controls.described, controls.numbers, controls.message):
        assert "<img" not in widget.value
    assert "&lt;img" in controls.log.value
    assert "&lt;img" in controls.described.value


def test_numbers_stand_beside(hand):
    ask(hand, "allocate", size=4 * PAGE, kind="anon")
    potad, numbers = hand.allocators["potad"], hand.controls.numbers.value
    cells = numbers.replace("</td>", "").split("<td>")[1:]
    found = pl.units.format_size(potad.descriptors().total_bytes)
    assert [cell.split("<")[0] for cell in cells] == [
        "potad", "48 KiB", "32 KiB", found,
        "buddy", "48 KiB", "32 KiB", "1 KiB",
    ]  # fmt: skip
    assert 16 * 64 == 1024  # a struct page for each granule


def test_colours_by_kind_have_a_legend(hand):
    ask(hand, "allocate", size=PAGE, kind="slab")
    hand.controls.colouring.value = theme.BY_KIND
    assert "slab" in hand.controls.legend.value
    assert "anon" not in hand.controls.legend.value
    colours = hand.canvas.data["potad"]["blocks"].data["category"]
    assert theme.FIRST_KIND <= colours[1] < theme.EDGE


def test_every_control_says_what_it_is(hand):
    controls = [each for each in vars(hand.controls).values() if hasattr(each, "disabled")]
    assert len(controls) > 20
    for each in controls:
        assert each.description or each.tooltip
    for button in hand.controls.of_block:
        assert button.tooltip


# ---- large spaces ----


def test_a_large_space_is_a_map_of_what_each_holds(large):
    ask(large, "allocate", size=1 << 21)
    ask(large, "claim", claim_size="1TiB", align=1 << 30)
    assert large.window == regions.whole(large.space.granules)
    frame = large.stage.painter.paint(*large._moment())
    for name, image in zip(large.allocators, frame.buffers, strict=True):
        allocator = large.allocators[name]
        expected = regions.columns(
            allocator.blocks(), allocator.in_service(), large.space.granules, PAGE, large.window
        )
        assert image == expected["image"][0].tobytes()
    assert len(set(frame.buffers)) == 2  # a TiB is no claim of the buddy's
    assert large.stage.canvas.targets == large.bridge.targets


def test_wheel_and_drag_move_both_maps_and_a_click_chooses(large):
    ask(large, "allocate", size=1 << 21, owner="guest")
    full = large.window
    tap(large, "potad", 0.5, 0.5, "wheel", 1.0)
    assert 2 * large.window.granules_per_cell == full.granules_per_cell
    tap(large, "potad", 0.5, 10, "panstart")
    tap(large, "potad", 0.5, 4, "pan")
    assert large.window.first == 6 * large.window.row_granules
    tap(large, "potad", 0.5, 4, "panend")
    large.controls.whole.click()
    assert large.window == full
    tap(large, "buddy", 0.5, 0.5)
    assert large.selected == ("buddy", 0)
    assert "block of 2 MiB, anon" in large.controls.described.value
    for name in large.allocators:
        assert len(large.canvas.shapes[name].data["xs"]) == 1
    assert large._tip("buddy", 0)[0] == "64 MiB here: 1 block"
    ask(large, "release")
    assert both(large) == ([], [])


def test_sizes_on_offer_go_up_to_what_one_of_them_hands_out(large):
    sizes = [size for _, size in large.controls.size.options]
    assert (sizes[0], sizes[-1]) == (PAGE, 1 << 40)
    lines = ask(large, "allocate", size=1 << 40)
    assert lines[1].startswith("  potad: 1 TiB at 0x0")
    assert lines[2] == "  buddy: refused: size 1099511627776: buddy hands out at most 4 MiB"


def test_code_is_told_of_in_large_spaces_too(large):
    large.allocators["potad"].allocate("1GiB")
    assert large.log == ["potad, by code: now 1 live block"]


def test_what_is_held_is_counted_with_holes_zones_and_failed_granules():
    space = pl.Space.ranges(
        [(0, "24KiB"), ("32KiB", "64KiB")],
        zones=[("high", "40KiB", "64KiB"), ("low", 0, "40KiB")],
    )
    potad = pl.Potad(space)
    potad.allocate("8KiB")
    potad.fail("32KiB")
    held = Held.now(potad)
    assert held.zoned.tolist() == [[0, 6], [8, 10], [10, 16]]
    assert held.free == [(0, 6), (9, 10), (12, 16)]
    assert held.failed.tolist() == [8]
    assert held.free_bytes == 11 * PAGE
    assert held.free_block(5) == (4, 1)
    assert held.free_block(10) is None
    assert held.free_block(7) is None
    shown = made(lambda: Hand(potad))
    assert shown.describe("potad", 7) == ["potad, at 0x7000:", "out of service"]
    assert shown.describe("potad", 8) == ["potad, at 0x8000:", "this granule has failed"]
    shown.close()


# ---- what cannot be shown ----


def test_what_cannot_be_shown_is_one_line():
    other = pl.Space.ram("32KiB", granule="4KiB")
    potad = pl.Potad(SMALL)
    for given, words in (
        ((), "one or more, as in pl.lab.Hand"),
        (("potad",), "one or more, as in pl.lab.Hand"),
        ((potad, pl.Buddy(other)), "not over 64 KiB, 32 KiB"),
        ((potad, potad), "the same allocator twice"),
    ):
        with pytest.raises(pl.BadSpace, match=words):
            Hand(*given)
    shown = made(lambda: Hand(potad, pl.Potad(SMALL), pl.Potad(SMALL)))
    assert list(shown.allocators) == ["potad", "potad 2", "potad 3"]
    shown.close()


def test_a_closed_hand_lets_go_of_its_allocators():
    pair = [pl.Potad(SMALL), pl.Buddy(SMALL)]
    shown = made(lambda: Hand(*pair))
    ask(shown, "allocate", size=1 << 13)
    shown.close()
    seen = [weakref.ref(each) for each in pair]
    pair.clear()
    gc.collect()
    assert [each() for each in seen] == [None, None]
