"""The losses against outliers of the recipe ``outliers``, one file each, named as in a YAML.

A file has ``DECLARED``, a literal that ``study.recipes.declared_losses`` reads without importing
the file (a YAML is checked without torch), and the class ``Loss``, which trains. That is all that
a loss needs; of those here the formulas are functions of `study.losses`, that they may be read
and tested, and used, with nothing of a study around them.
"""
