"""Something to do every minute, from the start on; `beam.reactor` keeps the time, so that a test can."""

from twisted.internet.task import LoopingCall

from pgbeam_core import Beam, hookimpl

minutes: list[float] = []


@hookimpl
def startup(beam: Beam) -> None:
    every_minute = LoopingCall(lambda: minutes.append(beam.now()))
    every_minute.clock = beam.reactor
    every_minute.start(60, now=False)
