"""What a file does to the process that reads it ends with that process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from onnx_samples import CONVOLUTION, convolution_file, endless_file, swelling_file

from app.errors import InvalidContentError
from app.formats.onnx_process import OnnxReader
from app.settings import MEBIBYTE, Settings


@pytest.fixture
def reader() -> Iterator[OnnxReader]:
    made = OnnxReader(Settings(onnx_processes=1, onnx_seconds=1.0, onnx_memory_bytes=160 * MEBIBYTE))
    yield made
    made.stop()


def test_a_file_is_read_by_a_process_that_stays(reader: OnnxReader) -> None:
    assert reader.document(convolution_file()) == CONVOLUTION
    assert reader.document(convolution_file(channels=16))["nodes"][1]["attributes"]["channels"] == 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an ONNX model with a graph of nodes and an opset, got no graph"),
        (b"PK\x03\x04 a zip file", "expected"),
        (b"\x3a\x05\x00", "expected 5 bytes of model at byte 2, got 1"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "expected a number in model"),
    ],
)
def test_what_is_no_model_is_refused_with_what_is_wrong(reader: OnnxReader, content: bytes, message: str) -> None:
    with pytest.raises(InvalidContentError, match=message):
        reader.document(content)


@pytest.mark.parametrize("hostile", [endless_file(), swelling_file(60_000)])
def test_a_file_that_takes_too_much_is_refused_and_the_next_one_is_read(reader: OnnxReader, hostile: bytes) -> None:
    with pytest.raises(InvalidContentError):
        reader.document(hostile)

    assert reader.document(convolution_file()) == CONVOLUTION


def test_a_file_that_takes_too_much_memory_names_the_limit(reader: OnnxReader) -> None:
    with pytest.raises(InvalidContentError, match="within 1 s and 160 MiB of memory, got one that takes more"):
        reader.document(bytes(300 * MEBIBYTE))


def test_a_process_that_was_killed_is_replaced(reader: OnnxReader) -> None:
    reader.document(convolution_file())
    child = reader._places.get()
    assert child is not None
    child._process.kill()
    child._process.wait()
    reader._places.put(child)

    with pytest.raises(InvalidContentError):
        reader.document(convolution_file())
    assert reader.document(convolution_file()) == CONVOLUTION


def test_many_threads_share_one_process(reader: OnnxReader) -> None:
    widths = range(1, 17)
    together = threading.Barrier(8)

    def read(channels: int) -> int:
        if channels <= 8:
            together.wait()
        document = reader.document(convolution_file(channels))
        return int(document["nodes"][1]["attributes"]["channels"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, widths)) == list(widths)
