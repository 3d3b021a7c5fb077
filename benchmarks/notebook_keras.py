"""The notebook's way, for `notebook_training.py`, which starts this file in an environment that has TensorFlow.

    python benchmarks/notebook_keras.py FOLDER

FOLDER holds `job.json` (what to do) and beside it `films.csv` (path, class, fold), `weights.npz` (the convolutions, in
Keras's layout) and `probe.npz` (one picture and the vector it must give). Prints what it took as one line of JSON.
Films are read with OpenCV and kept in memory, every epoch rotates them anew, and every film passes the whole network.
"""

import csv
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

job = json.loads((Path(sys.argv[1]) / "job.json").read_text(encoding="utf-8"))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import cv2  # noqa: E402 # what TensorFlow reads from the environment must be set first
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

keras = tf.keras


def spent() -> tuple[float, float]:
    """Seconds of wall clock and of processor time so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def read(folder: Path, fold: str) -> tuple[Any, Any]:
    """(N, side, side, 3) in [0, 1] and one-hot classes (N, 2)."""
    with (folder / "films.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["fold"] == fold]
    pictures = []
    for row in rows:
        picture = cv2.cvtColor(cv2.imread(row["path"]), cv2.COLOR_BGR2RGB)
        pictures.append(cv2.resize(picture, (job["side"], job["side"])))
    classes = keras.utils.to_categorical([int(row["class"]) for row in rows], 2)
    return np.array(pictures).astype("float32") / 255.0, classes


def network(folder: Path) -> tuple[Any, Any]:
    """The network, frozen but for its head, and the part of it whose output is the head's input."""
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(job["side"], job["side"], 3))
    given = np.load(folder / "weights.npz")
    base.set_weights([given[str(number)] for number in range(len(given.files))])
    for layer in base.layers:
        layer.trainable = False
    vector = keras.layers.Flatten()(keras.layers.AveragePooling2D(pool_size=(2, 2))(base.output))
    head = keras.layers.Dense(128, activation="relu")(vector)
    head = keras.layers.Dropout(0.5)(head)
    head = keras.layers.Dense(2, activation="softmax")(head)
    model = keras.Model(inputs=base.input, outputs=head)
    rate = keras.optimizers.schedules.InverseTimeDecay(1e-4, decay_steps=1, decay_rate=1e-4 / job["epochs"])
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(rate), metrics=["accuracy"])
    return model, keras.Model(inputs=base.input, outputs=vector)


def probed(vectors: Any, folder: Path) -> float:
    """How far a picture's vector is from hilum's, over its length; order aside, for layouts flatten differently."""
    probe = np.load(folder / "probe.npz")
    ours = np.sort(vectors.predict(probe["picture"], verbose=0)[0])
    theirs = np.sort(probe["vector"])
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def main() -> None:
    folder = Path(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(job["threads"])
    keras.utils.set_random_seed(job["repeat"])
    marks = [spent()]
    train, tune = read(folder, "train"), read(folder, "tune")
    marks.append(spent())
    model, vectors = network(folder)
    turned = keras.preprocessing.image.ImageDataGenerator(rotation_range=job["degrees"], fill_mode="nearest")
    batches = turned.flow(*train, batch_size=job["batch"])
    history = model.fit(batches, validation_data=tune, epochs=job["epochs"], verbose=0).history
    marks.append(spent())
    told = {
        "wall": marks[2][0] - marks[0][0],
        "cpu": marks[2][1] - marks[0][1],
        "read": marks[1][0] - marks[0][0],
        "accuracy": history["val_accuracy"][-1],
        "loss": history["val_loss"][-1],
        "versions": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
        "apart": probed(vectors, folder),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
