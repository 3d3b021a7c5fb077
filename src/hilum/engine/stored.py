"""The bundle's tensors, as an engine that holds none of its own is asked for them."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import safe_open


class StoredTensors:
    """Tensors of a safetensors file by the beginning of their names, read when first asked for."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._read: dict[str, dict[str, NDArray[Any]]] = {}

    def __call__(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The tensors whose names begin so."""
        if prefix not in self._read:
            with safe_open(self._weights, framework="numpy") as stored:
                names = [name for name in stored.keys() if name.startswith(prefix)]  # noqa: SIM118
                self._read[prefix] = {name: stored.get_tensor(name) for name in names}
        return self._read[prefix]
