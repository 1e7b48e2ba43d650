"""Looks at data before anything is made of them: ``wsseg init`` and ``wsseg check``."""
