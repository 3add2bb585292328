"""The command lines."""

import signal
import sys

_OURS = sys.argv[0].endswith(("/bundle-build", "/bundle-install"))
# Until the shell's own handler is there, Ctrl-C ends a program of ours without a traceback of its imports.
if _OURS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
