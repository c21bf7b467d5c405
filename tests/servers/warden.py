"""Runs one command and takes it down with the tests: started as a script by `children`, never imported.

It leads a process group of its own. Standard input is a pipe from the tests: `t` asks the command to end, `k`
kills it, and so does the pipe's end: the tests are done, or gone, however they went. Because the command's parent
sends the signals and waits for it, none can reach a process that got the same number later, and no zombie stays.
The first line on standard output is the command's pid; the exit code is the command's, or 128 + the signal.
"""

import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_SECONDS = 5.0


def main() -> int:
    command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=int(sys.argv[1]), stderr=int(sys.argv[1]))
    os.write(1, f"{command.pid}\n".encode())

    def obey() -> None:
        while order := os.read(0, 1):
            if order == b"t":
                command.terminate()
            elif order == b"k":
                command.kill()
        command.kill()
        time.sleep(_GRACE_SECONDS)  # by then the main thread has ended this process, unless something hangs
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=obey, daemon=True).start()
    code = command.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
