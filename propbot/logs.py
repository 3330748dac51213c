"""Logs of a process, set up once by the command line: one event a line on stderr, for people or as JSON.

Our own events come through structlog, what libraries say through logging; both leave by one output, in one form, and
with no secret in them. So do tracebacks of what nobody caught, and warnings: a message may hold anything, also a token.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from propbot.kit.log_output import LogOutput
from propbot.kit.redact import Redactor

if TYPE_CHECKING:
    from structlog.typing import Processor

CHATTY = ("httpx", "httpcore", "hypercorn.access")
"""These say URLs, with the token that some carry, at INFO or DEBUG."""


def set_up_logging(log_format: str, level: str, redactor: Redactor, stream: TextIO | None = None) -> None:
    """`log_format` is console or json; `level` that of our own events. Libraries are heard from WARNING on."""
    stream = sys.stderr if stream is None else stream
    output = LogOutput(stream, redactor.clean)
    level_number = logging.getLevelNamesMapping()[level]
    begin: list[Processor] = [
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    end: list[Processor] = [_renderer(stream)] if log_format == "console" else [
        structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    ]
    handler = logging.StreamHandler(cast(TextIO, output))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*begin, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
        )
    )
    logging.basicConfig(level=max(logging.WARNING, level_number), handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*begin, *end],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, output)),
        cache_logger_on_first_use=False,
    )
    _take_over_tracebacks(output)


def _renderer(stream: TextIO) -> Processor:
    """The plain formatter: the others show local variables, and break a secret over lines."""
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _take_over_tracebacks(output: LogOutput) -> None:
    """What Python itself would write to stderr goes through `output`, each in one piece."""

    def tell(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        output.write("".join(traceback.format_exception(kind, error, trace)))

    def tell_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_type is not SystemExit:
            tell(told.exc_type, told.exc_value, told.exc_traceback)

    def tell_unraisable(told: sys.UnraisableHookArgs) -> None:
        story = "".join(traceback.format_exception(told.exc_type, told.exc_value, told.exc_traceback))
        output.write(f"{told.err_msg or 'Exception ignored in'}: {told.object!r}\n{story}")

    sys.excepthook = tell
    threading.excepthook = tell_thread
    sys.unraisablehook = tell_unraisable
    logging.captureWarnings(True)
