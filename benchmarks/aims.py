"""What a measurement is held against: one that misses an aim says by how much, and fails."""


class Aims:
    def __init__(self) -> None:
        self._missed: list[str] = []

    def at_most(self, what: str, figure: float, most: float, unit: str = "") -> None:
        if not figure <= most:
            self._missed.append(f"{what}: {figure:.4g}{unit}; the aim is {most:g}{unit} at most")

    def judge(self) -> None:
        """Raises SystemExit if one was missed."""
        if self._missed:
            raise SystemExit("\n".join(f"MISSED {each}" for each in self._missed))
