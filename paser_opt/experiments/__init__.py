"""The experiments that answer what the paper leaves open, each on one trial's pipeline from several seeds.

    trial → pipelines from seeds (search/pipelines.py) → routes and costs on test → nested bootstrap → sheets → page

One file each, with ``run(subjects, sample) -> Findings``; ``runner.EXPERIMENTS`` lists them, ``NAMES`` says what each
asks. ``study.py`` does a whole study of record: profile, search, static front, comparison and every experiment.
"""

from __future__ import annotations

__all__ = ["NAMES"]

NAMES = {
    "mc-samples": "how many Monte-Carlo samples are worth their cost",
    "cost-kinds": "what it costs to train and to choose by a proxy of the cost that is paid",
    "ablation": "what distillation, the learned route and fine-tuning contribute",
    "adaptability": "how a pipeline stands corruptions it was not trained on, in IoU and in what it spends",
}
"""Name on the command line → question; the one that takes longest comes last, so that a page has the others by then."""
