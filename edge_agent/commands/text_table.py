"""A table in plain text, for terminals. Pure."""

from collections.abc import Sequence


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; without rows one line that says so. Control characters of a cell are escaped."""
    if not rows:
        return f"{head[0]}: none"
    shown = [head, *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown)


def _printable(cell: str) -> str:
    return cell if cell.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in cell)
