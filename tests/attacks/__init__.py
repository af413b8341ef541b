"""Clients that mean no good, or ask for much: nobody else may notice. `siege` is what the tests have in common."""
