"""What every test needs of the process it runs in."""

import os
import signal

# nohup, and a shell's background jobs, ignore Ctrl-C, and a process hands that on to its children: those of tests would
# never see the signal that they are sent.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What OpenVINO compiles is not kept in the user's cache folder.
os.environ.setdefault("YOLORT_OPENVINO_CACHE", "off")
