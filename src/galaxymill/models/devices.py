"""Where and how precisely a network computes."""

import ctypes
import logging

import torch

from galaxymill.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

logger = logging.getLogger("galaxymill")


def choose_device(name: str) -> torch.device:
    """Resolve ``auto`` to cuda where there is one, else cpu with a note in the log.

    A process that is to compute on the CPU keeps the memory that it frees, from then on.

    Raises
    ------
    UserError
        When the device is unknown, or there is no CUDA device.
    """
    if name not in DEVICES:
        raise UserError(f"--device {name!r}: allowed: {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no CUDA device; give --device auto or cpu")
    if name == "auto" and not torch.cuda.is_available():
        logger.info("no CUDA device: running on the CPU")
    if name == "cpu" or not torch.cuda.is_available():
        _keep_freed_memory()
        return torch.device("cpu")
    return torch.device("cuda")


def _keep_freed_memory() -> None:
    """Have the C library keep what tensors free, to give it to the next ones.

    glibc maps every block above 32 MB anew, and unmaps it when it is freed: filling such pages with
    zeros was 20 to 40 % of a network's time. Elsewhere than on glibc this does nothing.
    """
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 1 << 30)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Resolve ``auto``: bfloat16 where the processor computes in it, else float32.

    Parameters
    ----------
    name : str
        ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    device : torch.device

    Raises
    ------
    UserError
        When the precision is unknown; for fp16 on a CPU, whose range training would leave.
    """
    if name not in PRECISIONS:
        raise UserError(f"precision {name!r}: allowed: {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type == "cpu":
        raise UserError("precision: fp16 is for CUDA devices; on a CPU give bf16, fp32 or auto")
    if name != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 rather than imitates it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
