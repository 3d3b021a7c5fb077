"""Keras's side of `batch_prediction.py`, which starts this file in an environment that has TensorFlow.

    python benchmarks/batch_keras.py FOLDER THREADS

FOLDER holds `films.npy` (N, side, side, 3) and `NAME.npz`, the weights of each network under torch's names. Says in a
line of JSON that it is ready, then answers each line of JSON on its input: `{"network": NAME, "batch": 16}` predicts
all films and tells what that took; with `"out"` the probabilities are written there.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np  # what TensorFlow reads from the environment must be set first
import tensorflow as tf

keras = tf.keras
layers = keras.layers
BLOCKS = (3, 4, 6, 3)
EPSILON = 1e-5


def kernel(weight: Any) -> Any:
    """Torch's (out, in, h, w) or (out, in) in Keras's order."""
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def headed(films: Any, features: Any, state: Any) -> Any:
    """Average, one layer, softmax."""
    head = layers.Dense(2, activation="softmax")
    model = keras.Model(films, head(layers.GlobalAveragePooling2D()(features)))
    head.set_weights([kernel(state["head.0.weight"]), state["head.0.bias"]])
    return model


def vgg16(state: Any, side: int) -> Any:
    """Keras's own, with the weights given."""
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(side, side, 3))
    names = [name for name in state.files if name.startswith("backbone.")]
    base.set_weights([kernel(state[name]) if name.endswith("weight") else state[name] for name in names])
    return headed(base.input, base.output, state)


def resnet50(state: Any, side: int) -> Any:
    """As torch builds it: a block strides in its 3 x 3 layer; Keras's own strides in the first."""
    films = keras.Input((side, side, 3))
    given: list[tuple[Any, list[Any]]] = []

    def conv(maps: Any, name: str, *, stride: int = 1) -> Any:
        weight = kernel(state[f"backbone.body.{name}.weight"])
        size, _, _, wide = weight.shape
        if size > 1:
            maps = layers.ZeroPadding2D(size // 2)(maps)
        layer = layers.Conv2D(wide, size, strides=stride, use_bias=False)
        given.append((layer, [weight]))
        return layer(maps)

    def norm(maps: Any, name: str) -> Any:
        layer = layers.BatchNormalization(epsilon=EPSILON)
        told = [state[f"backbone.body.{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        given.append((layer, told))
        return layer(maps)

    maps = layers.ReLU()(norm(conv(films, "conv1", stride=2), "bn1"))
    maps = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(maps))
    for stage, blocks in enumerate(BLOCKS, 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = layers.ReLU()(norm(conv(maps, f"{name}.conv1"), f"{name}.bn1"))
            inner = layers.ReLU()(norm(conv(inner, f"{name}.conv2", stride=stride), f"{name}.bn2"))
            inner = norm(conv(inner, f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                maps = norm(conv(maps, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
            maps = layers.ReLU()(layers.Add()([inner, maps]))
    model = headed(films, maps, state)
    for layer, weights in given:
        layer.set_weights(weights)
    return model


NETWORKS = {"vgg16": vgg16, "resnet50": resnet50}


def spent() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    films = np.load(folder / "films.npy")
    models: dict[str, Any] = {}
    print(json.dumps({"versions": f"TensorFlow {tf.__version__}, Keras {keras.__version__}"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        name = asked["network"]
        if name not in models:
            models[name] = NETWORKS[name](np.load(folder / f"{name}.npz"), films.shape[1])
        start = spent()
        shares = models[name].predict(films, batch_size=asked["batch"], verbose=0)
        end = spent()
        if "out" in asked:
            np.save(asked["out"], shares)
        print(json.dumps({"wall": end[0] - start[0], "processor": end[1] - start[1]}), flush=True)


if __name__ == "__main__":
    main()
