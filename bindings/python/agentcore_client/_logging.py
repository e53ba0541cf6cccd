"""The core's log lines in Python's logging, under `agentcore_client`. Silent unless asked for."""

from __future__ import annotations

import sys

_LEVELS = {"ERROR": 40, "WARN": 30, "INFO": 20, "DEBUG": 10, "TRACE": 5}


def emit(level: str, message: str) -> None:
    """Logs a line."""
    # Whoever wants log lines has imported it; importing it here would slow down everybody else.
    logging = sys.modules.get("logging")
    if logging is None:
        return
    logger = logging.getLogger("agentcore_client")
    if not logger.handlers:
        # Otherwise warnings would go to stderr where nobody has set up logging.
        logger.addHandler(logging.NullHandler())
    logger.log(_LEVELS[level], message)
