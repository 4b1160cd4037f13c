"""The post-hoc detectors, one file each, named as in a YAML.

A file has ``DETECTOR``, a literal that ``study.detectors.catalog`` reads without importing the
file (a YAML is checked without torch), and the class ``Method``, which scores.
"""
