"""Published weights: read without running code in them, or fetched from their hub."""

import pickle
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import torch

from gan_vkd.errors import GanVkdError
from gan_vkd.paths import expanded
from gan_vkd.tensors import read_tensors

PATIENCE = 8  # seconds for a hub's first answer
Role = Literal["teacher", "student"]  # whose weights they are
FLAGS = {"teacher": "--teacher-weights ", "student": "--set student.weights="}  # before FILE


def read_weights(path: Path, role: Role = "teacher") -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file or of a PyTorch checkpoint, on the CPU.

    What the file is, its content tells, not its name. A checkpoint may wrap the weights as
    `state_dict` or `model`, and may prefix them with `module.`.

    Raises:
        GanVkdError: no such file, damaged, or with more than plain tensors in it; a pickle's code
            is never run.
    """
    from timm.models import clean_state_dict

    path = expanded(path)
    flag = f"{FLAGS[role]}{path}"
    try:
        with path.open("rb") as file:
            if file.read(9)[8:] == b"{":  # a length, then JSON: safetensors
                return read_tensors(path)[0]
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise GanVkdError(f"{flag}: no such file") from None
    except pickle.UnpicklingError:  # torch's message is about how to run the code after all
        raise GanVkdError(
            f"{flag}: damaged, or holds more than plain tensors; code in a file "
            "is never run: save the state dict alone, best as safetensors"
        ) from None
    except Exception as error:  # torch.load has no common class for broken files
        reason = str(error).split("\n")[0]
        raise GanVkdError(
            f"{flag}: not a whole safetensors file or PyTorch state dict ({reason[:120]})"
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise GanVkdError(f"{flag}: holds no state dict of tensors")
    return clean_state_dict(state)


def from_huggingface(spec: str, repository: str, filename: str, role: Role = "teacher") -> Path:
    """A file of the Hugging Face hub: from its cache, else downloaded into it.

    Raises:
        GanVkdError: not cached, and the hub does not answer or has no such file.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    place = {"repo_id": name, "filename": filename, "revision": revision or None}
    cached = try_to_load_from_cache(**place)
    if isinstance(cached, str):
        return Path(cached)
    reason = _no_answer(constants.ENDPOINT)
    if reason is None:
        try:
            return Path(hf_hub_download(**place))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
    raise _out_of_reach(role, spec, f"{filename} of {name}", constants.ENDPOINT, reason)


def from_url(spec: str, url: str) -> Path:
    """A file that torchvision names: from torch.hub's cache, else downloaded, its hash checked.

    Raises:
        GanVkdError: not cached, and not to be downloaded.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlsplit(url).path).name
    if path.exists():
        return path
    reason = _no_answer(url)
    if reason is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            hash_prefix = path.stem.rpartition("-")[2]
            torch.hub.download_url_to_file(url, str(path), hash_prefix)
            return path
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
    raise _out_of_reach("teacher", spec, f"{url} (kept in {folder})", urlsplit(url).netloc, reason)


def _out_of_reach(role: Role, spec: str, file: str, host: str, reason: str) -> GanVkdError:
    return GanVkdError(
        f"--{role} {spec}: needs {file}, which is not on this machine, and {host} can't be "
        f"reached ({reason}): fetch it elsewhere and pass {FLAGS[role]}FILE, or use "
        f"--{role} efficientnet-lite0, which needs no download"
    )


def _no_answer(url: str) -> str | None:
    """Why `url`'s host does not answer within `PATIENCE` seconds; None if it does.

    In a thread, since a name that can't be looked up obeys no timeout.
    """
    reasons = [f"no answer in {PATIENCE} s"]

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer
        except OSError as error:
            reasons.insert(0, str(getattr(error, "reason", error)))
            return
        reasons.clear()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return reasons[0] if reasons else None
