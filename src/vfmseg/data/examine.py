"""An index and a check -> an index without the samples that fail it; each is read once, then never again.

Two wishes cost a look into every file: leaving out labels of a single value, as published loaders do, and
leaving out files that cannot be used. The answer is cached beside the index.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vfmseg.data.cache import digest
from vfmseg.data.index import Index, cache_key, load_index, save_index
from vfmseg.data.pairing import Unpaired
from vfmseg.data.source import Source

logger = logging.getLogger(__name__)

_SHOWN = 3


def drop_failing(
    index: Index,
    sources: Sequence[Source],
    fingerprint: str,
    check: Callable[[int], str],
    *,
    what: str,
    num_threads: int | None = None,
) -> Index:
    """Return the index without the samples for which ``check`` gives a reason.

    Args:
        index: all samples.
        sources: what the index reads from.
        fingerprint: of the plan and the check; with the state of the files it names the cached answer.
        check: sample number -> why it is to be left out, or an empty string. Called from threads.
        what: what is looked for, for the log.
        num_threads: None for one per core.
    """
    key = cache_key(f"{fingerprint} {_content_state(index, sources)}")
    cached = load_index(key, sources=())
    if cached is None:
        with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
            reasons = list(pool.map(check, range(len(index))))
        kept = np.array([i for i, reason in enumerate(reasons) if not reason], np.int64)
        dropped = [Unpaired(index.images.name(i), reason) for i, reason in enumerate(reasons) if reason]
        cached = index.keep(kept, dropped)
        save_index(key, cached, stamps=())
    num_dropped = len(index) - len(cached)
    if num_dropped:
        first = ", ".join(s.name for s in cached.skipped[len(index.skipped) :][:_SHOWN])
        logger.warning("%d of %d samples left out, %s: %s ...", num_dropped, len(index), what, first)
    return cached


def _content_state(index: Index, sources: Sequence[Source]) -> str:
    """Return a text that differs whenever the samples of the index do, or the content of a file may."""
    stamps = [
        source.stamp_of(table.name(int(i)) for i in np.flatnonzero(table.sources == number))
        for table in (index.images, index.labels)
        for number, source in enumerate(sources)
    ]
    return digest(json.dumps([stamps, list(index.names)]))
