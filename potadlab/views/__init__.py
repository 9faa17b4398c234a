"""Numbers to pictures: in each file `columns(...) -> dict` is pure and `draw(...)` makes a figure."""
