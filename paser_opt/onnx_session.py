"""One way to open a model with ONNX Runtime, here, in a bundle and on a board.

Shipped to boards: Python 3.6, standard library only.
"""

import os
from typing import Any, List, Sequence

__all__ = ["open_session", "starting"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Or ONNX Runtime 1.32 leaves an identifier in the home folder and reports its use; read when it is first imported."""


def open_session(content: bytes, providers: Sequence[str], threads: int) -> Any:
    """ONNX Runtime's session of one model, on so many CPU threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=list(providers))


def starting(probe: bytes, providers: Sequence[str]) -> List[str]:
    """Those of the ``providers`` that are installed and start, found out with a small model: ONNX Runtime runs on the
    CPU, without an error, where one does not."""
    import onnxruntime

    there = [name for name in providers if name in onnxruntime.get_available_providers()]
    started = open_session(probe, there, 1).get_providers() if there else []
    return [name for name in there if name in started]
