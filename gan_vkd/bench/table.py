"""Markdown tables for terminals and documents, and the machine they were measured on."""

import os
import platform

import torch


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """An aligned Markdown table: the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if i == 0 else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def machine(device: torch.device) -> str:
    """Where a table was made, in one line."""
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        where = f"CPU ({platform.machine()}, {threads} of {os.cpu_count()} threads)"
    return f"{where}, torch {torch.__version__}"
