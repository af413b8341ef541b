"""The running PgBeam.

`beam` is what plugins are given and the service runs, `runtime` what conversations use of it; `pools` and `definitions`
keep what both look up.
"""

from pgbeam_core.beam.beam import Beam as Beam
