"""The contract between the core and every plugin: what hooks are, and what they are given and may give.

hookspecs    every hook, in the order in which it fires
statement    an SQL text, analysed once
query        one execution of it, and the places it may go to
results      answers, refusals, notices, and how an execution ended
pool         servers, leases, and what a pool plugin has to give
console      tables that SHOW gives
commands     subcommands of `pgbeam`

Plugins import these names from `pgbeam_core`, whose `__all__` is the list. What begins with an underscore is the
core's own. Nothing here needs a parser or a reactor to be imported.
"""
