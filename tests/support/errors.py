"""Checks of error messages: the right class, and all the texts a user needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def raises(error: type[Exception], *texts: str) -> Iterator[None]:
    """Expect exactly this class of error, with every one of the texts in its message."""
    with pytest.raises(error) as caught:
        yield
    assert caught.type is error
    for text in texts:
        assert text in str(caught.value), str(caught.value)
