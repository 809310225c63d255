"""What the hub's client raises, said in one line each; for encoders and data sets alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from xstilts.common.errors import UserError
from xstilts.common.extras import need


def client() -> Any:
    """The hub's client, the package `huggingface_hub`. Raises UserError where it is not installed."""
    need("train", "huggingface_hub")
    import huggingface_hub.errors

    return huggingface_hub


@contextmanager
def hub_errors(
    kind: Literal["encoder", "data set"], name: str, revision: str | None, lacks: str = "has no such file"
) -> Iterator[None]:
    """Turns the errors of the hub's client into UserErrors; ``lacks`` is said where a file is not on the hub."""
    errors = client().errors
    what = f"{kind} {name}" + (f" at revision {revision}" if revision else "")
    either = "neither a folder nor a" if kind == "encoder" else "no"
    get = f"hf download {name}" + ("" if kind == "encoder" else " --repo-type dataset")
    try:
        yield
    except errors.HFValidationError:
        raise UserError(f"{what}: {either} name that the hub could have") from None
    except errors.GatedRepoError:
        raise UserError(f"{what}: its terms must be accepted on the hub first; then `hf auth login`") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{what}: {either} {'model' if kind == 'encoder' else 'such data set'} on the hub") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{what}: the hub has no such revision") from None
    except errors.LocalEntryNotFoundError:
        raise UserError(
            f"{what}: not in the local cache, and the hub cannot be reached; connect, or run `{get}` first"
        ) from None
    except errors.EntryNotFoundError:
        raise UserError(f"{what}: {lacks}") from None
    except (errors.HfHubHTTPError, OSError) as error:
        raise UserError(f"{what}: the hub could not be read: {' '.join(str(error).split())}") from None
