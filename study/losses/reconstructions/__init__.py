"""The reconstruction losses, one file each, named as in a YAML.

A file has ``RECONSTRUCTION``, a literal that ``study.losses.names`` reads without importing the
file (a YAML is checked without torch), and the class ``Loss``.
"""
