"""Replicas: which server is asked, what is read there, and what happens when it is behind or gone."""
