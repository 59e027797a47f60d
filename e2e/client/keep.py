"""Be there until told to go, so that others can be run in this pod."""

import signal

ENDS = {signal.SIGTERM, signal.SIGINT}

signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # the first process of a container is not sent what it does not wait for
signal.sigwait(ENDS)
