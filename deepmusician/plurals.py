"""Numbers with their nouns. Open to all rooms, as errors are."""


def count(number: float, one: str, many: str = "") -> str:
    """A number with its noun: 1 piece, 2,048 pieces."""
    return f"{number:,.0f} {one if round(number) == 1 else many or one + 's'}"
