"""Films of one or several indexes that show the same picture: copies, exports, crops and edits."""

from hilum.copies.finding import Copies, How, Pair, find_copies

__all__ = ["Copies", "How", "Pair", "find_copies"]
