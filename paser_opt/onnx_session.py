"""One way to open a model with ONNX Runtime, here, in a bundle and on a board.

Shipped to boards: Python 3.6, standard library only.
"""

import os
from collections.abc import Sequence
from typing import Any

__all__ = ["open_session"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""Or ONNX Runtime 1.32 leaves an identifier in the home folder and reports its use; read when it is first imported."""


def open_session(content: bytes, providers: Sequence[str], threads: int) -> Any:
    """ONNX Runtime's session of one model, on so many CPU threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=list(providers))
