"""Numbers to pictures: in each file `columns(...) -> dict` is pure, `draw(...)` makes a figure."""
