"""Compare: several recipes, each in every variation asked for, trained side by side and judged on the same films.

    runs/NAME/        a run of its own, which can be continued, reported and released like any other
    runs/NAME-without-DOMAIN/   the same kept from all films of one domain, where that was asked for
    comparison.csv    a row a run
    comparison.html   the table, learning curves and ROC over one another, scores with intervals and floors

Nothing is ranked by a test score: the best of several is an optimistic number. What may choose is the tune fold, or the
mean over kept-out domains, told together with what such a choice reaches on a domain that had no part in it.
"""

from hilum.compare.judging import MEASURES, Compared, Comparison, Seeds, judge_runs
from hilum.compare.kept import Choice, Kept, KeptOut
from hilum.compare.planning import Variant, parse_keep_out, parse_vary, plan_variants
from hilum.compare.tables import NOT_AUDITED, as_dict, comparison_table, difference_text, share_name, signed_text
from hilum.compare.training import FEWEST_GROUPS, Without, train_variants, train_without

__all__ = [
    "FEWEST_GROUPS",
    "MEASURES",
    "NOT_AUDITED",
    "Choice",
    "Compared",
    "Comparison",
    "Kept",
    "KeptOut",
    "Seeds",
    "Variant",
    "Without",
    "as_dict",
    "comparison_table",
    "difference_text",
    "judge_runs",
    "parse_keep_out",
    "parse_vary",
    "plan_variants",
    "share_name",
    "signed_text",
    "train_variants",
    "train_without",
]
