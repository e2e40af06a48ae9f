"""What scores of some records say, and how surely: pure functions of numbers, numpy alone.

Nothing here turns a failure into a number: what is empty, NaN, of one cluster, or all the same where it has
to scatter, is refused with a `StatisticsError` that says why. Draws are seeded, so the same data give the
same figures. `checks` reads values, `special` has the distributions, `clusters` means of values, `rates`
those of counts, `paired` two runs record by record, `agreement` raters, and `strengths` several runs by
pairs.
"""

from mira_batch.evaluate.statistics.agreement import (
    SelfAgreement,
    find_cohen_kappa,
    find_fleiss_kappa,
    measure_self_agreement,
)
from mira_batch.evaluate.statistics.checks import (
    Floats,
    Interval,
    Labels,
    StatisticsError,
    check_share,
    read_values,
)
from mira_batch.evaluate.statistics.clusters import (
    DRAWS,
    Estimate,
    bootstrap_mean,
    count_needed,
    find_clustered_error,
    find_sign_flip_p,
    find_smallest_difference,
)
from mira_batch.evaluate.statistics.paired import (
    BothOrders,
    WinTieLoss,
    adjust_holm,
    count_wins,
    settle_orders,
)
from mira_batch.evaluate.statistics.rates import (
    Discordance,
    compare_flags,
    find_exact_bound,
    find_exact_interval,
    find_wilson_interval,
)
from mira_batch.evaluate.statistics.special import find_binomial_tail, find_t_quantile
from mira_batch.evaluate.statistics.strengths import Strengths, fit_strengths

__all__ = [
    "DRAWS",
    "BothOrders",
    "Discordance",
    "Estimate",
    "Floats",
    "Interval",
    "Labels",
    "SelfAgreement",
    "StatisticsError",
    "Strengths",
    "WinTieLoss",
    "adjust_holm",
    "bootstrap_mean",
    "check_share",
    "compare_flags",
    "count_needed",
    "count_wins",
    "find_binomial_tail",
    "find_clustered_error",
    "find_cohen_kappa",
    "find_exact_bound",
    "find_exact_interval",
    "find_fleiss_kappa",
    "find_sign_flip_p",
    "find_smallest_difference",
    "find_t_quantile",
    "find_wilson_interval",
    "fit_strengths",
    "measure_self_agreement",
    "read_values",
    "settle_orders",
]
