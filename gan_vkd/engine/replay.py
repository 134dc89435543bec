"""An iteration without the host in its way: recorded as a CUDA graph, then replayed."""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

CALLS_BEFORE = 3  # of a kind, computed as they are: libraries choose their kernels meanwhile

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Recorded:
    """A graph with the tensors it reads and the ones it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors


class Replay:
    """Calls a computation; on a GPU the fourth call of a kind and all later ones replay a graph.

    The computation reads its inputs and changes state in place. Its shapes and its Python depend
    on the kind alone, and it asks the device nothing. Replayed, the same kernels run in the same
    order, without Python between them.

    Args:
        compute: inputs by name, and arguments that depend on the kind alone where they matter →
            outputs by name, all on `device`.
        device: where it computes.
        enabled: whether to record; where the device is a GPU.
    """

    def __init__(self, compute: Callable[..., Tensors], device: torch.device, enabled: bool):
        self.compute, self.enabled = compute, enabled
        self._calls: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, _Recorded] = {}
        if enabled:
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, kind: Hashable, inputs: Tensors, *arguments: object) -> Tensors:
        """Its outputs; those of a replayed call hold until the next call."""
        if not self.enabled:
            return self.compute(inputs, *arguments)
        self._calls[kind] += 1
        if self._calls[kind] <= CALLS_BEFORE:
            return self._aside(inputs, *arguments)
        if kind not in self._recorded:
            self._recorded[kind] = self._record(inputs, *arguments)
        recorded = self._recorded[kind]
        for name, tensor in recorded.inputs.items():
            tensor.copy_(inputs[name], non_blocking=True)
        recorded.graph.replay()
        return recorded.outputs

    def _aside(self, inputs: Tensors, *arguments: object) -> Tensors:
        """The computation itself, on the stream that is recorded later."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = self.compute(inputs, *arguments)
        current.wait_stream(self._stream)
        return outputs

    def _record(self, inputs: Tensors, *arguments: object) -> _Recorded:
        """Nothing is computed while it is recorded, and no state changes."""
        held = {name: tensor.clone() for name, tensor in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = self.compute(held, *arguments)
        return _Recorded(graph, held, outputs)
