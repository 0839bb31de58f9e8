"""A failure of the Hugging Face hub in, a message with the legal ways out of it out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError

from vfmseg.errors import HubError

_LOCAL = "give a local file with encoder.weights=PATH (.safetensors or .pth; timm, Meta, transformers)"
_UNGATED = "take an encoder that needs no access, like encoder.name=dinov2-b"


@contextmanager
def hub_errors(hub_id: str) -> Iterator[None]:
    """Turn what goes wrong while fetching ``hub_id`` into a :class:`HubError` that says what to do."""
    try:
        yield
    except GatedRepoError as error:
        raise HubError(
            f"{hub_id} is gated: its licence must be accepted first. The legal ways: (1) accept it on "
            f"https://huggingface.co/{hub_id} while logged in, wait until access is granted, then "
            f"`hf auth login` on this machine; (2) {_LOCAL}; (3) {_UNGATED}"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        if constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set, so nothing is downloaded"
        else:
            why = "the Hugging Face hub cannot be reached"
        raise HubError(
            f"the weights {hub_id} are not in the cache ({constants.HF_HUB_CACHE}), and {why}. Either fetch "
            f"them where there is a network (`hf download {hub_id}`) and copy the cache, or {_LOCAL}, or "
            "train from scratch with encoder.weights=random"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the Hugging Face hub has no public model {hub_id}. Check the spelling; if it is private, "
            f"`hf auth login` first; or {_LOCAL}; or {_UNGATED}"
        ) from error
    except EntryNotFoundError as error:
        raise HubError(f"{hub_id} lacks a file that vfmseg needs: {error}. Instead, {_LOCAL}") from error
    except SafetensorError as error:
        raise HubError(
            f"the cached weights of {hub_id} are damaged ({error}); fetch them again with "
            f"`hf download {hub_id} --force-download`"
        ) from error
    except HFValidationError as error:
        raise HubError(
            f"{hub_id!r} is no id of the Hugging Face hub: {error} An id is OWNER/NAME, like "
            "facebook/dinov2-base; `vfmseg list encoders` shows the short names"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise HubError(
            f"{hub_id} could not be fetched from the Hugging Face hub: {error}. Try again, or {_LOCAL}"
        ) from error


def fetch(hub_id: str, filename: str) -> Path:
    """Return the path of ``filename`` of ``hub_id``, from the cache or the hub.

    Raises:
        HubError: it cannot be had; says what to do.
    """
    with hub_errors(hub_id):
        return Path(hf_hub_download(hub_id, filename))


def fetch_weights(hub_id: str) -> Path:
    """Return the path of the safetensors of ``hub_id``: the one file, or the folder of several.

    Raises:
        HubError: they cannot be had; says what to do.
    """
    try:
        return fetch(hub_id, "model.safetensors")
    except HubError as no_single_file:
        try:
            index = fetch(hub_id, "model.safetensors.index.json")
        except HubError:
            raise no_single_file from no_single_file.__cause__
    for file in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        fetch(hub_id, file)
    return index.parent
