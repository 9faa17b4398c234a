"""The page of `potadlab replay --html`, opened from a file, with no server and no network."""

import pytest

import potadlab as pl
from potadlab.bundled import dataset

SHOWN = """() => {
  const map = Bokeh.documents[0].get_model_by_name("map of buddy");
  const image = Array.from(map.renderers[0].data_source.data.image[0]);
  return image.reduce((sum, one, at) => sum + one * (at % 97), 0);
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "run.html"
    pl.replay(pl.Trace.read(dataset("thp_split")), ["potad", "buddy"]).to_html(path)
    return path


def test_the_page_opens_offline_and_its_slider_moves_the_maps(browser, file):
    page = browser.new_page()
    fetched, wrong = [], []
    page.on("request", lambda request: fetched.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    page.goto(file.as_uri())
    page.locator(".bk-Figure").nth(5).wait_for()  # two maps, two stacks, descriptors, latency
    before, title = page.evaluate(SHOWN), page.locator(".bk-slider-title").inner_text()
    page.locator(".noUi-handle").focus()
    page.keyboard.press("End")
    page.wait_for_function(f"({SHOWN})() !== {before}")
    assert title.startswith("0.000 s, after 0 ops")
    assert "258,107 ops" in page.locator(".bk-slider-title").inner_text()
    assert page.get_by_role("row").filter(has_text="potad").count() == 1
    assert [url for url in fetched if not url.startswith(("file:", "data:", "blob:"))] == []
    assert wrong == []
    page.close()
