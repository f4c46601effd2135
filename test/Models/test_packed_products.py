"""Products of rows and packed weights against float64: in every number of rows for which there is another way, and in integers where the
accuracy level allows rows to be rounded."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import reference

ROWS = 40  # of weights: more than a panel, and no whole vector
ZEROS = {"none": None, "packed": np.uint8, "real": np.float32}


def model_of(bits, block, width, zeros, level, dtype, random):
    """With the weights, and what they are the difference of."""
    blocks = -(-width // block)
    numbers = random.integers(0, 2**bits, (ROWS, blocks * block), dtype=np.uint8)
    packed = numbers if bits == 8 else numbers[:, ::2] | numbers[:, 1::2] << 4
    scales = random.uniform(-0.02, 0.02, (ROWS, blocks)).astype(dtype)
    constants = {"w": packed.reshape(ROWS, blocks, -1), "s": scales.reshape(-1)}
    points = np.full((ROWS, blocks), 2.0 ** (bits - 1))
    if zeros == np.float32:
        points = random.uniform(0, 2**bits, (ROWS, blocks)).astype(dtype)
        constants["z"] = points.reshape(-1)
    elif zeros == np.uint8:
        points = random.integers(0, 2**bits, (ROWS, blocks + blocks % 2), dtype=np.uint8)
        constants["z"] = (points if bits == 8 else points[:, ::2] | points[:, 1::2] << 4)
        if bits == 8:
            constants["z"] = points[:, :blocks]
        constants["z"], points = constants["z"].reshape(-1), points[:, :blocks]
    node = helper.make_node("MatMulNBits", ["x", "w", "s"] + ["z"] * ("z" in constants), ["y"], K=width, N=ROWS, block_size=block, bits=bits, accuracy_level=level,
                            domain="com.microsoft")
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", element, ["n", width])], [helper.make_tensor_value_info("y", element, ["n", ROWS])],
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=9)
    spread = lambda each: np.repeat(each.astype(np.float64), block, 1)
    return model, ((numbers - spread(points)) * spread(scales))[:, :width], ((numbers + np.abs(spread(points))) * np.abs(spread(scales)))[:, :width]


def products(tool, folder, model, x):
    reference.save_tensors(folder / "in", "input", [("x", x)])
    done = tool("megactx-run", folder / "model.mctx", "--inputs", folder / "in", "--outputs", folder / "out")
    assert done.status == 0, done
    (_, y), = reference.load_tensors(folder / "out", "output")
    return y.astype(np.float64)


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("bits, block, width, zeros, dtype", [
    (4, 32, 1024, "none", np.float32), (4, 32, 256, "packed", np.float32), (4, 16, 384, "real", np.float32), (4, 128, 640, "packed", np.float16),
    (4, 32, 1000, "none", np.float32), (4, 64, 96, "packed", np.float32), (8, 32, 512, "none", np.float32), (8, 128, 640, "packed", np.float32), (8, 64, 256, "real", np.float16),
    (4, 1024, 4096, "packed", np.float32), (8, 512, 1024, "none", np.float32)])
def test_products(tool, tmp_path, bits, block, width, zeros, dtype, level):
    random = np.random.default_rng([bits, block, width, level])  # f32 sums of other numbers may pass the bound, once in some dozen runs
    model, weights, terms = model_of(bits, block, width, ZEROS[zeros], level, dtype, random)
    onnx.save(model, tmp_path / "model.onnx")
    done = tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx")
    assert done.status == 0, done
    for rows in 1, 2, 4, 7, 16, 19, 243:
        x = random.standard_normal((rows, width)).astype(dtype)
        x[:, :block] *= 100  # a block that is larger than others takes nothing from them
        x[0, -block:] = 0
        want = x.astype(np.float64) @ weights.T
        bound = (1e-6 if dtype == np.float32 else 1e-3) * (np.abs(x.astype(np.float64)) @ terms.T)
        if level == 4:  # half of what the last of 16 bits stands for, of each block
            steps = np.abs(x[:, np.arange(-(-width // block) * block) % width].reshape(rows, -1, block)).max(2).astype(np.float64) / 32767
            bound += 0.51 * np.repeat(steps, block, 1)[:, :width] @ np.abs(weights.T)
        error = np.abs(products(tool, tmp_path, model, x) - want)
        assert (error <= bound).all(), f"{rows} rows: {(error / bound).max():.2f} of the bound"


def test_rows_of_no_numbers(tool, tmp_path):
    """Zeros give zero, what is no number none, and only where its row meets it."""
    random = np.random.default_rng(3)
    model, *_ = model_of(4, 32, 256, None, 4, np.float32, random)
    onnx.save(model, tmp_path / "model.onnx")
    assert tool("megactx-compile", tmp_path / "model.onnx", "-o", tmp_path / "model.mctx").status == 0
    for rows in 1, 5:
        x = random.standard_normal((rows, 256)).astype(np.float32)
        x[0] = 0
        y = products(tool, tmp_path, model, x)
        assert not y[0].any() and np.isfinite(y).all()
        x[0, 40] = np.nan
        y = products(tool, tmp_path, model, x)
        assert np.isnan(y[0]).all() and np.isfinite(y[1:]).all()
        x[0, 40] = np.inf
        y = products(tool, tmp_path, model, x)
        assert not np.isfinite(y[0]).any() and np.isfinite(y[1:]).all()
