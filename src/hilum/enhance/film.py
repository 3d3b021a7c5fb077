"""The one type every enhancement takes and gives."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
"""A film `(H, W)`, at least 2 x 2, in [0, 1], bone bright."""
