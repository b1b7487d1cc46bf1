"""Routers compared on the same models and data: whole fronts, equal budgets, paired intervals over images and seeds.

    routers → curves (operating points, mixes, hypervolume) → statistics (nested bootstrap, Holm) → records

`search/versus.py` makes a comparison of a run or a study; `report/comparison.py` writes it down without torch.
"""
