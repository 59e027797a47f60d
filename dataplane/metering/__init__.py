"""What was used, by whom, and what it cost.

`usage` holds the numbers of one turn and the record that leaves the process; `prices` turns them into money;
`instruments` has every metric, in `counters` that are plain numbers, so that a turn costs additions; `labels` bounds
them, and `meter` feeds them.
OpenTelemetry is not known here: `dataplane.telemetry` reads the plain numbers when somebody collects.
"""
