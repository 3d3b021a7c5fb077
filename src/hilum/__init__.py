"""hilum trains, audits and serves chest-radiograph classifiers, and says whether they read lungs or data sets.

The way through, a module a stage: `sources` name the films, `index` checks them, `split` keeps patients apart,
`pixels` and `cache` decode, `preprocess` prepares, `train` fits, `evaluate` judges, `bundle` keeps, `predict` uses,
`report` shows. `run` strings them together; `cli` is the `hilum` command.
"""

__version__ = "0.1.0"
