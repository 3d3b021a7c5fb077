"""Compare: several recipes, each in every variation asked for, trained side by side and judged on the same films.

    runs/NAME/        a run of its own, which can be continued, reported and released like any other
    comparison.csv    a row a run
    comparison.html   the table, learning curves and ROC over one another, scores with intervals and floors

Nothing is ranked by a test score: the best of several is an optimistic number. What may choose is the tune fold.
"""

from hilum.compare.judging import MEASURES, Compared, Comparison, Seeds, judge_runs
from hilum.compare.planning import Variant, parse_vary, plan_variants
from hilum.compare.tables import as_dict, comparison_table, difference_text
from hilum.compare.training import train_variants

__all__ = [
    "MEASURES",
    "Compared",
    "Comparison",
    "Seeds",
    "Variant",
    "as_dict",
    "comparison_table",
    "difference_text",
    "judge_runs",
    "parse_vary",
    "plan_variants",
    "train_variants",
]
