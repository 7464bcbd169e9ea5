"""Real work for many cores: the Mandelbrot set, tile by tile, joined into one picture.

    python examples/mandelbrot.py [picture.png]

Each tile is a job that computes for a while; the executor runs as many at a time as there are
cores. The PNG is written by hand, with zlib.
"""

import base64
import struct
import sys
import tempfile
import zlib

from ostinato import TaskExecutor, current_job, task

WIDTH, HEIGHT, ROWS = 192, 128, 16
DEEPEST = 96


@task(timeout=120, max_attempts=2)
def tile(first: int, count: int) -> str:
    """Some rows of the picture, one grey byte a pixel, as base64 text."""
    pixels = bytearray()
    for row in range(first, first + count):
        pixels += bytes(shade(column, row) for column in range(WIDTH))
        current_job().progress(row + 1 - first, count)
    return base64.b64encode(pixels).decode()


def shade(column: int, row: int) -> int:
    """How fast this point leaves: 0 for those that never do."""
    point = complex(3.0 * column / WIDTH - 2.2, 2.0 * row / HEIGHT - 1.0)
    value = 0j
    for step in range(DEEPEST):
        value = value * value + point
        if abs(value) > 2:
            return 255 - 255 * step // DEEPEST
    return 0


def png(pixels: bytes) -> bytes:
    """A grey picture as a PNG file."""
    lines = b"".join(b"\0" + pixels[start : start + WIDTH] for start in range(0, len(pixels), WIDTH))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        executor = TaskExecutor(f"sqlite:///{folder}/jobs.db")
        with executor:
            tiles = executor.post([tile.job(first, ROWS) for first in range(0, HEIGHT, ROWS)])
            pixels = b"".join(base64.b64decode(one.result(timeout=120)) for one in tiles)
        executor.close()
    with open(path, "wb") as file:
        file.write(png(pixels))
    print(f"{path}: {WIDTH} x {HEIGHT} pixels in {len(tiles)} jobs")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "mandelbrot.png")
