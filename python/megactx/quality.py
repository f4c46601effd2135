"""What sparsifying a model costs: its outputs against the dense model's, on given inputs."""

import pathlib

import numpy as np

from .tools import Error


def _tensor(path):
    try:
        if path.suffix == ".npy":
            return np.load(path)
        import onnx

        return onnx.numpy_helper.to_array(onnx.load_tensor(str(path)))
    except Exception as error:  # numpy and protobuf raise many kinds for a damaged file
        raise Error(f"cannot read '{path}': {error}") from None


def load_sets(folder, count):
    """[([input 0, ..., input count - 1], labels or None)] of `folder` or, where it has no input_0, of each folder in it.

    Files are input_I.npy or ONNX's input_I.pb; labels.npy [B, N], the next token of each position, is optional.
    """
    folder = pathlib.Path(folder)
    find = lambda place, stem: next((p for p in (place / f"{stem}.npy", place / f"{stem}.pb") if p.exists()), None)
    places = [folder] if find(folder, "input_0") else sorted(p.parent for p in folder.glob("*/input_0.*"))
    if not places:
        raise Error(f"'{folder}': no input_0.npy or input_0.pb, nor folders with one")
    sets = []
    for place in dict.fromkeys(places):
        paths = [find(place, f"input_{i}") for i in range(count)]
        if None in paths:
            raise Error(f"'{place}': no input_{paths.index(None)}.npy or .pb; the model has {count} inputs")
        labels = find(place, "labels")
        inputs = [_tensor(path) for path in paths]
        for path, tensor in zip(paths, inputs):
            if not tensor.size:
                raise Error(f"'{path}': no numbers, its shape is {list(tensor.shape)}")
        sets.append((inputs, None if labels is None else _tensor(labels)))
    return sets


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class Judge:
    """Holds a data set's dense outputs; `errors` tells how far other outputs are from them.

    Logits are the first output [B, N, V] where V is not 1 and some input holds integers [B, N]; next tokens are the labels or, where
    those integers are all below V, the input shifted by one. horizon: only the last so many predictions of a sequence count.
    """

    def __init__(self, inputs, outputs, labels=None, horizon=None):
        self.outputs, self.logits, self.labels = list(outputs), None, labels
        tokens = next((x for x in inputs if x.ndim == 2 and x.dtype.kind in "iu"), None)
        for i, out in enumerate(self.outputs):
            if tokens is not None and out.ndim == 3 and out.shape[:2] == tokens.shape and out.shape[2] > 1:
                self.logits = i
                break
        if self.logits is None:
            if labels is not None:
                raise Error("there are labels, but the model has no logits [B, N, V] for an input of integers [B, N]")
            return
        self.log_dense = log_softmax(self.outputs[self.logits])
        length, vocabulary = self.log_dense.shape[1:]
        if labels is None and length > 1 and tokens.min() >= 0 and tokens.max() < vocabulary:
            self.labels = tokens[:, 1:]
        elif labels is not None and (labels.shape != tokens.shape or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= vocabulary):
            raise Error(f"expected labels {list(tokens.shape)} of integers below {vocabulary}, but got {list(labels.shape)} of {labels.dtype}")
        end = length if self.labels is None else self.labels.shape[1]
        self.rows = slice(max(0, end - horizon) if horizon else 0, end)

    def _nll(self, log_p):
        rows = log_p[:, self.rows]
        return -np.take_along_axis(rows, self.labels[:, self.rows, None], 2).mean()

    def errors(self, outputs):
        """{relative_error, and for logits kl (nats per token, dense to these), and with next tokens nll and delta_nll}."""
        outputs = list(outputs)
        scale = sum(float((x.astype(np.float64) ** 2).sum()) for x in self.outputs)
        off = sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in zip(outputs, self.outputs))
        found = {"relative_error": float(np.sqrt(off / scale)) if scale else float(np.sqrt(off))}
        if self.logits is not None:
            log_p = log_softmax(outputs[self.logits])
            dense = self.log_dense[:, self.rows]
            found["kl"] = float((np.exp(dense) * (dense - log_p[:, self.rows])).sum(-1).mean())
            if self.labels is not None:
                found["nll"] = float(self._nll(log_p))
                found["delta_nll"] = found["nll"] - float(self._nll(self.log_dense))
        return found
