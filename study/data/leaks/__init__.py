"""The leak check: the same picture in two roles.

``step`` opens the test sets, ``check`` compares every two roles, ``near_duplicates`` proposes
pairs and confirms them by ``alignment``, ``report`` says what was found.
"""
