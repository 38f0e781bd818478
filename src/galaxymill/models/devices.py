"""Where and how precisely a network computes."""

import ctypes
import logging
import os
import warnings

import torch

from galaxymill.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

logger = logging.getLogger("galaxymill")


def choose_device(name: str) -> torch.device:
    """Resolve ``auto`` to cuda where there is one, else cpu with a warning that says why.

    A process that is to compute on the CPU keeps the memory that it frees, from then on. Raises
    UserError when the device is unknown, or there is no CUDA device.
    """
    if name not in DEVICES:
        raise UserError(f"device {name!r}: allowed: {', '.join(DEVICES)}")
    missing = why_no_cuda() if name != "cpu" else ""
    if name == "cuda" and missing:
        raise UserError(
            f"device: cuda, but {missing}; start it where there is a GPU (on SLURM, ask for one: "
            "gres), or give device: auto or cpu"
        )
    if name == "auto" and missing:
        logger.warning("device: auto: on the CPU, as %s", missing)
    if name == "cpu" or missing:
        _keep_freed_memory()
        return torch.device("cpu")
    return torch.device("cuda")


def why_no_cuda() -> str:
    """Describe why there is no CUDA device; empty when there is one."""
    with warnings.catch_warnings():
        # torch itself warns of a driver that does not work, in other words than ours.
        warnings.simplefilter("ignore")
        if torch.cuda.is_available():
            return ""
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES is {visible!r}: this process was given no GPU"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        return f"there is no CUDA device ({str(error).strip().partition('. ')[0]})"
    return "there is no CUDA device"


def check_count(device: torch.device, devices: int) -> None:
    """Make sure that each of several processes of a node sees its own GPU; else raise UserError."""
    if device.type != "cuda" or torch.cuda.device_count() >= devices:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    raise UserError(
        f"devices: {devices}, but this process sees {torch.cuda.device_count()} (CUDA_VISIBLE_"
        f"DEVICES: {visible}); ask for as many on each node, and let every process see all of its "
        "node (no --gpus-per-task, no --gpu-bind), or give fewer devices"
    )


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

    Raises UserError when the precision is unknown; for fp16 on a CPU, whose range training would
    leave.
    """
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise UserError(f"precision {name!r}: allowed: auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type == "cpu":
        raise UserError("precision: fp16 is for CUDA devices; on a CPU give bf16, fp32 or auto")
    return PRECISIONS[name]


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 rather than imitates it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
