"""What every test needs of the process it runs in."""

import signal

# nohup, and a shell's background jobs, ignore Ctrl-C, and a process hands that on to its children: those of tests would
# never see the signal that they are sent.
signal.signal(signal.SIGINT, signal.default_int_handler)
