"""The searchers: one file each, found by listing this folder (`study.searchers.catalog`)."""
