"""Be there until told to go, so that others can be run in this pod."""

import signal

signal.sigwait({signal.SIGTERM, signal.SIGINT})
