"""Executes one notebook and writes it with its outputs: python execute.py NOTEBOOK OUT

Every cell must end without an error, a panic or a word on stderr; a line per cell says how long it took.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main() -> None:
    source, out = map(Path, sys.argv[1:3])
    notebook = nbformat.read(source, as_version=4)
    started = {}

    def begin(cell, cell_index):
        started[cell_index] = time.monotonic()

    def end(cell, cell_index, execute_reply):
        if cell.cell_type == "code":
            print(f"{source.stem} cell {cell_index}: {time.monotonic() - started[cell_index]:.1f} s", flush=True)

    client = NotebookClient(
        notebook,
        timeout=3600,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_execute=begin,
        on_cell_executed=end,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise SystemExit(f"{source}: {error}") from None
    finally:
        nbformat.write(notebook, out)
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise SystemExit(f"{source}, cell {index}: {output.text}")
    print(f"{source.stem}: executed, outputs in {out}")


if __name__ == "__main__":
    main()
